"""Faults of streams, over the wire: lost, late, doubled, silent, cut."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from structlog.typing import EventDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.paper.conftest import Desk, eventually, signed_auth
from tests.paper.fault import LINK, put, struck

TOPICS = ["order", "execution", "position", "wallet"]
Message = dict[str, Any]


@pytest.fixture
async def private(desk: Desk) -> AsyncIterator[ClientConnection]:
    async with connect(f"{desk.paper.stream_url}/private", proxy=None) as socket:
        await open_private(socket)
        yield socket
        # One that a fault reset cannot say goodbye
        with suppress(ConnectionClosed, OSError):
            await socket.close()


@pytest.fixture
async def public(desk: Desk) -> AsyncIterator[ClientConnection]:
    async with connect(f"{desk.paper.stream_url}/public/linear", proxy=None) as socket:
        await say(socket, {"op": "subscribe", "args": ["publicTrade.BTCUSDT", "kline.1.BTCUSDT"]})
        yield socket


async def open_private(socket: ClientConnection) -> None:
    assert (await say(socket, signed_auth()))["success"]
    assert (await say(socket, {"op": "subscribe", "args": TOPICS}))["success"]


async def say(socket: ClientConnection, frame: Message) -> Message:
    await socket.send(json.dumps(frame))
    return await heard(socket)


async def heard(socket: ClientConnection, within_s: float = 30) -> Message:
    return dict(json.loads(await asyncio.wait_for(socket.recv(), within_s)))


async def so_far(socket: ClientConnection) -> list[Message]:
    """Return what was sent before the answer to a ping, which overtakes nothing."""
    await socket.send(json.dumps({"op": "ping"}))
    found: list[Message] = []
    while (message := await heard(socket)).get("op") not in ("ping", "pong"):
        found.append(message)
    return found


async def until_closed(socket: ClientConnection) -> list[Message]:
    found: list[Message] = []
    try:
        while True:
            found.append(await heard(socket))
    except ConnectionClosed:
        return found


async def of_a_fill(desk: Desk, socket: ClientConnection, link: str = LINK) -> list[Message]:
    await desk.buy(orderLinkId=link)
    await desk.paper.exchange.told()
    return await so_far(socket)


def topics(messages: list[Message]) -> list[str]:
    return [message["topic"] for message in messages]


# --- messages ---------------------------------------------------------------------------------


async def test_without_faults_all_is_told_in_order(desk: Desk, private: ClientConnection) -> None:
    told = topics(await of_a_fill(desk, private))

    assert set(told) == set(TOPICS)
    assert told.index("execution") < told.index("wallet")


async def test_a_lost_message_never_comes(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_loss, when: {topic: execution}}")

    told = topics(await of_a_fill(desk, private))

    assert set(told) == {"order", "position", "wallet"}
    (line,) = struck(lines, "stream_loss")
    assert (line["place"], line["order_link_id"], line["account"]) == ("execution", LINK, "main")


async def test_a_doubled_message_is_the_same_again(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_duplicate, copies: 2, when: {topic: execution}}")

    found = [m for m in await of_a_fill(desk, private) if m["topic"] == "execution"]

    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert len(await desk.executions()) == 1
    assert len(struck(lines, "stream_duplicate")) == 1


async def test_a_copy_may_come_later(desk: Desk, private: ClientConnection) -> None:
    await put(desk, "{kind: stream_duplicate, ms: 120, when: {topic: execution}}")

    at_once = await of_a_fill(desk, private)
    copy = await heard(private)

    assert topics(at_once).count("execution") == 1
    assert copy in at_once


async def test_a_message_is_overtaken_by_those_behind_it(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    before = topics(await of_a_fill(desk, private, "plain"))
    await put(desk, "{kind: stream_reorder, by: 2, when: {topic: execution}}")

    told = topics(await of_a_fill(desk, private))

    place = before.index("execution")
    moved = before[:place] + before[place + 1 :]
    assert told == [*moved[: place + 2], "execution", *moved[place + 2 :]]
    assert len(struck(lines, "stream_reorder")) == 1


async def test_a_message_that_nothing_overtakes_comes_all_the_same(
    desk: Desk, private: ClientConnection
) -> None:
    await put(desk, "{kind: stream_reorder, by: 1000, ms: 100, when: {topic: execution}}")

    told = topics(await of_a_fill(desk, private))
    late = await heard(private)

    assert "execution" not in told
    assert late["topic"] == "execution"


async def test_a_late_message_holds_up_those_of_its_topic_only(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_delay, ms: 200, when: {topic: execution, times: 1}}")
    begun = time.monotonic()

    at_once = await of_a_fill(desk, private, "first")
    at_once += await of_a_fill(desk, private, "second")
    late = [await heard(private), await heard(private)]

    assert "execution" not in topics(at_once)
    assert [row["orderLinkId"] for m in late for row in m["data"]] == ["first", "second"]
    assert time.monotonic() - begun >= 0.2
    assert len(struck(lines, "stream_delay")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        "{kind: stream_delay, ms: 900000, when: {topic: execution, times: 1}}",
        "{kind: stream_reorder, by: 9, ms: 900000, when: {topic: execution, times: 1}}",
    ],
)
async def test_what_a_fault_held_back_comes_when_it_is_cleared(
    desk: Desk, private: ClientConnection, fault: str
) -> None:
    await put(desk, fault)
    at_once = await of_a_fill(desk, private, "first")

    await desk.request("DELETE", "/paper/faults")
    late = await so_far(private)
    after = await of_a_fill(desk, private, "second")

    assert ("execution" in topics(at_once), topics(late)) == (False, ["execution"])
    assert "execution" in topics(after)
    assert desk.paper.exchange.feed.hub.filter is None


@pytest.mark.parametrize(
    ("when", "is_lost"),
    [
        ("{topic: execution, order_link: 'tw-*'}", True),
        ("{topic: execution, order_link: 'xy-*'}", False),
        ("{topic: execution, symbol: BTCUSDT}", True),
        ("{topic: execution, symbol: ETHUSDT}", False),
        ("{topic: execution, account: main}", True),
        ("{topic: execution, account: other}", False),
        ("{topic: 'exec*'}", True),
        ("{topic: '~^(order|execution)$'}", True),
        ("{topic: execution, after: 1}", False),
    ],
)
async def test_messages_are_picked_by_what_they_tell(
    desk: Desk, private: ClientConnection, when: str, is_lost: bool
) -> None:
    await put(desk, f"{{kind: stream_loss, when: {when}}}")

    assert ("execution" not in topics(await of_a_fill(desk, private))) is is_lost


async def test_public_messages_are_picked_by_topic_and_symbol(
    desk: Desk, public: ClientConnection
) -> None:
    await put(desk, "{kind: stream_loss, when: {topic: 'kline.*', symbol: BTCUSDT}}")

    await desk.step()
    told = set(topics(await so_far(public)))

    assert told == {"publicTrade.BTCUSDT"}


MIXED = """
version: 1
seed: {seed}
faults:
- {{kind: stream_delay, ms: 1..40, when: {{probability: 0.3}}}}
- {{kind: stream_reorder, by: 3, ms: 30, when: {{probability: 0.3}}}}
- {{kind: stream_duplicate, ms: 0..20, when: {{probability: 0.3}}}}
"""


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_only_late_doubled_or_overtaken_comes_in_the_end(
    desk: Desk, private: ClientConnection, seed: int
) -> None:
    async with connect(f"{desk.paper.stream_url}/private", proxy=None) as witness:
        await open_private(witness)
        await put(desk, MIXED.format(seed=seed).replace("when: {", "when: {account: main, "))
        for number in range(8):
            await desk.buy(orderLinkId=f"tw-{number}")
        hub = desk.paper.exchange.feed.hub
        await desk.paper.exchange.told()
        await desk.request("DELETE", "/paper/faults")
        await eventually(lambda: hub.filter is None)

        found = [json.dumps(m) for m in await so_far(private)]
        others = [json.dumps(m) for m in await so_far(witness)]

    assert set(found) == set(others)
    assert len(found) > len(set(found)) >= 8 * len(TOPICS)
    assert found != others


# --- connections ------------------------------------------------------------------------------


async def test_a_silent_stream_goes_on_answering_pings_and_then_speaks_again(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_silence, ms: 60000}")
    await eventually(lambda: struck(lines, "stream_silence"))

    silent = await of_a_fill(desk, private, "first")
    await desk.request("DELETE", "/paper/faults")
    spoken = await of_a_fill(desk, private, "second")

    assert silent == []
    assert set(topics(spoken)) == set(TOPICS)
    assert all(row.get("orderLinkId") != "first" for m in spoken for row in m["data"])


async def test_a_silence_ends_by_itself(desk: Desk, private: ClientConnection) -> None:
    await put(desk, "{kind: stream_silence, at: message, ms: 150, when: {times: 1}}")
    begun = time.monotonic()

    silent = await of_a_fill(desk, private, "first")
    spoken: list[Message] = []
    number = 0
    while not spoken:
        number += 1
        spoken = await of_a_fill(desk, private, f"later-{number}")

    assert silent == []
    assert time.monotonic() - begun >= 0.15


async def test_a_dead_stream_does_not_even_answer_pings(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_silence, ms: 60000, pings: false}")
    await eventually(lambda: struck(lines, "stream_silence"))

    await private.send(json.dumps({"op": "ping"}))

    with pytest.raises(TimeoutError):
        await heard(private, within_s=0.2)


async def test_a_drop_resets_all_connections_that_fit(
    desk: Desk, private: ClientConnection, public: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: stream_drop, when: {account: main}}")

    with pytest.raises(ConnectionClosed) as failure:
        await heard(private)

    assert failure.value.rcvd is None
    assert (await say(public, {"op": "ping"}))["ret_msg"] == "pong"
    (line,) = struck(lines, "stream_drop")
    assert line["effect"] == "connection is reset"


async def test_a_drop_may_be_a_polite_close(desk: Desk, public: ClientConnection) -> None:
    await put(desk, "{kind: stream_drop, how: close, code: 1012, when: {topic: 'kline*'}}")

    with pytest.raises(ConnectionClosed) as failure:
        await heard(public)

    assert failure.value.rcvd is not None
    assert failure.value.rcvd.code == 1012


async def test_a_drop_may_wait_for_a_message(desk: Desk, private: ClientConnection) -> None:
    await put(desk, "{kind: stream_drop, at: message, when: {topic: execution}}")
    assert (await say(private, {"op": "ping"}))["op"] == "pong"

    await desk.buy(orderLinkId=LINK)

    assert "execution" not in topics(await until_closed(private))
    assert len(await desk.executions()) == 1


async def test_a_drop_may_begin_later(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    begun = time.monotonic()
    await put(desk, "{kind: stream_drop, when: {from: 0.2}}")
    assert (await say(private, {"op": "ping"}))["op"] == "pong"

    with pytest.raises(ConnectionClosed):
        await heard(private)

    assert time.monotonic() - begun >= 0.2
    assert len(struck(lines, "stream_drop")) == 1


async def test_a_fault_that_is_cleared_before_it_begins_drops_nobody(
    desk: Desk, private: ClientConnection, lines: list[EventDict]
) -> None:
    await put(desk, "{name: later, kind: stream_drop, when: {from: 0.1}}")
    await desk.request("DELETE", "/paper/faults", params={"name": "later"})
    await put(desk, "{name: sign, kind: stream_silence, ms: 1, when: {from: 0.15}}")

    await eventually(lambda: struck(lines, "stream_silence"))

    assert struck(lines, "stream_drop") == []
    assert (await say(private, {"op": "ping"}))["op"] == "pong"


async def test_an_unmodified_client_comes_back_after_a_drop(desk: Desk) -> None:
    stream = await desk.private()
    await put(desk, "{kind: stream_drop}")
    hub = desk.paper.exchange.feed.hub
    await eventually(lambda: not hub.wants("execution", "main"))

    await eventually(lambda: hub.wants("wallet", "main"), 20)
    await desk.buy(orderLinkId=LINK)

    await eventually(lambda: stream.rows("execution"))


async def test_the_hub_asks_nobody_while_no_fault_concerns_it(desk: Desk) -> None:
    hub = desk.paper.exchange.feed.hub

    assert hub.filter is None
    await put(desk, "{kind: http_429, when: {endpoint: /v5/none}}")
    assert hub.filter is None
    await put(desk, "{kind: stream_loss, when: {topic: none}}")
    assert hub.filter is not None
    await desk.request("DELETE", "/paper/faults")
    assert hub.filter is None


# --- handshakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("{kind: http_error, status: 502", 502),
        ("{kind: http_429", 429),
        ("{kind: maintenance", 503),
    ],
)
async def test_a_stream_may_not_open(
    desk: Desk, fault: str, status: int, lines: list[EventDict]
) -> None:
    await put(desk, fault + ", when: {endpoint: /v5/private}}")

    with pytest.raises(InvalidStatus) as failure:
        await connect(f"{desk.paper.stream_url}/private", proxy=None)
    async with connect(f"{desk.paper.stream_url}/public/linear", proxy=None) as public:
        assert (await say(public, {"op": "ping"}))["ret_msg"] == "pong"

    assert failure.value.response.status_code == status
    (line,) = struck(lines)
    assert line["place"] == "/v5/private"


async def test_a_handshake_may_be_reset(desk: Desk) -> None:
    await put(desk, "{kind: reset, when: {endpoint: /v5/private}}")

    with pytest.raises((ConnectionError, InvalidMessage)):
        await connect(f"{desk.paper.stream_url}/private", proxy=None)


async def test_a_stream_that_opens_by_a_skewed_clock_refuses_its_clients(desk: Desk) -> None:
    await put(desk, "{kind: clock_skew, ms: 60000, when: {endpoint: /v5/private}}")

    async with connect(f"{desk.paper.stream_url}/private", proxy=None) as socket:
        pong = await say(socket, {"op": "ping"})
        ack = await say(socket, signed_auth())

    assert abs(int(pong["args"][0]) - time.time() * 1000 - 60_000) < 5000
    assert not ack["success"]
