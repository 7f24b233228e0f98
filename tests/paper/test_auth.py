"""Who may ask: signatures over raw bytes, and the window of the wall clock."""

import asyncio
import hashlib
import hmac
import time
from typing import Any

import pytest
import requests

from tests.paper.conftest import KEY, SECRET, Desk


def signed(
    payload: str, *, secret: str = SECRET, age_ms: int = 0, **changes: str
) -> dict[str, str]:
    stamp = str(int(time.time() * 1000) - age_ms)
    plain = f"{stamp}{KEY}5000{payload}"
    headers = {
        "X-BAPI-API-KEY": KEY,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": hmac.new(secret.encode(), plain.encode(), hashlib.sha256).hexdigest(),
    }
    return headers | changes


async def ask(desk: Desk, query: str, headers: dict[str, str]) -> requests.Response:
    url = f"{desk.paper.http_url}/v5/order/realtime?{query}"
    return await asyncio.to_thread(requests.get, url, headers=headers, timeout=5)


QUERY = "category=linear&symbol=BTCUSDT"


async def test_the_raw_query_is_what_is_signed(desk: Desk) -> None:
    # The order of the parameters and their encoding are the client's own
    for query in (
        QUERY,
        "symbol=BTCUSDT&category=linear",
        "symbol=BTCUSDT&category=linear&orderId=a%2Fb",
    ):
        answer = await ask(desk, query, signed(query))

        assert answer.json()["retCode"] == 0, answer.text


async def test_the_raw_body_is_what_is_signed(desk: Desk) -> None:
    leverage = '"buyLeverage":"3","sellLeverage":"3"'
    body = '{"category":"linear", "symbol" : "BTCUSDT","orderLinkId": null,' + leverage + "}"
    url = f"{desk.paper.http_url}/v5/position/set-leverage"

    answer = await asyncio.to_thread(requests.post, url, data=body, headers=signed(body), timeout=5)

    assert answer.json()["retCode"] == 0, answer.text


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"secret": "wrong"}, 10004),
        ({"X-BAPI-API-KEY": "unknown"}, 10003),
        ({"age_ms": 5500}, 10002),
        ({"age_ms": -1500}, 10002),
        ({"X-BAPI-TIMESTAMP": "now"}, 10001),
    ],
)
async def test_what_is_not_signed_rightly_or_in_time_is_refused(
    desk: Desk, headers: dict[str, Any], code: int
) -> None:
    answer = await ask(desk, QUERY, signed(QUERY, **headers))

    assert answer.json()["retCode"] == code
    assert answer.json()["result"] == {}


async def test_a_request_without_a_signature_gets_status_401(desk: Desk) -> None:
    assert (await ask(desk, QUERY, {})).status_code == 401


async def test_a_route_that_does_not_exist_is_said_not_to(desk: Desk) -> None:
    answer = await asyncio.to_thread(requests.get, f"{desk.paper.http_url}/v5/no/such", timeout=5)

    assert answer.json()["retCode"] == 10017


async def test_the_time_of_the_server_is_the_wall_clock(desk: Desk) -> None:
    answer = await asyncio.to_thread(desk.http.get_server_time)

    assert abs(answer["time"] / 1000 - time.time()) < 5
    assert abs(int(answer["result"]["timeSecond"]) - time.time()) < 5
