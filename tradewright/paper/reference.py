"""Mark and index prices, minute by minute, as far as the market has its own."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from tradewright.paper.market.candle import MINUTE_MS, Bar

Kind = Literal["mark", "index", "premium"]
Candle = tuple[int, Decimal, Decimal, Decimal, Decimal]
"""Open time, open, high, low, close."""
_KEPT = 1000


class Minute(NamedTuple):
    open_ms: int
    mark_high: Decimal
    mark_low: Decimal
    mark_close: Decimal
    index_high: Decimal
    index_low: Decimal
    index_close: Decimal

    def moved(self, mark: Decimal, index: Decimal) -> "Minute":
        return Minute(
            self.open_ms,
            max(self.mark_high, mark),
            min(self.mark_low, mark),
            mark,
            max(self.index_high, index),
            min(self.index_low, index),
            index,
        )

    def prices(self, kind: Kind) -> tuple[Decimal, Decimal, Decimal]:
        """Return high, low and close; a premium is known at the close alone."""
        if kind == "mark":
            return self.mark_high, self.mark_low, self.mark_close
        if kind == "index":
            return self.index_high, self.index_low, self.index_close
        premium = round(self.mark_close / self.index_close - 1, 6)
        return premium, premium, premium


class References:
    """Empty while mark and index follow the last price; then the newest minutes are kept."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=_KEPT)

    def take(self, at_ms: int, mark: Decimal, index: Decimal) -> None:
        open_ms = at_ms - at_ms % MINUTE_MS
        if self._minutes and self._minutes[-1].open_ms == open_ms:
            self._minutes[-1] = self._minutes[-1].moved(mark, index)
        else:
            self._minutes.append(Minute(open_ms, mark, mark, mark, index, index, index))

    def candles(self, kind: Kind, bars: Sequence[Bar], ends: Sequence[int]) -> list[Candle]:
        """Return the candles of mark, index or premium beside those of the last price.

        Where no reference is known, mark and index are the last price and there is no premium.
        """
        return [self._candle(kind, bar, end) for bar, end in zip(bars, ends, strict=True)]

    def _candle(self, kind: Kind, bar: Bar, end: int) -> Candle:
        begin = bisect_left(self._minutes, bar.open_ms, key=_open_ms)
        until = bisect_left(self._minutes, end, lo=begin, key=_open_ms)
        if begin == until:
            nothing = Decimal(0)
            prices = bar[1:5] if kind != "premium" else (nothing,) * 4
            return (bar.open_ms, *prices)
        known = [self._minutes[i].prices(kind) for i in range(begin, until)]
        opened = self._minutes[begin - 1].prices(kind)[2] if begin else known[0][2]
        high = max(opened, *(row[0] for row in known))
        low = min(opened, *(row[1] for row in known))
        return bar.open_ms, opened, high, low, known[-1][2]


def _open_ms(minute: Minute) -> int:
    return minute.open_ms
