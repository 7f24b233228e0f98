"""The prices of all symbols, which the accounts share."""

from collections.abc import Iterable
from decimal import Decimal

from tradewright.domain.market import Side
from tradewright.matching.market import Market
from tradewright.matching.position import RequestRejected


class Board:
    """Last, mark and index price by symbol. Mark and index follow the last until they are set."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self.markets = {m.instrument.symbol: m for m in markets}
        self.last: dict[str, Decimal] = {}
        self.mark: dict[str, Decimal] = {}
        self.index: dict[str, Decimal] = {}

    def move(self, symbol: str, price: Decimal) -> None:
        self.last[symbol] = self.mark[symbol] = self.index[symbol] = price

    def market(self, symbol: str) -> Market:
        if symbol not in self.markets:
            raise RequestRejected(10001, "params error: symbol invalid")
        return self.markets[symbol]

    def last_of(self, symbol: str) -> Decimal:
        if symbol not in self.last:
            raise RequestRejected(110074, "This contract is not live")
        return self.last[symbol]

    def touch(self, symbol: str, side: Side) -> Decimal:
        """Return the price at which a taker on *side* trades now."""
        market = self.markets[symbol]
        half = market.instrument.tick_size * market.spread_ticks / 2
        price = self.last_of(symbol) + side.sign * half
        rounded = (
            market.instrument.ceil_price(price)
            if side is Side.BUY
            else market.instrument.floor_price(price)
        )
        return max(rounded, market.instrument.tick_size)
