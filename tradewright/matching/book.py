"""One symbol's book: the market's own liquidity and the orders of the accounts."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import dropwhile, islice

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching.liquidity import Depth, Ladder, Level, Liquidity
from tradewright.matching.market import Market
from tradewright.matching.order import ZERO, Order


class Queue:
    """The resting orders of all accounts on one side, by price and then by turn."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.at: dict[Decimal, dict[str, Order]] = {}
        self._prices: list[Decimal] = []

    def add(self, order: Order) -> None:
        """Put *order* behind all others at its price."""
        if order.price in self.at:
            self.at[order.price][order.order_id] = order
        else:
            self.at[order.price] = {order.order_id: order}
            insort(self._prices, order.price)

    def turn(self, order: Order) -> int:
        """Return the turn that *order* gets when it is added now."""
        last = next(reversed(self.at.get(order.price, {}).values()), None)
        return max(order.seq, last.turn + 1 if last else 0)

    def swap(self, order: Order) -> bool:
        """Take *order* for its former state, in the same place; return whether it was there."""
        orders = self.at.get(order.price)
        if orders is None or order.order_id not in orders:
            return False
        orders[order.order_id] = order
        return True

    def drop(self, order: Order) -> None:
        orders = self.at.get(order.price)
        if orders is None or order.order_id not in orders:
            return
        del orders[order.order_id]
        if not orders:
            del self.at[order.price]
            del self._prices[bisect_left(self._prices, order.price)]

    def best(self) -> Decimal | None:
        if not self._prices:
            return None
        return self._prices[-1] if self.side is Side.BUY else self._prices[0]

    def front(self) -> Order | None:
        """Return the first order at the best price."""
        best = self.best()
        return None if best is None else next(iter(self.at[best].values()))

    def prices(self) -> Iterator[Decimal]:
        """Return the prices, best first."""
        return reversed(self._prices) if self.side is Side.BUY else iter(self._prices)

    def orders(self) -> Iterator[Order]:
        """Return the orders in their priority."""
        for price in self.prices():
            yield from self.at[price].values()

    def next_below(self, price: Decimal) -> Decimal | None:
        number = bisect_left(self._prices, price)
        return self._prices[number - 1] if number else None

    def next_above(self, price: Decimal) -> Decimal | None:
        number = bisect_left(self._prices, price)
        if number < len(self._prices) and self._prices[number] == price:
            number += 1
        return self._prices[number] if number < len(self._prices) else None


class Book:
    def __init__(self, market: Market) -> None:
        self.liquidity: Liquidity = Ladder(market)
        self.queues = {Side.BUY: Queue(Side.BUY), Side.SELL: Queue(Side.SELL)}
        self.waiting: dict[str, Order] = {}
        """Stops and conditional orders of all accounts that are not triggered yet."""

    def best(self, side: Side) -> Decimal | None:
        """Return the best price of the bids (BUY) or asks (SELL)."""
        market, own = self.liquidity.best(side), self.queues[side].best()
        if market is None or own is None:
            return own if market is None else market
        return max(market, own) if side is Side.BUY else min(market, own)

    def depth(self) -> Depth:
        """Return the recorded book, which from the first time on takes the ladder's place."""
        if not isinstance(self.liquidity, Depth):
            self.liquidity = Depth()
        return self.liquidity

    def levels(self, side: Side, depth: int) -> list[Level]:
        """Return the *depth* best levels, accounts' orders and the market's put together.

        The market's levels that orders of accounts on the other side overlap are left out.
        """
        queue, other = self.queues[side], self.queues[side.opposite].best()
        levels = self.liquidity.levels(side)
        if other is not None:
            limit = other * side.sign
            levels = dropwhile(lambda level: level[0] * side.sign >= limit, levels)
        market = list(islice(levels, depth))
        if not queue.at:
            return market
        sizes = dict(market)
        for price in islice(queue.prices(), depth):
            own = sum((o.leaves for o in queue.at[price].values()), ZERO)
            sizes[price] = sizes.get(price, ZERO) + own
        return sorted(sizes.items(), reverse=side is Side.BUY)[:depth]

    def advance(self, side: Side, price: Decimal, qty: Decimal) -> list[Order]:
        """Let *qty* of the market's liquidity at *price* be gone; return who moved up."""
        moved = [o for o in self.queues[side].at.get(price, {}).values() if o.ahead]
        return [replace(o, ahead=max(o.ahead - qty, ZERO)) for o in moved]

    def clip(self, side: Side, levels: Iterable[Level] | None) -> list[Order]:
        """Let the market's liquidity at *levels*, or anywhere, be as told; return who moved up."""
        at = self.queues[side].at
        if levels is None:
            levels = [(price, self.liquidity.at(side, price) or ZERO) for price in at]
        return [
            replace(o, ahead=qty)
            for price, qty in levels
            if price in at
            for o in at[price].values()
            if o.ahead > qty
        ]
