"""Cases from the command line, on the real workflow."""

from datetime import UTC, datetime

import pytest

from tests.cli.conftest import System
from tradewright import ids
from tradewright.domain.case import CaseOpening
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.ruling import opening_of
from workflows.attributes import ACCOUNT, attributes
from workflows.case import CaseStart
from workflows.case_life import CaseWorkflow


def opening(system: System, symbol: str) -> CaseOpening:
    order = Discrepancy(
        kind=Kind.FOREIGN_ORDER, symbol=symbol, detail="order o1 is not ours", order_id="o1"
    )
    return opening_of(system.account, [order], datetime.now(UTC))


async def opened(system: System, *symbols: str) -> list[str]:
    """Open a case on each symbol, and return once they are listed."""
    names = []
    for symbol in symbols:
        name = ids.case_workflow(system.account, symbol, Kind.FOREIGN_ORDER)
        with system.env.with_time_skipping_disabled():
            await system.client.start_workflow(
                CaseWorkflow.run,
                CaseStart(opening=opening(system, symbol)),
                id=name,
                task_queue=ids.QUEUE_TRADING,
                search_attributes=attributes((ACCOUNT, system.account)),
            )
        names.append(name)
    query = f"WorkflowType='CaseWorkflow' AND Account='{system.account}'"
    await system.listed(query, len(symbols))
    return names


async def test_cases_that_wait_are_listed_with_what_may_be_decided(working: System) -> None:
    first, second = await opened(working, "BTCUSDT", "ETHUSDT")
    await working.call("case", "decide", "BTCUSDT", "ignore", "--by", "ann")

    table = await working.call("case", "list", "--links")
    document = (await working.call("case", "list", "-o", "json")).document

    assert (table.code, document["kind"]) == (0, "cases")
    assert f"workflows/{second.replace('/', '%2F')}" in table.out
    assert [(c["workflow_id"], c["state"]) for c in document["cases"]] == [
        (second, "open"),
        (first, "ignored"),
    ]
    assert document["cases"][0]["choices"] == ["fix", "ignore"]


async def test_no_cases_are_no_fault(working: System) -> None:
    answer = await working.call("case", "list")

    assert (answer.code, answer.out.strip()) == (0, "no cases")


async def test_a_case_shows_what_differs_and_what_was_decided(working: System) -> None:
    (name,) = await opened(working, "BTCUSDT")

    before = await working.call("case", "show", "BTC")
    decided = await working.call(
        "case", "decide", name, "fix", "--by", "ann", "--reason", "not mine"
    )
    after = (await working.call("case", "show", name, "-o", "json")).document["case"]

    assert "order o1 is not ours" in before.out
    assert "fix, ignore" in before.out
    assert f"{name}: fix by ann accepted" in decided.out
    assert (after["decision"]["by"], after["decision"]["reason"]) == ("ann", "not mine")
    assert after["state"] == "decided"


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (("decide", "BTCUSDT", "adopt"), 6, "adopt is no choice here; choose one of fix, ignore"),
        (("decide", "SOLUSDT", "fix"), 4, "case 'SOLUSDT' is not known"),
        (("decide", "case/other/BTCUSDT/x", "fix"), 4, "is not known; see `tradewright case list`"),
        (("show", "USDT"), 4, "may be any of"),
        (("decide", "BTCUSDT", "sell"), 2, ""),
    ],
)
async def test_what_cannot_be_decided_says_why(
    working: System, arguments: tuple[str, ...], code: int, fault: str
) -> None:
    await opened(working, "BTCUSDT", "ETHUSDT")

    answer = await working.call("case", *arguments)

    assert answer.code == code
    assert fault in answer.err


@pytest.mark.usefixtures("_short_patience")
async def test_a_decision_that_nobody_hears_is_not_sent(system: System) -> None:
    (name,) = await opened(system, "BTCUSDT")

    answer = await system.call("case", "decide", name, "fix", "--by", "ann")

    assert answer.code == 5
    assert "decide was not sent, nothing was done" in answer.err
