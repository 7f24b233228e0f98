"""How fast the paper exchange takes orders over HTTP, beside echoes on the same server.

``python bench/paper_orders.py [ORDERS]`` starts the exchange (state on disk, a private stream
attached), an echo of the same uvicorn, and one of JSON that goes through Starlette, as the control
side does. It sends all three the same signed requests from this process, and prints orders per
second and the round trip of one order as ratios to those of the echoes.
"""

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.asyncio.client import connect

KEY, SECRET = "bench-key", "bench-secret"
CONNECTIONS = 8
ROUND_TRIPS = 1500
EXCHANGE = """
import sys
from pathlib import Path
from tradewright.paper import PaperSettings, serve
settings = PaperSettings(
    port=0, state=Path(sys.argv[1]), symbols=("BTCUSDT",), history=60, rate_limits="off",
    cash=10**9,
)
sys.exit(serve(settings, lambda exchange: print(exchange.port, flush=True)))
"""
_BARE = """
async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
_STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def echo(request):
    return JSONResponse(await request.json())
app = Starlette(routes=[Route("/v5/order/create", echo, methods=["POST"])])
"""
_SERVED = """
import socket, uvicorn
listener = socket.socket(); listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", 0)); listener.listen(1024)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
"""
ECHOES = {"echo, bare": _BARE + _SERVED, "echo, Starlette": _STARLETTE + _SERVED}


def signed(path: str, body: bytes) -> bytes:
    """Return the whole request, as it stands on the wire."""
    stamp = str(int(time.time() * 1000))
    plain = f"{stamp}{KEY}5000".encode() + body
    sign = hmac.new(SECRET.encode(), plain, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-BAPI-API-KEY: {KEY}\r\nX-BAPI-TIMESTAMP: {stamp}\r\nX-BAPI-SIGN: {sign}\r\n"
        f"X-BAPI-RECV-WINDOW: 5000\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def order(number: int) -> bytes:
    """Return a market order; sides alternate, so that nothing piles up."""
    side = "Buy" if number % 2 else "Sell"
    wish = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": side,
        "orderType": "Market",
        "qty": "0.01",
        "orderLinkId": f"bench-{number}",
    }
    return json.dumps(wish).encode()


class Line:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Line":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        return await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


def accepted(answer: bytes) -> None:
    if b'"retCode":0' not in answer:
        raise SystemExit(f"an order was refused: {answer.decode()}")


def answered(answer: bytes) -> None:
    if b'"orderLinkId"' not in answer:
        raise SystemExit(f"an echo did not come back: {answer.decode()}")


async def round_trips(port: int, first: int, check: Callable[[bytes], None]) -> list[float]:
    """Return how long single requests took, one after the other, in milliseconds."""
    line = await Line.to(port)
    took = []
    for number in range(first, first + ROUND_TRIPS):
        request = signed("/v5/order/create", order(number))
        began = time.perf_counter()
        check(await line.send(request))
        took.append((time.perf_counter() - began) * 1000)
    line.close()
    return took[100:]


async def rate(port: int, first: int, count: int, check: Callable[[bytes], None]) -> float:
    """Return requests per second over several connections at once."""
    numbers = iter(range(first, first + count))
    lines = [await Line.to(port) for _ in range(CONNECTIONS)]

    async def work(line: Line) -> None:
        for number in numbers:
            check(await line.send(signed("/v5/order/create", order(number))))

    began = time.perf_counter()
    await asyncio.gather(*(work(line) for line in lines))
    took = time.perf_counter() - began
    for line in lines:
        line.close()
    return count / took


async def listen(port: int, seen: list[int]) -> None:
    """Follow orders and executions, as every bot does."""
    async with connect(f"ws://127.0.0.1:{port}/v5/private", proxy=None) as stream:
        expires = int(time.time() * 1000) + 60_000
        sign = hmac.new(SECRET.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256)
        await stream.send(json.dumps({"op": "auth", "args": [KEY, expires, sign.hexdigest()]}))
        topics = ["order", "execution", "position", "wallet"]
        await stream.send(json.dumps({"op": "subscribe", "args": topics}))
        async for _ in stream:
            seen[0] += 1


def percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=20)
    return statistics.median(times), cuts[18]


async def main(orders: int) -> None:
    keys = {"TRADEWRIGHT_PAPER_API_KEY": KEY, "TRADEWRIGHT_PAPER_API_SECRET": SECRET}
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())

        def started(*arguments: str) -> int:
            process = subprocess.Popen(
                [sys.executable, "-c", *arguments],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | keys,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            if process.stdout is None or not (told := process.stdout.readline()):
                raise SystemExit("a server did not start")
            return int(told)

        echoes = {name: started(source) for name, source in ECHOES.items()}
        exchange = started(EXCHANGE, str(Path(folder) / "paper.db"))
        seen = [0]
        listening = asyncio.create_task(listen(exchange, seen))
        await asyncio.sleep(0.5)
        anchors = [percentiles(await round_trips(echo, 0, answered)) for echo in echoes.values()]
        took = percentiles(await round_trips(exchange, 0, accepted))
        echo_rates = [await rate(echo, 0, orders, answered) for echo in echoes.values()]
        order_rate = await rate(exchange, ROUND_TRIPS, orders, accepted)
        listening.cancel()
    for name, anchor, echo_rate in zip(echoes, anchors, echo_rates, strict=True):
        print(f"{name:15} {shown(anchor)}  {echo_rate:6.0f} /s")
    print(f"order/create    {shown(took)}  {order_rate:6.0f} /s  ({seen[0]} stream messages)")
    for name, anchor, echo_rate in zip(echoes, anchors, echo_rates, strict=True):
        print(
            f"to {name:15} p50 {took[0] / anchor[0]:5.2f}  p95 {took[1] / anchor[1]:5.2f}  "
            f"rate {echo_rate / order_rate:5.2f}"
        )


def shown(took: tuple[float, float]) -> str:
    return f"p50 {took[0]:.3f} ms  p95 {took[1]:.3f} ms"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
