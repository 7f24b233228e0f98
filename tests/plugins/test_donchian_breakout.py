"""The Donchian strategy: the first close outside the channel, and nothing else."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import talib
from pydantic import ValidationError

from plugins.donchian_breakout import DonchianBreakout
from tradewright import plugin, testing
from tradewright.domain.market import Side, Timeframe

BORN = datetime(2022, 1, 1, tzinfo=UTC)


def _view(close: list[float]) -> plugin.View:
    values = np.asarray(close, dtype=np.float64)
    times = round(BORN.timestamp() * 1000) + np.arange(len(values), dtype=np.int64) * 60_000
    candles = plugin.Candles(times, values, values + 1, values - 1, values, np.ones(len(values)))
    at = BORN + timedelta(minutes=len(values))
    return plugin.View(
        symbol="BTCUSDT", at=at, timeframe=Timeframe.M1, candles=testing.frozen(candles)
    )


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
    signal = _strategy(period=5, atr_period=5).evaluate(_view(closes)).signal

    assert (signal.side if signal else None) == side


def test_the_reason_names_the_edge() -> None:
    signal = _strategy(period=5, atr_period=5).evaluate(_view([*FLAT, 101.5])).signal

    assert signal is not None
    assert signal.reason == "close 101.5 left the 5-candle channel at 101"
    assert signal.factors["upper"] == 101


def test_a_narrow_channel_gives_no_signal() -> None:
    closes = _view([*FLAT, 101.5])

    narrow = _strategy(period=5, atr_period=5, min_width_atr=Decimal("0.9")).evaluate(closes)
    too_narrow = _strategy(period=5, atr_period=5, min_width_atr=Decimal("1.1")).evaluate(closes)

    assert narrow.signal is not None
    assert too_narrow.signal is None
    assert too_narrow.factors.keys() >= {"upper", "lower", "width", "atr", "close", "volume"}


def test_its_atr_is_wilders() -> None:
    rng = np.random.default_rng(3)
    view = _view(list(100 + np.cumsum(rng.normal(0, 1, 500))))
    candles = view.candles
    expected = talib.ATR(candles.high, candles.low, candles.close, timeperiod=7)

    found = _strategy(period=5, atr_period=7).evaluate(view).factors["atr"]

    assert found == pytest.approx(expected[-1], rel=0.01)


@pytest.mark.parametrize("promise", testing.PROMISES, ids=testing.name)
@pytest.mark.parametrize("params", [{}, {"period": 8, "atr_period": 7, "min_width_atr": 2}])
def test_it_keeps_the_contract(promise: testing.Promise, params: dict[str, Any]) -> None:
    promise(DonchianBreakout, params)


def test_a_generated_market_gives_it_signals_on_both_sides() -> None:
    strategy, market = _strategy(period=8, atr_period=7), testing.Market()

    answers = [strategy.evaluate(market.view(strategy.needs, n)) for n in range(300)]

    sides = [answer.signal.side for answer in answers if answer.signal]
    assert len(sides) > 10
    assert set(sides) == {Side.BUY, Side.SELL}


def test_too_few_candles_give_an_empty_answer() -> None:
    strategy = _strategy(period=8, atr_period=7)

    assert strategy.evaluate(_view(FLAT[: strategy.needs.candles - 1])) == plugin.Evaluation()


@pytest.mark.parametrize("written", [{"period": 1}, {"period": "20"}, {"atr_period": 0}])
def test_parameters_are_bounded(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DonchianBreakout.Params.model_validate(written)
