"""The private stream, by bare frames: who may open it, and what each is told."""

import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from tests.paper.bare_socket import LINEAR, PRIVATE, TRADES, ask, hear, hub_of, only
from tests.paper.conftest import KEY, SECRET, Desk, Dial, signed_auth
from tradewright.paper.keys import ApiKey


def auth_of(key: str, secret: str) -> dict[str, Any]:
    expires = str(int(time.time() * 1000) + 10_000)
    sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256)
    return {"op": "auth", "args": [key, expires, sign.hexdigest()]}


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
