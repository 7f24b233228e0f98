"""How fast recorded order books are read and replayed, beside the decoding of their lines.

``python bench/paper_book.py [RECORDING…]`` reads each recording as the exchange does (``Tape``),
lets its books and trades happen to the engine, and prints messages and price levels per second,
and their ratio to an anchor of the same run: decoding the JSON of the same lines.
"""

import asyncio
import gzip
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from tradewright.domain.market import Side
from tradewright.matching import Engine, OrderRequest, OrderType, Profile
from tradewright.paper.market.move import Beat, Depth, Move, Nowhere, Print
from tradewright.paper.market.move import Path as Way
from tradewright.paper.market.tape import Tape

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = Path("/work/shared/data")
RECORDINGS = [
    FOLDER / "bybit_xrpusdt_orderbook500_2024-12-01.jsonl.gz",
    FOLDER / "binance_btcusdt_depth_trades_2024-08-08.jsonl.gz",
]
LEAST_S = 3.0


async def moves_of(path: Path) -> list[Move]:
    items = [item async for item in Tape(path).play(0, Nowhere(), whole=True)]
    return [move for item in items if isinstance(item, Beat) for move in item.moves]


def engine_of(path: Path, *, orders: int) -> Engine:
    """Return an engine in which *orders* limit orders rest far from the market."""
    listings = Tape(path).listings
    engine = Engine([listing.market(1, None) for listing in listings.values()])
    engine.open_account(Profile("main", 1), Decimal(10) ** 12)
    for symbol, listing in listings.items():
        instrument = listing.instrument
        first = instrument.floor_price(listing.first_price)
        engine.begin(symbol, first)
        for number in range(orders):
            request = OrderRequest(
                symbol=symbol,
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                qty=instrument.floor_qty(20 / first) + instrument.min_qty,
                price=instrument.floor_price(first * Decimal("0.9"))
                - instrument.tick_size * number,
            )
            engine.place("main", request, NOW)
    return engine


def replay(engine: Engine, moves: list[Move]) -> None:
    for move in moves:
        match move:
            case Depth(symbol, bids, asks, snapshot):
                engine.depth(symbol, bids, asks, NOW, snapshot)
            case Print(symbol, side, price, qty):
                engine.trade(symbol, side, price, qty, NOW)
            case Way(symbol, prices):
                engine.glide(symbol, prices[-1], NOW)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long *work* takes when it is done again and again."""
    times, began = 0, time.perf_counter()
    while time.perf_counter() - began < LEAST_S:
        work()
        times += 1
    return (time.perf_counter() - began) / times


def measure(path: Path) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines()
    decode = msgspec.json.Decoder().decode
    moves = asyncio.run(moves_of(path))
    books = [m for m in moves if isinstance(m, Depth)]
    levels = sum(len(m.bids) + len(m.asks) for m in books)
    trades = sum(isinstance(m, Print) for m in moves)
    print(f"{path.name}: {len(books)} book updates of {levels} levels, {trades} trades")
    anchor = seconds_of(lambda: [decode(line[line.find(b"{") :]) for line in lines])
    empty, busy = engine_of(path, orders=0), engine_of(path, orders=490)
    for name, seconds in (
        ("anchor: lines decoded", anchor),
        ("read from the file", seconds_of(lambda: asyncio.run(moves_of(path)))),
        ("replayed, nothing rests", seconds_of(lambda: replay(empty, moves))),
        ("books alone, nothing rests", seconds_of(lambda: replay(empty, list(books)))),
        ("books alone, 490 orders rest", seconds_of(lambda: replay(busy, list(books)))),
    ):
        print(
            f"  {name:30} {len(books) / seconds:9,.0f} updates/s {levels / seconds:12,.0f} levels/s"
            f"  {seconds / anchor:5.1f} times the anchor"
        )


def main(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            measure(path)
        else:
            print(f"{path} is not on this machine; name recordings of your own")


if __name__ == "__main__":
    main([Path(a) for a in sys.argv[1:]] or RECORDINGS)
