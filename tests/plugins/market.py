"""Views of made-up markets."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles, View

Series = NDArray[np.float64]

MINUTE = 60_000
START = 1_640_995_200_000
"""Midnight at the beginning of 2022, a Saturday."""


def candles_of(close: list[float] | Series, timeframe: Timeframe = Timeframe.M1) -> Candles:
    """Return candles that close there, each from where the one before it did."""
    values = np.asarray(close, dtype=np.float64)
    before = np.concatenate((values[:1], values[:-1]))
    length = int(timeframe.length.total_seconds()) * 1000
    return Candles(
        open_time=START + length * np.arange(len(values), dtype=np.int64),
        open=before,
        high=np.maximum(before, values) + 0.5,
        low=np.minimum(before, values) - 0.5,
        close=values,
        volume=np.ones(len(values)),
    )


def walk(length: int, seed: int = 1, timeframe: Timeframe = Timeframe.M1) -> Candles:
    rng = np.random.default_rng(seed)
    found = candles_of(100 * np.exp(np.cumsum(rng.normal(0, 0.004, length))), timeframe)
    found.volume[:] = rng.uniform(100, 1000, length)
    found.high[:] += rng.uniform(0, 1, length)
    found.low[:] -= rng.uniform(0, 1, length)
    return found


def view(
    candles: Candles,
    *,
    others: Mapping[str, Candles] | None = None,
    series: Mapping[str, Series] | None = None,
    degraded: bool = False,
    timeframe: Timeframe = Timeframe.M1,
    symbol: str = "BTCUSDT",
) -> View:
    """Return what is seen after the last of *candles*."""
    last = int(candles.open_time[-1]) if len(candles) else START
    at = datetime.fromtimestamp(last / 1000, UTC) + timeframe.length
    return View(
        symbol=symbol,
        at=at,
        timeframe=timeframe,
        candles=candles,
        others=others or {},
        series=series or {},
        degraded=degraded,
    )


def columns(candles: Candles) -> dict[str, Series]:
    names = ("open", "high", "low", "close", "volume")
    return {name: getattr(candles, name) for name in names}
