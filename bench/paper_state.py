"""What the state costs: time per order, memory and disk after many, reads among them, restart.

``python bench/paper_state.py [ORDERS] [TOGETHER]`` places market orders and limit orders that are
cancelled, *TOGETHER* of them at a time between waits for durability, in process, without HTTP.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import uvloop

from tradewright.domain.market import Side
from tradewright.matching import OrderChanged, OrderRequest, OrderType
from tradewright.paper import PaperSettings
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.query import BookingQuery, OrderQuery
from tradewright.paper.store import Store

BTC = "BTCUSDT"
MEGABYTE = 2**20


def trade(exchange: Exchange, number: int) -> None:
    """Buy or sell at the market, or place an order far from it and cancel it."""
    side = Side.BUY if number % 2 else Side.SELL
    is_market = number % 4 < 2
    far = Decimal("0.91") if side is Side.BUY else Decimal("1.09")
    tick = exchange.engine.markets[BTC].instrument.tick_size
    request = OrderRequest(
        symbol=BTC,
        side=side,
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        qty=Decimal("0.01"),
        price=Decimal(0) if is_market else (exchange.engine.last[BTC] * far).quantize(tick),
        link=f"bench-{number}",
    )
    events = exchange.change(lambda now: exchange.engine.place(MAIN, request, now))
    if not is_market:
        placed = next(e.order for e in events if isinstance(e, OrderChanged))
        exchange.change(lambda now: exchange.engine.cancel(MAIN, placed.order_id, now))


async def place(exchange: Exchange, orders: int, together: int) -> None:
    memory, clock = psutil.Process().memory_info, time.perf_counter
    first, spent, waits = memory().rss, 0.0, list[float]()
    for number in range(orders):
        began = clock()
        trade(exchange, number)
        changed = clock()
        spent += changed - began
        if number % together == together - 1:
            await exchange.durable()
            waits.append(clock() - changed)
        if number % (orders // 5) == orders // 5 - 1:
            grown = (memory().rss - first) / MEGABYTE
            print(f"{number + 1:9,} orders  memory +{grown:.0f} MB")
    await exchange.durable()
    waits.sort()
    per_order = 1e6 / orders
    print(f"engine and books {spent * per_order:6.0f} us per order")
    print(f"made durable     {sum(waits) * per_order:6.0f} us per order, {together} together")
    for share in (0.5, 0.95, 0.99):
        print(f"  p{share * 100:.0f} of a wait  {waits[int(len(waits) * share)] * 1e6:6.0f} us")


def read(exchange: Exchange, orders: int) -> None:
    view, link = exchange.view, f"bench-{orders // 2}"
    ((known,), _) = view.orders(MAIN, OrderQuery(link=link))
    reads: dict[str, Callable[[], object]] = {
        "newest orders": lambda: view.orders(MAIN, OrderQuery(limit=50)),
        "of one symbol": lambda: view.orders(MAIN, OrderQuery(symbols=frozenset({BTC}))),
        "by order id": lambda: view.orders(MAIN, OrderQuery(order_id=known.order_id)),
        "by order link": lambda: view.orders(MAIN, OrderQuery(link=link)),
        "newest executions": lambda: view.executions(MAIN, BookingQuery(limit=100)),
        "executions by link": lambda: view.executions(MAIN, BookingQuery(link=link)),
        "funding": lambda: view.executions(MAIN, BookingQuery(types=frozenset({"Funding"}))),
        "closed profit": lambda: view.closed(MAIN, BookingQuery(limit=100)),
    }
    for name, ask in reads.items():
        began = time.perf_counter()
        for _ in range(20):
            ask()
        print(f"read {name:20s} {(time.perf_counter() - began) * 50:6.2f} ms")


async def main(orders: int, together: int) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "paper.db"
        settings = PaperSettings(
            state=file, history=60, symbols=(BTC,), speed="lockstep", cash=Decimal(10**9)
        )
        with closing(Store(file)) as store:
            exchange = Exchange(settings, store)
            await place(exchange, orders, together)
            read(exchange, orders)
            exchange.close()
        print(f"on disk  {file.stat().st_size / MEGABYTE:6.0f} MB")
        began = time.perf_counter()
        with closing(Store(file)) as store:
            Exchange(settings, store).close()
        print(f"restart  {time.perf_counter() - began:6.1f} s")


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    uvloop.run(main(given[0] if given else 20_000, given[1] if len(given) > 1 else 1))
