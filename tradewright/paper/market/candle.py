"""Candles of every timeframe, put together from the base candles of one symbol."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

MINUTE_MS = 60_000
_MINUTES = {str(m): m for m in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)} | {"D": 1440}
INTERVALS = (*_MINUTES, "W", "M")
BASE_MINUTES = tuple(_MINUTES.values())
"""Lengths that the candles of a recording may have."""
HISTORY = 1500
"""Minutes before the start, where nobody asks for more."""
_KEPT = 20_000
_MONDAY_MS = 4 * 1440 * MINUTE_MS  # 1970-01-05
_WEEK_MS = 7 * 1440 * MINUTE_MS


class Bar(NamedTuple):
    """One candle, named by its open time in epoch milliseconds."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal

    def joined(self, later: "Bar") -> "Bar":
        return Bar(
            self.open_ms,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
            self.turnover + later.turnover,
        )

    def path(self) -> list[Decimal]:
        """Return the prices that the candle is played along: the near extreme first."""
        if self.close >= self.open:
            return [self.open, self.low, self.high, self.close]
        return [self.open, self.high, self.low, self.close]


def bucket(interval: str, at_ms: int) -> int:
    """Return the open time of the candle of *interval* that holds *at_ms*."""
    if interval == "W":
        return at_ms - (at_ms - _MONDAY_MS) % _WEEK_MS
    if interval == "M":
        day = datetime.fromtimestamp(at_ms / 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp() * 1000)
    return at_ms - at_ms % (_MINUTES[interval] * MINUTE_MS)


def bucket_end(interval: str, open_ms: int) -> int:
    """Return the close time of the candle of *interval* that opens at *open_ms*."""
    if interval == "W":
        return open_ms + _WEEK_MS
    if interval == "M":
        return bucket("M", open_ms + 32 * 1440 * MINUTE_MS)
    return open_ms + _MINUTES[interval] * MINUTE_MS


def intervals_of(base_minutes: int) -> tuple[str, ...]:
    """Return the intervals that base candles of *base_minutes* can make."""
    return tuple(i for i in INTERVALS if i not in _MINUTES or not _MINUTES[i] % base_minutes)


class Series:
    """The candles of one symbol: closed ones per interval, and the one that is forming."""

    def __init__(self, base_minutes: int) -> None:
        self.intervals = intervals_of(base_minutes)
        self.base = self.intervals[0]
        self.base_ms = base_minutes * MINUTE_MS
        self._closed: dict[str, deque[Bar]] = {i: deque(maxlen=_KEPT) for i in self.intervals}
        self._forming: dict[str, Bar] = {}
        self.live: Bar | None = None
        """The base candle that is still forming."""

    def add(self, bar: Bar) -> None:
        """Take a closed base candle."""
        self.live = None
        end = bar.open_ms + self.base_ms
        for interval in self.intervals:
            start = bucket(interval, bar.open_ms)
            forming = self._forming.pop(interval, None)
            if forming is not None and forming.open_ms < start:
                # The rest of that candle is missing from the recording
                self._closed[interval].append(forming)
                forming = None
            forming = forming.joined(bar) if forming else bar._replace(open_ms=start)
            if bucket_end(interval, start) == end:
                self._closed[interval].append(forming)
            else:
                self._forming[interval] = forming

    def trade(self, at_ms: int, price: Decimal, qty: Decimal) -> None:
        """Let the base candle that is still forming have a trade."""
        live = self.live
        if live is None:
            open_ms = at_ms - at_ms % self.base_ms
            self.live = Bar(open_ms, price, price, price, price, qty, qty * price)
        else:
            self.live = Bar(
                live.open_ms,
                live.open,
                max(live.high, price),
                min(live.low, price),
                price,
                live.volume + qty,
                live.turnover + qty * price,
            )

    def seal(self, close_ms: int) -> bool:
        """Close the base candle that its trades have made; return whether there is one."""
        if self.live is None:
            return False
        self.add(self.live)
        return True

    def day(self) -> Bar | None:
        """Return the last 24 hours as one candle, where that is cheaper than its minutes."""
        return None

    def forming(self, interval: str) -> Bar | None:
        """Return the candle of *interval* that is not closed yet, if it has traded."""
        forming, live = self._forming.get(interval), self.live
        if live is None:
            return forming
        start = bucket(interval, live.open_ms)
        if forming is None or forming.open_ms < start:
            return live._replace(open_ms=start)
        return forming.joined(live)

    def newest(self, interval: str) -> Iterator[Bar]:
        """Yield the candles of *interval*, newest first, the forming one included."""
        forming = self.forming(interval)
        return chain([forming] if forming else [], reversed(self._closed[interval]))

    def newest_closed(self, interval: str) -> Iterator[Bar]:
        """Yield the closed candles of *interval*, newest first."""
        return reversed(self._closed[interval])

    def between(
        self, interval: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Bar]:
        """Return candles that open from *start_ms* to *end_ms*, both included, newest first.

        Of more than *limit* the newest, but from a start without an end the oldest.
        """
        closed = self._closed[interval]
        begin = 0 if start_ms is None else bisect_left(closed, start_ms, key=_open_ms)
        until = len(closed) if end_ms is None else bisect_right(closed, end_ms, key=_open_ms)
        forming = self.forming(interval)
        if forming is not None and (
            (start_ms is not None and forming.open_ms < start_ms)
            or (end_ms is not None and forming.open_ms > end_ms)
        ):
            forming = None
        if start_ms is not None and end_ms is None and until - begin >= limit:
            until, forming = begin + limit, None
        newest = [] if forming is None else [forming]
        begin = max(begin, until - limit + len(newest))
        return newest + [closed[i] for i in range(until - 1, begin - 1, -1)]

    def oldest(self) -> Bar | None:
        """Return the oldest base candle that is kept."""
        closed = self._closed[self.base]
        return closed[0] if closed else None

    def last_closed(self, interval: str) -> Bar | None:
        closed = self._closed[interval]
        return closed[-1] if closed else None


def closing(intervals: tuple[str, ...], close_ms: int) -> list[str]:
    """Return those of *intervals* of which a candle closes at *close_ms*."""
    return [i for i in intervals if bucket(i, close_ms) == close_ms]


def _open_ms(bar: Bar) -> int:
    return bar.open_ms
