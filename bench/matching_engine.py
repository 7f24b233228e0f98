"""How fast the matching engine is, in process and without a server.

``python bench/matching_engine.py`` prints orders per second (market, limit and cancel, with
nothing and with 500 orders resting) and book updates per second, and the ratio of each to an
anchor of the same run: adding up as many decimals.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from tradewright.domain.market import Instrument, Side
from tradewright.matching import Engine, Market, OrderRequest, OrderType, Profile

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BTC = Instrument(
    symbol="BTCUSDT",
    base_coin="BTC",
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    max_market_qty=Decimal(500),
    max_leverage=Decimal(100),
)
ORDERS = 10_000
UPDATES = 100_000


def engine() -> Engine:
    made = Engine([Market(BTC)])
    made.open_account(Profile("main", 1), Decimal(10) ** 9)
    made.play("BTCUSDT", [Decimal(60_000)], NOW)
    return made


def market(link: str, side: Side) -> OrderRequest:
    return OrderRequest(
        symbol="BTCUSDT",
        side=side,
        order_type=OrderType.MARKET,
        qty=Decimal("0.01"),
        link=link,
    )


def limit(link: str, price: int) -> OrderRequest:
    return OrderRequest(
        symbol="BTCUSDT",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        qty=Decimal("0.01"),
        price=Decimal(price),
        link=link,
    )


def trade(made: Engine, count: int) -> None:
    """Send *count* requests: two market orders, a limit order and its cancel, and again."""
    for n in range(0, count, 4):
        made.place("main", market(f"a{n}", Side.BUY), NOW)
        made.place("main", market(f"b{n}", Side.SELL), NOW)
        events = made.place("main", limit(f"c{n}", 59_000), NOW)
        order = getattr(events[0], "order")  # noqa: B009 - the first event is the order
        made.cancel("main", order.order_id, NOW)


def update(made: Engine, count: int) -> None:
    """Apply *count* deltas of ten levels each."""
    for n in range(count):
        base = 60_000 + n % 7
        bids = [(Decimal(base - i), Decimal(1 + (n + i) % 5)) for i in range(1, 6)]
        asks = [(Decimal(base + i), Decimal(1 + (n + i) % 3)) for i in range(10, 15)]
        made.depth("BTCUSDT", bids, asks, NOW, snapshot=n % 1000 == 0)


def rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def anchor() -> None:
    total = Decimal(0)
    for n in range(1_000_000):
        total += n


def main() -> None:
    per_second = rate(1_000_000, anchor)
    print(f"{'anchor: decimals added':34} {per_second:12,.0f} /s")
    fresh, full = engine(), engine()
    for n in range(490):
        full.place("main", limit(f"r{n}", 50_000 + n), NOW)
    for name, count, work in (
        ("requests, nothing rests", ORDERS, lambda: trade(fresh, ORDERS)),
        ("requests, 490 orders rest", ORDERS, lambda: trade(full, ORDERS)),
        ("book updates, 10 levels", UPDATES, lambda: update(engine(), UPDATES)),
    ):
        found = rate(count, work)
        print(f"{name:34} {found:12,.0f} /s   1 : {per_second / found:,.1f} of the anchor")


if __name__ == "__main__":
    main()
