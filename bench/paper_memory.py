"""What the paper exchange keeps in memory, however many orders it has seen.

``python bench/paper_memory.py [ORDERS] [TOGETHER]`` places market orders, limit orders that are
cancelled and limit orders that are filled, *TOGETHER* of them between waits for durability, in
process and without HTTP, and prints memory and orders per second after each tenth.
"""

import gc
import sys
import time
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
from tradewright.paper.store import Store

BTC = "BTCUSDT"
MEGABYTE = 2**20
PARTS = 10
# As shares of the last price: at the market, across the book, far from it
PRICES = (None, None, (Decimal("1.01"), Decimal("0.99")), (Decimal("0.91"), Decimal("1.09")))


def trade(exchange: Exchange, number: int) -> None:
    """Buy, and sell as much again; every fourth pair rests and is cancelled."""
    side = Side.BUY if number % 2 else Side.SELL
    shares = PRICES[number // 2 % 4]
    price = Decimal(0)
    if shares is not None:
        tick = exchange.engine.markets[BTC].instrument.tick_size
        wish = exchange.engine.last[BTC] * shares[side is Side.SELL]
        price = wish // tick * tick
    request = OrderRequest(
        symbol=BTC,
        side=side,
        order_type=OrderType.LIMIT if price else OrderType.MARKET,
        qty=Decimal("0.01"),
        price=price,
        link=f"bench-{number}",
    )
    events = exchange.change(lambda now: exchange.engine.place(MAIN, request, now))
    placed = [e.order for e in events if isinstance(e, OrderChanged)][-1]
    if placed.is_open:
        exchange.change(lambda now: exchange.engine.cancel(MAIN, placed.order_id, now))


async def place(exchange: Exchange, orders: int, together: int) -> None:
    process = psutil.Process()
    part = orders // PARTS
    grown: list[float] = []

    def held() -> float:
        gc.collect()
        return float(process.memory_info().rss) / MEGABYTE

    before = first = held()
    print(f"{0:4} %  {first:6.0f} MB")
    began = time.perf_counter()
    for number in range(part * PARTS):
        trade(exchange, number)
        if number % together == together - 1:
            await exchange.durable()
        if number % part == part - 1:
            await exchange.durable()
            rate = part / (time.perf_counter() - began)
            now = held()
            print(f"{(number + 1) * 100 // orders:4} %  {now:6.0f} MB  {rate:6.0f} orders/s")
            grown.append(now - before)
            before, began = now, time.perf_counter()
    print(f"grown by {before - first:.1f} MB, of which {grown[-1]:.1f} MB in the last tenth")
    print(f"that is {grown[-1] * MEGABYTE / part:.0f} bytes per order")


async def main(orders: int, together: int) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "paper.db"
        settings = PaperSettings(
            state=file, history=60, symbols=(BTC,), speed="lockstep", cash=Decimal(10**9)
        )
        with closing(Store(file)) as store:
            exchange = Exchange(settings, store)
            await place(exchange, orders, together)
            exchange.close()
        print(f"on disk  {file.stat().st_size / MEGABYTE:.0f} MB")


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    uvloop.run(main(given[0] if given else 1_000_000, given[1] if len(given) > 1 else 8))
