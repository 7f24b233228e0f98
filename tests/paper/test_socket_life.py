"""How connections fare: those that are idle, do not read, are dropped, or have faults."""

import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.paper.bare_socket import LINEAR, TRADES, ask, hear, hub_of, only
from tests.paper.conftest import Desk, Dial, Open, eventually
from tradewright.paper.stream.hub import Connection
from tradewright.paper.stream.socket import IDLE_S


async def rest_of(socket: ClientConnection) -> tuple[int, ConnectionClosed]:
    """Return how many messages there still were, and how it ended."""
    heard = 0
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 30)
            heard += 1
    except ConnectionClosed as end:
        return heard, end


@pytest.mark.parametrize(
    ("query", "idle_s"),
    [
        ("", IDLE_S),
        ("?max_active_time=45s", 45),
        ("?max_active_time=2m", 120),
        ("?max_active_time=1s", 30),
        ("?max_active_time=9999s", IDLE_S),
        ("?max_active_time=soon", IDLE_S),
        ("?max_active_time=", IDLE_S),
    ],
)
async def test_where_nothing_happens_for_long_is_cut(
    quick: Desk, dial: Dial, query: str, idle_s: float
) -> None:
    socket = await dial(LINEAR + query)
    await ask(socket, "ping")
    streams, active_s = quick.paper.door.streams, only(quick).active_s

    streams.cut_idle(active_s + idle_s - 0.001)
    assert (await ask(socket, "ping"))["ret_msg"] == "pong"
    streams.cut_idle(only(quick).active_s + idle_s)

    with pytest.raises(ConnectionClosed):
        await hear(socket)
    await eventually(lambda: not hub_of(quick).connections)


async def test_what_is_told_keeps_a_connection_alive(quick: Desk, dial: Dial) -> None:
    socket = await dial(LINEAR)
    await ask(socket, "subscribe", TRADES)
    before_s = only(quick).active_s

    hub_of(quick).publish(TRADES, {"topic": TRADES})
    quick.paper.door.streams.cut_idle(before_s + IDLE_S)

    assert (await hear(socket))["topic"] == TRADES
    assert (await ask(socket, "ping"))["ret_msg"] == "pong"


async def test_who_does_not_read_is_cut_and_the_others_are_told_all(
    open_desk: Open,
) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), history=5, ack_delay_ms=0, stream_backlog=2**20)
    hub, url = hub_of(desk), f"{desk.paper.stream_url}/public/linear"
    async with connect(url, proxy=None) as good, connect(url, proxy=None, max_queue=1) as bad:
        for socket in (good, bad):
            await ask(socket, "subscribe", TRADES)
        bad.transport.pause_reading()
        told = 0
        while len(hub.connections) == 2:
            assert told < 5000, "nobody was cut"
            hub.publish(TRADES, {"topic": TRADES, "number": told, "data": "x" * 50_000})
            told += 1
            assert (await hear(good))["number"] == told - 1

        bad.transport.resume_reading()
        heard, end = await rest_of(bad)

    assert end.rcvd is not None
    assert end.rcvd.code == 1008
    assert heard == told
    await eventually(lambda: not hub.connections)


async def test_faults_lose_double_and_hold_back_what_goes_out(quick: Desk, dial: Dial) -> None:
    hub = hub_of(quick)
    held: list[tuple[Connection, bytes]] = []

    def ruin(connection: Connection, topic: str, data: bytes) -> tuple[bytes, ...]:
        if topic != TRADES:
            return (data,)
        number = json.loads(data)["number"]
        if number == 1:
            return ()
        if number == 2:
            held.append((connection, data))
            return ()
        return (data, data)

    socket = await dial(LINEAR)
    await ask(socket, "subscribe", TRADES)
    hub.filter = ruin
    for number in (1, 2, 3):
        hub.publish(TRADES, {"number": number})
    for connection, data in held:
        connection.push(data)

    assert [(await hear(socket))["number"] for _ in range(3)] == [3, 3, 2]
    assert (await ask(socket, "ping"))["ret_msg"] == "pong"


async def test_a_connection_can_be_dropped_without_a_word(quick: Desk, dial: Dial) -> None:
    socket = await dial(LINEAR)
    await ask(socket, "subscribe", TRADES)

    only(quick).abort()

    with pytest.raises(ConnectionClosed) as end:
        await hear(socket)
    assert end.value.rcvd is None
    assert not hub_of(quick).wants(TRADES)
