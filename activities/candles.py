"""Closed candles, fetched once per worker and served to every preset that asks."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from activities.pace import milliseconds, moment
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Candle, Timeframe

PAGE = 1000
"""Candles per request, Bybit's most."""
KEPT = 5_000
"""Candles kept per symbol and timeframe, unless a strategy asks for more."""
ANNOUNCED = 32
COLUMNS = ["open", "high", "low", "close", "volume"]


class KlineSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Window:
    """The candles that a decision was made on."""

    candles: pd.DataFrame
    """As `tradewright.plugin.Strategy.evaluate` takes them."""
    key: str
    """Names symbol, timeframe, range, count and content."""
    close: Decimal | None
    """Of the last candle, exactly as the exchange says it."""
    is_complete: bool
    """The candle that closes the window is in it."""


@dataclass(frozen=True)
class _Fetch:
    """How the last request ended: for all who came while it was under way."""

    begin: int
    until: int
    rows: dict[int, tuple[str, ...]] = field(default_factory=dict)
    error: TradewrightError | None = None


@dataclass
class _Shelf:
    """What is known of one symbol and timeframe; the range between the marks has no unknowns."""

    rows: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By open time in ms: open, high, low, close, volume."""
    first: int = 0
    last: int = -1
    announced: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """What the stream said, before the range was known to reach there."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    fetches: int = 0
    latest: _Fetch | None = None


class CandleCache:
    """Serves windows of closed candles; concurrent callers share one fetch, and its failure.

    A failure is kept for those who were waiting, and for nobody who comes later.
    """

    def __init__(self, source: KlineSource) -> None:
        self._source = source
        self._shelves: dict[tuple[str, Timeframe], _Shelf] = {}

    async def window(
        self, symbol: str, timeframe: Timeframe, close_time: datetime, lookback: int
    ) -> Window:
        """Return the last *lookback* candles that had closed at *close_time*.

        Fewer if the market is younger, or if the exchange does not have the last one yet; the
        candle that is open at *close_time* is never among them.
        """
        step = _step(timeframe)
        end = milliseconds(close_time) // step * step - step
        start = end - (lookback - 1) * step
        shelf = self._shelf(symbol, timeframe)
        seen = shelf.fetches
        async with shelf.turn:
            await self._cover(shelf, symbol, timeframe, start, end, seen)
            times = [t for t in range(start, end + step, step) if t in shelf.rows]
            rows = [shelf.rows[t] for t in times]
            self._trim(shelf, step, max(KEPT, 2 * lookback))
        return _window(symbol, timeframe, times, rows, end)

    async def candle(
        self, symbol: str, timeframe: Timeframe, close_time: datetime
    ) -> Candle | None:
        """Return the candle that closed at *close_time*; None while the exchange has none."""
        step = _step(timeframe)
        opened = milliseconds(close_time) // step * step - step
        shelf = self._shelf(symbol, timeframe)
        seen = shelf.fetches
        async with shelf.turn:
            row = shelf.rows.get(opened) or shelf.announced.get(opened)
            if row is None:
                found = await self._shared(shelf, symbol, timeframe, opened, opened, seen)
                row = found.get(opened)
            return None if row is None else _candle(opened, row)

    def add(self, symbol: str, timeframe: Timeframe, candle: Candle) -> None:
        """Take a closed candle from the stream, so that it need not be fetched.

        It also wins over the answer of a request, which may be older than the close.
        """
        shelf, step = self._shelf(symbol, timeframe), _step(timeframe)
        opened = milliseconds(candle.open_time)
        row = tuple(
            str(v) for v in (candle.open, candle.high, candle.low, candle.close, candle.volume)
        )
        if shelf.rows and opened == shelf.last + step:
            shelf.rows[opened], shelf.last = row, opened
        elif opened > shelf.last:
            shelf.announced[opened] = row
            while len(shelf.announced) > ANNOUNCED:
                del shelf.announced[min(shelf.announced)]

    def _shelf(self, symbol: str, timeframe: Timeframe) -> _Shelf:
        return self._shelves.setdefault((symbol, timeframe), _Shelf())

    async def _cover(
        self, shelf: _Shelf, symbol: str, timeframe: Timeframe, start: int, end: int, seen: int
    ) -> None:
        """Fetch what is missing between *start* and *end*, for one who came at fetch *seen*."""
        step = _step(timeframe)
        if not shelf.rows or start > shelf.last + step or end < shelf.first - step:
            shelf.rows, shelf.first, shelf.last = {}, start, start - step
        wanted = []
        if start < shelf.first:
            wanted.append((start, shelf.first - step))
        if end > shelf.last:
            wanted.append((shelf.last + step, end))
        for begin, until in wanted:
            found = await self._shared(shelf, symbol, timeframe, begin, until, seen)
            found |= {t: row for t, row in shelf.announced.items() if begin <= t <= until}
            shelf.rows |= found
            if begin < shelf.first:
                shelf.first = begin
            else:
                # A candle that the exchange does not have yet is asked for again
                shelf.last = max(found, default=shelf.last)
        shelf.announced = {t: row for t, row in shelf.announced.items() if t > shelf.last}

    async def _shared(
        self, shelf: _Shelf, symbol: str, timeframe: Timeframe, start: int, end: int, seen: int
    ) -> dict[int, tuple[str, ...]]:
        """Fetch, unless what ended after fetch *seen* has answered already: with rows or without.

        Else a hundred who wait for a candle that is late, or for an exchange that is away, would
        ask for it one after another.
        """
        latest = shelf.latest
        if latest is not None and shelf.fetches > seen:
            if latest.error is not None:
                raise latest.error
            if latest.begin <= start and end <= latest.until:
                return {t: row for t, row in latest.rows.items() if start <= t <= end}
        error: TradewrightError | None = None
        rows: dict[int, tuple[str, ...]] = {}
        try:
            rows = await self._fetch(symbol, timeframe, start, end)
        except TradewrightError as e:
            error = e
        shelf.latest = _Fetch(start, end, rows, error)
        shelf.fetches += 1
        if error is not None:
            raise error
        return rows

    async def _fetch(
        self, symbol: str, timeframe: Timeframe, start: int, end: int
    ) -> dict[int, tuple[str, ...]]:
        step, found = _step(timeframe), dict[int, tuple[str, ...]]()
        for begin in range(start, end + step, PAGE * step):
            until = min(end, begin + (PAGE - 1) * step)
            answer = await self._source.call(
                "get_kline",
                category="linear",
                symbol=symbol,
                interval=timeframe.interval,
                start=begin,
                end=until,
                limit=PAGE,
            )
            for opened, *prices in answer["result"]["list"]:
                if begin <= int(opened) <= until:
                    found[int(opened)] = tuple(prices[:5])
        return found

    @staticmethod
    def _trim(shelf: _Shelf, step: int, most: int) -> None:
        if (shelf.last - shelf.first) // step + 1 > 2 * most:
            shelf.first = shelf.last - (most - 1) * step
            shelf.rows = {t: row for t, row in shelf.rows.items() if t >= shelf.first}


def kline_candle(row: dict[str, Any]) -> Candle:
    """Return the candle of one element of the public topic ``kline``."""
    fields = (str(row[name]) for name in COLUMNS)
    return _candle(int(row["start"]), tuple(fields))


def _candle(opened: int, row: Sequence[str]) -> Candle:
    prices = dict(zip(COLUMNS, map(Decimal, row), strict=True))
    return Candle.model_validate({"open_time": moment(opened), **prices})


def _written(opened: int) -> str:
    return moment(opened).isoformat().replace("+00:00", "Z")


def _step(timeframe: Timeframe) -> int:
    return timeframe.length // timedelta(milliseconds=1)


def _window(
    symbol: str,
    timeframe: Timeframe,
    times: list[int],
    rows: list[tuple[str, ...]],
    end: int,
) -> Window:
    values: NDArray[np.float64] = np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
    index = pd.DatetimeIndex(np.array(times, dtype="datetime64[ms]"), name="open_time").tz_localize(
        UTC
    )
    candles = pd.DataFrame(values, index=index, columns=COLUMNS)
    content = hashlib.sha256(values.tobytes()).hexdigest()[:12]
    span = "..".join(_written(time) for time in (times[0], times[-1])) if times else "none"
    return Window(
        candles=candles,
        key=f"{symbol}/{timeframe}/{span}/{len(times)}/{content}",
        close=Decimal(rows[-1][3]) if rows else None,
        is_complete=bool(times) and times[-1] == end,
    )
