"""Closed candles, fetched once per worker and served to every preset that asks."""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

from pydantic import ValidationError

from activities.pace import milliseconds, moment
from activities.parse import rows as parsed_rows
from activities.shelf import Row, Shelf
from tradewright.domain.errors import AnswerMalformed, TradewrightError
from tradewright.domain.market import Candle, Timeframe
from tradewright.plugin import COLUMNS, Candles, anchor

PAGE = 1000
"""Candles per request, Bybit's most."""
LEAST_KEPT = 500
ANNOUNCED = 32


class KlineSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Window:
    """The candles that a decision is made on."""

    symbol: str
    timeframe: Timeframe
    candles: Candles
    close: Decimal | None
    """Of the last candle, exactly as the exchange says it; None if that is no number."""
    is_complete: bool
    """The candle that closes the window is in it."""
    doubts: tuple[str, ...] = ()
    """What was odd about the answers that told of these candles."""

    @cached_property
    def key(self) -> str:
        """Name symbol, timeframe, range, count and content."""
        candles, content = self.candles, hashlib.sha256()
        for name in COLUMNS:
            content.update(getattr(candles, name).tobytes())
        times = candles.open_time
        span = f"{_written(times[0])}..{_written(times[-1])}" if len(times) else "none"
        return f"{self.symbol}/{self.timeframe}/{span}/{len(times)}/{content.hexdigest()[:12]}"


@dataclass(frozen=True)
class _Answer:
    """How the last request ended: for all who came while it was under way."""

    begin: int
    until: int
    rows: dict[int, Row] = field(default_factory=dict)
    error: TradewrightError | None = None


@dataclass
class _Place:
    """One symbol and timeframe."""

    shelf: Shelf = field(default_factory=Shelf)
    announced: dict[int, Row] = field(default_factory=dict)
    """What the stream said, before the range was known to reach there."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    fetches: int = 0
    latest: _Answer | None = None
    asked: int = LEAST_KEPT
    """The longest window that was asked for."""
    odd: dict[int, str] = field(default_factory=dict)
    """What was odd about a row of the last answers, by time."""


class CandleCache:
    """Serves windows of closed candles; concurrent callers share one fetch, and its failure.

    A failure is kept for those who were waiting, and for nobody who comes later.
    """

    def __init__(self, source: KlineSource, method: str = "get_kline") -> None:
        """Ask *source* by *method*, of which there is one for mark prices, too."""
        self._source = source
        self._method = method
        self._places: dict[tuple[str, Timeframe], _Place] = {}

    async def window(
        self, symbol: str, timeframe: Timeframe, close_time: datetime, needed: int
    ) -> Window:
        """Return at least the last *needed* candles that had closed at *close_time*.

        The window begins where `anchor` says, and has up to twice as many. Fewer if the market
        is younger, or if the exchange does not have the last one yet; the candle that is open at
        *close_time* is never among them.
        """
        step = step_of(timeframe)
        end = milliseconds(close_time) // step * step - step
        start = anchor(end, step, needed)
        place = self._place(symbol, timeframe)
        place.asked = max(place.asked, 2 * needed)
        shelf = place.shelf
        if not shelf or start < shelf.first or end > shelf.last:
            seen = place.fetches
            async with place.turn:
                await self._cover(place, symbol, timeframe, start, end, seen)
                window = _window(symbol, timeframe, place.shelf, start, end)
                # Whoever asks for what is far behind gets it, though it is not kept
                place.shelf.trim(place.asked)
                return window
        return _window(symbol, timeframe, shelf, start, end)

    async def candle(
        self, symbol: str, timeframe: Timeframe, close_time: datetime
    ) -> Candle | None:
        """Return the candle that closed at *close_time*; None while the exchange has none."""
        step = step_of(timeframe)
        opened = milliseconds(close_time) // step * step - step
        place = self._place(symbol, timeframe)
        seen = place.fetches
        async with place.turn:
            row = place.shelf.row(opened) or place.announced.get(opened)
            if row is None:
                found = await self._shared(place, symbol, timeframe, opened, opened, seen)
                row = found.get(opened)
            try:
                return None if row is None else _candle(opened, row)
            except (ValidationError, ArithmeticError) as e:
                raise AnswerMalformed(self._method, f"a row is no candle: {e}") from None

    def add(self, symbol: str, timeframe: Timeframe, candle: Candle) -> None:
        """Take a closed candle from the stream, so that it need not be fetched.

        It also wins over the answer of a request, which may be older than the close.
        """
        place, step = self._place(symbol, timeframe), step_of(timeframe)
        opened = milliseconds(candle.open_time)
        row = tuple(str(getattr(candle, name)) for name in COLUMNS)
        shelf = place.shelf
        # While a request is under way it may bring the same candle
        if shelf and opened == shelf.last + step and not place.turn.locked():
            shelf.append({opened: row})
            shelf.last = opened
        elif opened > shelf.last:
            place.announced[opened] = row
            while len(place.announced) > ANNOUNCED:
                del place.announced[min(place.announced)]

    def forget(self, symbol: str, timeframe: Timeframe) -> None:
        """Have all candles fetched anew: what was fetched before was not right."""
        self._place(symbol, timeframe).shelf = Shelf()

    def _place(self, symbol: str, timeframe: Timeframe) -> _Place:
        return self._places.setdefault((symbol, timeframe), _Place())

    async def _cover(
        self, place: _Place, symbol: str, timeframe: Timeframe, start: int, end: int, seen: int
    ) -> None:
        """Fetch what is missing between *start* and *end*, for one who came at fetch *seen*."""
        step, shelf = step_of(timeframe), place.shelf
        if not shelf or start > shelf.last + step or end < shelf.first - step:
            shelf = Shelf(start, start - step)
        if start < shelf.first:
            found = await self._shared(place, symbol, timeframe, start, shelf.first - step, seen)
            shelf.prepend(found)
            shelf.first = start
        if end > shelf.last:
            begin, found = shelf.last + step, dict[int, Row]()
            if not place.announced.keys() >= set(range(begin, end + step, step)):
                found = await self._shared(place, symbol, timeframe, begin, end, seen)
            found |= {t: row for t, row in place.announced.items() if begin <= t <= end}
            shelf.append(found)
            # A candle that the exchange does not have yet is asked for again
            shelf.last = max(found, default=shelf.last)
        shelf.doubts |= place.odd
        place.odd.clear()
        place.shelf = shelf
        place.announced = {t: row for t, row in place.announced.items() if t > shelf.last}
        if place.latest is not None:
            # The shelf has it; what is not there is what the exchange does not have yet
            place.latest = replace(place.latest, begin=shelf.last + step, rows={})

    async def _shared(
        self, place: _Place, symbol: str, timeframe: Timeframe, start: int, end: int, seen: int
    ) -> dict[int, tuple[str, ...]]:
        """Fetch, unless what ended after fetch *seen* has answered already: with rows or without.

        Else a hundred who wait for a candle that is late, or for an exchange that is away, would
        ask for it one after another.
        """
        latest = place.latest
        if latest is not None and place.fetches > seen:
            if latest.error is not None:
                raise latest.error
            if latest.begin <= start and end <= latest.until:
                return {t: row for t, row in latest.rows.items() if start <= t <= end}
        error: TradewrightError | None = None
        rows: dict[int, Row] = {}
        try:
            rows = await self._fetch(place, symbol, timeframe, start, end)
        except TradewrightError as e:
            error = e
        place.latest = _Answer(start, end, rows, error)
        place.fetches += 1
        if error is not None:
            raise error
        return rows

    async def _fetch(
        self, place: _Place, symbol: str, timeframe: Timeframe, start: int, end: int
    ) -> dict[int, Row]:
        step, found = step_of(timeframe), dict[int, Row]()
        for begin in range(start, end + step, PAGE * step):
            until = min(end, begin + (PAGE - 1) * step)
            answer = await self._source.call(
                self._method,
                category="linear",
                symbol=symbol,
                interval=timeframe.interval,
                start=begin,
                end=until,
                limit=PAGE,
            )
            later = until + 1
            for row in parsed_rows(self._method, answer):
                opened, prices = _parsed(self._method, row)
                if not begin <= opened <= until:
                    continue
                if opened in found:
                    place.odd[opened] = "duplicate"
                elif opened >= later:
                    place.odd[opened] = "out_of_order"
                later = opened
                found[opened] = prices
        return found


def kline_candle(row: dict[str, Any]) -> Candle:
    """Return the candle of one element of the public topic ``kline``."""
    fields = (str(row[name]) for name in COLUMNS)
    return _candle(int(row["start"]), tuple(fields))


def step_of(timeframe: Timeframe) -> int:
    """Return the length of a candle in milliseconds."""
    return timeframe.length // timedelta(milliseconds=1)


def _parsed(method: str, row: Any) -> tuple[int, Row]:
    """Return when the candle of *row* opened, and its columns; those of a mark price have four."""
    try:
        opened, *prices = map(str, row)
        if len(prices) < 4:
            raise ValueError(f"{len(prices)} columns")
        return int(opened), (*prices[:5], "0")[:5]
    except (TypeError, ValueError) as e:
        raise AnswerMalformed(method, f"a row is no candle: {e}") from None


def _candle(opened: int, row: Row) -> Candle:
    prices = dict(zip(COLUMNS, map(Decimal, row), strict=True))
    return Candle.model_validate({"open_time": moment(opened), **prices})


def _written(opened: int) -> str:
    return moment(int(opened)).isoformat().replace("+00:00", "Z")


def _window(symbol: str, timeframe: Timeframe, shelf: Shelf, start: int, end: int) -> Window:
    candles = shelf.candles(start, end)
    row = shelf.row(int(candles.open_time[-1])) if len(candles) else None
    close = None if row is None else Decimal(row[3])
    return Window(
        symbol=symbol,
        timeframe=timeframe,
        candles=candles,
        close=close if close is not None and close.is_finite() else None,
        is_complete=bool(len(candles)) and int(candles.open_time[-1]) == end,
        doubts=tuple(sorted({doubt for t, doubt in shelf.doubts.items() if start <= t <= end})),
    )
