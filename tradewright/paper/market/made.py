"""Candles that are made when they are read, and kept only where trades made them otherwise."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

import numpy as np

from tradewright.paper.market.candle import MINUTE_MS, Bar, Series, bucket, bucket_end
from tradewright.paper.market.course import Ints

_CHUNK = 500


class Minutes(NamedTuple):
    """Consecutive minutes, in price and quantity steps; see `course.Day`."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints


ReadMinutes = Callable[[int, int], Minutes]
"""From the first minute since 1970, so many."""


class Kept(NamedTuple):
    """A minute that trades have made, in steps as `Minutes` are."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    twice: int
    """The turnover doubled, as that of a made minute has halves."""


class MadeSeries(Series):
    """The candles of a symbol whose minutes can be made at any time, from *floor_ms* on."""

    def __init__(
        self, read: ReadMinutes, tick: Decimal, step: Decimal, floor_ms: int, end_ms: int
    ) -> None:
        super().__init__(1)
        self._read = read
        self._tick, self._step = tick, step
        self._floor_ms, self._end_ms = floor_ms, end_ms
        self._day: tuple[int, Bar] | None = None
        self._kept: list[Kept] | None = None
        self._kept_ms = end_ms

    def keep(self) -> None:
        """Let minutes from now on be what trades make them; older ones are still made."""
        if self._kept is None:
            self._kept, self._kept_ms = [], self._end_ms

    def add(self, bar: Bar) -> None:
        self.seal(bar.open_ms + MINUTE_MS)

    def seal(self, close_ms: int) -> bool:
        while self._kept is not None and self._end_ms < close_ms:
            self._kept.append(self._traded())
            self._end_ms += MINUTE_MS
            self.live = None
        self._end_ms, self.live = close_ms, None
        return True

    def forming(self, interval: str) -> Bar | None:
        live = self.live
        at_ms = self._end_ms if live is None else live.open_ms
        start = max(bucket(interval, at_ms), self._floor_ms)
        closed = None
        if start < self._end_ms:
            closed = self._joined(start, self._end_ms)._replace(open_ms=bucket(interval, at_ms))
        if live is None:
            return closed
        return closed.joined(live) if closed else live._replace(open_ms=bucket(interval, at_ms))

    def newest(self, interval: str) -> Iterator[Bar]:
        forming = self.forming(interval)
        return chain([forming] if forming else [], self.newest_closed(interval))

    def newest_closed(self, interval: str) -> Iterator[Bar]:
        end_ms = bucket(interval, self._end_ms)
        while end_ms > self._floor_ms:
            start_ms = end_ms
            for _ in range(_CHUNK):
                start_ms = bucket(interval, start_ms - 1)
                if start_ms <= self._floor_ms:
                    break
            yield from reversed(self._bars(interval, start_ms, end_ms))
            end_ms = start_ms

    def between(
        self, interval: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Bar]:
        closed_ms = bucket(interval, self._end_ms)
        oldest = bucket(interval, self._floor_ms)
        begin = oldest if start_ms is None else max(oldest, _opens(interval, start_ms))
        until = closed_ms if end_ms is None else min(closed_ms, _after(interval, end_ms))
        forming = self.forming(interval)
        if forming is not None and (
            (start_ms is not None and forming.open_ms < start_ms)
            or (end_ms is not None and forming.open_ms > end_ms)
        ):
            forming = None
        onwards = start_ms is not None and end_ms is None
        if onwards:
            last = begin
            for _ in range(limit):
                if last >= until:
                    break
                last = bucket_end(interval, last)
            else:
                forming = None
            until = min(until, last)
        newest = [] if forming is None else [forming]
        first = until
        for _ in range(limit - len(newest)):
            if first <= begin:
                break
            first = bucket(interval, first - 1)
        return newest + self._bars(interval, max(first, begin), until)[::-1]

    def oldest(self) -> Bar | None:
        bars = self._bars(self.base, self._floor_ms, min(self._floor_ms + MINUTE_MS, self._end_ms))
        return bars[0] if bars else None

    def last_closed(self, interval: str) -> Bar | None:
        return next(self.newest_closed(interval), None) if interval != self.base else self._last()

    def day(self) -> Bar | None:
        """Return the last 24 hours of closed minutes as one candle."""
        start_ms = max(self._floor_ms, self._end_ms - 1440 * MINUTE_MS)
        if start_ms >= self._end_ms:
            return None
        if self._day is None or self._day[0] != self._end_ms:
            self._day = self._end_ms, self._joined(start_ms, self._end_ms)
        return self._day[1]

    def _last(self) -> Bar | None:
        start_ms = self._end_ms - MINUTE_MS
        return self._joined(start_ms, self._end_ms) if start_ms >= self._floor_ms else None

    def _joined(self, start_ms: int, end_ms: int) -> Bar:
        (bar,) = self._made([start_ms], end_ms)
        return bar

    def _bars(self, interval: str, start_ms: int, end_ms: int) -> list[Bar]:
        """Return the candles that open from *start_ms* on and have closed at *end_ms*."""
        opens = []
        open_ms = start_ms
        while open_ms < end_ms:
            opens.append(open_ms)
            open_ms = bucket_end(interval, open_ms)
        if not opens:
            return []
        made = self._made([max(o, self._floor_ms) for o in opens], end_ms)
        return [bar._replace(open_ms=o) for bar, o in zip(made, opens, strict=True)]

    def _made(self, starts: list[int], end_ms: int) -> list[Bar]:
        first = starts[0] // MINUTE_MS
        minutes, twice = self._minutes(first, end_ms // MINUTE_MS - first)
        at = np.array(starts, dtype=np.int64) // MINUTE_MS - first
        ends = np.append(at[1:], len(minutes.open)) - 1
        tick, step = self._tick, self._step
        rows = zip(
            starts,
            minutes.open[at].tolist(),
            np.maximum.reduceat(minutes.high, at).tolist(),
            np.minimum.reduceat(minutes.low, at).tolist(),
            minutes.close[ends].tolist(),
            np.add.reduceat(minutes.volume, at).tolist(),
            np.add.reduceat(twice, at).tolist(),
            strict=True,
        )
        half = tick * step / 2
        return [
            Bar(start, o * tick, h * tick, low * tick, c * tick, volume * step, turnover * half)
            for start, o, h, low, c, volume, turnover in rows
        ]

    def _minutes(self, first: int, count: int) -> tuple[Minutes, Ints]:
        """Return minutes, and their turnovers doubled, for the middle may lie between two steps."""
        kept_first = self._kept_ms // MINUTE_MS
        made_count = count if self._kept is None else min(count, max(0, kept_first - first))
        begin = first + made_count - kept_first
        kept = (self._kept or [])[begin : begin + count - made_count] if made_count < count else []
        if not kept:
            made = self._read(first, count)
            return made, made.volume * (made.open + made.close)
        # Of any size: nothing bounds where acts send a price
        columns = list(np.array(kept, dtype=object).T)
        if made_count:
            made = self._read(first, made_count)
            turnovers = made.volume * (made.open + made.close)
            both = zip((*made, turnovers), columns, strict=True)
            columns = [np.concatenate((older.astype(object), newer)) for older, newer in both]
        return Minutes(*columns[:5]), columns[5]

    def _traded(self) -> Kept:
        """Return the minute that ends now; without a trade it stands where the last one ended."""
        tick, step, live = self._tick, self._step, self.live
        if live is None:
            close = int(self._joined(self._end_ms - MINUTE_MS, self._end_ms).close / tick)
            return Kept(close, close, close, close, 0, 0)
        return Kept(
            int(live.open / tick),
            int(live.high / tick),
            int(live.low / tick),
            int(live.close / tick),
            int(live.volume / step),
            int(2 * live.turnover / (tick * step)),
        )


def _opens(interval: str, at_ms: int) -> int:
    """Return when the first candle opens that does so at *at_ms* or later."""
    start = bucket(interval, at_ms)
    return start if start == at_ms else bucket_end(interval, start)


def _after(interval: str, at_ms: int) -> int:
    """Return when the first candle opens that does so after *at_ms*."""
    return bucket_end(interval, bucket(interval, at_ms))
