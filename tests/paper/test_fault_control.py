"""Faults of requests: whom they strike, how they are put in force and cleared."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import FailedRequestError

from tests.paper.conftest import KEY, SECRET, Desk, Open, eventually
from tests.paper.fault import CREATE, LINK, put, strikes
from tests.paper.signature import signed
from tradewright.paper import PaperSettings, running
from tradewright.paper.fault.scenario import ScenarioInvalid


async def test_an_order_link_picks_the_order(desk: Desk) -> None:
    await put(desk, "{kind: code_10016, acceptance: before, when: {order_link: 'tw-*'}}")

    await desk.buy(orderLinkId="other-1")

    assert (await desk.refused_buy(orderLinkId=LINK))[0] == 10016


async def test_an_order_link_picks_the_batch_that_holds_it(desk: Desk) -> None:
    await put(desk, "{kind: code_10016, acceptance: before, when: {order_link: 'tw-*'}}")
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1"}

    refusal = await desk.refusal(
        "place_batch_order", request=[order | {"orderLinkId": link} for link in ("a", "tw-b")]
    )

    assert refusal[0] == 10016


async def test_an_account_is_known_by_its_key(desk: Desk) -> None:
    await put(desk, "{kind: http_429, when: {account: main}}")

    assert (await asyncio.to_thread(desk.http.get_server_time))["retCode"] == 0
    with pytest.raises(FailedRequestError):
        await desk.wallet()


async def test_the_same_seed_strikes_the_same_requests_of_another_exchange(
    desk: Desk, open_desk: Open
) -> None:
    storm = "{name: storm, kind: http_error, seed: 5, when: {method: GET, probability: 0.4}}"
    other = await open_desk()

    async def seen(of: Desk) -> list[int]:
        await put(of, storm)
        answers = [await asyncio.to_thread(of.send, "GET", "/v5/market/time") for _ in range(40)]
        return [answer.status_code for answer in answers]

    first = await seen(desk)

    assert await seen(other) == first
    assert {200, 502} == set(first)


async def test_faults_are_listed_with_counts_and_strikes_and_cleared_by_name(desk: Desk) -> None:
    await put(desk, "{name: a, kind: http_error, when: {endpoint: /v5/market/*, after: 1}}")
    await put(desk, "{name: b, kind: http_429, when: {endpoint: /v5/account/*}}")
    for _ in range(3):
        await asyncio.to_thread(desk.send, "GET", "/v5/market/time")

    shown = await desk.get("/paper/faults")
    left = await desk.request("DELETE", "/paper/faults", params={"name": "a"})
    answer = await asyncio.to_thread(desk.send, "GET", "/v5/market/time")

    assert [(row["name"], row["matches"], row["strikes"]) for row in shown["faults"]] == [
        ("a", 3, 2),
        ("b", 0, 0),
    ]
    assert [row["place"] for row in shown["strikes"]] == ["/v5/market/time"] * 2
    assert left["cleared"] == ["a"]
    assert [row["name"] for row in left["faults"]] == ["b"]
    assert answer.status_code == 200


async def test_the_window_tells_strikes_in_words(desk: Desk) -> None:
    await put(desk, "{name: cut, kind: code_10016, when: {endpoint: /v5/order/create}}")
    await desk.refused_buy(orderLinkId=LINK)

    faults = (await desk.get("/paper/window"))["faults"]

    assert [(row["name"], row["when"], row["strikes"]) for row in faults["faults"]] == [
        ("cut", "endpoint=/v5/order/create", 1)
    ]
    (told,) = faults["strikes"]
    assert told.endswith(" cut: /v5/order/create tw-e1 gets retCode 10016 after acceptance")


async def test_a_mistake_in_what_is_sent_is_told_at_its_place(desk: Desk) -> None:
    answer = await asyncio.to_thread(
        desk.send, "POST", "/paper/faults?source=day.yaml", data="version: 1\nfaults:\n- {kind: x}"
    )

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("day.yaml:3:10: error: faults.0.kind: unknown kind")
    assert await strikes(desk) == {}


async def test_a_fault_that_is_not_in_force_cannot_be_cleared(desk: Desk) -> None:
    answer = await asyncio.to_thread(desk.send, "DELETE", "/paper/faults?name=nope")

    assert answer.status_code == 400
    assert "no fault 'nope' is in force" in answer.json()["error"]


async def test_a_scenario_file_is_in_force_from_the_first_request_on(
    open_desk: Open, tmp_path: Path
) -> None:
    path = tmp_path / "day.yaml"
    path.write_text("version: 1\nfaults:\n- {name: down, kind: http_error}\n")
    desk = await open_desk(faults=path)

    answer = await asyncio.to_thread(desk.send, "GET", "/v5/market/time")

    assert answer.status_code == 502
    assert await strikes(desk) == {"down": 1}


async def test_an_exchange_does_not_start_with_a_scenario_that_is_wrong(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    path = tmp_path / "day.yaml"
    path.write_text("version: 1\nfaults:\n- {kind: delay}\n")

    with pytest.raises(ScenarioInvalid, match=r"day\.yaml:3:3: error: faults\.0\.ms: missing"):
        async with running(make_settings(faults=path)):
            pass


async def test_other_clients_of_the_same_exchange_are_not_touched_by_a_reset(desk: Desk) -> None:
    other = pybit.HTTP(api_key=KEY, api_secret=SECRET, max_retries=1, retry_codes={-999999})
    other.endpoint = desk.paper.http_url
    await put(desk, "{kind: reset, when: {order_link: tw-e1}}")
    with pytest.raises(requests.ConnectionError):
        await desk.buy(orderLinkId=LINK)

    assert (await asyncio.to_thread(other.get_server_time))["retCode"] == 0
    other.client.close()


async def test_an_exchange_stops_while_a_client_is_stalled(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    path = tmp_path / "day.yaml"
    path.write_text("version: 1\nfaults:\n- {kind: stall}\n")
    async with running(make_settings(faults=path)) as paper:
        reader, writer = await asyncio.open_connection("127.0.0.1", paper.port)
        writer.write(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n")
        board = paper.door.faults.board
        await eventually(lambda: board.shown()["strikes"])

    with suppress(ConnectionResetError):
        assert not (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_what_cannot_be_understood_is_struck_by_its_endpoint_alone(desk: Desk) -> None:
    await put(desk, "{kind: http_429, when: {endpoint: /v5/order/*}}")
    url = desk.paper.http_url + CREATE
    body = '{"symbol": ['

    answer = await asyncio.to_thread(
        requests.post, url, data=body, headers=signed(body), timeout=30
    )

    assert answer.status_code == 429
