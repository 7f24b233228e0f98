"""The order book of one symbol, put together from its stream, and the numbers that say what it is.

Pure, and quick enough for every update. Prices are floats here, as everywhere in indicators;
what becomes money is read back exactly, for a float keeps the digits of any price.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Symbol

CLUSTER_BPS = 5.0
"""Width of the band of prices whose volume makes a cluster, in basis points of the best price."""

Level = Sequence[str]
"""Price and quantity, as Bybit writes them; quantity 0 takes the level away."""


class BookBroken(TradewrightError):
    """The book cannot be continued from what was told: it needs a new beginning."""

    def __init__(self, symbol: str, detail: str) -> None:
        super().__init__(f"order book {symbol} is broken: {detail}; subscribe to it again")
        self.symbol = symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What a strategy sees of an order book at one moment: all that is known of it, as numbers.

    The same numbers always make the same book, so that a decision can be made again from them.
    """

    symbol: Symbol
    at_ms: int
    """When the exchange's engine had it so; market clock, milliseconds since 1970."""
    best_bid: float
    best_ask: float
    best_bid_qty: float
    """Base currency, as `best_ask_qty`."""
    best_ask_qty: float
    bid_volume: float
    """Quote currency, of all levels that are followed; as `ask_volume` and the clusters."""
    ask_volume: float
    bid_cluster: float
    """The largest volume within a band of `CLUSTER_BPS`."""
    ask_cluster: float
    imbalance: float
    """What share of the volume is bids: 0.5 is even, 1 is bids alone."""
    spread_bps: float
    """Best ask over best bid, in basis points of their middle."""

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)

    @property
    def middle(self) -> float:
        return (self.best_bid + self.best_ask) / 2

    @property
    def bid(self) -> Decimal:
        """Return the best bid as money."""
        return Decimal(repr(self.best_bid))

    @property
    def ask(self) -> Decimal:
        """Return the best ask as money."""
        return Decimal(repr(self.best_ask))

    def numbers(self) -> dict[str, float]:
        """Return what `of` makes the same book from."""
        return {name: getattr(self, name) for name in NUMBERS}

    @classmethod
    def of(cls, symbol: Symbol, at_ms: int, numbers: Mapping[str, float]) -> Self:
        """Return the book that has these numbers; raises KeyError if one is missing."""
        return cls(symbol=symbol, at_ms=at_ms, **{name: numbers[name] for name in NUMBERS})


NUMBERS = tuple(f.name for f in fields(Book) if f.name not in {"symbol", "at_ms"})
"""What of a book is a number: the names that follow ``book.`` in rules."""


class Ladder:
    """The levels of one symbol as the stream tells them: a snapshot, then changes in a row."""

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.update = 0
        """Number of the last update; 0 before the first snapshot."""
        self.at_ms = 0
        self._bids = _Side(-1)
        self._asks = _Side(1)

    def restart(
        self, update: int, at_ms: int, bids: Iterable[Level], asks: Iterable[Level]
    ) -> None:
        """Take a snapshot, whatever was before it.

        Raises:
            BookBroken: A level is no number.
        """
        self._bids.clear()
        self._asks.clear()
        self._put(update, at_ms, bids, asks)

    def change(self, update: int, at_ms: int, bids: Iterable[Level], asks: Iterable[Level]) -> bool:
        """Take the next change; False if it was taken before.

        Raises:
            BookBroken: There was no snapshot, a change is missing in between, or a level is no
                number.
        """
        if not self.update:
            raise BookBroken(self.symbol, f"change {update} came before a snapshot")
        if update <= self.update:
            return False
        if update != self.update + 1:
            raise BookBroken(self.symbol, f"change {update} follows {self.update}")
        self._put(update, at_ms, bids, asks)
        return True

    def forget(self) -> None:
        """Know nothing until the next snapshot."""
        self.update = 0

    def book(self) -> Book | None:
        """Return the book as it stands; None while it is unknown, one-sided or crossed."""
        bids, asks = self._bids, self._asks
        if not (self.update and bids.keys and asks.keys):
            return None
        best_bid, best_ask = -bids.keys[0], asks.keys[0]
        if best_bid >= best_ask:
            return None
        bid_volume, ask_volume = sum(bids.values), sum(asks.values)
        return Book(
            symbol=self.symbol,
            at_ms=self.at_ms,
            best_bid=best_bid,
            best_ask=best_ask,
            best_bid_qty=bids.qtys[0],
            best_ask_qty=asks.qtys[0],
            bid_volume=bid_volume,
            ask_volume=ask_volume,
            bid_cluster=bids.cluster(bid_volume),
            ask_cluster=asks.cluster(ask_volume),
            imbalance=bid_volume / (bid_volume + ask_volume),
            spread_bps=(best_ask - best_bid) / (best_ask + best_bid) * 20_000,
        )

    @property
    def is_crossed(self) -> bool:
        """Return whether both sides are told and overlap, which no exchange lets happen."""
        bids, asks = self._bids.keys, self._asks.keys
        return bool(self.update and bids and asks and -bids[0] >= asks[0])

    def _put(self, update: int, at_ms: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        try:
            if not 0 < at_ms < _LAST_MS:
                raise ValueError(f"time {at_ms} ms")
            self._bids.put(bids)
            self._asks.put(asks)
        except ValueError as e:
            self.forget()
            raise BookBroken(self.symbol, str(e)) from None
        self.update, self.at_ms = update, at_ms


class _Side:
    """One side, best level first: columns of equal length."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.keys: list[float] = []
        """Prices, of bids negative: ascending on both sides."""
        self.qtys: list[float] = []
        self.values: list[float] = []
        """Quantity times price."""

    def clear(self) -> None:
        self.keys.clear()
        self.qtys.clear()
        self.values.clear()

    def put(self, levels: Iterable[Level]) -> None:
        keys, qtys, values, sign = self.keys, self.qtys, self.values, self._sign
        for price_text, qty_text in levels:
            price, qty = float(price_text), float(qty_text)
            # Also refuses what is not a number
            if not (0 < price < _MOST and 0 <= qty < _MOST):
                raise ValueError(f"level {price_text!r} of {qty_text!r}")
            key = sign * price
            at = bisect_left(keys, key)
            is_known = at < len(keys) and keys[at] == key
            if not qty:
                if is_known:
                    del keys[at], qtys[at], values[at]
            elif is_known:
                qtys[at], values[at] = qty, price * qty
            else:
                keys.insert(at, key)
                qtys.insert(at, qty)
                values.insert(at, price * qty)

    def cluster(self, volume: float) -> float:
        """Return the largest volume within the band; *volume* is that of the whole side."""
        keys, values = self.keys, self.values
        width = abs(keys[0]) * CLUSTER_BPS / 10_000
        if keys[-1] - keys[0] <= width:
            return volume
        largest = within = 0.0
        first = 0
        for key, value in zip(keys, values, strict=True):
            within += value
            while key - keys[first] > width:
                within -= values[first]
                first += 1
            if within > largest:
                largest = within
        return largest


_MOST = 1e15
_LAST_MS = 4_102_444_800_000
"""The year 2100: a time beyond it is none, and no clock could tell it."""
