"""An order book that is put together from messages which may overtake each other."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from decimal import Decimal

from tradewright.paper.market.move import Level

ZERO = Decimal(0)


class Ladder:
    """Both sides of one book; it never crosses, for what is newer takes away what stands in it."""

    def __init__(self) -> None:
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._bid_prices: list[Decimal] = []
        self._ask_prices: list[Decimal] = []

    @property
    def is_whole(self) -> bool:
        return bool(self._bids and self._asks)

    @property
    def middle(self) -> Decimal:
        return (self._bid_prices[-1] + self._ask_prices[0]) / 2

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first."""
        bids = [(price, self._bids[price]) for price in reversed(self._bid_prices)]
        return bids, [(price, self._asks[price]) for price in self._ask_prices]

    def clear(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self._bid_prices.clear()
        self._ask_prices.clear()

    def put(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]]:
        """Take new quantities; return them with the levels that had to go."""
        bids, asks = list(bids), list(asks)
        for price, qty in bids:
            _put(self._bids, self._bid_prices, price, qty)
        for price, qty in asks:
            _put(self._asks, self._ask_prices, price, qty)
        if self.is_whole and self._bid_prices[-1] >= self._ask_prices[0]:
            best_bid = max((p for p, qty in bids if qty), default=ZERO)
            gone_asks = self._cut_asks(best_bid, inclusive=True)
            asks += gone_asks
            if self._ask_prices and self._bid_prices[-1] >= self._ask_prices[0]:
                bids += self._cut_bids(self._ask_prices[0], inclusive=True)
        return bids, asks

    def quote(self, bid: Level, ask: Level) -> tuple[list[Level], list[Level]]:
        """Take the best level of each side; return them with the levels that stood before them."""
        bids, asks = self._cut_bids(bid[0]), self._cut_asks(ask[0])
        asks += self._cut_asks(bid[0], inclusive=True)
        bids += self._cut_bids(ask[0], inclusive=True)
        if bid[1]:
            _put(self._bids, self._bid_prices, *bid)
            bids.append(bid)
        if ask[1]:
            _put(self._asks, self._ask_prices, *ask)
            asks.append(ask)
        return bids, asks

    def _cut_bids(self, above: Decimal, *, inclusive: bool = False) -> list[Level]:
        find = bisect_left if inclusive else bisect_right
        gone = self._bid_prices[find(self._bid_prices, above) :]
        del self._bid_prices[len(self._bid_prices) - len(gone) :]
        for price in gone:
            del self._bids[price]
        return [(price, ZERO) for price in gone]

    def _cut_asks(self, below: Decimal, *, inclusive: bool = False) -> list[Level]:
        find = bisect_right if inclusive else bisect_left
        gone = self._ask_prices[: find(self._ask_prices, below)]
        del self._ask_prices[: len(gone)]
        for price in gone:
            del self._asks[price]
        return [(price, ZERO) for price in gone]


def _put(
    levels: dict[Decimal, Decimal], prices: list[Decimal], price: Decimal, qty: Decimal
) -> None:
    if qty:
        if price not in levels:
            insort(prices, price)
        levels[price] = qty
    elif levels.pop(price, None) is not None:
        del prices[bisect_left(prices, price)]
