"""What the market itself offers in one symbol, beside the orders of the accounts.

A `Ladder` is made up around a last price, for candles; `Depth` is a recorded or relayed book.
Side.BUY names the bids and Side.SELL the asks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Protocol

from tradewright.domain.market import Side
from tradewright.matching.market import Market
from tradewright.matching.order import ZERO

Level = tuple[Decimal, Decimal]
_SHOWN = Decimal(60_000)  # USDT per level that a book without limit shows
_STRETCH = 8  # ticks of the price for which a book leans the same way
_SCATTER = 8  # stretches that lie side by side lean differently; it shares no factor with 21


class Liquidity(Protocol):
    def move(self, last: Decimal) -> None:
        """Let *last* be the price that was traded last."""

    def best(self, side: Side) -> Decimal | None: ...

    def at(self, side: Side, price: Decimal) -> Decimal | None:
        """Return the quantity at *price*; None is without limit."""

    def take(self, side: Side, price: Decimal, qty: Decimal) -> None: ...

    def levels(self, side: Side) -> Iterator[Level]:
        """Return prices with quantities, best first."""


class Ladder:
    """Levels one tick apart, half a spread away from the last price.

    Their sizes differ, always in the same way. What is taken comes back when the price moves.
    A market may lean: then one side is thicker, and the price alone says which and how much.
    """

    def __init__(self, market: Market) -> None:
        self._instrument = market.instrument
        self._half = market.instrument.tick_size * market.spread_ticks / 2
        self._depth = _SHOWN if market.depth is None else market.depth
        self._endless = market.depth is None
        self._lean = market.lean
        self._last = ZERO
        self._units: dict[Side, Decimal] = {}
        self._touch: dict[Side, Decimal] = {}
        self._gone = {Side.BUY: 0, Side.SELL: 0}
        self._taken = {Side.BUY: ZERO, Side.SELL: ZERO}

    def move(self, last: Decimal) -> None:
        if last == self._last:
            return
        instrument, tick = self._instrument, self._instrument.tick_size
        self._last, self._units = last, {}
        self._touch[Side.SELL] = max(instrument.ceil_price(last + self._half), tick)
        self._touch[Side.BUY] = max(instrument.floor_price(last - self._half), tick)
        self._gone = {Side.BUY: 0, Side.SELL: 0}
        self._taken = {Side.BUY: ZERO, Side.SELL: ZERO}

    def best(self, side: Side) -> Decimal | None:
        if side not in self._touch:
            return None
        gone = self._gone[side]
        if not gone:
            return self._touch[side]
        price = self._touch[side] - side.sign * gone * self._instrument.tick_size
        return price if price > 0 else None

    def at(self, side: Side, price: Decimal) -> Decimal | None:
        if side not in self._touch:
            return ZERO
        number = int((self._touch[side] - price) * side.sign / self._instrument.tick_size)
        if number < self._gone[side] or (self._touch[side] - price) * side.sign < 0:
            return ZERO
        if self._endless:
            return None if number == 0 else ZERO
        size = self._size(side, number)
        return size - self._taken[side] if number == self._gone[side] else size

    def take(self, side: Side, price: Decimal, qty: Decimal) -> None:
        if self._endless:
            return
        if qty == self.at(side, price):
            self._gone[side] += 1
            self._taken[side] = ZERO
        else:
            self._taken[side] += qty

    def levels(self, side: Side) -> Iterator[Level]:
        if side not in self._touch:
            return
        tick = self._instrument.tick_size
        number, price = self._gone[side], self.best(side)
        taken = self._taken[side]
        while price is not None and price > 0:
            yield price, self._size(side, number) - taken
            taken = ZERO
            number += 1
            price -= side.sign * tick

    def _size(self, side: Side, number: int) -> Decimal:
        unit = self._units.get(side)
        if unit is None:
            share = 1 + side.sign * self._lean * self._tilt
            unit = self._instrument.floor_qty(self._depth * share / 3 / self._last)
            unit = self._units[side] = max(self._instrument.qty_step, unit)
        return unit * (1 + number % 5)

    @property
    def _tilt(self) -> Decimal:
        """Return a number from -1 to 1 that is another one every few ticks."""
        stretch = int(self._last / self._instrument.tick_size) // _STRETCH
        return Decimal(stretch * _SCATTER % 21 - 10) / 10


class Depth:
    """A book that is told level by level; what is taken is gone until its level is told anew."""

    def __init__(self) -> None:
        self._sizes: dict[Side, dict[Decimal, Decimal]] = {Side.BUY: {}, Side.SELL: {}}
        self._prices: dict[Side, list[Decimal]] = {Side.BUY: [], Side.SELL: []}

    def move(self, last: Decimal) -> None:
        """Stay as it is: a book is not made up around its last trade."""

    def replace(self, side: Side, levels: Iterable[Level]) -> None:
        sizes = self._sizes[side] = {p: q for p, q in levels if q}
        self._prices[side] = sorted(sizes)

    def update(self, side: Side, levels: Iterable[Level]) -> None:
        sizes, prices = self._sizes[side], self._prices[side]
        for price, qty in levels:
            if price in sizes:
                if qty:
                    sizes[price] = qty
                else:
                    del sizes[price]
                    del prices[bisect_left(prices, price)]
            elif qty:
                sizes[price] = qty
                prices.insert(bisect_left(prices, price), price)

    def best(self, side: Side) -> Decimal | None:
        prices = self._prices[side]
        if not prices:
            return None
        return prices[-1] if side is Side.BUY else prices[0]

    def at(self, side: Side, price: Decimal) -> Decimal:
        return self._sizes[side].get(price, ZERO)

    def take(self, side: Side, price: Decimal, qty: Decimal) -> None:
        self.update(side, [(price, self._sizes[side][price] - qty)])

    def levels(self, side: Side) -> Iterator[Level]:
        prices, sizes = self._prices[side], self._sizes[side]
        for price in reversed(prices) if side is Side.BUY else prices:
            yield price, sizes[price]
