"""The account as it is read, and the desk's decisions as they are written down."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.account import BybitAccount
from activities.interceptor import DomainErrors
from tradewright import ids
from tradewright.domain.account import (
    Account,
    Approved,
    Baseline,
    MarginMode,
    Past,
    PositionMode,
    Refused,
)
from tradewright.domain.errors import AnswerMalformed, DeskUnreachable
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.plan import Proposal
from tradewright.ports import Reconciled, SnapshotWish, activities_of
from workflows.account import AccountStart, AccountWorkflow

MAIN = SnapshotWish(account="main")


@pytest.fixture
def account(bench: Any, temporal: Client) -> BybitAccount:
    return BybitAccount(bench.client, bench.journal, bench.pace, temporal)


@pytest.fixture
def proposal(make_plan: Any) -> Proposal:
    plan = make_plan()
    name = f"t{uuid.uuid4().hex[:8]}"
    shared = ("preset", "preset_hash", "symbol", "trigger", "price", "stop_loss", "take_profit")
    fields = {field: getattr(plan, field) for field in (*shared, "exits", "leverage", "instrument")}
    own = {
        "trade_id": ids.trade_id(name, plan.preset, plan.symbol, plan.trigger),
        "account": name,
        "signal": {"side": "Buy", "reason": "test"},
        "sizing": {"kind": "fixed_notional", "notional": "1000"},
        "max_open_trades": 1,
        "expires_after": timedelta(seconds=30),
        "window": "w",
    }
    return Proposal.model_validate(fields | own)


@pytest.fixture
async def desk(
    temporal_env: WorkflowEnvironment, account: BybitAccount, proposal: Proposal
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """The account's workflow, with its first snapshot taken."""
    queue = f"test-{uuid.uuid4().hex}:trading"
    worker = Worker(
        temporal_env.client,
        task_queue=queue,
        workflows=[AccountWorkflow],
        activities=activities_of(account),
        interceptors=[DomainErrors()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        with temporal_env.with_time_skipping_disabled():
            handle = await temporal_env.client.start_workflow(
                AccountWorkflow.run,
                AccountStart(account=proposal.account),
                id=ids.account_workflow(proposal.account),
                task_queue=queue,
            )
        await handle.execute_update("refresh")
        yield handle
        await handle.terminate()


def decisions(bench: Any) -> list[JournalEvent]:
    return [e for e in bench.journal.events.values() if e.kind is not EventKind.SNAPSHOT]


async def test_a_snapshot_shows_equity_and_positions(bench: Any, account: BybitAccount) -> None:
    await bench.order("BTCUSDT", "Buy", "0.1", stopLoss=f"{bench.price() - 1000:f}")
    bench.move("BTCUSDT", bench.price() + 500)

    snapshot = await bench.run(account.read_snapshot, MAIN)

    (position,) = snapshot.positions
    assert (position.symbol, position.side, position.qty) == ("BTCUSDT", "Buy", Decimal("0.1"))
    assert position.stop_loss is not None
    assert position.take_profit is None
    assert snapshot.equity == snapshot.wallet + position.unrealised_pnl
    assert position.unrealised_pnl > 0
    assert snapshot.market_at == await bench.pace.market_now()


async def test_a_snapshot_that_shows_no_account_is_no_snapshot(
    bench: Any, account: BybitAccount
) -> None:
    bench.line.spoil("get_wallet_balance", bench.faults.empty_list)

    with pytest.raises(AnswerMalformed):
        await bench.run(account.read_snapshot, MAIN)


async def test_a_position_that_cannot_be_read_is_no_snapshot_without_it(
    bench: Any, account: BybitAccount
) -> None:
    bench.line.always["get_positions"] = bench.faults.with_an_unreadable_row

    with pytest.raises(AnswerMalformed, match="ETHUSDT"):
        await bench.run(account.read_snapshot, MAIN)


async def test_an_approval_is_the_same_when_asked_again_and_is_journaled_once(
    bench: Any, account: BybitAccount, desk: WorkflowHandle[Any, Any], proposal: Proposal
) -> None:
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC)))
    begun = datetime.now(UTC)

    first = await bench.run(account.reserve, proposal, begun=begun)
    again = await bench.run(account.reserve, proposal, begun=begun, attempt=2)

    assert isinstance(first, Approved)
    assert first == again
    (event,) = decisions(bench)
    assert (event.kind, event.trade_id) == (EventKind.SIGNAL_APPROVED, proposal.trade_id)
    assert event.data["plan"] == first.plan.model_dump(mode="json")


async def test_a_refusal_is_journaled_with_its_reason(
    bench: Any, account: BybitAccount, desk: WorkflowHandle[Any, Any], proposal: Proposal
) -> None:
    refused = await bench.run(account.reserve, proposal)

    assert isinstance(refused, Refused)
    (event,) = decisions(bench)
    assert (event.kind, event.chain) == (EventKind.SIGNAL_REFUSED, "strategy/test")
    assert (event.data["code"], event.data["reason"]) == (refused.code, refused.reason)


async def test_without_a_desk_nothing_is_decided(
    bench: Any, account: BybitAccount, proposal: Proposal
) -> None:
    with pytest.raises(DeskUnreachable, match=f"account/{proposal.account}"):
        await bench.run(account.reserve, proposal)

    assert bench.journal.events == {}


async def test_a_decision_that_cannot_be_journaled_is_asked_for_again(
    bench: Any, account: BybitAccount, desk: WorkflowHandle[Any, Any], proposal: Proposal
) -> None:
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC)))
    bench.journal.is_away = True
    with pytest.raises(Exception, match="journal is away"):
        await bench.run(account.reserve, proposal)
    bench.journal.is_away = False

    decision = await bench.run(account.reserve, proposal, attempt=2)

    shown = await desk.query(AccountWorkflow.account)
    assert isinstance(decision, Approved)
    assert [r.plan for r in shown.reservations] == [decision.plan]


# --- cash -----------------------------------------------------------------------------------------


async def transfer(bench: Any, amount: str, *, out: bool = False) -> None:
    """Move money between the unified account and the funding account."""
    ways = ("UNIFIED", "FUND") if out else ("FUND", "UNIFIED")
    await bench.client.call(
        "create_internal_transfer",
        transferId=str(uuid.uuid4()),
        coin="USDT",
        amount=amount,
        fromAccountType=ways[0],
        toAccountType=ways[1],
    )


async def look(bench: Any, account: BybitAccount, before: Account | None = None) -> Account:
    """Take a snapshot as the desk does, and return the desk after it."""
    desk = before or Account(name="main", started_at=datetime.now(UTC))
    wish = SnapshotWish(account="main", baseline=desk.baseline if desk.is_rebuilt else None)
    snapshot = await bench.run(account.read_snapshot, wish)
    assert snapshot.is_explained
    return desk.observed(snapshot)


async def test_deposits_and_withdrawals_are_no_profit(bench: Any, account: BybitAccount) -> None:
    """E7: deposits and withdrawals are not PnL."""
    before = await look(bench, account)
    half = (before.peak_equity / 2).quantize(Decimal(1))

    await transfer(bench, f"{half:f}", out=True)
    less = await look(bench, account, before)
    await transfer(bench, f"{half:f}")
    again = await look(bench, account, less)

    assert before.snapshot is not None
    assert less.snapshot is not None
    assert less.snapshot.equity == before.snapshot.equity - half
    for desk in (less, again):
        assert desk.drawdown_fraction == desk.day_loss_fraction == 0
        assert desk.realised_today == 0
    assert again.peak_equity == before.peak_equity


async def test_a_withdrawal_of_another_coin_is_no_loss(bench: Any, account: BybitAccount) -> None:
    """E7: deposits and withdrawals are not PnL, in whatever coin."""

    def richer(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (row,) = rows
        bitcoin = {"coin": "BTC", "walletBalance": "1", "equity": "1", "usdValue": "60000"}
        total = str(Decimal(row["totalEquity"]) + 60_000)
        return [row | {"coin": [bitcoin, *row["coin"]], "totalEquity": total}]

    bench.line.spoil("get_wallet_balance", bench.faults.rows(richer))
    before = await look(bench, account)
    after = await look(bench, account, before)

    assert before.snapshot is not None
    assert before.snapshot.equity == before.snapshot.wallet
    assert after.drawdown_fraction == after.day_loss_fraction == 0


async def test_the_day_realises_what_executions_did(bench: Any, account: BybitAccount) -> None:
    before = await look(bench, account)
    await bench.order("BTCUSDT", "Buy", "0.1", stopLoss=f"{bench.price() - 1000:f}")
    opened = await look(bench, account, before)
    bench.move("BTCUSDT", bench.price() + 500)
    await bench.order("BTCUSDT", "Sell", "0.1", reduceOnly=True)

    closed = await look(bench, account, opened)

    assert opened.snapshot is not None
    assert closed.snapshot is not None
    assert opened.realised_today == -opened.fees_today < 0
    assert closed.realised_today == closed.snapshot.wallet - before.day_equity > 0
    assert opened.snapshot.leverage == opened.snapshot.exposure / opened.snapshot.equity
    assert opened.snapshot.margin_ratio is not None
    assert 0 < opened.snapshot.margin_ratio < 1


async def test_a_log_that_lags_explains_nothing_and_counts_nothing(
    bench: Any, account: BybitAccount
) -> None:
    before = await look(bench, account)
    await transfer(bench, "100", out=True)
    bench.line.spoil("get_transaction_log", bench.faults.empty_list)
    wish = SnapshotWish(account="main", baseline=before.baseline)

    late = await bench.run(account.read_snapshot, wish)
    there = await bench.run(account.read_snapshot, wish)

    assert not late.is_explained
    assert (there.is_explained, there.cash.moved) == (True, -100)


async def test_a_log_that_cannot_be_read_fails_no_snapshot(
    bench: Any, account: BybitAccount
) -> None:
    bench.line.spoil("get_transaction_log", bench.faults.http_status(503))

    snapshot = await bench.run(account.read_snapshot, MAIN)

    assert snapshot.cash_fault
    assert not snapshot.is_explained
    assert snapshot.equity > 0


# --- what a snapshot also tells -------------------------------------------------------------------


async def test_a_near_liquidation_is_seen(bench: Any, account: BybitAccount) -> None:
    await bench.order("BTCUSDT", "Buy", "0.1", stopLoss=f"{bench.price() - 1000:f}")
    near = f"{bench.price() - 100:f}"
    bench.line.always["get_positions"] = bench.faults.rows(
        lambda rows: [row | {"liqPrice": near} for row in rows]
    )

    snapshot = await bench.run(account.read_snapshot, MAIN)

    symbol, distance = snapshot.liquidation_distance
    assert symbol == "BTCUSDT"
    assert 0 < distance < Decimal("0.01")


async def test_modes_are_read_when_they_are_asked_for(bench: Any, account: BybitAccount) -> None:
    """F7: position and margin mode are known before the first entry."""
    asked = await bench.run(account.read_snapshot, SnapshotWish(account="main", modes=True))
    unasked = await bench.run(account.read_snapshot, MAIN)

    assert (asked.position_mode, asked.margin_mode) == (PositionMode.ONE_WAY, MarginMode.CROSS)
    assert (unasked.position_mode, unasked.margin_mode) == (None, None)


async def test_a_hedged_account_is_recognised(bench: Any, account: BybitAccount) -> None:
    """F7: hedge mode is found at the start, by rows of both sides."""
    bench.line.always["get_positions"] = bench.faults.rows(
        lambda rows: [row | {"positionIdx": side} for row in rows for side in (1, 2)]
    )

    snapshot = await bench.run(account.read_snapshot, SnapshotWish(account="main", modes=True))

    assert snapshot.position_mode is PositionMode.HEDGE


async def test_a_fresh_desk_is_told_its_past(bench: Any, account: BybitAccount) -> None:
    past = Past(baseline=Baseline(peak_equity=Decimal(10**9)), losses=2)
    bench.journal.known_past = past

    fresh = await bench.run(account.read_snapshot, MAIN)
    known = await bench.run(
        account.read_snapshot, SnapshotWish(account="main", baseline=past.baseline)
    )

    assert (fresh.past, known.past) == (past, None)
    events = [e for e in bench.journal.events.values() if e.kind is EventKind.SNAPSHOT]
    assert [e.data["baseline"]["peak_equity"] for e in events] == ["1000000000"] * 2


async def test_a_past_that_cannot_be_read_is_not_written_over(
    bench: Any, account: BybitAccount
) -> None:
    bench.journal.is_away = True
    unread = await bench.run(account.read_snapshot, MAIN)
    bench.journal.is_away = False

    assert unread.past is None
    assert "journal is away" in unread.past_fault
    assert Account(name="main", started_at=datetime.now(UTC)).observed(unread).is_rebuilt is False
