"""A paper exchange on written candles, and pybit as its unmodified client."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import InvalidRequestError
from pydantic import SecretStr
from structlog.testing import capture_logs
from structlog.typing import EventDict
from websockets.asyncio.client import ClientConnection, connect

from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.routes import ROUTES

KEY, SECRET = "paper-key", "paper-secret"
START = datetime(2022, 1, 1, tzinfo=UTC)

Row = tuple[float, float, float, float]
WriteCandles = Callable[..., Path]
Open = Callable[..., Awaitable["Desk"]]
Dial = Callable[..., Awaitable[ClientConnection]]


def signed_auth(*, age_ms: int = 0, key: str = KEY, secret: str = SECRET) -> dict[str, Any]:
    """Return the frame that opens a private stream."""
    expires = int(time.time() * 1000) + 5000 - age_ms
    sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256)
    return {"op": "auth", "args": [key, expires, sign.hexdigest()]}


async def eventually(is_so: Callable[[], object], timeout_s: float = 30) -> None:
    """Return when *is_so*, fail after *timeout_s*."""
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in other threads, too
            await asyncio.sleep(0.005)


class Stream:
    """What pybit's callbacks were given, with a way to wait for more."""

    def __init__(self, socket: pybit.WebSocket) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [m for m in list(self.messages) if m["topic"] == topic]

    def rows(self, topic: str) -> list[dict[str, Any]]:
        return [row for m in self.of(topic) for row in m["data"]]


class Desk:
    """A running exchange, seen from a client: pybit, its sockets, the control side."""

    def __init__(self, paper: PaperExchange, key: str = KEY, secret: str = SECRET) -> None:
        self.paper = paper
        self.http = pybit.HTTP(api_key=key, api_secret=secret, max_retries=1, retry_codes={-999999})
        self.http.endpoint = paper.http_url
        self._session = requests.Session()
        self._streams: list[Stream] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call pybit's *method* for linear contracts; return the result."""
        call = getattr(self.http, method)
        answer: dict[str, Any] = await asyncio.to_thread(call, category="linear", **params)
        return dict(answer["result"])

    async def ask(self, name: str, **params: Any) -> dict[str, Any]:
        """Return the whole answer to pybit's method *name*; a path where pybit has no method."""
        if not name.startswith("/"):
            return dict(await asyncio.to_thread(getattr(self.http, name), **params))
        method = next(m for m, path in ROUTES if path == name)
        request = {"method": method, "path": self.http.endpoint + name, "query": params}
        return dict(await asyncio.to_thread(self.http._submit_request, auth=True, **request))

    async def klines(self, interval: str = "1", **params: Any) -> list[list[str]]:
        result = await self.call("get_kline", symbol="BTCUSDT", interval=interval, **params)
        return list(result["list"])

    async def rows(self, method: str, **params: Any) -> list[dict[str, Any]]:
        return list((await self.call(method, **params))["list"])

    async def refusal(self, method: str, **params: Any) -> tuple[int, str]:
        with pytest.raises(InvalidRequestError) as failure:
            await self.call(method, **params)
        return failure.value.status_code, failure.value.message

    async def buy(self, qty: str = "0.1", **params: Any) -> dict[str, Any]:
        fields = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": qty}
        return await self.call("place_order", **fields | params)

    async def limit(self, price: str, **params: Any) -> dict[str, Any]:
        return await self.buy(orderType="Limit", price=price, **params)

    async def refused_buy(self, **params: Any) -> tuple[int, str]:
        fields = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1"}
        return await self.refusal("place_order", **fields | params)

    async def stop(self, **params: Any) -> None:
        await self.call("set_trading_stop", symbol="BTCUSDT", positionIdx=0, **params)

    async def refused_stop(self, **params: Any) -> tuple[int, str]:
        return await self.refusal("set_trading_stop", symbol="BTCUSDT", positionIdx=0, **params)

    async def executions(self) -> list[dict[str, Any]]:
        """Return them oldest first."""
        return (await self.rows("get_executions"))[::-1]

    async def wallet(self) -> dict[str, Any]:
        answer = await asyncio.to_thread(self.http.get_wallet_balance, accountType="UNIFIED")
        (row,) = answer["result"]["list"]
        return dict(row)

    async def position(self, symbol: str = "BTCUSDT") -> dict[str, Any]:
        (row,) = await self.rows("get_positions", symbol=symbol)
        return row

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        return await self.request("GET", path, params=params)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        return await self.request("POST", path, json=body)

    async def request(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(self.send, method, path, **parts)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def send(self, method: str, path: str, **parts: Any) -> requests.Response:
        return self._session.request(method, self.paper.http_url + path, timeout=30, **parts)

    async def step(self, count: int = 1) -> None:
        """Let *count* candles pass, up to the close of the last; the desk is the subscriber."""
        exchange = self.paper.exchange
        for _ in range(count):
            if exchange.progress.started:
                await self.post("/paper/done", name="desk", at_ms=exchange.clock.now_ms())
            else:
                await self.post("/paper/subscribers", name="desk", role="market")
                await self.post("/paper/start")
            await eventually(lambda: self.is_waiting or exchange.phase == "ended")

    @property
    def is_waiting(self) -> bool:
        return self.paper.exchange.barriers.waiting_for() == ["desk"]

    async def private(self) -> Stream:
        stream = await asyncio.to_thread(self._private)
        hub = self.paper.exchange.feed.hub
        await eventually(lambda: hub.topics >= {"order", "execution", "position", "wallet"})
        return stream

    async def public(self, *topics: tuple[str, tuple[Any, ...]]) -> Stream:
        """Subscribe with pybit's own methods: (name, arguments before the callback)."""
        stream = await asyncio.to_thread(self._public, topics)
        hub = self.paper.exchange.feed.hub
        await eventually(lambda: len(hub.topics) >= len(topics))
        return stream

    async def close(self) -> None:
        for stream in self._streams:
            await asyncio.to_thread(stream.socket.exit)
        self.http.client.close()
        self._session.close()

    def _private(self) -> Stream:
        pybit.PRIVATE_WSS = f"{self.paper.stream_url}/private"
        stream = Stream(
            pybit.WebSocket(channel_type="private", testnet=False, api_key=KEY, api_secret=SECRET)
        )
        self._streams.append(stream)
        for topic in ("order", "execution", "position", "wallet"):
            getattr(stream.socket, f"{topic}_stream")(stream.messages.append)
        return stream

    def _public(self, topics: tuple[tuple[str, tuple[Any, ...]], ...]) -> Stream:
        pybit.PUBLIC_WSS = f"{self.paper.stream_url}/public/{{CHANNEL_TYPE}}"
        stream = Stream(pybit.WebSocket(channel_type="linear", testnet=False))
        self._streams.append(stream)
        for name, arguments in topics:
            getattr(stream.socket, name)(*arguments, stream.messages.append)
        return stream


@pytest.fixture
def write_candles(tmp_path: Path) -> WriteCandles:
    """Write minute candles (open, high, low, close) to a file, as recordings are written."""

    def write(*rows: Row, start: datetime = START, skip: tuple[int, ...] = ()) -> Path:
        path = tmp_path / "candles.csv"
        lines = ["open_time,open,high,low,close,volume"]
        for minute, (first, high, low, close) in enumerate(rows):
            if minute not in skip:
                opened = start + timedelta(minutes=minute)
                lines.append(f"{opened:%Y-%m-%dT%H:%M:%SZ},{first},{high},{low},{close},10.5")
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def make_settings() -> Callable[..., PaperSettings]:
    def make(**changes: Any) -> PaperSettings:
        fields: dict[str, Any] = {
            "port": 0,
            "api_key": KEY,
            "api_secret": SecretStr(SECRET),
            "speed": "lockstep",
            "history": 60,
            "check_ledger": True,
        }
        return PaperSettings(**fields | changes)

    return make


@pytest.fixture
async def open_desk(make_settings: Callable[..., PaperSettings]) -> AsyncIterator[Open]:
    """Start exchanges with given settings and talk to them; all end with the test."""
    async with AsyncExitStack() as stack:

        async def open_one(**changes: Any) -> Desk:
            paper = await stack.enter_async_context(running(make_settings(**changes)))
            desk = Desk(paper)
            stack.push_async_callback(desk.close)
            return desk

        yield open_one


@pytest.fixture(autouse=True)
def _pybit_urls() -> Iterator[None]:
    before = pybit.PRIVATE_WSS, pybit.PUBLIC_WSS
    yield
    pybit.PRIVATE_WSS, pybit.PUBLIC_WSS = before


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with capture_logs() as captured:
        yield captured


FLAT: Row = (50_000, 50_000, 50_000, 50_000)


@pytest.fixture
async def desk(open_desk: Open, write_candles: WriteCandles) -> Desk:
    """An exchange at 50,000 whose next candle falls to 49,000 and comes back."""
    fall, calm = (50_000, 50_100, 49_000, 50_050), (50_050, 50_060, 50_040, 50_050)
    data = write_candles(FLAT, FLAT, fall, calm)
    return await open_desk(market=data, data_from=START + timedelta(minutes=1))


@pytest.fixture
async def quick(open_desk: Open) -> Desk:
    """An exchange that acknowledges at once."""
    return await open_desk(symbols=("BTCUSDT",), history=5, ack_delay_ms=0)


@pytest.fixture
async def dial(quick: Desk) -> AsyncIterator[Dial]:
    """Connect to a channel of that exchange by its path; all end with the test."""
    async with AsyncExitStack() as stack:

        async def to(channel: str, **options: Any) -> ClientConnection:
            url = f"{quick.paper.stream_url}/{channel}"
            socket = connect(url, proxy=None, close_timeout=1, **options)
            return await stack.enter_async_context(socket)

        yield to
