"""The streams' protocol, by bare frames: channels, answers and limits."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from tests.paper.bare_socket import LINEAR, OPTION, PRIVATE, SPOT, TRADES, ask, hear, hub_of
from tests.paper.conftest import Desk, Dial, Open, signed_auth
from tradewright.paper.stream.hub import framed


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


async def test_a_ping_of_the_protocol_is_answered(dial: Dial) -> None:
    socket = await dial(PRIVATE)

    pong = await socket.ping()

    assert await asyncio.wait_for(pong, 30) >= 0


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_frame_is_written_as_the_protocol_has_it(size: int) -> None:
    data = b"x" * size

    assert framed(data) == Frame(Opcode.TEXT, data).serialize(mask=False)
