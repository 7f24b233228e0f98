"""The Donchian strategy: the first close outside the channel, and nothing else."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from pydantic import ValidationError

from plugins.donchian_breakout import DonchianBreakout
from tradewright import plugin
from tradewright.domain.market import Side


def _candles(close: list[float]) -> pd.DataFrame:
    values = np.asarray(close, dtype=np.float64)
    index = pd.date_range("2022-01-01", periods=len(values), freq="1min", tz="UTC")
    columns = {"open": values, "high": values + 1, "low": values - 1, "close": values}
    return pd.DataFrame(columns | {"volume": np.ones(len(values))}, index=index)


def _strategy(**params: Any) -> DonchianBreakout:
    return DonchianBreakout(DonchianBreakout.Params.model_validate(params))


FLAT = [100.0] * 60


@pytest.mark.parametrize(
    ("closes", "side"),
    [
        ([*FLAT, 101.5], Side.BUY),
        ([*FLAT, 98.5], Side.SELL),
        ([*FLAT, 101.0], None),
        ([*FLAT, 101.5, 103.0], None),
        ([*FLAT, 98.5, 97.0], None),
        (FLAT, None),
    ],
)
def test_only_the_first_close_outside_the_channel_counts(
    closes: list[float], side: Side | None
) -> None:
    signal = _strategy(period=5, atr_period=5).evaluate(_candles(closes)).signal

    assert (signal.side if signal else None) == side


def test_the_reason_names_the_edge() -> None:
    signal = _strategy(period=5, atr_period=5).evaluate(_candles([*FLAT, 101.5])).signal

    assert signal is not None
    assert signal.reason == "close 101.5 left the 5-candle channel at 101"
    assert signal.factors["upper"] == 101


def test_a_narrow_channel_gives_no_signal() -> None:
    closes = _candles([*FLAT, 101.5])

    narrow = _strategy(period=5, atr_period=5, min_width_atr=Decimal("0.9")).evaluate(closes)
    too_narrow = _strategy(period=5, atr_period=5, min_width_atr=Decimal("1.1")).evaluate(closes)

    assert narrow.signal is not None
    assert too_narrow.signal is None
    assert too_narrow.factors.keys() >= {"upper", "lower", "width", "atr", "close", "volume"}


def test_its_atr_is_wilders() -> None:
    rng = np.random.default_rng(3)
    candles = _candles(list(100 + np.cumsum(rng.normal(0, 1, 500))))
    high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
    expected = talib.ATR(high, low, close, timeperiod=7)

    found = _strategy(period=5, atr_period=7).evaluate(candles).factors["atr"]

    assert found == pytest.approx(expected[-1], rel=0.01)


def test_candles_of_the_future_and_of_the_far_past_change_nothing() -> None:
    strategy = _strategy(period=8, atr_period=7)
    rng = np.random.default_rng(5)
    closes = list(100 + np.cumsum(rng.normal(0, 2, 400)))
    candles, other = _candles(closes), _candles([*closes[:300], *[1.0] * 100])

    signals = 0
    for end in range(strategy.lookback, 300):
        whole = strategy.evaluate(candles.iloc[:end])
        assert whole == strategy.evaluate(other.iloc[:end])
        assert whole == strategy.evaluate(candles.iloc[end - strategy.lookback : end])
        signals += whole.signal is not None
    assert signals > 10


def test_too_few_candles_give_an_empty_answer() -> None:
    strategy = _strategy(period=8, atr_period=7)

    assert strategy.evaluate(_candles(FLAT[: strategy.lookback - 1])) == plugin.Evaluation()


@pytest.mark.parametrize("written", [{"period": 1}, {"period": "20"}, {"atr_period": 0}])
def test_parameters_are_bounded(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DonchianBreakout.Params.model_validate(written)
