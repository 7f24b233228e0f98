"""Safe mode: it cancels entries, says what it does, and never opens a halted gate."""

from datetime import timedelta
from typing import Any

from tests.workflows.switch import Failure, Until, gate_is, waiting
from tradewright import ids
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.domain.notice import Priority
from workflows.kill_switch import KillSwitchWorkflow, SafeModeWish


async def test_safe_mode_goes_on_and_off(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("safe_mode", {"on": True, "reason": "maintenance", "by": "ann"})
    on = await until(switch, "state", gate_is(GateState.EXITS_ONLY))
    await switch.execute_update(
        KillSwitchWorkflow.safe_mode_by_update, SafeModeWish(on=False, by="ann")
    )
    await until(switch, "state", gate_is(GateState.OPEN))

    assert on["gate"]["reason"] == "maintenance"
    assert not stage.kill.script.count("flatten_all")


async def test_leaving_safe_mode_does_not_open_a_halted_gate(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    await switch.signal("safe_mode", {"on": False, "by": "bob"})
    await stage.kill.script.called("write_gate", 2)
    state = await until(switch, "state", waiting)

    assert state["gate"]["state"] == "halted"
    assert stage.kill.row.state is GateState.HALTED


async def test_an_unwritten_trip_is_not_forgotten_for_a_later_wish(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    stage.kill.script.answer("write_gate", *(failure("away", final=True) for _ in range(2)))

    await switch.signal("trip", {"by": "ann"})
    await switch.signal("safe_mode", {"on": False, "by": "bob"})
    wish = await stage.kill.script.called("write_gate", 4)
    await until(switch, "state", gate_is(GateState.HALTED))

    assert (wish.gate.state, wish.gate.by) == (GateState.HALTED, "ann")

    assert stage.kill.row.state is GateState.HALTED


async def test_an_unwritten_gate_is_carried_through_continue_as_new(
    impatient_stage: Any, until: Until, failure: Failure
) -> None:
    stage = impatient_stage
    started = await stage.start_kill_switch()
    switch = stage.client.get_workflow_handle(started.id)
    await until(switch, "state", waiting)
    stage.kill.script.answer("write_gate", *(failure("away", final=True) for _ in range(15)))

    await switch.signal("safe_mode", {"on": True, "by": "ann"})
    await stage.kill.script.called("write_gate", 16)
    await until(switch, "state", lambda state: not state["needs_operator"])

    described = await switch.describe()
    assert described.run_id != started.first_execution_run_id
    assert stage.kill.row.state is GateState.EXITS_ONLY


async def test_a_person_is_told_what_safe_mode_does_and_when_it_ends(
    stage: Any, until: Until
) -> None:
    """Safety semantics: safe mode says exactly what it does."""
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    switch = await stage.start_kill_switch()

    await switch.signal("safe_mode", {"on": True, "reason": "maintenance", "by": "ann"})
    state = await until(switch, "state", gate_is(GateState.EXITS_ONLY))
    await switch.signal("safe_mode", {"on": False, "by": "ann"})
    heard = await until(notifier, "heard", lambda told: len(told) == 2)

    on, off = (message for _, message in heard)
    assert (on["priority"], on["resolved"], off["resolved"]) == (Priority.WARNING, False, True)
    assert on["text"] == state["meaning"] == GateState.EXITS_ONLY.meaning


async def test_safe_mode_cancels_entries_that_wait_and_once_more_those_under_way(
    stage: Any, until: Until
) -> None:
    with stage.env.with_time_skipping_disabled():
        switch = await stage.start_kill_switch()
    await switch.signal("safe_mode", SafeModeWish(on=True, reason="news", by="ann"))
    await stage.kill.script.called("cancel_entries")
    await until(switch, "state", gate_is(GateState.EXITS_ONLY))
    assert [name for name, _ in stage.kill.script.calls] == [
        *("read_gate", "write_gate", "cancel_entries"),
    ]

    await stage.env.fast_forward(switch, QUIET_TIME + timedelta(seconds=1))
    await stage.kill.script.called("cancel_entries", 2)
    await until(switch, "state", gate_is(GateState.EXITS_ONLY))
    await stage.env.fast_forward(switch, QUIET_TIME + timedelta(seconds=1))

    assert stage.kill.script.count("cancel_entries") == 2
    assert not stage.kill.script.count("flatten_all")


async def test_entries_that_cannot_be_cancelled_call_a_person_and_hold_no_trip_up(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    refusals = [failure("key refused", final=True) for _ in range(20)]
    stage.kill.script.answer("cancel_entries", *refusals)

    await switch.signal("safe_mode", {"on": True, "by": "ann"})
    called = await until(switch, "state", lambda s: "could not be cancelled" in s["needs_operator"])
    await switch.signal("trip", {"reason": "panic", "by": "bob"})
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert "key refused" in called["needs_operator"]
    assert not state["flattening"]
    assert stage.kill.script.count("flatten_all") == 2
