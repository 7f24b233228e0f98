"""The desk's workflow: reservations, snapshots, limits."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from tests.workflows.script import NOON
from tradewright import ids
from tradewright.domain.account import (
    Approved,
    Block,
    LeaveWish,
    Limits,
    RefusalCode,
    Refused,
    Released,
    Resting,
)
from tradewright.domain.breaker import BrokenSymbol
from tradewright.domain.gate import GateState
from tradewright.ports import Reconciled
from workflows.account import AccountWorkflow, LimitsWish

Until = Callable[..., Any]
Failure = Callable[..., Any]
HOUR = timedelta(hours=1)


async def open_desk(stage: Any, until: Until, **changes: Any) -> Any:
    """Start a desk that has a snapshot and is reconciled."""
    desk = await stage.start_account(**({"snapshot_every": HOUR} | changes))
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC) + timedelta(seconds=1)))
    await until(desk, "account", lambda a: a["snapshot"] and a["reconciled_at"])
    return desk


async def test_a_reservation_is_made_once_and_repeated_the_same(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    proposal = stage.proposal()

    first = await desk.execute_update(AccountWorkflow.reserve, proposal, id=proposal.trade_id)
    again = await desk.execute_update(AccountWorkflow.reserve, proposal, id=proposal.trade_id)
    other = await desk.execute_update(AccountWorkflow.reserve, proposal)

    assert isinstance(first, Approved)
    assert first == again == other
    assert len((await desk.query("account"))["reservations"]) == 1


async def test_a_released_trade_gives_its_symbol_back_and_is_not_traded_twice(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until)
    proposal, next_one = stage.proposal(), stage.proposal(trade_id="tw" + "a" * 16)
    await desk.execute_update(AccountWorkflow.reserve, proposal)
    taken = await desk.execute_update(AccountWorkflow.reserve, next_one)

    release = Released(trade_id=proposal.trade_id, at=proposal.trigger)
    await desk.signal("release", release)
    await desk.signal("release", release)
    again = await desk.execute_update(AccountWorkflow.reserve, proposal)
    free = await desk.execute_update(AccountWorkflow.reserve, next_one)

    assert isinstance(taken, Refused)
    assert taken.code is RefusalCode.SYMBOL_TAKEN
    assert isinstance(again, Refused)
    assert again.code is RefusalCode.ALREADY_TRADED
    assert isinstance(free, Approved)


async def test_refresh_answers_when_the_snapshot_is_there(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    stage.desk.equity = Decimal(12_345)

    await desk.execute_update(AccountWorkflow.refresh)

    assert (await desk.query("account"))["snapshot"]["equity"] == "12345"


async def test_refresh_during_a_snapshot_waits_for_the_next_one(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    held = stage.desk.script.hold("read_snapshot")
    old = stage.desk.snapshot()
    first = asyncio.ensure_future(desk.execute_update(AccountWorkflow.refresh))
    await stage.desk.script.called("read_snapshot", 2)

    second = asyncio.ensure_future(desk.execute_update(AccountWorkflow.refresh))
    stage.desk.equity = Decimal(9_999)
    await until(desk, "account", lambda _: True)
    held.let_go(old)
    await asyncio.gather(first, second)

    assert (await desk.query("account"))["snapshot"]["equity"] == "9999"


async def test_refresh_says_that_there_is_no_snapshot(
    stage: Any, until: Until, failure: Failure
) -> None:
    desk = await open_desk(stage, until)
    stage.desk.script.answer("read_snapshot", failure("away", final=True))

    with pytest.raises(WorkflowUpdateFailedError) as told:
        await desk.execute_update(AccountWorkflow.refresh)
    await desk.execute_update(AccountWorkflow.refresh)

    assert "no snapshot of the account" in str(told.value.cause)


async def test_snapshots_are_taken_again_and_again(stage: Any, until: Until) -> None:
    await open_desk(stage, until, snapshot_every=timedelta(milliseconds=20))

    await stage.desk.script.called("read_snapshot", 4)


async def test_a_stale_snapshot_refuses(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    old = stage.desk.snapshot().model_copy(update={"at": datetime.now(UTC) - timedelta(seconds=91)})
    stage.desk.script.answer("read_snapshot", old)
    await desk.execute_update(AccountWorkflow.refresh)

    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.SNAPSHOT_STALE


async def test_nothing_is_approved_before_a_reconciliation(stage: Any) -> None:
    desk = await stage.start_account()
    await stage.desk.script.called("read_snapshot")

    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.NOT_RECONCILED


async def test_a_reconciliation_blocks_and_holds_and_releases(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    other = stage.plan(trade_id="tw" + "b" * 16, symbol="ETHUSDT")

    await desk.signal(
        "reconciled",
        Reconciled(
            at=datetime.now(UTC) + timedelta(seconds=1),
            blocks=(Block(symbol="BTCUSDT", reason="orphan_position"),),
            unreserved=(other,),
        ),
    )
    blocked = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    held = (await desk.query("account"))["reservations"]
    await desk.signal(
        "reconciled",
        Reconciled(at=datetime.now(UTC) + timedelta(seconds=2), released=(other.trade_id,)),
    )
    free = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    assert isinstance(blocked, Refused)
    assert blocked.code is RefusalCode.SYMBOL_BLOCKED
    assert [r["plan"]["symbol"] for r in held] == ["ETHUSDT"]
    assert isinstance(free, Approved)
    assert len((await desk.query("account"))["reservations"]) == 1


async def test_a_trade_that_has_ended_meanwhile_is_not_held_again(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)
    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    assert isinstance(decision, Approved)
    await desk.signal(
        "release", Released(trade_id=decision.plan.trade_id, at=decision.plan.trigger)
    )

    await desk.signal(
        "reconciled",
        Reconciled(at=datetime.now(UTC) + timedelta(seconds=1), unreserved=(decision.plan,)),
    )

    assert (await desk.query("account"))["reservations"] == []


async def test_a_trade_that_runs_after_its_release_is_held_when_it_is_seen_twice(
    stage: Any, until: Until
) -> None:
    """B2: a trade that starts late, or is reset, is not left alone with its position."""
    desk = await open_desk(stage, until)
    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    assert isinstance(decision, Approved)
    plan, now = decision.plan, datetime.now(UTC)
    gone = Reconciled(at=now, released=(plan.trade_id,))
    there = Reconciled(at=now, unreserved=(plan,))

    held = []
    for seen in (gone, there, there):
        await desk.signal("reconciled", seen)
        held.append(len((await desk.query("account"))["reservations"]))

    assert held == [0, 0, 1]


async def test_a_release_by_reconciliation_keeps_the_cooldowns_of_the_market_clock(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until)
    first = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    assert isinstance(first, Approved)
    trigger = first.plan.trigger
    cooldown = timedelta(minutes=3)
    await desk.signal(
        "release", Released(trade_id=first.plan.trade_id, at=trigger, cooldown=cooldown)
    )
    second = stage.proposal(trade_id="tw" + "b" * 16, symbol="ETHUSDT")
    await desk.execute_update(AccountWorkflow.reserve, second)

    await desk.signal(
        "reconciled",
        Reconciled(at=datetime.now(UTC) + timedelta(days=999), released=(second.trade_id,)),
    )
    decision = await desk.execute_update(
        AccountWorkflow.reserve,
        stage.proposal(trade_id="tw" + "c" * 16, trigger=trigger + timedelta(minutes=1)),
    )

    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.COOLDOWN


async def test_the_gate_is_heard(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)

    await desk.signal("gate", stage.gate(GateState.HALTED, reason="panic", by="ann"))
    closed = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    await desk.signal("gate", stage.gate(GateState.OPEN))
    opened = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    assert isinstance(closed, Refused)
    assert (closed.code, "panic" in closed.reason) == (RefusalCode.GATE_CLOSED, True)
    assert isinstance(opened, Approved)


async def test_a_breach_trips_the_kill_switch_once_a_day(stage: Any, until: Until) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until)
    stage.desk.equity = Decimal(9_400)

    for _ in range(3):
        await desk.execute_update(AccountWorkflow.refresh)
    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    [(name, wish)] = await switch.query("heard")
    assert (name, wish["by"]) == ("trip", "risk monitor")
    assert "max_daily_loss" in wish["reason"]
    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.MAX_DAILY_LOSS


async def test_a_kill_switch_that_is_away_is_tripped_as_soon_as_it_is_there(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until)
    stage.desk.equity = Decimal(9_000)
    await desk.execute_update(AccountWorkflow.refresh)

    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    await desk.execute_update(AccountWorkflow.refresh)

    assert [name for name, _ in await switch.query("heard")] == ["trip"]


async def test_limits_are_replaced_by_signal_and_update(stage: Any, until: Until) -> None:
    desk = await open_desk(stage, until)

    await desk.signal("limits", LimitsWish(limits=Limits(max_open_trades=7), by="settings"))
    heard = await desk.query("limits")
    told = await desk.execute_update(
        "limits", LimitsWish(limits=Limits(max_open_trades=2), by="ann"), result_type=Limits
    )

    assert heard["max_open_trades"] == 7
    assert told.max_open_trades == 2


async def test_settings_that_are_told_again_do_not_undo_an_operator(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until)
    declared = LimitsWish(limits=Limits(), by="settings", declared=True)
    tightened = LimitsWish(limits=Limits(max_open_trades=1), by="ann")
    changed = LimitsWish(limits=Limits(max_open_trades=3), by="settings", declared=True)

    heard = []
    for wish in (tightened, declared, changed):
        await desk.signal("limits", wish)
        heard.append((await desk.query("limits"))["max_open_trades"])

    assert heard == [1, 1, 3]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("release", {"trade": "x"}),
        ("reconciled", 5),
        ("gate", {"state": "ajar"}),
        ("limits", None),
        ("relase", {}),
    ],
)
async def test_what_cannot_be_read_is_told_and_wedges_nothing(
    stage: Any, until: Until, name: str, argument: Any
) -> None:
    desk = await open_desk(stage, until)

    await desk.signal(name, argument)
    decision = await desk.execute_update(AccountWorkflow.reserve, stage.proposal())

    assert isinstance(decision, Approved)
    attributes = (await desk.describe()).typed_search_attributes
    told = {pair.key.name: pair.value for pair in attributes}
    assert told["NeedsOperator"] is True


async def test_continue_as_new_keeps_the_desk(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    started = await open_desk(stage, until)
    desk = stage.client.get_workflow_handle(started.id)
    decision = await desk.execute_update(
        AccountWorkflow.reserve, stage.proposal(), result_type=Approved
    )
    stage.desk.equity = Decimal(9_400)

    for _ in range(12):
        await desk.execute_update(AccountWorkflow.refresh)
    again = await desk.execute_update(
        AccountWorkflow.reserve, stage.proposal(), result_type=Approved
    )

    described = await desk.describe()
    assert described.run_id != started.first_execution_run_id
    assert again == decision
    assert len(await switch.query("heard")) == 1


async def test_one_odd_sample_of_equity_trips_nothing(stage: Any, until: Until) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until)
    taken = stage.desk.script.count("read_snapshot")
    odd = stage.desk.snapshot().model_copy(update={"equity": Decimal(5_000)})
    stage.desk.script.answer("read_snapshot", odd)

    await desk.execute_update(AccountWorkflow.refresh)
    await stage.desk.script.called("read_snapshot", taken + 2)
    await desk.execute_update(AccountWorkflow.refresh)

    assert await switch.query("heard") == []


# --- presets that fail ----------------------------------------------------------------------------


def rests(preset: str, *symbols: str, minute: int = 0) -> Resting:
    at = NOON + timedelta(minutes=minute)
    until = at + timedelta(minutes=5)
    broken = (BrokenSymbol(symbol=s, failures=5, until=until, reason="it raised") for s in symbols)
    return Resting(preset=preset, symbols=tuple(broken), at=at)


async def test_presets_that_fail_in_too_many_places_together_bring_safe_mode_once(
    stage: Any, until: Until
) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until, limits=Limits(safe_mode_after=3))

    await desk.signal("resting", rests("ema", "BTCUSDT", "ETHUSDT"))
    await desk.signal("resting", rests("ema", "BTCUSDT", "ETHUSDT", minute=1))
    two = await until(desk, "account", lambda a: a["resting"])
    await desk.signal("resting", rests("drift", "BTCUSDT", minute=2))
    await desk.signal("resting", rests("drift", "BTCUSDT", "SOLUSDT", minute=3))
    heard = await until(switch, "heard", lambda heard: len(heard) == 1)

    assert not two["safe_mode_wished"]
    name, wish = heard[0]
    assert (name, wish["on"], wish["by"]) == ("safe_mode", True, "desk")
    assert "drift on BTCUSDT, ema on BTCUSDT, ema on ETHUSDT" in wish["reason"]
    page = str(await desk.query("__temporal_workflow_metadata"))
    assert "ema rests on BTCUSDT, ETHUSDT" in page


async def test_what_rests_no_more_does_not_count(stage: Any, until: Until) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    desk = await open_desk(stage, until, limits=Limits(safe_mode_after=2))

    await desk.signal("resting", rests("ema", "BTCUSDT"))
    await desk.signal("resting", rests("ema"))
    await desk.signal("resting", rests("drift", "BTCUSDT", minute=1))
    # Nothing was heard of that one since, and its time is over
    await desk.signal("resting", rests("slow", "BTCUSDT", minute=7))
    account = await until(desk, "account", lambda a: "slow" in str(a["resting"]))

    assert [one["preset"] for one in account["resting"]] == ["slow"]
    assert await switch.query("heard") == []


async def test_a_switch_that_is_not_there_calls_a_person_and_is_asked_again(
    stage: Any, until: Until
) -> None:
    desk = await open_desk(stage, until, limits=Limits(safe_mode_after=1))

    await desk.signal("resting", rests("ema", "BTCUSDT"))
    await until(
        desk,
        "__temporal_workflow_metadata",
        lambda page: "safe mode could not be asked for" in str(page),
    )
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    await desk.signal("resting", rests("ema", "BTCUSDT", minute=1))

    [(name, _)] = await until(switch, "heard", lambda heard: len(heard) == 1)
    assert name == "safe_mode"


# --- trades that are moved ------------------------------------------------------------------------


async def test_a_trade_that_was_moved_is_left_by_the_version_that_it_was_moved_to(
    stage: Any, until: Until
) -> None:
    proposal = stage.proposal()
    trade = await stage.listen_as(ids.trade_workflow(proposal.symbol, proposal.trade_id))
    desk = await open_desk(stage, until)
    approved = await desk.execute_update(AccountWorkflow.reserve, proposal)
    moved = approved.plan.model_copy(update={"preset_hash": "beef"})

    await desk.signal("migrated", moved)
    for version in ("c0ffee", "beef"):
        wish = LeaveWish(
            preset=proposal.preset, symbol="BTCUSDT", preset_hash=version, reason=version
        )
        await desk.signal("leave", wish)
    heard = await until(trade, "heard", lambda heard: len(heard) == 1)

    assert heard[0][1]["note"] == "beef"
    again = await desk.execute_update(AccountWorkflow.reserve, proposal)
    assert again.plan == moved
