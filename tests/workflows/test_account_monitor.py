"""The desk's workflow as a monitor: what it hears, what it brings about, what it outlives."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from tests.workflows.script import NOON
from tradewright import ids
from tradewright.app.hot_reload import StrategyApplier
from tradewright.app.wish import NoWorkerAnswers
from tradewright.domain.account import (
    Account,
    Approved,
    Baseline,
    CashMark,
    Channel,
    Consequence,
    Consequences,
    Filled,
    LeaveWish,
    Limits,
    MarginMode,
    Past,
    PositionMode,
    RefusalCode,
    Refused,
    Released,
    Tally,
    Unresolved,
)
from tradewright.domain.event import EventKind
from tradewright.domain.market import Side
from tradewright.domain.notice import Priority
from tradewright.domain.protection import Guards, LossGuard
from tradewright.ports import Reconciled
from workflows.account import AccountWorkflow, LiftWish, LimitsWish

Until = Callable[..., Any]
Failure = Callable[..., Any]
HOUR = timedelta(hours=1)


async def open_desk(stage: Any, until: Until, **changes: Any) -> Any:
    """Start a desk that has a snapshot and is reconciled."""
    desk = await stage.start_account(**({"snapshot_every": HOUR} | changes))
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC) + timedelta(seconds=1)))
    await until(desk, "account", lambda a: a["snapshot"] and a["reconciled_at"])
    return desk


async def code_of(desk: Any, proposal: Any) -> RefusalCode | None:
    decision = await desk.execute_update(AccountWorkflow.reserve, proposal)
    return decision.code if isinstance(decision, Refused) else None


def seen(stage: Any, **changes: Any) -> Any:
    """Return a snapshot as the exchange would show it, changed."""
    return stage.desk.snapshot().model_copy(update=changes)


async def look(stage: Any, desk: Any, **changes: Any) -> None:
    """Let the desk see that, and nothing else until the next time."""
    stage.desk.script.answer("read_snapshot", seen(stage, **changes))
    await desk.execute_update(AccountWorkflow.refresh)


async def told(notifier: Any) -> list[tuple[str, bool]]:
    heard = await notifier.query("heard")
    return [(notice["key"].split("/", 2)[2], notice["resolved"]) for _, notice in heard]


def doubt(number: int, *, over: bool = False) -> Unresolved:
    return Unresolved(
        trade_id=f"tw{number}",
        symbol="BTCUSDT",
        order_link_id=f"tw{number}-e1",
        since=datetime.now(UTC),
        over=over,
    )


# --- what trades, streams and strategies tell -----------------------------------------------------


async def test_a_burst_of_fills_is_one_look_at_the_account(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    before = stage.desk.script.count("read_snapshot")

    for _ in range(20):
        await desk.signal("filled", Filled(symbol="BTCUSDT"))
    await stage.desk.script.called("read_snapshot", before + 1)
    await desk.execute_update(AccountWorkflow.refresh)

    assert stage.desk.script.count("read_snapshot") == before + 2


async def test_stale_data_blocks_entries_until_it_is_fresh_again(stage: Any, until: Until) -> None:
    """F4: stale data blocks entries; it is not only a warning."""
    desk = await open_desk(stage, until)
    late = Channel(name="public", fault="silent for 25 min", since=datetime.now(UTC))

    await desk.signal("channel", late)
    during = await code_of(desk, stage.proposal())
    await desk.signal("channel", late.model_copy(update={"fault": ""}))
    after = await code_of(desk, stage.proposal())

    assert (during, after) == (RefusalCode.STALE_DATA, None)


async def test_a_private_stream_that_is_dead_too_long_trips_the_kill_switch(
    stage: Any, until: Until
) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until)
    since = datetime.now(UTC) - timedelta(minutes=6)

    await desk.signal("channel", Channel(name="private", fault="it does not answer", since=since))
    await desk.execute_update(AccountWorkflow.refresh)

    [(name, wish)] = await switch.query("heard")
    assert (name, wish["by"]) == ("trip", "risk monitor")
    assert "private stream has been dead" in wish["reason"]


async def test_orders_in_doubt_block_their_symbol_and_too_many_trip_the_kill_switch(
    stage: Any, until: Until
) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until)

    await desk.signal("unresolved", doubt(1))
    blocked = await code_of(desk, stage.proposal())
    await desk.signal("unresolved", doubt(1, over=True))
    free = await code_of(desk, stage.proposal())
    for number in (2, 3):
        await desk.signal("unresolved", doubt(number))
    await desk.execute_update(AccountWorkflow.refresh)

    assert (blocked, free) == (RefusalCode.SYMBOL_UNRESOLVED, None)
    [(_, wish)] = await switch.query("heard")
    assert "3 orders of unknown outcome" in wish["reason"]


async def test_a_strategys_wish_to_leave_reaches_the_trade_that_it_is_about(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until)
    proposal = stage.proposal()
    trade = await stage.listen_as(ids.trade_workflow("BTCUSDT", proposal.trade_id))
    await desk.execute_update(AccountWorkflow.reserve, proposal)
    wish = LeaveWish(preset=stage.preset, symbol="BTCUSDT", reason="it crossed back")

    for other in ({"side": Side.SELL}, {"preset": "another"}, {"symbol": "ETHUSDT"}):
        await desk.signal("leave", wish.model_copy(update=other))
    await desk.signal("leave", wish)
    heard = await until(trade, "heard", bool)

    [(name, event)] = heard
    assert name == "report"
    assert (event["kind"], event["reason"], event["note"], event["by"]) == (
        "exit_requested",
        "signal",
        "it crossed back",
        stage.preset,
    )


async def test_the_desk_shows_whom_it_is_telling_to_leave(stage: Any, until: Until) -> None:
    """A lockstep goes on only when the trade has heard of it."""
    desk = await open_desk(stage, until)
    proposal = stage.proposal()
    await stage.listen_as(ids.trade_workflow("BTCUSDT", proposal.trade_id))
    await desk.execute_update(AccountWorkflow.reserve, proposal)
    wish = LeaveWish(preset=stage.preset, symbol="BTCUSDT")

    seen: set[str] = set()
    async with asyncio.timeout(30):
        while not seen:
            await desk.signal("leave", wish)
            seen |= {*(await desk.query("account"))["leaving"]}

    assert seen == {proposal.trade_id}
    await until(desk, "account", lambda account: not account["leaving"])


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, RefusalCode.LOSS_STREAK])
async def test_a_lift_of_one_preset_lifts_nothing_of_the_account(
    stage: Any, until: Until, code: RefusalCode | None
) -> None:
    """Whoever names a preset does not mean what holds all of them."""
    desk = await open_desk(stage, until, limits=Limits(loss_streak=1))
    lost = stage.proposal(trade_id="tw" + "a" * 16)
    await desk.execute_update(AccountWorkflow.reserve, lost)
    await desk.signal("release", Released(trade_id=lost.trade_id, at=lost.trigger, pnl=Decimal(-5)))
    await desk.execute_update(AccountWorkflow.refresh)
    wish = {"code": code, "preset": "ema", "by": "ann", "reason": "mended"}

    with pytest.raises(WorkflowUpdateFailedError):
        await desk.execute_update("lift", wish)
    await desk.signal("lift", wish)

    assert await code_of(desk, stage.proposal()) is RefusalCode.PAUSED
    attributes = (await desk.describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in attributes}["NeedsOperator"] is True


async def test_a_streak_of_losses_pauses_entries_until_a_person_lifts_it(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    desk = await open_desk(stage, until, limits=Limits(loss_streak=2))
    for number in "ab":
        lost = stage.proposal(trade_id="tw" + number * 16)
        await desk.execute_update(AccountWorkflow.reserve, lost)
        await desk.signal(
            "release", Released(trade_id=lost.trade_id, at=lost.trigger, pnl=Decimal(-5))
        )
    await desk.execute_update(AccountWorkflow.refresh)

    paused = await code_of(desk, stage.proposal())
    await desk.execute_update(
        "lift", LiftWish(by="ann", reason="the market is another one"), result_type=Account
    )
    lifted = await code_of(desk, stage.proposal())
    await desk.execute_update(AccountWorkflow.refresh)

    assert (paused, lifted) == (RefusalCode.PAUSED, None)
    assert await told(notifier) == [("limit/loss_streak", False), ("limit/loss_streak", True)]
    steps = [e.data["step"] for e in stage.journal.events if e.kind is EventKind.DESK]
    assert steps == ["fired", "lifted"]


async def test_a_reconciliation_that_stays_away_refuses_entries_and_is_told(
    stage: Any, until: Until
) -> None:
    """B7: nothing is entered on books that nobody compares any more."""
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    limits = Limits(max_reconciliation_age=timedelta(milliseconds=1))
    desk = await open_desk(stage, until, limits=limits)

    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC) - HOUR))
    await desk.execute_update(AccountWorkflow.refresh)
    late = await code_of(desk, stage.proposal())
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC) + HOUR))
    await desk.execute_update(AccountWorkflow.refresh)

    assert (late, await code_of(desk, stage.proposal())) == (RefusalCode.NOT_RECONCILED, None)
    assert await told(notifier) == [("not_reconciled", False), ("not_reconciled", True)]


async def test_a_breach_that_is_declared_to_pause_trips_nothing(stage: Any, until: Until) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    consequences = Consequences(max_daily_loss=Consequence.PAUSE)
    desk = await open_desk(stage, until, limits=Limits(consequences=consequences))
    stage.desk.equity = Decimal(9_400)

    for _ in range(2):
        await desk.execute_update(AccountWorkflow.refresh)
    stage.desk.equity = Decimal(10_000)
    await desk.execute_update(AccountWorkflow.refresh)

    assert await code_of(desk, stage.proposal()) is RefusalCode.PAUSED
    assert await switch.query("heard") == []


async def test_a_withdrawal_trips_nothing(stage: Any, until: Until) -> None:
    """E7: a withdrawal is no loss, however large."""
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until)
    mark = CashMark(at=NOON, balance=Decimal(2_000))
    stage.desk.equity = Decimal(2_000)
    out = Tally(explained=True, moved=Decimal(-8_000), mark=mark)

    await look(stage, desk, cash=out.model_copy(update={"explained": False}))
    await look(stage, desk, cash_fault="no answer")
    await look(stage, desk, cash=out)
    await desk.execute_update(AccountWorkflow.refresh)

    account = await desk.query(AccountWorkflow.account)
    assert (account.peak_equity, account.day_equity) == (2_000, 2_000)
    assert await switch.query("heard") == []
    assert await code_of(desk, stage.proposal()) is None


async def test_hedge_mode_refuses_entries_and_tells_a_person_what_to_do(
    stage: Any, until: Until
) -> None:
    """F7: position and margin mode are checked at the start, before anything is sent."""
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    modes = {"position_mode": PositionMode.HEDGE, "margin_mode": MarginMode.PORTFOLIO}
    stage.desk.script.answer("read_snapshot", seen(stage, **modes))
    desk = await open_desk(stage, until)

    hedged = await code_of(desk, stage.proposal())
    await look(stage, desk, **(modes | {"position_mode": PositionMode.ONE_WAY}))
    foreign = await code_of(desk, stage.proposal())
    await look(stage, desk, position_mode=PositionMode.ONE_WAY, margin_mode=MarginMode.CROSS)
    right = await code_of(desk, stage.proposal())

    assert (hedged, foreign) == (RefusalCode.POSITION_MODE, RefusalCode.MARGIN_MODE)
    assert right is None
    notices = [notice for _, notice in await notifier.query("heard")]
    assert "switch derivatives to one-way mode" in notices[0]["text"]
    assert [wish.modes for wish in stage.desk.script.of("read_snapshot")] == [True, True, True]


async def test_a_person_is_told_that_no_limit_is_watched(
    stage: Any, until: Until, failure: Failure
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    desk = await open_desk(stage, until)
    strict = Limits(max_snapshot_age=timedelta(microseconds=1))
    await desk.signal("limits", LimitsWish(limits=strict, by="ann"))
    stage.desk.script.answer("read_snapshot", failure("the key was refused", final=True))

    with pytest.raises(WorkflowUpdateFailedError):
        await desk.execute_update(AccountWorkflow.refresh)
    await desk.signal("limits", LimitsWish(limits=Limits(), by="ann"))
    await look(stage, desk)

    assert await told(notifier) == [("no_snapshot", False), ("no_snapshot", True)]
    (_, first), _ = await notifier.query("heard")
    assert "the key was refused" in first["text"]
    assert (first["priority"], "no limit is watched" in first["title"]) == (Priority.URGENT, True)


async def test_a_person_is_told_of_a_trip_that_nobody_hears(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    desk = await open_desk(stage, until)
    since = datetime.now(UTC) - timedelta(minutes=6)

    await desk.signal("channel", Channel(name="private", fault="it does not answer", since=since))
    await desk.execute_update(AccountWorkflow.refresh)
    alone = await told(notifier)
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    await desk.execute_update(AccountWorkflow.refresh)

    assert alone == [("untripped", False)]
    assert [name for name, _ in await switch.query("heard")] == ["trip"]
    assert await told(notifier) == [*alone, ("untripped", True), ("limit/stream_dead", False)]


async def test_entries_wait_for_a_look_at_the_exchange_that_is_fresh(
    stage: Any, until: Until, failure: Failure
) -> None:
    """B7: without a fresh view of the positions there is no entry, as if flat or otherwise."""
    desk = await open_desk(stage, until, limits=Limits(max_snapshot_age=timedelta(seconds=1)))
    stage.desk.script.answer("read_snapshot", seen(stage, at=datetime.now(UTC) - HOUR))
    await desk.execute_update(AccountWorkflow.refresh)

    stale = await code_of(desk, stage.proposal())
    await desk.execute_update(AccountWorkflow.refresh)
    fresh = await code_of(desk, stage.proposal())

    assert (stale, fresh) == (RefusalCode.SNAPSHOT_STALE, None)


async def test_a_renamed_preset_keeps_what_it_has_come_to(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    nobody: Any = None
    applier = StrategyApplier(stage.client, nobody, nobody)
    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    assert isinstance(decision, Approved)

    await applier.rename(stage.account, "another", stage.preset)
    wish = stage.proposal(
        trade_id=stage.proposal().trade_id[:-1] + "2",
        preset="another",
        symbol="ETHUSDT",
        max_open_trades=1,
    )
    refused = await code_of(desk, wish)

    assert refused is RefusalCode.PRESET_MAX_OPEN_TRADES
    with pytest.raises(NoWorkerAnswers):
        await applier.rename("nobody", "another", stage.preset)


async def test_limits_read_anew_undo_what_an_operator_has_set(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    await desk.signal("limits", LimitsWish(limits=Limits(max_open_trades=1), by="ann"))

    told_limits = await desk.execute_update(
        "limits",
        LimitsWish(limits=Limits(), by="bob", declared=True, anew=True),
        result_type=Limits,
    )

    assert told_limits == Limits()


# --- what the desk outlives -----------------------------------------------------------------------


async def test_a_cancel_ends_no_desk(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    proposal = stage.proposal()
    approved = await desk.execute_update(AccountWorkflow.reserve, proposal)

    await desk.cancel()
    await desk.execute_update(AccountWorkflow.refresh)

    again = await desk.execute_update(AccountWorkflow.reserve, proposal)
    assert isinstance(again, Approved)
    assert again == approved
    attributes = (await desk.describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in attributes}["NeedsOperator"] is True


async def test_a_desk_that_was_terminated_goes_on_from_the_journal(
    stage: Any, until: Until
) -> None:
    """E7: peak, day and streak survive the desk: they are read again before anything is judged."""
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    first = await open_desk(stage, until)
    await first.terminate()
    baseline = Baseline(
        peak_equity=Decimal(12_000), day="2026-03-02", day_equity=Decimal(10_500), losses=1
    )
    past = Past(baseline=baseline, losses=3)
    stage.desk.script.answer("read_snapshot", seen(stage, past=past))

    second = await open_desk(stage, until)
    stage.desk.equity = Decimal(9_900)
    await second.execute_update(AccountWorkflow.refresh)
    await second.execute_update(AccountWorkflow.refresh)

    account = await second.query(AccountWorkflow.account)
    assert (account.peak_equity, account.day_equity, account.losses) == (12_000, 10_500, 3)
    assert [name for name, _ in await switch.query("heard")] == ["trip"]
    wishes = stage.desk.script.of("read_snapshot")[1:]
    assert [wish.baseline is None for wish in wishes[:2]] == [True, False]


async def test_a_preset_rests_after_its_losses_also_under_a_new_desk_until_a_person_ends_it(
    stage: Any, until: Until
) -> None:
    guards = Guards(stop_guard=LossGuard(losses=2, within=HOUR, pause=HOUR))
    first = await open_desk(stage, until)
    for letter in "ab":
        wish = stage.proposal(trade_id="tw" + letter * 16, guards=guards)
        assert await code_of(first, wish) is None
        await first.signal("release", Released(trade_id=wish.trade_id, at=NOON, pnl=Decimal(-5)))
    next_one = stage.proposal(trade_id="tw" + "c" * 16, guards=guards)

    resting = await code_of(first, next_one)
    account = await first.query(AccountWorkflow.account)
    await first.terminate()
    past = Past(baseline=account.baseline, losses=2, results=account.results)
    stage.desk.script.answer("read_snapshot", seen(stage, past=past))
    second = await open_desk(stage, until)
    still = await code_of(second, next_one)
    other = await code_of(second, stage.proposal(trade_id="tw" + "d" * 16, preset="other"))
    await second.signal("release", Released(trade_id="tw" + "d" * 16, at=NOON))
    lift = LiftWish(code=RefusalCode.STOP_GUARD, preset=stage.preset, by="ann", reason="mended")
    await second.execute_update(AccountWorkflow.lift_by_update, lift)
    free = await code_of(second, next_one)

    assert (resting, still) == (RefusalCode.STOP_GUARD, RefusalCode.STOP_GUARD)
    assert (other, free) == (None, None)


async def test_a_desk_that_knows_no_past_refuses_and_asks_again(stage: Any, until: Until) -> None:
    stage.desk.script.answer("read_snapshot", seen(stage, past_fault="the database is away"))
    desk = await open_desk(stage, until)

    unread = await code_of(desk, stage.proposal())
    await look(stage, desk, past=Past())
    known = await code_of(desk, stage.proposal())

    assert (unread, known) == (RefusalCode.HISTORY_UNREAD, None)
    assert [wish.baseline for wish in stage.desk.script.of("read_snapshot")] == [None, None]


async def test_continue_as_new_carries_all_that_the_desk_knows(
    impatient_stage: Any, until: Until
) -> None:
    stage = impatient_stage
    stage.desk.script.answer("read_snapshot", seen(stage, past=Past()))
    started = await open_desk(stage, until, limits=Limits(loss_streak=1))
    desk = stage.client.get_workflow_handle_for(AccountWorkflow.run, started.id)
    lost = stage.proposal(trade_id="tw" + "a" * 16)
    await desk.execute_update(AccountWorkflow.reserve, lost)
    await desk.signal("release", Released(trade_id=lost.trade_id, at=NOON, pnl=Decimal(-5)))
    await desk.signal("unresolved", doubt(1))
    await desk.signal("channel", Channel(name="public", fault="slow", since=datetime.now(UTC)))
    await desk.execute_update(AccountWorkflow.refresh)
    before = await desk.query(AccountWorkflow.account)

    for _ in range(12):
        await desk.execute_update(AccountWorkflow.refresh)

    after = await desk.query(AccountWorkflow.account)
    assert (await desk.describe()).run_id != started.first_execution_run_id
    same = {"snapshot"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)
    assert [pause.code for pause in after.pauses] == [RefusalCode.LOSS_STREAK]
    steps = [e.data["step"] for e in stage.journal.events if e.kind is EventKind.DESK]
    assert steps == ["fired"]


@pytest.mark.parametrize("name", ["filled", "unresolved", "channel", "leave", "lift"])
async def test_what_is_told_and_cannot_be_read_wedges_nothing(
    stage: Any, until: Until, name: str
) -> None:
    desk = await open_desk(stage, until)

    await desk.signal(name, {"symbol": 5})
    async with asyncio.timeout(30):
        code = await code_of(desk, stage.proposal())

    assert code is None
    attributes = (await desk.describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in attributes}["NeedsOperator"] is True
