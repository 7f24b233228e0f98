"""What was known beside the candles at the close of each: funding rates, open interest, marks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from activities import parse
from activities.candles import CandleCache, step_of
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles

PAGE: Final = 200
"""Rows per request, Bybit's most for both."""
MOST_PAGES: Final = 60
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LAG: Final = MINUTE
"""After its time a figure counts as known: the exchange lists it some seconds late."""

Series = NDArray[np.float64]


class HistorySource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class _Figure(NamedTuple):
    """How the exchange tells of one figure."""

    method: str
    time: str
    value: str
    grid: int
    """It is told of at multiples of this alone, in ms; not necessarily at each."""
    is_regular: bool
    """It is told of at each."""
    asked: Mapping[str, str]


FUNDING = _Figure(
    "get_funding_rate_history",
    "fundingRateTimestamp",
    "fundingRate",
    HOUR,
    is_regular=False,
    asked=MappingProxyType({}),
)
_INTERVALS = {5: "5min", 15: "15min", 30: "30min", 60: "1h", 240: "4h", 1440: "1d"}


def _open_interest(timeframe: Timeframe) -> _Figure:
    """Return the figure at the coarsest interval that still tells of each candle."""
    minutes = step_of(timeframe) // MINUTE
    told = max((m for m in _INTERVALS if m <= minutes), default=5)
    return _Figure(
        "get_open_interest",
        "timestamp",
        "openInterest",
        told * MINUTE,
        is_regular=True,
        asked=MappingProxyType({"intervalTime": _INTERVALS[told]}),
    )


@dataclass
class _Known:
    """Of one figure of one symbol; between the marks there are no unknowns."""

    first: int = 0
    last: int = -1
    span: int = DAY
    """The longest that was asked for."""
    points: dict[int, float] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Histories:
    """Serves series that are aligned with candles; concurrent callers share one request."""

    def __init__(self, source: HistorySource) -> None:
        self._source = source
        self._known: dict[tuple[str, str, int], _Known] = {}
        self._marks = CandleCache(source, "get_mark_price_kline")

    async def series(
        self,
        name: str,
        symbol: str,
        timeframe: Timeframe,
        candles: Candles,
        at: datetime,
        needed: int,
    ) -> Series:
        """Return what was known of *name* at the close of each of *candles*; NaN for nothing.

        Args:
            name: One of `tradewright.plugin.HISTORY_SERIES`.
            symbol: Whose.
            timeframe: Of the candles.
            candles: The last of them has closed at *at*.
            at: Market clock.
            needed: What the window of candles was asked for with.
        """
        if not len(candles):
            return np.empty(0)
        closes = candles.open_time + step_of(timeframe)
        if name == "mark_price":
            window = await self._marks.window(symbol, timeframe, at, needed)
            return _aligned(window.candles, candles)
        figure = FUNDING if name == "funding_rate" else _open_interest(timeframe)
        # A figure may be as old as a day before the first candle
        start = int(closes[0]) - LAG - max(DAY, figure.grid)
        points = await self._points(figure, symbol, start, int(closes[-1]) - LAG)
        times = np.array(sorted(points), dtype=np.int64)
        values = np.array([points[t] for t in sorted(points)] + [np.nan])
        # Row -1 is the NaN: before the first point nothing was known
        return values[np.searchsorted(times, closes - LAG, side="right") - 1]

    async def _points(
        self, figure: _Figure, symbol: str, start: int, until: int
    ) -> Mapping[int, float]:
        """Return all points from *start* to *until*, and perhaps more."""
        start, until = start // figure.grid * figure.grid, until // figure.grid * figure.grid
        known = self._known.setdefault((figure.method, symbol, figure.grid), _Known())
        async with known.turn:
            if not known.points or start > known.last + figure.grid:
                known.points, known.first, known.last = {}, start, start - 1
            if start < known.first:
                known.points |= await self._fetch(figure, symbol, start, known.first - 1)
                known.first = start
            if until > known.last:
                # One that is late is asked for again: where not each mark has one, at the next mark
                again = 0 if figure.is_regular else figure.grid
                found = await self._fetch(figure, symbol, known.last + 1 - again, until)
                known.points |= found
                known.last = max(found, default=known.last) if figure.is_regular else until
            points = known.points
            known.span = max(known.span, until - start)
            if known.last - known.first > 2 * known.span:
                known.first = known.last - known.span
                known.points = {t: v for t, v in points.items() if t >= known.first}
            # Whoever asks for what is far behind gets it, though it is not kept
            return points

    async def _fetch(
        self, figure: _Figure, symbol: str, start: int, until: int
    ) -> dict[int, float]:
        found: dict[int, float] = {}
        end = until
        for _ in range(MOST_PAGES):
            answer = await self._source.call(
                figure.method,
                category="linear",
                symbol=symbol,
                startTime=start,
                endTime=end,
                limit=PAGE,
                **figure.asked,
            )
            page = {}
            for row in parse.rows(figure.method, answer):
                try:
                    page[int(row[figure.time])] = float(row[figure.value])
                except (KeyError, TypeError, ValueError) as e:
                    raise AnswerMalformed(figure.method, f"a row is no figure: {e!r}") from None
            found |= {t: value for t, value in page.items() if start <= t <= until}
            end = min(page, default=start) - 1
            if len(page) < PAGE or end < start:
                break
        return found


def _aligned(told: Candles, candles: Candles) -> Series:
    """Return the closes of *told* at the times of *candles*; NaN where there is none."""
    if not len(told):
        return np.full(len(candles), np.nan)
    rows = np.searchsorted(told.open_time, candles.open_time)
    rows = np.minimum(rows, len(told) - 1)
    return np.where(told.open_time[rows] == candles.open_time, told.close[rows], np.nan)
