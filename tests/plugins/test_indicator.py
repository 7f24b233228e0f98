"""TA-Lib's functions: every one of them runs, and settles within its declared lookback."""

from typing import Any

import numpy as np
import pytest
import talib

from plugins.indicator import DISTANCES, RECURSIVE, REFUSED, Indicator, Series

CUMULATIVE = {"AD", "CUMSUM", "NVI", "OBV", "PVI", "PVT", "VWAP", "WAD"}
"""Their level means nothing, wherever the window begins; only their changes do."""
OUT_OF_DOMAIN = {"ACOS", "ASIN"}
NAMES = sorted({*talib.get_functions()} - REFUSED.keys())  # type: ignore[no-untyped-call]


def _market(length: int) -> dict[str, Series]:
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, length)))
    start = np.concatenate((close[:1], close[:-1]))
    return {
        "open": start,
        "high": np.maximum(start, close) * (1 + rng.uniform(0, 0.001, length)),
        "low": np.minimum(start, close) * (1 - rng.uniform(0, 0.001, length)),
        "close": close,
        "volume": rng.uniform(100, 1000, length),
    }


MARKET = _market(3000)


def _indicator(**written: Any) -> Indicator:
    return Indicator.model_validate(written)


@pytest.mark.parametrize("name", NAMES)
def test_an_indicator_is_valid_and_gives_one_number_per_candle(name: str) -> None:
    indicator = _indicator(ta=name)

    values = indicator.values(MARKET)

    assert [*indicator.faults()] == []
    assert values.dtype == np.float64
    assert len(values) == 3000
    assert np.isfinite(values[-1]) or name in OUT_OF_DOMAIN


@pytest.mark.parametrize("name", sorted({*NAMES} - CUMULATIVE - OUT_OF_DOMAIN))
def test_its_lookback_is_enough_to_settle(name: str) -> None:
    indicator = _indicator(ta=name)
    whole = indicator.values(MARKET)
    spread = float(np.nanstd(whole[-1000:])) or 1.0
    tolerance = 0.02 if name in RECURSIVE else 1e-9

    for end in (2000, 2400, 2711, 3000):
        begin = end - indicator.lookback()
        short = indicator.values({key: each[begin:end] for key, each in MARKET.items()})
        assert abs(whole[end - 1] - short[-1]) <= tolerance * spread


def test_an_average_of_another_kind_settles_as_slowly_as_that_kind() -> None:
    plain, exponential = (_indicator(ta="BBANDS", timeperiod=20, matype=kind) for kind in (0, 1))

    assert (plain.lookback(), exponential.lookback()) == (20, 153)


def test_outputs_are_chosen_by_name_and_the_first_is_the_default() -> None:
    first, named, signal = (
        _indicator(ta="MACD", output=output).values(MARKET)[-1]
        for output in (None, "macd", "macdsignal")
    )

    assert first == named
    assert named != signal


def test_distances_are_functions_of_ta_lib() -> None:
    assert set(NAMES) >= DISTANCES
    assert set(NAMES) >= RECURSIVE
