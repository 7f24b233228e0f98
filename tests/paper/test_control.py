"""The control side: what is read of all accounts, part by part."""

import asyncio
from typing import Any

import pytest

from tests.paper.conftest import Desk


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
    assert (await traded.get(path, account="ann"))["list"] == []


async def test_the_ledger_says_what_the_rows_add_up_to(traded: Desk) -> None:
    book = await traded.get("/paper/ledger")

    executions = (await traded.get("/paper/executions"))["list"]
    assert book["balanced"]
    assert (book["account"], book["orders"], book["executions"]) == ("main", 7, 7)
    assert book["positions"] == {"BTCUSDT": "0.07"}
    assert float(book["fees"]) == pytest.approx(sum(float(e["execFee"]) for e in executions))
    assert float(book["equity"]) == pytest.approx(float(book["wallet"]) + float(book["unrealised"]))
    assert float(book["margin"]["initial"]) > float(book["margin"]["maintenance"]) > 0


async def test_the_ledger_of_nobody_is_refused(desk: Desk) -> None:
    answer = await asyncio.to_thread(desk.send, "GET", "/paper/ledger", params={"account": "eve"})

    assert (answer.status_code, "no account eve" in answer.json()["error"]) == (400, True)
