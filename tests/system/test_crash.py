"""`kill -9` at every process of a running system: nothing twice, nothing naked, nothing lost."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.system.live_system import TIGHT, LiveSystem, until
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)

WISH = {"note": "enough", "by": "ann"}


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
    # Without the key there is no private stream, and without that no entry is approved
    plan = await live.approved("ADAUSDT")
    await live.supervisor.stop("vault")
    try:
        await live.kill_and_restart("worker")
        handle = await live.start(plan)

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
