"""The streams' protocol, by bare frames: channels, answers, limits and those who do not read."""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from tests.paper.conftest import KEY, SECRET, Desk, Open, eventually, signed_auth
from tradewright.paper.keys import ApiKey
from tradewright.paper.stream.hub import Connection, Hub, framed
from tradewright.paper.stream.socket import IDLE_S

Dial = Callable[..., Any]
TRADES = "publicTrade.BTCUSDT"


async def hear(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(socket.recv(), 30)))


async def ask(socket: ClientConnection, op: str, *args: Any, **more: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"op": op, "args": args} | more))
    return await hear(socket)


async def rest_of(socket: ClientConnection) -> tuple[int, ConnectionClosed]:
    """Return how many messages there still were, and how it ended."""
    heard = 0
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 30)
            heard += 1
    except ConnectionClosed as end:
        return heard, end


def auth_of(key: str, secret: str) -> dict[str, Any]:
    expires = str(int(time.time() * 1000) + 10_000)
    sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256)
    return {"op": "auth", "args": [key, expires, sign.hexdigest()]}


def hub_of(desk: Desk) -> Hub:
    hub: Hub = desk.paper.exchange.feed.hub
    return hub


def only(desk: Desk) -> Connection:
    (connection,) = hub_of(desk).connections
    return connection


@pytest.fixture
async def quick(open_desk: Open) -> Desk:
    """An exchange that acknowledges at once."""
    return await open_desk(symbols=("BTCUSDT",), history=5, ack_delay_ms=0)


@pytest.fixture
async def dial(quick: Desk) -> AsyncIterator[Dial]:
    async with AsyncExitStack() as stack:

        async def to(channel: str, **options: Any) -> ClientConnection:
            url = f"{quick.paper.stream_url}/{channel}"
            socket = connect(url, proxy=None, close_timeout=1, **options)
            return await stack.enter_async_context(socket)

        yield to


PRIVATE, LINEAR, SPOT, OPTION = "private", "public/linear", "public/spot", "public/option"


async def test_each_channel_has_a_pong_of_its_own(dial: Dial) -> None:
    def without_ids(pong: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in pong.items() if k not in ("conn_id", "args")}

    pongs = {c: await ask(await dial(c), "ping") for c in (PRIVATE, LINEAR, SPOT, OPTION)}

    assert without_ids(pongs[LINEAR]) == {
        "success": True,
        "ret_msg": "pong",
        "req_id": "",
        "op": "ping",
    }
    assert without_ids(pongs[SPOT]) == {"success": True, "ret_msg": "pong", "op": "ping"}
    assert without_ids(pongs[PRIVATE]) == {"req_id": "", "op": "pong"}
    assert pongs[OPTION].keys() == {"args", "op"}
    for channel in (PRIVATE, OPTION):
        assert abs(int(pongs[channel]["args"][0]) - time.time() * 1000) < 5000


async def test_each_channel_acknowledges_in_its_own_way(dial: Dial) -> None:
    linear = await ask(await dial(LINEAR), "subscribe", TRADES, req_id=7)
    spot = await ask(await dial(SPOT), "subscribe", TRADES, req_id="s")
    option = await ask(await dial(OPTION), "subscribe", "tickers.BTC-1JAN27-50000-C")

    assert (linear["success"], linear["ret_msg"], linear["req_id"]) == (True, "", 7)
    assert (spot["success"], spot["ret_msg"], spot["req_id"]) == (True, "subscribe", "s")
    assert option["type"] == "COMMAND_RESP"
    assert option["data"] == {"failTopics": [], "successTopics": ["tickers.BTC-1JAN27-50000-C"]}


async def test_the_name_of_a_connection_stays(dial: Dial) -> None:
    one, other = await dial(LINEAR), await dial(LINEAR)

    names = [(await ask(socket, "ping"))["conn_id"] for socket in (one, one, other)]

    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("channel", [SPOT, "public/inverse"])
async def test_a_category_without_a_market_is_silent(quick: Desk, dial: Dial, channel: str) -> None:
    socket = await dial(channel)

    assert (await ask(socket, "subscribe", TRADES, "orderbook.50.BTCUSDT"))["success"]
    hub_of(quick).publish(TRADES, {"topic": TRADES})
    assert (await ask(socket, "ping"))["ret_msg"] == "pong"
    assert (await ask(socket, "unsubscribe", TRADES))["success"]
    assert (await ask(socket, "subscribe", TRADES))["success"]


@pytest.mark.parametrize("path", ["public/misc/status", "public/status"])
async def test_the_status_channel_tells_of_the_system(quick: Desk, dial: Dial, path: str) -> None:
    socket = await dial(path)

    assert not (await ask(socket, "subscribe", TRADES))["success"]
    assert (await ask(socket, "subscribe", "system.status"))["success"]
    hub_of(quick).publish("system.status", {"topic": "system.status", "data": []})
    assert (await hear(socket))["topic"] == "system.status"


async def test_a_channel_that_is_not_there_is_refused(dial: Dial) -> None:
    for path in ("trade", "public/nothing"):
        with pytest.raises(InvalidStatus, match="404"):
            await dial(path)


async def test_what_is_subscribed_twice_refuses_the_whole_request(dial: Dial) -> None:
    socket = await dial(LINEAR)
    await ask(socket, "subscribe", TRADES)

    again = await ask(socket, "subscribe", "kline.1.BTCUSDT", TRADES)
    twice = await ask(socket, "subscribe", "kline.5.BTCUSDT", "kline.5.BTCUSDT")

    assert (again["success"], again["ret_msg"]) == (
        False,
        f"error:already subscribed,topic:{TRADES}",
    )
    assert twice["ret_msg"] == "error:already subscribed,topic:kline.5.BTCUSDT"
    assert (await ask(socket, "subscribe", "kline.1.BTCUSDT"))["success"]


async def test_what_is_unsubscribed_is_not_told_and_may_be_subscribed_again(
    quick: Desk, dial: Dial
) -> None:
    socket = await dial(LINEAR)
    await ask(socket, "subscribe", TRADES)

    ack = await ask(socket, "unsubscribe", TRADES, req_id="u")
    hub_of(quick).publish(TRADES, {"topic": TRADES})

    assert {k: ack[k] for k in ("success", "ret_msg", "op", "req_id")} == {
        "success": True,
        "ret_msg": "",
        "op": "unsubscribe",
        "req_id": "u",
    }
    assert (await ask(socket, "ping"))["ret_msg"] == "pong"
    assert (await ask(socket, "subscribe", TRADES))["success"]


async def test_spot_takes_ten_topics_at_once_and_futures_any_number(
    quick: Desk, dial: Dial
) -> None:
    topics = [f"kline.{i}.BTCUSDT" for i in ("1", "3", "5", "15", "30", "60", "120", "240")]
    topics += ["kline.D.BTCUSDT", "kline.W.BTCUSDT", TRADES]

    spot = await ask(await dial(SPOT), "subscribe", *topics)

    assert (spot["success"], spot["ret_msg"]) == (False, "args size >10")
    assert (await ask(await dial(LINEAR), "subscribe", *topics))["success"]


async def test_the_names_of_all_topics_of_a_connection_have_a_limit(dial: Dial) -> None:
    socket = await dial("public/inverse")
    topics = [f"tickers.{n:0100}" for n in range(240)]

    assert (await ask(socket, "subscribe", *topics[:120]))["success"]
    refused = await ask(socket, "subscribe", *topics[120:])

    assert (refused["success"], refused["ret_msg"]) == (False, "args length >21000")


async def test_topics_of_one_category_and_of_all_do_not_mix(dial: Dial) -> None:
    socket = await dial(PRIVATE)
    await socket.send(json.dumps(signed_auth()))
    await hear(socket)

    assert not (await ask(socket, "subscribe", "order", "position.linear"))["success"]
    assert (await ask(socket, "subscribe", "order.linear", "order.spot", "wallet"))["success"]
    assert (await ask(socket, "subscribe", "execution", "execution.fast", "greeks"))["success"]


@pytest.mark.parametrize("topic", ["orders", "order.nothing", "wallet.linear", "", TRADES])
async def test_a_private_topic_that_is_not_there_is_refused(dial: Dial, topic: str) -> None:
    socket = await dial(PRIVATE)
    await socket.send(json.dumps(signed_auth()))
    await hear(socket)

    ack = await ask(socket, "subscribe", topic)

    assert ack["ret_msg"] == f"error:handler not found,topic:{topic}"


async def test_expiry_may_be_written_as_text(dial: Dial) -> None:
    socket = await dial(PRIVATE)

    await socket.send(json.dumps(auth_of(KEY, SECRET)))

    assert await hear(socket) | {"conn_id": ""} == {
        "success": True,
        "ret_msg": "",
        "op": "auth",
        "conn_id": "",
    }


@pytest.mark.parametrize(
    "args",
    [
        [],
        [KEY],
        [KEY, None, "x"],
        [KEY, True, "x"],
        [KEY, "9" * 5000, "x"],
        [KEY, 1, "x"],
        [[KEY], {}, []],
        ["nobody", 99999999999999, "x"],
        [KEY, 99999999999999, "ä"],
    ],
)
async def test_an_opening_that_is_wrong_is_refused_and_may_be_tried_again(
    dial: Dial, args: list[Any]
) -> None:
    socket = await dial(PRIVATE)

    refused = await ask(socket, "auth", *args)
    await socket.send(json.dumps(signed_auth()))

    assert (refused["success"], refused["op"]) == (False, "auth")
    assert refused["ret_msg"]
    assert (await hear(socket))["success"]


async def test_who_has_opened_it_cannot_become_another(quick: Desk, dial: Dial) -> None:
    quick.paper.door.ring.add(ApiKey("other", "secret", account="other", uid=2))
    socket = await dial(PRIVATE)
    await socket.send(json.dumps(signed_auth()))
    await hear(socket)

    await socket.send(json.dumps(auth_of("other", "secret")))

    assert (await hear(socket))["ret_msg"] == "Repeat auth"
    assert only(quick).account == "main"


async def test_each_account_is_told_its_own_and_nothing_else(quick: Desk, dial: Dial) -> None:
    quick.paper.door.ring.add(ApiKey("other", "secret", account="other", uid=2))
    sockets = {}
    for account, key, secret in (("main", KEY, SECRET), ("other", "other", "secret")):
        sockets[account] = await dial(PRIVATE)
        await sockets[account].send(json.dumps(auth_of(key, secret)))
        await hear(sockets[account])
        await ask(sockets[account], "subscribe", "order")

    for account in sockets:
        hub_of(quick).publish("order", {"topic": "order", "data": [account]}, account)

    for account, socket in sockets.items():
        assert (await hear(socket))["data"] == [account]
        assert (await ask(socket, "ping"))["op"] == "pong"


async def test_a_public_channel_is_not_opened_by_a_key(dial: Dial) -> None:
    socket = await dial(LINEAR)
    await socket.send(json.dumps(signed_auth()))

    assert not (await hear(socket))["success"]


async def test_a_burst_of_subscriptions_waits_once_and_keeps_its_order(open_desk: Open) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), history=5, ack_delay_ms=100)
    url = f"{desk.paper.stream_url}/public/inverse"
    async with connect(url, proxy=None) as socket, connect(url, proxy=None) as other:
        begun = time.monotonic()
        for number in range(20):
            topic = f"kline.1.X{number}"
            await socket.send(json.dumps({"op": "subscribe", "req_id": number, "args": [topic]}))
        await socket.send('{"op": "ping", "req_id": "last"}')

        assert (await ask(other, "ping"))["ret_msg"] == "pong"
        assert time.monotonic() - begun < 0.1
        answers = [(await hear(socket))["req_id"] for _ in range(21)]

    assert answers == [*range(20), "last"]
    assert 0.1 <= time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"ping"',
        "{}",
        b"\xff\x00",
        '{"op": 1}',
        '{"op": {}}',
        '{"op": "nothing"}',
        '{"op": "subscribe"}',
        '{"op": "subscribe", "args": "order"}',
        '{"op": "subscribe", "args": [1]}',
        '{"op": "unsubscribe", "args": [{}]}',
        '{"args":' + "[" * 5000,
        '{"op": "ping", "req_id": {"a": []}, "args": 5}',
    ],
)
async def test_every_frame_is_answered_and_none_ends_the_connection(
    dial: Dial, text: str | bytes
) -> None:
    for channel in (PRIVATE, LINEAR, SPOT, OPTION):
        socket = await dial(channel)

        await socket.send(text)

        assert isinstance(await hear(socket), dict)
        assert (await ask(socket, "ping"))["op"] in ("ping", "pong")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
TOPIC = st.from_regex(r"\A(orderbook|kline|tickers|publicTrade|order)\.[0-9D]{1,4}\.\w{0,8}\Z")
FRAME = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["subscribe", "unsubscribe", "auth", "ping"]) | JSON,
        "args": st.lists(TOPIC | st.just(TRADES) | JSON, max_size=4) | JSON,
        "req_id": JSON,
    },
)


async def test_no_frame_whatever_harms_a_connection(
    quick: Desk, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = [await dial(channel) for channel in (PRIVATE, LINEAR, SPOT, OPTION)]
    await sockets[0].send(json.dumps(signed_auth()))
    frames: list[str | bytes] = []

    @settings(
        max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(FRAME.map(json.dumps) | st.binary(max_size=50) | st.text(max_size=50))
    def collect(frame: str | bytes) -> None:
        frames.append(frame)

    collect()
    for socket in sockets:
        for frame in frames:
            await socket.send(frame)
        await socket.send('{"op": "ping", "req_id": "the end"}')
        heard: dict[str, Any] = {}
        while heard.get("req_id") != "the end" and heard.keys() != {"args", "op"}:
            heard = await hear(socket)

    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(hub_of(quick).connections) == len(sockets)


async def test_compression_may_be_offered(quick: Desk, dial: Dial) -> None:
    socket = await dial(LINEAR, compression="deflate")

    await ask(socket, "subscribe", TRADES)
    hub_of(quick).publish(TRADES, {"topic": TRADES, "data": "x" * 5000})

    assert [e.name for e in socket.protocol.extensions] == ["permessage-deflate"]
    assert (await hear(socket))["data"] == "x" * 5000


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


async def test_a_ping_of_the_protocol_is_answered(dial: Dial) -> None:
    socket = await dial(PRIVATE)

    pong = await socket.ping()

    assert await asyncio.wait_for(pong, 30) >= 0


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_frame_is_written_as_the_protocol_has_it(size: int) -> None:
    data = b"x" * size

    assert framed(data) == Frame(Opcode.TEXT, data).serialize(mask=False)
