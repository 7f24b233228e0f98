"""What the market of the paper exchange costs.

``python bench/paper_market.py [RECORDING]`` prints the CPU share of an exchange that nobody
watches, with all symbols, at speeds 1, 60 and 600, and how fast the messages of a recorded
order book are replayed: read and applied to the engine alone, and through the exchange.
"""

import asyncio
import sys
import time
from pathlib import Path

from tradewright.matching import Engine
from tradewright.paper import PaperSettings, running
from tradewright.paper.clock import moment
from tradewright.paper.market.move import Beat, Close, Depth, Nowhere, Print
from tradewright.paper.market.tape import Tape

SECONDS = 10


async def idle_share(speed: float) -> tuple[float, int]:
    """Return the CPU share and the minutes that the market has made in `SECONDS`."""
    async with running(PaperSettings(port=0, speed=speed)) as paper:
        await asyncio.sleep(2)
        cpu, wall, step = time.process_time(), time.perf_counter(), paper.exchange.progress.step
        await asyncio.sleep(SECONDS)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
        return share, paper.exchange.progress.step - step


async def read(tape: Tape) -> list[Beat | Close]:
    return [item async for item in tape.play(0, Nowhere(), whole=False)]


def apply(engine: Engine, items: list[Beat | Close]) -> tuple[int, int]:
    """Return how many messages and levels were applied."""
    messages = levels = 0
    for item in items:
        if not isinstance(item, Beat):
            continue
        now = moment(item.at_ms)
        for move in item.moves:
            messages += 1
            if isinstance(move, Depth):
                levels += len(move.bids) + len(move.asks)
                engine.depth(move.symbol, move.bids, move.asks, now, move.snapshot)
            elif isinstance(move, Print):
                engine.trade(move.symbol, move.side, move.price, move.qty, now)
    return messages, levels


async def through_exchange(path: Path) -> float:
    async with running(PaperSettings(port=0, market=path, speed=1e6)) as paper:
        began = time.process_time()
        while paper.exchange.phase != "ended":  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.02)
        return time.process_time() - began


def replay(path: Path) -> None:
    tape = Tape(path)
    began = time.process_time()
    items = asyncio.run(read(tape))
    reading = time.process_time() - began
    engine = Engine([listing.market() for listing in tape.listings.values()])
    began = time.process_time()
    messages, levels = apply(engine, items)
    applying = time.process_time() - began
    whole = asyncio.run(through_exchange(path))
    print(f"{messages} messages, {levels} levels")
    for what, seconds in (("read", reading), ("applied", applying), ("exchange", whole)):
        print(
            f"{what:9} {messages / seconds:>9,.0f} messages/s {levels / seconds:>11,.0f} levels/s"
        )


def main() -> None:
    for speed in (1.0, 60.0, 600.0):
        share, minutes = asyncio.run(idle_share(speed))
        print(f"speed {speed:>4g}: {share:6.1%} of a core, {minutes} minutes in {SECONDS} s")
    for name in sys.argv[1:]:
        replay(Path(name))


if __name__ == "__main__":
    main()
