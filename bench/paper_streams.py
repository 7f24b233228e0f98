"""How the paper exchange serves a book that many follow.

``python bench/paper_streams.py [CLIENTS] [SECONDS]`` starts an exchange whose book of 50 levels
changes 50 times a second, connects that many clients from this process, and prints how late they
are told, whether that grows, how much was lost (nothing must be), and how busy the exchange was;
then the same of a bare uvicorn that sends as many messages of the same size.
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
ANCHOR = """
import asyncio, json, socket, sys, time
import uvicorn

sends, topic, pad = [], sys.argv[3], "x" * int(sys.argv[2])

def message(kind, u):
    told = {"topic": topic, "type": kind, "ts": time.time_ns() // 10**6, "data": {"u": u}}
    return json.dumps(told | {"pad": pad})

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": message("snapshot", 0)})
    sends.append(send)
    while (await receive())["type"] != "websocket.disconnect":
        pass

async def main(per_s):
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    config = uvicorn.Config(
        app, ws="websockets-sansio", lifespan="off", log_level="error", ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    begun, busy, number = time.monotonic(), time.process_time(), 0
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    while not ended.done():
        number += 1
        text = message("delta", number)
        for send in sends:
            await send({"type": "websocket.send", "text": text})
        await asyncio.sleep(max(0, begun + number / per_s - time.monotonic()))
    seconds = time.monotonic() - begun
    print(number, number, f"{(time.process_time() - busy) / seconds:.2f}", flush=True)
    server.should_exit = True
    await serving

asyncio.run(main(float(sys.argv[1])))
"""


class Follower:
    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.u = 0
        self.gaps = 0
        self.bytes = 0

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
                    self.bytes += len(text)
                self.u = u


async def follow(clients: int, seconds: float, *program: str) -> list[Follower]:
    """Follow what *program* serves, and print how it went."""
    command = [sys.executable, "-c", program[0], str(UPDATES_PER_S), *program[1:]]
    with subprocess.Popen(  # noqa: ASYNC220 - it is started once, before the measure
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        followers = [Follower() for _ in range(clients)]
        ready = asyncio.Semaphore(0)
        url = f"ws://127.0.0.1:{port}/v5/public/linear"
        tasks = [asyncio.create_task(f.follow(url, ready)) for f in followers]
        for _ in followers:
            await ready.acquire()
        server.stdin.write("begin\n")
        server.stdin.flush()
        await asyncio.sleep(seconds)
        server.stdin.write("end\n")
        server.stdin.flush()
        updates, told, busy = (await asyncio.to_thread(server.stdout.readline)).split()
        # What is on its way may still arrive
        await asyncio.wait(tasks, timeout=5)
    late = sorted(ms for f in followers for ms in f.late_ms)
    behind = int(told) - min(f.u for f in followers)
    cut = min(len(f.late_ms) for f in followers) // 4
    first, last = (
        statistics.median(ms for f in followers for ms in f.late_ms[part])
        for part in (slice(cut), slice(-cut, None))
    )
    print(f"  clients, updates   {clients}, {updates} ({int(updates) / seconds:.0f}/s)")
    print(f"  messages           {len(late)} ({len(late) / seconds:.0f}/s)")
    print(
        f"  late p50 p95 p99   {statistics.median(late):.1f} {late[len(late) * 95 // 100]:.1f} "
        f"{late[len(late) * 99 // 100]:.1f} ms, at most {late[-1]:.1f}"
    )
    print(f"  first, last 25 %   {first:.1f}, {last:.1f} ms")
    print(f"  gaps, behind       {sum(f.gaps for f in followers)}, {behind}")
    print(f"  server busy        {busy} of a core")
    return followers


async def main(clients: int, seconds: float) -> None:
    print("paper exchange")
    followers = await follow(clients, seconds, EXCHANGE)
    size = sum(f.bytes for f in followers) // sum(len(f.late_ms) for f in followers)
    print(f"bare uvicorn, messages of {size} bytes")
    await follow(clients, seconds, ANCHOR, str(max(size - 90, 0)), TOPIC)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    asyncio.run(main(count, float(sys.argv[2]) if len(sys.argv) > 2 else 10))
