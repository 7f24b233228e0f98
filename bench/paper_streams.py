"""How the paper exchange serves a book that many follow.

``python bench/paper_streams.py [CLIENTS] [SECONDS]`` starts an exchange whose book of 50 levels
changes 50 times a second, connects that many clients from this process, and prints how late they
are told, how much was lost (nothing must be), and how busy the exchange was.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

UPDATES_PER_S = 50
TOPIC = "orderbook.50.BTCUSDT"
EXCHANGE = """
import asyncio, random, sys, time
from datetime import UTC, datetime
from decimal import Decimal
import uvloop
from tradewright.paper import PaperSettings, running

def side(best, step, rng):
    sizes = [Decimal(rng.randint(1, 9999)) / 1000 for _ in range(60)]
    return [(Decimal(best + step * n) / 10, size) for n, size in enumerate(sizes)]

def changes(best, step, rng):
    prices = (Decimal(best + step * rng.randrange(60)) / 10 for _ in range(5))
    return [(price, Decimal(rng.choice([0, *range(1, 40)])) / 10) for price in prices]

async def main(per_s):
    rng = random.Random(7)
    settings = PaperSettings(port=0, symbols=("BTCUSDT",), history=60, speed=0.001)
    async with running(settings) as paper:
        exchange = paper.exchange
        now = datetime.now(UTC)
        exchange.engine.depth(
            "BTCUSDT", side(599_999, -1, rng), side(600_001, 1, rng), now, snapshot=True
        )
        exchange.feed.market("BTCUSDT")
        print(paper.port, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun, busy = time.monotonic(), time.process_time()
        number = 0
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        while not ended.done():
            number += 1
            bids, asks = changes(599_999, -1, rng), changes(600_001, 1, rng)
            exchange.engine.depth("BTCUSDT", bids, asks, now, snapshot=False)
            exchange.feed.market("BTCUSDT")
            await asyncio.sleep(max(0, begun + number / per_s - time.monotonic()))
        seconds = time.monotonic() - begun
        busy = time.process_time() - busy
        told = exchange.quotes["BTCUSDT"].update_ids["50"]
        print(number, told, f"{busy / seconds:.2f}", flush=True)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(float(sys.argv[1])))
"""


class Follower:
    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.u = 0
        self.gaps = 0

    async def follow(self, url: str, ready: asyncio.Semaphore) -> None:
        with suppress(ConnectionClosed):
            await self._follow(url, ready)

    async def _follow(self, url: str, ready: asyncio.Semaphore) -> None:
        async with connect(url, proxy=None, compression=None, max_size=None) as socket:
            await socket.send(json.dumps({"op": "subscribe", "args": [TOPIC]}))
            async for text in socket:
                message = json.loads(text)
                if message.get("topic") != TOPIC:
                    continue
                u = message["data"]["u"]
                if message["type"] == "snapshot":
                    ready.release()
                else:
                    self.late_ms.append(time.time() * 1000 - message["ts"])
                    self.gaps += u != self.u + 1
                self.u = u


async def main(clients: int, seconds: float) -> None:
    command = [sys.executable, "-c", EXCHANGE, str(UPDATES_PER_S)]
    with subprocess.Popen(  # noqa: ASYNC220 - it is started once, before the measure
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exchange:
        assert exchange.stdin is not None
        assert exchange.stdout is not None
        port = exchange.stdout.readline().strip()
        followers = [Follower() for _ in range(clients)]
        ready = asyncio.Semaphore(0)
        url = f"ws://127.0.0.1:{port}/v5/public/linear"
        tasks = [asyncio.create_task(f.follow(url, ready)) for f in followers]
        for _ in followers:
            await ready.acquire()
        exchange.stdin.write("begin\n")
        exchange.stdin.flush()
        await asyncio.sleep(seconds)
        exchange.stdin.write("end\n")
        exchange.stdin.flush()
        updates, told, busy = (await asyncio.to_thread(exchange.stdout.readline)).split()
        # What is on its way may still arrive
        await asyncio.wait(tasks, timeout=5)
    late = sorted(ms for f in followers for ms in f.late_ms)
    behind = int(told) - min(f.u for f in followers)
    print(f"clients          {clients}")
    print(f"book updates     {updates} ({int(updates) / seconds:.0f}/s)")
    print(f"messages         {len(late)} ({len(late) / seconds:.0f}/s)")
    print(
        f"late p50 p95 max {statistics.median(late):.1f} {late[len(late) * 95 // 100]:.1f} "
        f"{late[-1]:.1f} ms"
    )
    print(f"gaps, behind     {sum(f.gaps for f in followers)}, {behind}")
    print(f"exchange busy    {busy} of a core")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    asyncio.run(main(count, float(sys.argv[2]) if len(sys.argv) > 2 else 10))
