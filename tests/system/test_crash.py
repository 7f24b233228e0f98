"""`kill -9` at every process of a running system: nothing twice, nothing naked, nothing lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from tests.system.live_system import TIGHT, LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)

WISH = {"note": "enough", "by": "ann"}


@dataclass
class Survivors:
    """Two trades whose orders the exchange had taken when the worker was killed."""

    entering: TradeHandle
    entry_link: str
    leaving: TradeHandle
    exit_link: str


@pytest.fixture(scope="module")
async def survivors(live: LiveSystem) -> Survivors:
    leaving = await live.open("ETHUSDT", Side.SELL)
    plan = await live.approved("BTCUSDT")
    entry_link = ids.order_link(plan.trade_id, "e", 1)
    exit_link = ids.order_link(leaving.id.rpartition("/")[2], "x", 2)
    for link in (entry_link, exit_link):
        await live.stall(link)
    entering = await live.start(plan)
    await leaving.signal("exit", WISH)
    await live.kill_worker_unanswered([entry_link, exit_link])
    return Survivors(entering, entry_link, leaving, exit_link)


async def test_a_worker_killed_before_it_recorded_the_entry_never_sends_it_twice(
    live: LiveSystem, survivors: Survivors
) -> None:
    trade = await live.is_open(survivors.entering)
    sent = await live.orders_with(trade.plan.trade_id)
    assert [o["orderLinkId"] for o in sent] == [survivors.entry_link]
    assert trade.entry_order_id == sent[0]["orderId"]
    assert await live.attempts_of(survivors.entering, "place_entry") == [2]

    trade = await live.leave(survivors.entering)

    assert trade.state is TradeState.CLOSED
    assert await live.position("BTCUSDT") is None
    assert await live.differences(trade) == []


async def test_a_worker_killed_in_the_middle_of_a_flatten_closes_the_position_once(
    live: LiveSystem, survivors: Survivors
) -> None:
    trade = await live.ended(survivors.leaving)

    assert await live.attempts_of(survivors.leaving, "flatten") == [2]
    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.OPERATOR)
    exits = [o for o in await live.orders("ETHUSDT") if o["reduceOnly"] and o["orderLinkId"]]
    assert [(o["orderLinkId"], o["orderStatus"]) for o in exits] == [
        (survivors.exit_link, "Filled")
    ]
    assert await live.position("ETHUSDT") is None
    assert await live.differences(trade) == []


async def test_a_trade_goes_on_when_the_exchange_was_killed_and_is_back(live: LiveSystem) -> None:
    handle = await live.open("SOLUSDT", stop=TIGHT)

    await live.kill_and_restart("paper-exchange")
    await live.step_until_flat("SOLUSDT")
    trade = await live.ended(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.STOP)
    assert await live.differences(trade) == []


async def test_a_trade_goes_on_when_temporal_was_killed_while_its_stop_was_reached(
    live: LiveSystem,
) -> None:
    handle = await live.open("XRPUSDT", Side.SELL, stop=TIGHT)
    dead = live.child("temporal").pid

    await live.kill("temporal")
    await live.step_until_flat("XRPUSDT")
    await live.restarted("temporal", dead)
    trade = await live.ended(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.STOP)
    assert await live.differences(trade) == []


async def test_a_vault_that_goes_away_keeps_no_exit_from_its_key(live: LiveSystem) -> None:
    handle = await live.open("DOGEUSDT")
    vault = live.child("vault").spec

    await live.supervisor.stop("vault")
    try:
        trade = await live.leave(handle)
    finally:
        await live.supervisor.start(vault)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.OPERATOR)
    assert await live.differences(trade) == []


async def test_a_worker_without_vault_says_what_is_missing_and_goes_on_when_it_is_back(
    live: LiveSystem,
) -> None:
    vault = live.child("vault").spec
    await live.refresh()
    await live.supervisor.stop("vault")
    try:
        await live.kill_and_restart("worker")
        handle = await live.start(await live.approved("ADAUSDT"))

        async def complaint() -> str:
            return await live.failure_of(handle, "place_entry")

        told = await until(complaint)
        assert told.startswith(f"vault {live.settings.vault.address} does not answer")
        assert "start it, or correct TRADEWRIGHT_VAULT__ADDRESS" in told
        assert await live.orders("ADAUSDT") == []
    finally:
        await live.supervisor.start(vault)

    trade = await live.is_open(handle)
    assert len(await live.orders_with(trade.plan.trade_id)) == 1
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_without_the_journal_nothing_enters_and_everything_can_leave(
    live: LiveSystem,
) -> None:
    leaving = await live.open("AVAXUSDT")
    plan = await live.approved("BNBUSDT")

    with locked(live.settings.state / "journal.db"):
        entering = await live.start(plan)
        await leaving.signal("exit", WISH)

        async def has_left() -> bool:
            return (await live.view(leaving)).trade.is_final

        async def complaint() -> str:
            return await live.failure_of(entering, "place_entry")

        await until(has_left)
        assert await live.position("AVAXUSDT") is None
        assert "journal" in await until(complaint)
        assert await live.orders("BNBUSDT") == []
        written = await live.journal.trade(leaving.id.rpartition("/")[2])
        assert written is not None
        assert written.live
        assert await live.status(leaving) is WorkflowExecutionStatus.RUNNING

    await live.is_open(entering)
    left, entered = await live.ended(leaving), await live.leave(entering)
    assert left.exit_reason is ExitReason.OPERATOR
    assert await live.differences(left, entered) == []


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody else from writing to the database."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


async def test_a_worker_that_is_asked_to_end_does_so_in_time(live: LiveSystem) -> None:
    worker = live.child("worker")

    await live.supervisor.stop("worker")

    assert worker.returncode == 0
    await live.supervisor.start(worker.spec)


async def test_after_all_that_the_books_agree_and_the_audit_sees_one_execution_less(
    live: LiveSystem,
) -> None:
    trade = await live.leave(await live.open("LINKUSDT"))
    clean = await live.command("audit", "--output", "json")
    assert (clean.code, clean.document["ok"]) == (0, True), clean.out
    missing = trade.executions[-1].exec_id

    with closing(sqlite3.connect(live.settings.state / "journal.db")) as book:
        row: tuple[Any, ...] = book.execute(
            "SELECT * FROM executions WHERE exec_id = ?", (missing,)
        ).fetchone()
        book.execute("DELETE FROM executions WHERE exec_id = ?", (missing,))
        book.commit()
        try:
            tampered = await live.command("audit")
        finally:
            book.execute(f"INSERT INTO executions VALUES ({', '.join('?' * len(row))})", row)
            book.commit()

    assert tampered.code == 1, tampered.out
    assert missing in tampered.out
    assert "execution_missing" in tampered.out
    assert "the books differ" in tampered.err


async def test_no_secret_is_in_any_file_or_history_of_the_system(live: LiveSystem) -> None:
    token = live.settings.vault.token
    assert token is not None
    secrets = {
        "API secret": live.key.api_secret.get_secret_value().encode(),
        "Vault token": token.get_secret_value().encode(),
    }
    files = {
        str(path.relative_to(live.settings.home)): path.read_bytes()
        for path in live.settings.home.rglob("*")
        if path.is_file()
    }
    histories = {
        found.id: b"".join(
            [
                event.SerializeToString()
                async for event in live.client.get_workflow_handle(
                    found.id, run_id=found.run_id
                ).fetch_history_events()
            ]
        )
        async for found in live.client.list_workflows()
    }

    # Who starts later commands hands it the way in; nobody but the owner may read it
    described = files.pop(live.running_file.name)
    assert live.running_file.stat().st_mode & 0o777 == 0o600
    assert secrets["Vault token"] in described
    assert {"paper/journal.db", "paper/temporal.db", "paper/exchange.db"} <= files.keys()
    assert {"paper/logs/worker.jsonl", "paper/logs/spans.jsonl"} <= files.keys()
    assert any(name.startswith("trade/") for name in histories)
    leaks = [
        f"{name} is in {place}"
        for place, content in (files | histories).items()
        for name, secret in secrets.items()
        if secret in content
    ]
    assert leaks == []
