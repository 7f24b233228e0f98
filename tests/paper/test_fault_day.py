"""A bad day for a careful client: every order exists once, and two accounts stay apart."""

import asyncio
from datetime import timedelta
from typing import Any

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError

from tests.paper.conftest import START, Desk, Open, WriteCandles

FLAT = (50_000, 50_000, 50_000, 50_000)
ORDERS = 40
DAY = """
version: 1
seed: 5
faults:
- {kind: delay, ms: 0..5, when: {probability: 0.3}}
- {kind: reset, acceptance: after, when: {endpoint: /v5/order/create, probability: 0.15}}
- {kind: reset, acceptance: before, name: lost-request, when: {probability: 0.1}}
- {kind: http_error, acceptance: after, when: {method: POST, probability: 0.1}}
- {kind: http_429, when: {method: POST, probability: 0.05}}
- {kind: code_10006, reset_ms: 50, when: {method: POST, probability: 0.05}}
- {kind: code_10016, when: {method: POST, probability: 0.1}}
- {kind: malformed_json, when: {method: POST, probability: 0.1}}
- {kind: clock_skew, ms: 30000, when: {method: POST, probability: 0.05}}
"""


@pytest.fixture
async def desk(open_desk: Open, write_candles: WriteCandles) -> Desk:
    data = write_candles(FLAT, FLAT, FLAT)
    return await open_desk(
        market=data, data_from=START + timedelta(minutes=1), rate_limits="off", cash=10_000_000
    )


async def placed_for_sure(desk: Desk, link: str) -> int:
    """Send the order until its outcome is known; return how often it was sent."""
    for attempt in range(1, 50):
        # A signature is taken only once, and it is the same within a millisecond
        await asyncio.sleep(0.002)
        try:
            await desk.buy(orderLinkId=link)
            return attempt
        except (requests.ConnectionError, FailedRequestError):
            continue
        except InvalidRequestError as refusal:
            if refusal.status_code == 110072:
                return attempt
            if refusal.status_code not in (10002, 10006, 10016):
                raise
    raise AssertionError(f"order {link} was never answered")


async def test_a_client_that_sends_again_with_the_same_link_has_every_order_once(
    desk: Desk,
) -> None:
    await desk.request("POST", "/paper/faults", data=DAY)

    attempts = [await placed_for_sure(desk, f"tw-{n}") for n in range(ORDERS)]

    await desk.request("DELETE", "/paper/faults")
    told = await desk.rows("get_executions", limit=100)
    assert sum(attempts) > ORDERS
    assert sorted(e["orderLinkId"] for e in told) == sorted(f"tw-{n}" for n in range(ORDERS))
    assert (await desk.position())["size"] == "4"
    assert (await desk.get("/paper/ledger"))["balanced"]


async def test_the_same_day_happens_twice(open_desk: Open, write_candles: WriteCandles) -> None:
    data = write_candles(FLAT, FLAT, FLAT)

    async def seen() -> list[Any]:
        desk = await open_desk(
            market=data, data_from=START + timedelta(minutes=1), rate_limits="off"
        )
        await desk.request("POST", "/paper/faults", data=DAY)
        attempts = [await placed_for_sure(desk, f"tw-{n}") for n in range(10)]
        shown = await desk.get("/paper/faults")
        strikes = [(row["fault"], row["order_link_id"], row["effect"]) for row in shown["strikes"]]
        return [attempts, strikes]

    assert await seen() == await seen()


async def test_a_fault_of_one_account_is_not_seen_by_the_other(desk: Desk) -> None:
    made = await desk.post("/paper/keys", account="other", cash="1000")
    other = pybit.HTTP(
        api_key=made["key"], api_secret=made["secret"], max_retries=1, retry_codes={-999999}
    )
    other.endpoint = desk.paper.http_url
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.001"}
    await desk.request("POST", "/paper/faults", data="{kind: http_429, when: {account: other}}")
    await desk.request(
        "POST", "/paper/faults", data="{kind: rejected_order, code: 110012, when: {account: main}}"
    )

    with pytest.raises(FailedRequestError) as failure:
        await asyncio.to_thread(other.place_order, category="linear", **order)
    refusal = await desk.refused_buy()

    assert failure.value.status_code == 429
    assert refusal[0] == 110012
    other.client.close()
