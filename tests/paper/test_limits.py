"""How often one may ask, by the published limits and their headers."""

import asyncio
import json
import time
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.paper.conftest import Desk, Open
from tests.paper.signature import QUERY, signed
from tradewright.paper import PaperSettings
from tradewright.paper.keys import ApiKey
from tradewright.paper.limits import SECOND, Limits, Meter, Window


async def read(desk: Desk, path: str = "/v5/order/realtime", **key: Any) -> requests.Response:
    url = f"{desk.paper.http_url}{path}?{QUERY}"
    return await asyncio.to_thread(requests.get, url, headers=signed(QUERY, **key), timeout=30)


async def write(desk: Desk, path: str, **fields: Any) -> requests.Response:
    body = json.dumps({"category": "linear", "symbol": "BTCUSDT"} | fields)
    url = desk.paper.http_url + path
    return await asyncio.to_thread(requests.post, url, data=body, headers=signed(body), timeout=30)


@pytest.fixture
async def limited(open_desk: Open) -> Desk:
    return await open_desk(symbols=("BTCUSDT",), rate_limits="bybit")


@given(st.lists(st.integers(0, 400), min_size=1, max_size=80), st.integers(1, 10))
def test_no_second_holds_more_than_the_limit_and_no_request_is_refused_without_need(
    pauses: list[int], limit: int
) -> None:
    window, now_ms = Window(limit, SECOND), 10_000
    taken: list[int] = []

    for pause in pauses:
        now_ms += pause
        recent = sum(now_ms - SECOND < t for t in taken)
        assert window.take(now_ms) == (recent < limit)
        if recent < limit:
            taken.append(now_ms)


def test_a_clock_set_back_bars_nobody() -> None:
    window = Window(1, SECOND)

    assert window.take(100_000)
    assert window.take(50_000)


def test_a_window_keeps_no_more_than_its_limit() -> None:
    window = Window(10, SECOND)

    for now_ms in range(100_000):
        window.take(now_ms)

    assert len(window._taken) == 10


@pytest.mark.parametrize(
    ("scale", "path", "limit"),
    [
        ("bybit", "/v5/order/create", 10),
        ("bybit", "/v5/position/list", 50),
        ("bybit", "/v5/account/fee-rate", 5),
        ("bybit", "/v5/asset/transfer/inter-transfer", 60),
        ("vip1", "/v5/order/create", 20),
        ("vip3", "/v5/order/create", 60),
        ("vip3", "/v5/order/realtime", 50),
        (2.5, "/v5/order/create", 25),
        (0.01, "/v5/order/create", 1),
    ],
)
def test_each_endpoint_has_its_own_limit(scale: Any, path: str, limit: int) -> None:
    window = Limits(scale).of(1, path)

    assert window is not None
    assert window.limit == limit


def test_nothing_is_limited_where_limits_are_off() -> None:
    limits = Limits("off")

    assert limits.of(1, "/v5/order/create") is None
    assert all(limits.admits("10.0.0.1", 1) for _ in range(2000))
    assert Meter(None, lambda: 1).headers() == []


def test_only_a_market_at_its_own_pace_has_limits_by_default() -> None:
    assert PaperSettings(speed=1).rate_scale == "bybit"
    assert PaperSettings(speed=60).rate_scale == "off"
    assert PaperSettings(speed="lockstep").rate_scale == "off"
    assert PaperSettings(speed="lockstep", rate_limits="vip1").rate_scale == "vip1"
    assert PaperSettings(speed=1, rate_limits=3).rate_scale == 3


def test_an_address_that_asks_too_often_is_banned_for_a_while() -> None:
    limits = Limits("bybit", ban_ms=600_000)

    assert all(limits.admits("10.0.0.1", 1000 + n) for n in range(600))
    assert not limits.admits("10.0.0.1", 2000)
    assert not limits.admits("10.0.0.1", 601_999)
    assert limits.admits("10.0.0.2", 2000)
    assert limits.admits("10.0.0.1", 602_000)


async def test_every_signed_answer_tells_the_limit(limited: Desk) -> None:
    before = int(time.time() * 1000)

    headers = (await read(limited)).headers

    assert headers["X-Bapi-Limit"] == "50"
    assert headers["X-Bapi-Limit-Status"] == "49"
    assert before <= int(headers["X-Bapi-Limit-Reset-Timestamp"]) <= int(time.time() * 1000)
    public = requests.get
    answer = await asyncio.to_thread(public, f"{limited.paper.http_url}/v5/market/time", timeout=30)
    assert "X-Bapi-Limit" not in answer.headers


async def test_the_eleventh_order_of_a_second_is_refused_until_the_told_time(
    limited: Desk,
) -> None:
    answers = await asyncio.gather(
        *(
            write(limited, "/v5/order/create", side="Buy", orderType="Market", qty=f"0.{n:03}")
            for n in range(1, 16)
        )
    )
    codes = [a.json()["retCode"] for a in answers]
    refused = next(a for a in answers if a.json()["retCode"] == 10006)
    now_ms = refused.json()["time"]

    assert codes.count(0) == 10
    assert refused.json()["retMsg"] == "Too many visits. Exceeded the API Rate Limit."
    assert refused.headers["X-Bapi-Limit-Status"] == "0"
    assert now_ms < int(refused.headers["X-Bapi-Limit-Reset-Timestamp"]) <= now_ms + 1100
    # Another endpoint and another account have windows of their own
    assert (await read(limited)).json()["retCode"] == 0
    limited.paper.door.ring.add(ApiKey("other", "secret", uid=2))
    other = await read(limited, key="other", secret="secret")
    assert other.headers["X-Bapi-Limit-Status"] == "49"


async def test_an_address_over_its_limit_gets_status_403(limited: Desk) -> None:
    url = f"{limited.paper.http_url}/v5/market/time"

    def hammer() -> list[int]:
        with requests.Session() as session:
            return [session.get(url, timeout=30).status_code for _ in range(620)]

    statuses = await asyncio.to_thread(hammer)

    assert statuses[0] == 200
    assert statuses[-1] == 403
    answer = await read(limited)
    assert answer.status_code == 403
    assert "access too frequent" in answer.text


async def test_too_many_connections_of_one_address_are_refused(open_desk: Open) -> None:
    desk = await open_desk(symbols=("BTCUSDT",), rate_limits=0.006)
    url = f"{desk.paper.stream_url}/public/linear"

    async with connect(url, proxy=None), connect(url, proxy=None), connect(url, proxy=None):
        with pytest.raises(InvalidStatus, match="403"):
            await connect(url, proxy=None)
