"""What a reconciliation looks at beside positions and trades: orders, wallet, journal."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.client import Client

from activities.recent import fetch_recent_cash, fetch_recent_executions
from activities.reconciliation import BybitReconciliation
from tradewright import ids
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.reconciliation import Kind, Policies
from tradewright.domain.ruling import opening_of
from tradewright.journal import Journal
from tradewright.journal.database import Database
from tradewright.ports import Comparison
from workflows.attributes import ACCOUNT, attributes
from workflows.case import CaseStart
from workflows.case_life import CaseWorkflow


def kinds(comparison: Comparison) -> list[Kind]:
    return [d.kind for d in comparison.discrepancies]


def enriched(by: str) -> Any:
    """The wallet holds more than anybody has told."""

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (row,) = rows
        (coin,) = row["coin"]
        told = str(Decimal(coin["walletBalance"]) + Decimal(by))
        return [row | {"coin": [coin | {"walletBalance": told}]}]

    return change


async def traded(bench: Any) -> None:
    await bench.order("BTCUSDT", "Buy", "0.01")
    await bench.order("BTCUSDT", "Sell", "0.01", reduceOnly=True)


async def test_an_order_that_is_not_ours_is_reported_and_can_be_cancelled(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    low = f"{bench.price() // 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low)
    (foreign,) = (await bench.run(books.compare, name)).discrepancies

    await bench.run(books.cancel_unknown, foreign)

    assert foreign.kind is Kind.FOREIGN_ORDER
    assert bench.open_orders() == []


async def test_a_conditional_order_that_is_not_ours_is_reported(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    high = f"{bench.price() * 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.01", triggerPrice=high, triggerDirection=1)

    assert kinds(await bench.run(books.compare, name)) == [Kind.FOREIGN_ORDER]


async def test_an_order_that_cannot_be_read_hides_no_other(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    """B10: a row without its fields is left out, and the pass goes on."""
    low = f"{bench.price() // 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low)
    change = bench.faults.rows(
        lambda rows: [
            {"orderId": "o"},
            *({k: v for k, v in r.items() if k != "reduceOnly"} for r in rows),
        ]
    )
    bench.line.always["get_open_orders"] = change

    found = await bench.run(books.compare, name)

    assert kinds(found) == [Kind.FOREIGN_ORDER]
    assert found.unlooked == (Kind.UNKNOWN_ORDER, Kind.FOREIGN_ORDER)


async def test_a_wallet_that_its_log_explains_has_not_drifted(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    await traded(bench)

    found = await bench.run(books.compare, name)

    assert (found.discrepancies, found.unlooked) == ((), ())


async def test_money_that_was_moved_is_no_drift(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    await traded(bench)
    await bench.client.call(
        "create_internal_transfer",
        transferId=str(uuid.uuid4()),
        coin="USDT",
        amount="250",
        fromAccountType="UNIFIED",
        toAccountType="FUND",
    )

    book = await fetch_recent_cash(bench.client, await bench.pace.market_now())
    found = await bench.run(books.compare, name)

    assert [flow.change for flow in book.flows if not flow.is_trade] == [-250]
    assert (found.discrepancies, found.unlooked) == ((), ())


@pytest.mark.parametrize("by", ["5", "-0.5"])
async def test_a_wallet_that_changed_by_more_than_its_log_explains_has_drifted(
    bench: Any, books: BybitReconciliation, name: str, by: str
) -> None:
    await traded(bench)
    bench.line.always["get_wallet_balance"] = bench.faults.rows(enriched(by))

    (drift,) = (await bench.run(books.compare, name)).discrepancies

    assert (drift.kind, drift.symbol, drift.mark) == (Kind.BALANCE_DRIFT, "", by)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("get_transaction_log", Kind.BALANCE_DRIFT),
        ("get_wallet_balance", Kind.BALANCE_DRIFT),
        ("get_executions", Kind.MISSING_EXECUTION),
    ],
)
async def test_what_cannot_be_looked_at_holds_nothing_up(
    bench: Any, books: BybitReconciliation, name: str, method: str, kind: Kind
) -> None:
    """B10: one bad read does not abort the pass, and is not taken for agreement."""
    await traded(bench)
    low = f"{bench.price() // 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low)
    bench.line.always[method] = bench.faults.http_status(502)

    found = await bench.run(books.compare, name)

    assert kinds(found) == [Kind.FOREIGN_ORDER]
    assert found.unlooked == (kind,)


async def test_an_execution_that_cannot_be_read_hides_no_other(bench: Any) -> None:
    await traded(bench)
    change = bench.faults.rows(lambda rows: [{"symbol": "BTCUSDT"}, *rows])
    bench.line.always["get_executions"] = change

    found = await fetch_recent_executions(bench.client, await bench.pace.market_now())

    assert [e.qty for e in found] == [Decimal("0.01"), Decimal("0.01")]


async def test_only_so_much_is_read_in_one_pass(bench: Any) -> None:
    for _ in range(60):
        await traded(bench)
    now = await bench.pace.market_now()

    cash = await fetch_recent_cash(bench.client, now)
    executions = await fetch_recent_executions(bench.client, now)

    assert (len(cash.flows), len(executions)) == (100, 120)
    assert bench.line.count("get_transaction_log") == 2
    assert bench.line.count("get_executions") == 2


# --- the journal --------------------------------------------------------------------------------


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", venue="paper")
    yield journal
    await journal.close()


def event(number: int) -> JournalEvent:
    return JournalEvent(
        event_id=f"e{number}",
        chain="trade/BTCUSDT/tw",
        kind=EventKind.MESSAGE_REFUSED,
        account="main",
        at=datetime(2026, 11, 20, tzinfo=UTC),
        data={"message": {}, "fault": str(number)},
    )


@pytest.fixture
async def altered(journal: Journal, tmp_path: Path) -> Journal:
    """A journal whose five hundredth of a thousand rows was altered by hand."""
    await journal.append([event(number) for number in range(1, 1001)])
    database = Database(f"sqlite:///{tmp_path / 'journal.db'}")
    await database.write(lambda c: [c.execute(text(s)) for s in BY_HAND])
    await database.close()
    return journal


async def test_a_row_of_the_journal_that_a_person_altered_is_reported_by_every_pass(
    bench: Any, temporal: Client, name: str, altered: Journal
) -> None:
    books = BybitReconciliation(
        bench.client,
        bench.pace,
        temporal,
        name,
        journal=altered,
        policies=Policies(altered_journal="trip"),
    )

    found = [await bench.run(books.compare, name) for _ in range(4)]

    # Not among the newest, nor in the first part of the round
    assert [kinds(f) for f in found] == [[], *([[Kind.ALTERED_JOURNAL]] * 3)]
    (reported,) = found[-1].discrepancies
    assert "event 500 of trade/BTCUSDT/tw: its content is not what was" in reported.detail
    assert found[0].policies.altered_journal == "trip"


async def test_a_worker_that_is_new_learns_from_the_case_what_was_altered(
    bench: Any, temporal: Client, queue: str, name: str, altered: Journal
) -> None:
    def anew() -> BybitReconciliation:
        return BybitReconciliation(bench.client, bench.pace, temporal, name, journal=altered)

    first = anew()
    await bench.run(first.compare, name)
    found = await bench.run(first.compare, name)
    forgotten = await bench.run(anew().compare, name)
    case = await temporal.start_workflow(
        CaseWorkflow.run,
        CaseStart(opening=opening_of(name, found.discrepancies, found.at)),
        id=ids.case_workflow(name, "-", Kind.ALTERED_JOURNAL),
        task_queue=queue,
        search_attributes=attributes((ACCOUNT, name)),
    )
    async with asyncio.timeout(20):
        while not (await temporal.count_workflows(f"Account='{name}'")).count:  # noqa: ASYNC110 the list lags
            await asyncio.sleep(0.05)

    remembered = await bench.run(anew().compare, name)
    await case.terminate()

    assert (kinds(forgotten), kinds(remembered)) == ([], [Kind.ALTERED_JOURNAL])


BY_HAND = (
    "DROP TRIGGER events_refuse_update",
    "UPDATE events SET account = 'other' WHERE event_id = 'e500'",
)
