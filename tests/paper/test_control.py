"""The control side: what is read of all accounts, part by part."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.paper.conftest import START, Desk, Open
from tradewright.paper.keys import ApiKey


@pytest.fixture
async def traded(desk: Desk) -> Desk:
    await desk.step()
    for number in range(7):
        await desk.buy("0.01", orderLinkId=f"order-{number}")
    return desk


@pytest.mark.parametrize("path", ["/paper/orders", "/paper/executions"])
async def test_rows_are_listed_part_by_part(traded: Desk, path: str) -> None:
    whole = await traded.get(path)
    parts: list[dict[str, Any]] = []
    after = -1
    while True:
        part = await traded.get(path, limit=3, after_seq=after)
        parts += part["list"]
        if "next_after_seq" not in part:
            break
        after = part["next_after_seq"]

    assert parts == whole["list"]
    assert len(parts) == 7
    assert "next_after_seq" not in whole
    assert (await traded.get(path, account="main"))["list"] == parts


@pytest.mark.parametrize("path", ["/paper/orders", "/paper/executions", "/paper/ledger"])
async def test_rows_of_nobody_are_refused(desk: Desk, path: str) -> None:
    answer = await asyncio.to_thread(desk.send, "GET", path, params={"account": "eve"})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("there is no account eve; ")


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/paper/unknown", 404, "there is no /paper/unknown"),
        ("DELETE", "/paper/clock", 405, "/paper/clock takes no DELETE"),
    ],
)
async def test_what_no_route_answers_is_told_in_json(
    desk: Desk, method: str, path: str, status: int, told: str
) -> None:
    answer = await asyncio.to_thread(desk.send, method, path)

    assert (answer.status_code, answer.json()) == (status, {"error": told})


async def test_an_unknown_role_is_answered_with_those_that_are(desk: Desk) -> None:
    wish = {"name": "desk", "role": "boss"}

    answer = await asyncio.to_thread(desk.send, "POST", "/paper/subscribers", json=wish)

    assert answer.status_code == 400
    told = "there is no role 'boss'; the roles are market, preset, account"
    assert answer.json() == {"error": told}


async def test_the_window_shows_the_smallest_candles_of_the_recording(
    open_desk: Open, tmp_path: Path
) -> None:
    lines = ["open_time,open,high,low,close,volume"]
    for number in range(12):
        opened = START + timedelta(minutes=5 * number)
        lines.append(f"{opened:%Y-%m-%dT%H:%M:%SZ},50000,50010,49990,5000{number % 10},10")
    data = tmp_path / "five-minutes.csv"
    data.write_text("\n".join(lines) + "\n")
    desk = await open_desk(market=data, data_from=START + timedelta(minutes=30))

    shown = await desk.get("/paper/window")

    newest, before = (int(row[0]) for row in shown["candles"][:2])
    assert newest - before == 5 * 60_000
    assert not shown["market"]["started"]


async def test_the_ledger_says_what_the_rows_add_up_to(traded: Desk) -> None:
    book = await traded.get("/paper/ledger")

    executions = (await traded.get("/paper/executions"))["list"]
    assert book["balanced"]
    assert (book["account"], book["orders"], book["executions"]) == ("main", 7, 7)
    assert book["positions"] == {"BTCUSDT": "0.07"}
    assert float(book["fees"]) == pytest.approx(sum(float(e["execFee"]) for e in executions))
    assert float(book["equity"]) == pytest.approx(float(book["wallet"]) + float(book["unrealised"]))
    assert float(book["margin"]["initial"]) > float(book["margin"]["maintenance"]) > 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example", "Content-Type": "text/plain"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8900", "Origin": "http://evil.example:8900"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:8900"}, 200),
        ({"Host": "[::1]:8900", "Origin": "http://[::1]:8900"}, 200),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/paper/keys"), ("GET", "/paper/window")])
async def test_no_page_of_another_site_controls_the_exchange(
    desk: Desk, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await asyncio.to_thread(desk.send, method, path, data="{}", headers=headers)

    assert answer.status_code == status
    assert len(list(desk.paper.door.ring)) == 1 + (status == 200 and method == "POST")


async def test_the_page_itself_may_ask(desk: Desk) -> None:
    headers = {"Origin": desk.paper.http_url}

    answer = await asyncio.to_thread(desk.send, "GET", "/paper/window", headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["10.1.2.3", "nonsense"])
async def test_an_address_is_not_believed_from_a_header(desk: Desk, name: str) -> None:
    headers = {"X-Forwarded-For": name}

    mine = await asyncio.to_thread(desk.send, "GET", "/paper/keys", headers=headers)
    key = await desk.post("/paper/keys", ips=["10.1.2.3"])
    desk.http.api_key, desk.http.api_secret = key["key"], key["secret"]
    desk.http.client.headers.update(headers)

    assert mine.status_code == 200
    assert (await desk.refusal("get_positions", symbol="BTCUSDT"))[0] == 10010


@pytest.mark.parametrize("path", ["/paper/orders", "/paper/executions"])
@pytest.mark.parametrize("after", [10**30, -(10**30)])
async def test_a_number_that_no_row_can_have_is_refused(desk: Desk, path: str, after: int) -> None:
    answer = await asyncio.to_thread(desk.send, "GET", path, params={"after_seq": after})

    assert (answer.status_code, "not understood" in answer.json()["error"]) == (400, True)


async def test_a_key_that_cannot_be_written_is_not_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: ApiKey) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(desk.paper.exchange.store, "put_key", full)
    answer = await asyncio.to_thread(desk.send, "POST", "/paper/keys", json={})

    assert (answer.status_code, "disk is full" in answer.json()["error"]) == (503, True)
    assert len((await desk.get("/paper/keys"))["list"]) == 1
