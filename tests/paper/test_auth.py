"""Who may ask: signatures over raw bytes, the window of the wall clock, and what a key may do."""

import asyncio
import hashlib
import hmac
import time
from typing import Any

import pytest
import requests

from tests.paper.conftest import KEY, SECRET, Desk
from tests.paper.signature import BUY, QUERY, signed
from tradewright.paper.keys import ApiKey


async def ask(desk: Desk, query: str, headers: dict[str, str]) -> requests.Response:
    url = f"{desk.paper.http_url}/v5/order/realtime?{query}"
    return await asyncio.to_thread(requests.get, url, headers=headers, timeout=30)


async def tell(
    desk: Desk, body: str, headers: dict[str, str], path: str = "/v5/order/create"
) -> dict[str, Any]:
    url = f"{desk.paper.http_url}{path}"
    answer = await asyncio.to_thread(requests.post, url, data=body, headers=headers, timeout=30)
    return dict(answer.json())


LEVERAGE = '"category":"linear","symbol":"BTCUSDT","buyLeverage":"3","sellLeverage":"3"'


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
    body = '{"orderLinkId": null, ' + LEVERAGE.replace(":", " : ") + "}"

    answer = await tell(desk, body, signed(body), "/v5/position/set-leverage")

    assert answer["retCode"] == 0, answer


async def test_a_window_that_was_not_sent_is_not_signed(desk: Desk) -> None:
    stamp = str(int(time.time() * 1000))
    sign = hmac.new(SECRET.encode(), f"{stamp}{KEY}{QUERY}".encode(), hashlib.sha256)
    headers = {
        "X-BAPI-API-KEY": KEY,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-SIGN": sign.hexdigest(),
    }

    assert (await ask(desk, QUERY, headers)).json()["retCode"] == 0


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"secret": "wrong"}, 10004),
        ({"X-BAPI-SIGN": "ä" * 64}, 10004),
        ({"X-BAPI-API-KEY": "unknown"}, 10003),
        ({"age_ms": 5500}, 10002),
        ({"age_ms": -1500}, 10002),
        ({"X-BAPI-TIMESTAMP": "now"}, 10001),
        ({"X-BAPI-TIMESTAMP": "9" * 5000}, 10001),
        ({"X-BAPI-RECV-WINDOW": "-5"}, 10001),
    ],
)
async def test_what_is_not_signed_rightly_or_in_time_is_refused(
    desk: Desk, headers: dict[str, Any], code: int
) -> None:
    encoded = {k: v.encode("latin-1") for k, v in signed(QUERY, **headers).items()}

    answer = await ask(desk, QUERY, encoded)  # type: ignore[arg-type] # bytes are headers, too

    assert answer.json()["retCode"] == code
    assert answer.json()["result"] == {}


@pytest.mark.parametrize("missing", ["X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN"])
async def test_a_request_without_a_signature_gets_status_401(desk: Desk, missing: str) -> None:
    headers = signed(QUERY)
    del headers[missing]

    assert (await ask(desk, QUERY, headers)).status_code == 401


async def test_a_request_changed_on_its_way_is_refused(desk: Desk) -> None:
    dearer = BUY.replace("0.01", "9.99")

    assert (await ask(desk, f"{QUERY}&limit=1", signed(QUERY))).json()["retCode"] == 10004
    assert (await tell(desk, dearer, signed(BUY)))["retCode"] == 10004
    assert desk.paper.exchange.engine.accounts["main"].positions["BTCUSDT"].size == 0


async def test_an_order_sent_again_by_a_stranger_is_not_placed_again(desk: Desk) -> None:
    overheard = signed(BUY)

    assert (await tell(desk, BUY, overheard))["retCode"] == 0
    assert (await tell(desk, BUY, overheard))["retCode"] == 10014
    assert len(await desk.executions()) == 1


async def test_what_is_alike_but_honest_is_taken(desk: Desk) -> None:
    reading = signed(QUERY)
    stamp = reading["X-BAPI-TIMESTAMP"]
    age_ms = int(time.time() * 1000) - int(stamp)
    orders = [BUY[:-1] + f',"orderLinkId":"twin-{n}"}}' for n in range(2)]

    assert [(await ask(desk, QUERY, reading)).json()["retCode"] for _ in range(3)] == [0, 0, 0]
    for order in orders:
        assert (await tell(desk, order, signed(order, age_ms=age_ms)))["retCode"] == 0


async def test_each_key_has_a_secret_of_its_own(desk: Desk) -> None:
    desk.paper.door.ring.add(ApiKey("second", "its-secret", uid=2))

    answer = await ask(desk, QUERY, signed(QUERY, key="second", secret="its-secret"))
    crossed = await ask(desk, QUERY, signed(QUERY, key="second", secret=SECRET))

    assert answer.json()["retCode"] == 0
    assert crossed.json()["retCode"] == 10004


@pytest.mark.parametrize(
    ("changes", "reads", "writes"),
    [
        ({"read_only": True}, 0, 10005),
        ({"permissions": {"ContractTrade": ("Order",)}}, 0, 10005),
        ({"permissions": {}}, 0, 10005),
        ({"ips": ("10.0.0.1",)}, 10010, 10010),
        ({"ips": ("127.0.0.1",)}, 0, 0),
        ({"ips": ("*",)}, 0, 0),
        ({"expires_ms": 1}, 33004, 33004),
    ],
)
async def test_a_key_does_what_it_may_and_no_more(
    desk: Desk, changes: dict[str, Any], reads: int, writes: int
) -> None:
    desk.paper.door.ring.add(ApiKey("limited", "its-secret", **changes))
    body = "{" + LEVERAGE + "}"
    mine: dict[str, Any] = {"key": "limited", "secret": "its-secret"}

    reading = await ask(desk, QUERY, signed(QUERY, **mine))
    writing = await tell(desk, body, signed(body, **mine), "/v5/position/set-leverage")

    assert (reading.json()["retCode"], writing["retCode"]) == (reads, writes)


async def test_a_revoked_key_is_unknown(desk: Desk) -> None:
    desk.paper.door.ring.revoke(KEY)

    assert (await ask(desk, QUERY, signed(QUERY))).json()["retCode"] == 10003


async def test_the_time_of_the_server_is_the_wall_clock(desk: Desk) -> None:
    answer = await asyncio.to_thread(desk.http.get_server_time)

    assert abs(answer["time"] / 1000 - time.time()) < 5
    assert abs(int(answer["result"]["timeSecond"]) - time.time()) < 5
