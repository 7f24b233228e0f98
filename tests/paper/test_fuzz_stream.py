"""Whatever is sent over a stream, it is answered or cut off, and the others notice nothing."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.paper import mischief
from tests.paper.conftest import START, Desk, WriteCandles, signed_auth
from tests.paper.visitor import sound
from tradewright.paper import PaperSettings

PATHS = (
    "private",
    "public/linear",
    "public/spot",
    "public/inverse",
    "public/option",
    "public/status",
)
GOOD_CLOSES = {1002, 1003, 1007, 1008, 1009}
FLAT = (50_000, 50_000, 50_000, 50_000)


@pytest.fixture
async def desk(
    make_settings: Callable[..., PaperSettings], write_candles: WriteCandles, tmp_path: Path
) -> AsyncIterator[Desk]:
    changes = {
        "market": write_candles(FLAT, FLAT, FLAT),
        "data_from": START + timedelta(minutes=1),
        "state": tmp_path / "paper.db",
        "ack_delay_ms": 0,
    }
    async with sound(make_settings(**changes)) as paper:
        desk = Desk(paper)
        yield desk
        await desk.close()


async def bystander(desk: Desk) -> ClientConnection:
    socket = await connect(f"{desk.paper.stream_url}/private", proxy=None)
    await socket.send(json.dumps(signed_auth()))
    await socket.recv()
    await socket.send('{"op": "subscribe", "args": ["order"]}')
    await socket.recv()
    return socket


async def tell(url: str, frames: list[str | bytes]) -> int:
    """Send frames; return the code that the connection was cut with, 0 if it was not."""
    async with connect(url, proxy=None, max_size=None, compression=None) as socket:
        try:
            for frame in frames:
                await socket.send(frame)
            await socket.send('{"op": "the end"}')
            while True:
                heard = json.loads(await asyncio.wait_for(socket.recv(), 10))
                assert isinstance(heard, dict)
                if heard.get("op") == "the end":
                    return 0
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@pytest.mark.parametrize("path", PATHS)
async def test_any_frames_are_answered_or_end_their_connection_alone(desk: Desk, path: str) -> None:
    url, chance = f"{desk.paper.stream_url}/{path}", random.Random(path)
    witness = await bystander(desk)

    ends = [await tell(url, [mischief.frame(chance) for _ in range(40)]) for _ in range(8)]

    assert {end for end in ends if end} <= GOOD_CLOSES
    await desk.buy()
    assert json.loads(await asyncio.wait_for(witness.recv(), 30))["topic"] == "order"
    await witness.close()


async def test_a_frame_beyond_measure_ends_its_connection(desk: Desk) -> None:
    for text in ("x" * (2**20 + 1), json.dumps({"op": "ping", "req_id": "x" * 2**21})):
        assert await tell(f"{desk.paper.stream_url}/public/linear", [text]) in (1006, 1009)


async def test_a_flood_of_subscriptions_is_cut_off(desk: Desk) -> None:
    topics = [f"kline.{i}.BTCUSDT" for i in (1, 3, 5, 15)]
    flood: list[str | bytes] = [
        json.dumps({"op": op, "args": topics})
        for _ in range(3000)
        for op in ("subscribe", "unsubscribe")
    ]

    end = await tell(f"{desk.paper.stream_url}/public/linear", flood)

    assert end in (0, 1006, 1008)
    assert (await desk.get("/v5/market/time"))["retCode"] == 0


async def test_bytes_that_are_no_frames_end_the_connection(desk: Desk) -> None:
    chance = random.Random(4)
    handshake = (
        b"GET /v5/public/linear HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    broken = (
        b"\x81\x05hello",
        b"\x83\x80abcd",
        b"\xf1\x80abcd",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x89\xfe\x01\x00" + b"a" * 300,
        b"\x88\x81abcdx",
        *(chance.randbytes(200) for _ in range(20)),
    )
    for garbage in broken:
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.paper.port)
        writer.write(handshake + garbage)
        writer.write_eof()
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 30)
            assert answer.startswith(b"HTTP/1.1 101")
        writer.close()

    assert (await desk.get("/v5/market/time"))["retCode"] == 0
    assert not desk.paper.exchange.feed.hub.connections


@pytest.mark.parametrize("path", ["", "/private/", "/public", "/public/linear/x", "/trade", "/%00"])
async def test_a_stream_that_is_not_there_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(desk.paper.stream_url + path, proxy=None):
            pass

    assert refusal.value.response.status_code in (403, 404)
