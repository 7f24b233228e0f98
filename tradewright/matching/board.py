"""The prices and books of all symbols, which the accounts share."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching.book import Book
from tradewright.matching.liquidity import Ladder
from tradewright.matching.market import Market
from tradewright.matching.position import RequestRejected


class Board:
    """Last, mark and index price by symbol. Mark and index follow the last until they are set."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self.markets = {m.instrument.symbol: m for m in markets}
        self.books = {s: Book(m) for s, m in self.markets.items()}
        self.last: dict[str, Decimal] = {}
        self.mark: dict[str, Decimal] = {}
        self.index: dict[str, Decimal] = {}
        self.marked: set[str] = set()
        """Symbols whose mark no longer follows the last price."""
        self.halted: set[str] = set()
        self.indexed: set[str] = set()

    def move(self, symbol: str, price: Decimal) -> None:
        self.last[symbol] = price
        if symbol not in self.marked:
            self.mark[symbol] = price
        if symbol not in self.indexed:
            self.index[symbol] = price
        self.books[symbol].liquidity.move(price)

    def set(self, symbol: str, mark: Decimal | None, index: Decimal | None) -> None:
        """Set mark and index, which from then on follow the last price no longer."""
        if mark is not None:
            self.mark[symbol] = mark
            self.marked.add(symbol)
        if index is not None:
            self.index[symbol] = index
            self.indexed.add(symbol)

    def market(self, symbol: str) -> Market:
        if symbol not in self.markets:
            raise RequestRejected(10001, "params error: symbol invalid")
        return self.markets[symbol]

    def widen(self, symbol: str, spread_ticks: int, depth: Decimal | None) -> None:
        """Let the book around candles stand otherwise; a recorded one stays as it is."""
        market = replace(self.markets[symbol], spread_ticks=spread_ticks, depth=depth)
        self.markets[symbol] = market
        book = self.books[symbol]
        if isinstance(book.liquidity, Ladder):
            book.liquidity = Ladder(market)
            if symbol in self.last:
                book.liquidity.move(self.last[symbol])

    def halt(self, symbol: str, *, halted: bool) -> None:
        """Take no orders in *symbol*, or take them again."""
        (self.halted.add if halted else self.halted.discard)(symbol)

    def last_of(self, symbol: str) -> Decimal:
        """Return the last price, for a request in *symbol*."""
        if symbol not in self.last or symbol in self.halted:
            raise RequestRejected(110074, "This contract is not live")
        return self.last[symbol]

    def price(self, symbol: str, kind: str) -> Decimal:
        """Return the price that *kind*, a ``triggerBy``, names."""
        if kind == "MarkPrice":
            return self.mark[symbol]
        return self.index[symbol] if kind == "IndexPrice" else self.last[symbol]

    def follows(self, symbol: str, kind: str) -> bool:
        """Return whether the price that *kind* names goes with the last one."""
        if kind == "MarkPrice":
            return symbol not in self.marked
        return kind != "IndexPrice" or symbol not in self.indexed

    def touch(self, symbol: str, side: Side) -> Decimal:
        """Return the price at which a taker on *side* trades now; the last if nobody offers."""
        best = self.books[symbol].best(side.opposite)
        return self.last[symbol] if best is None else best

    def price_limit(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the highest price of a buy and the lowest of a sell.

        ``min(mark (1 + Y), max(index, mark (1 + X) + max(0, premium)))`` of a buy, mirrored of
        a sell; the premium is mark less index.
        """
        market, mark, index = self.markets[symbol], self.mark[symbol], self.index[symbol]
        x, y, premium = market.limit_ratio_x, market.limit_ratio_y, mark - index
        zero = Decimal(0)
        highest = min(mark * (1 + y), max(index, mark * (1 + x) + max(zero, premium)))
        lowest = max(mark * (1 - y), min(index, mark * (1 - x) + min(zero, premium)))
        instrument = market.instrument
        return instrument.floor_price(highest), instrument.ceil_price(lowest)
