"""Faults of requests, over the wire: what clients see of them, and what the exchange did."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.paper.conftest import KEY, SECRET, Desk, Open, eventually
from tests.paper.test_auth import signed
from tradewright.paper import PaperSettings, running
from tradewright.paper.fault.scenario import ScenarioInvalid

CREATE = "/v5/order/create"
LINK = "tw-e1"


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with capture_logs() as captured:
        yield captured


async def put(desk: Desk, text: str) -> list[str]:
    answer = await desk.request("POST", "/paper/faults", data=text)
    return list(answer["put"])


async def strikes(desk: Desk) -> dict[str, int]:
    shown = await desk.get("/paper/faults")
    return {row["name"]: row["strikes"] for row in shown["faults"]}


def struck(lines: list[EventDict], kind: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == "fault_struck" and line["kind"] == kind]


async def orders(desk: Desk, link: str = LINK) -> list[dict[str, Any]]:
    """Return the orders with *link*, open or closed."""
    return await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId=link)


def on_create(kind: str, **more: object) -> str:
    told = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{kind: {kind}{told}, when: {{endpoint: {CREATE}, times: 1}}}}"


SIDES = pytest.mark.parametrize(("acceptance", "is_placed"), [("before", False), ("after", True)])


async def test_a_request_right_behind_another_is_not_struck_with_it(desk: Desk) -> None:
    await put(desk, "{kind: clock_skew, ms: 3600000, when: {times: 1}}")
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.paper.port)

    writer.write(b"GET /v5/market/time HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
    times = [await _time_told(reader) for _ in range(2)]
    writer.close()

    assert [round((told - time.time() * 1000) / 3_600_000) for told in times] == [1, 0]


async def _time_told(reader: asyncio.StreamReader) -> int:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    (length,) = re.findall(rb"content-length: (\d+)", head)
    return int(json.loads(await reader.readexactly(int(length)))["time"])


# --- one kind after the other -----------------------------------------------------------------


@pytest.mark.parametrize("acceptance", ["before", "after"])
async def test_a_delay_makes_one_wait(desk: Desk, lines: list[EventDict], acceptance: str) -> None:
    await put(desk, on_create("delay", ms=150, acceptance=acceptance))
    begun = time.monotonic()

    await desk.buy(orderLinkId=LINK)

    assert time.monotonic() - begun >= 0.15
    assert len(await orders(desk)) == 1
    (line,) = struck(lines, "delay")
    assert line["order_link_id"] == LINK
    assert line["effect"] == f"waits 150 ms {acceptance} acceptance"


@SIDES
async def test_a_stall_lasts_until_the_client_gives_up(
    desk: Desk, lines: list[EventDict], acceptance: str, is_placed: bool
) -> None:
    await put(desk, on_create("stall", acceptance=acceptance))
    desk.http.timeout = 0.3

    with pytest.raises(requests.ReadTimeout):
        await desk.buy(orderLinkId=LINK)

    assert bool(await orders(desk)) is is_placed
    assert len(struck(lines, "stall")) == 1


@SIDES
async def test_a_reset_ends_the_connection_without_an_answer(
    desk: Desk, lines: list[EventDict], acceptance: str, is_placed: bool
) -> None:
    await put(desk, on_create("reset", acceptance=acceptance))

    with pytest.raises(requests.ConnectionError):
        await desk.buy(orderLinkId=LINK)

    assert bool(await orders(desk)) is is_placed
    assert len(struck(lines, "reset")) == 1


async def test_a_reset_is_one_of_tcp(desk: Desk) -> None:
    await put(desk, "{kind: reset, when: {endpoint: /v5/market/time}}")
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.paper.port)

    writer.write(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n")

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 30)
    writer.close()


async def test_an_order_whose_answer_was_reset_exists_once_when_it_is_sent_again(
    desk: Desk,
) -> None:
    await put(desk, on_create("reset", acceptance="after"))
    with pytest.raises(requests.ConnectionError):
        await desk.buy(orderLinkId=LINK)

    assert await desk.refused_buy(orderLinkId=LINK) == (110072, "OrderLinkedID is duplicate")

    assert [order["orderLinkId"] for order in await orders(desk)] == [LINK]
    assert len(await desk.executions()) == 1
    assert (await desk.position())["size"] == "0.1"


@SIDES
async def test_an_http_error_comes_from_the_machines_in_front(
    desk: Desk, lines: list[EventDict], acceptance: str, is_placed: bool
) -> None:
    await put(desk, on_create("http_error", status=503, acceptance=acceptance))

    with pytest.raises(FailedRequestError) as failure:
        await desk.buy(orderLinkId=LINK)

    assert failure.value.status_code == 503
    assert bool(await orders(desk)) is is_placed
    (line,) = struck(lines, "http_error")
    assert line["effect"] == f"gets HTTP 503 {acceptance} acceptance"


async def test_an_http_error_is_a_page_and_no_json(desk: Desk) -> None:
    await put(desk, "{kind: http_error}")

    answer = await asyncio.to_thread(desk.send, "GET", "/v5/market/time")

    assert answer.status_code == 502
    assert answer.headers["content-type"] == "text/html"
    assert "502 Bad Gateway" in answer.text


async def test_http_429_is_never_executed(desk: Desk, lines: list[EventDict]) -> None:
    await put(desk, on_create("http_429"))

    with pytest.raises(FailedRequestError) as failure:
        await desk.buy(orderLinkId=LINK)

    assert failure.value.status_code == 429
    assert await orders(desk) == []
    assert len(struck(lines, "http_429")) == 1


async def test_10006_names_a_time_that_lies_ahead(desk: Desk, lines: list[EventDict]) -> None:
    await put(desk, on_create("code_10006", reset_ms=2000))
    now_ms = time.time() * 1000

    with pytest.raises(InvalidRequestError) as failure:
        await desk.buy(orderLinkId=LINK)

    headers = failure.value.resp_headers
    assert failure.value.status_code == 10006
    assert headers["X-Bapi-Limit-Status"] == "0"
    reset_ms = int(headers["X-Bapi-Limit-Reset-Timestamp"])
    assert now_ms + 1990 <= reset_ms <= time.time() * 1000 + 2010
    assert await orders(desk) == []
    assert len(struck(lines, "code_10006")) == 1


@SIDES
async def test_10016_leaves_open_whether_it_was_executed(
    desk: Desk, lines: list[EventDict], acceptance: str, is_placed: bool
) -> None:
    await put(desk, on_create("code_10016", acceptance=acceptance))

    assert await desk.refused_buy(orderLinkId=LINK) == (10016, "Server error.")

    assert bool(await orders(desk)) is is_placed
    assert len(struck(lines, "code_10016")) == 1


@pytest.mark.parametrize("body", ["cut", "html", "empty"])
async def test_a_malformed_answer_hides_an_order_that_was_placed(
    desk: Desk, lines: list[EventDict], body: str
) -> None:
    await put(desk, on_create("malformed_json", body=body))

    with pytest.raises(FailedRequestError) as failure:
        await desk.buy(orderLinkId=LINK)

    assert failure.value.status_code == 409
    assert len(await orders(desk)) == 1
    assert len(struck(lines, "malformed_json")) == 1


async def test_in_maintenance_only_the_status_and_the_time_are_told(
    desk: Desk, lines: list[EventDict]
) -> None:
    await put(desk, "{kind: maintenance, title: Upgrade of the engine, when: {until: 600}}")

    refusal = await desk.refused_buy(orderLinkId=LINK)
    status = await asyncio.to_thread(desk.send, "GET", "/v5/system/status?state=ongoing")
    server = await asyncio.to_thread(desk.http.get_server_time)
    await desk.request("DELETE", "/paper/faults")
    after = await asyncio.to_thread(desk.send, "GET", "/v5/system/status")

    assert refusal == (10016, "Service is restarting.")
    (notice,) = status.json()["result"]["list"]
    assert (notice["title"], notice["state"]) == ("Upgrade of the engine", "ongoing")
    assert int(notice["end"]) - int(notice["begin"]) == 600_000
    assert server["retCode"] == 0
    assert after.json()["result"]["list"] == []
    assert await orders(desk) == []
    assert len(struck(lines, "maintenance")) == 1


@pytest.mark.parametrize("skew_ms", [60_000, -60_000])
async def test_a_skewed_clock_tells_a_wrong_time_and_judges_by_it(
    desk: Desk, lines: list[EventDict], skew_ms: int
) -> None:
    await put(desk, f"{{kind: clock_skew, ms: {skew_ms}, when: {{times: 2}}}}")
    now_ms = time.time() * 1000

    server = await asyncio.to_thread(desk.http.get_server_time)
    code, text = await desk.refused_buy(orderLinkId=LINK)
    honest = await asyncio.to_thread(desk.http.get_server_time)

    assert abs(int(server["result"]["timeNano"]) / 1e6 - now_ms - skew_ms) < 5000
    assert abs(server["time"] - now_ms - skew_ms) < 5000
    assert code == 10002
    assert "server_timestamp" in text
    assert abs(honest["time"] - now_ms) < 5000
    assert await orders(desk) == []
    assert len(struck(lines, "clock_skew")) == 2


async def test_lagging_reads_show_a_state_that_is_past(desk: Desk, lines: list[EventDict]) -> None:
    await put(desk, "{kind: lagging_reads, ms: 60000, when: {endpoint: /v5/*/*, method: GET}}")
    await desk.buy(orderLinkId=LINK)

    past = [await orders(desk), await desk.executions(), (await desk.position())["size"]]
    refusal = await desk.refused_buy(orderLinkId=LINK)
    await desk.request("DELETE", "/paper/faults")
    present = [await orders(desk), await desk.executions(), (await desk.position())["size"]]

    assert past == [[], [], "0"]
    assert refusal[0] == 110072
    assert [len(present[0]), len(present[1]), present[2]] == [1, 1, "0.1"]
    assert len(struck(lines, "lagging_reads")) == 3


async def test_late_reads_of_a_new_account_find_it_empty(desk: Desk) -> None:
    await put(desk, "{kind: lagging_reads, ms: 60000}")
    made = await desk.post("/paper/keys", account="new", cash="1000")
    client = pybit.HTTP(
        api_key=made["key"], api_secret=made["secret"], max_retries=1, retry_codes={-999999}
    )
    client.endpoint = desk.paper.http_url

    seen = await asyncio.to_thread(client.get_wallet_balance, accountType="UNIFIED")
    await desk.request("DELETE", "/paper/faults")
    present = await asyncio.to_thread(client.get_wallet_balance, accountType="UNIFIED")

    assert seen["result"]["list"][0]["totalWalletBalance"] == "0"
    assert present["result"]["list"][0]["totalWalletBalance"] == "1000"
    client.client.close()


async def test_only_reads_of_an_account_lag(desk: Desk, lines: list[EventDict]) -> None:
    await put(desk, "{kind: lagging_reads, ms: 60000}")

    await desk.buy(orderLinkId=LINK)
    await desk.klines()
    await desk.position()

    (fault,) = (await desk.get("/paper/faults"))["faults"]
    assert (fault["matches"], fault["strikes"]) == (1, 1)
    assert [line["place"] for line in struck(lines, "lagging_reads")] == ["/v5/position/list"]


async def test_only_reads_that_fit_are_late(desk: Desk) -> None:
    await put(desk, "{kind: lagging_reads, ms: 60000, when: {endpoint: /v5/position/list}}")
    await desk.buy(orderLinkId=LINK)

    assert (await desk.position())["size"] == "0"
    assert len(await desk.executions()) == 1


# --- whom they strike -------------------------------------------------------------------------


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


# --- how they come and go ---------------------------------------------------------------------


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
