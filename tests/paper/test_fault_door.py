"""Faults of requests, over the wire: what clients see of them, and what the exchange did."""

import asyncio
import json
import re
import time

import pybit.unified_trading as pybit
import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from structlog.typing import EventDict

from tests.paper.conftest import Desk
from tests.paper.fault import LINK, on_create, orders, put, struck

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
