"""The kill switch: it works until flat was read twice, whatever else fails."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.domain.market import Side
from tradewright.domain.notice import Priority
from tradewright.ports import Exposure
from workflows.kill_switch import (
    KillSwitchStart,
    KillSwitchWorkflow,
    RearmWish,
    SafeModeWish,
    TripWish,
)

Until = Callable[..., Any]
Failure = Callable[..., Any]


def waiting(state: Any) -> bool:
    return bool(state["step"] == "waiting")


def gate_is(gate: GateState) -> Callable[[Any], bool]:
    return lambda state: waiting(state) and state["gate"]["state"] == gate


def held() -> Exposure:
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )
    return Exposure(at=datetime.now(UTC), positions=(position,), orders=1)


async def test_a_trip_halts_cancels_and_flattens_until_flat_was_read_twice(
    stage: Any, until: Until
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    switch = await stage.start_kill_switch()
    stage.kill.script.answer("flatten_all", held(), held())

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await stage.kill.script.called("flatten_all", 4)
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert [name for name, _ in stage.kill.script.calls] == [
        *("read_gate", "write_gate", "cancel_entries"),
        *("flatten_all", "flatten_all", "flatten_all", "flatten_all"),
    ]
    assert (stage.kill.row.state, stage.kill.row.by, stage.kill.row.trip) == ("halted", "ann", 1)
    assert not state["flattening"]
    heard = [message["state"] for name, message in await desk.query("heard") if name == "gate"]
    assert heard == ["open", "halted", "halted"]
    assert [event.data["step"] for event in stage.journal.events] == [
        *("asked", "entries_cancelled", "flat"),
    ]


async def test_the_last_read_comes_when_nothing_can_land_any_more(stage: Any, until: Until) -> None:
    with stage.env.with_time_skipping_disabled():
        switch = await stage.start_kill_switch()
    await switch.signal("trip", TripWish(reason="panic", by="ann"))
    await stage.kill.script.called("flatten_all")
    state = await until(switch, "state", lambda s: "reading again" in s["step"])
    assert state["flattening"]
    assert stage.kill.script.count("flatten_all") == 1

    await stage.env.fast_forward(switch, QUIET_TIME + timedelta(seconds=1))
    await until(switch, "state", waiting)

    assert stage.kill.script.count("flatten_all") == 2


async def test_flat_once_is_not_enough(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    flat = Exposure(at=datetime.now(UTC))
    stage.kill.script.answer("flatten_all", flat, held(), flat, flat)

    await switch.signal("trip", {"by": "ann"})
    await stage.kill.script.called("flatten_all", 4)
    await until(switch, "state", waiting)

    assert stage.kill.script.count("flatten_all") == 4


async def test_a_gate_that_cannot_be_written_does_not_stop_the_flattening(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    refusals = [failure("database is away") for _ in range(12)]
    stage.kill.script.answer("write_gate", *refusals)

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await stage.kill.script.called("flatten_all")
    flattened_while_open = stage.kill.row.state is GateState.OPEN
    await until(switch, "state", lambda s: waiting(s) and not s["flattening"])

    assert flattened_while_open
    assert stage.kill.row.state is GateState.HALTED
    assert stage.kill.script.calls[-1][0] == "flatten_all"


async def test_a_cancel_of_entries_that_fails_does_not_stop_the_flattening(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    stage.kill.script.answer("cancel_entries", failure("one bad record", final=True))

    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    assert "entries_not_cancelled" in [event.data["step"] for event in stage.journal.events]
    assert stage.kill.script.count("flatten_all") == 2


async def test_a_flatten_that_does_not_end_calls_an_operator(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    stage.kill.script.answer("flatten_all", *(held() for _ in range(5)))
    told = stage.kill.script.hold("flatten_all")

    await switch.signal("trip", {"by": "ann"})
    state = await until(switch, "state", lambda s: bool(s["needs_operator"]))
    told.let_go()
    rest = await until(switch, "state", waiting)

    assert "not done after 5 rounds: 1 positions and 1 orders" in state["needs_operator"]
    assert rest["needs_operator"] == ""


async def test_a_flatten_that_fails_for_good_is_tried_again(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    stage.kill.script.answer("flatten_all", failure("a bug", final=True))

    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    assert stage.kill.script.count("flatten_all") == 3


async def test_a_flatten_that_cannot_begin_calls_a_person_and_goes_on(
    stage: Any, until: Until, failure: Failure
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    switch = await stage.start_kill_switch()
    away = [failure("vault does not answer") for _ in range(30)]
    stage.kill.script.answer("flatten_all", *away)

    await switch.signal("trip", {"by": "ann"})
    state = await until(switch, "state", gate_is(GateState.HALTED))
    told = await until(notifier, "heard", lambda told: len(told) >= 4)

    needs = [message for _, message in told if message["key"].endswith("/needs_operator")]
    assert "vault does not answer" in needs[0]["text"]
    assert [need["resolved"] for need in needs] == [False, True]
    assert not state["needs_operator"]


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


async def test_a_named_person_rearms(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    await switch.execute_update(
        KillSwitchWorkflow.rearm_by_update, RearmWish(by="ann", reason="checked")
    )
    await until(switch, "state", gate_is(GateState.OPEN))

    assert (stage.kill.row.state, stage.kill.row.trip) == (GateState.OPEN, 1)


@pytest.mark.parametrize(
    "wish", [{}, {"by": "ann"}, {"reason": "checked"}, {"by": "", "reason": "checked"}]
)
async def test_a_rearm_without_name_and_reason_is_refused(
    stage: Any, until: Until, wish: dict[str, str]
) -> None:
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    await switch.signal("rearm", wish)
    state = await until(switch, "state", lambda s: bool(s["needs_operator"]))
    with pytest.raises(WorkflowUpdateFailedError):
        await switch.execute_update("rearm", wish)

    assert "signal rearm was not understood" in state["needs_operator"]
    assert stage.kill.row.state is GateState.HALTED


async def test_a_rearm_waits_until_the_flatten_is_done(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    hanging = stage.kill.script.hold("flatten_all")
    await switch.signal("trip", {"by": "ann"})
    await stage.kill.script.called("flatten_all")

    await switch.signal("rearm", {"by": "ann", "reason": "checked"})
    while_flattening = (await switch.query("state"))["gate"]["state"]
    hanging.let_go()
    await until(switch, "state", gate_is(GateState.OPEN))

    assert while_flattening == "halted"
    assert stage.kill.script.count("flatten_all") == 2


async def test_a_halted_gate_is_flattened_again_at_the_start(stage: Any, until: Until) -> None:
    stage.kill.row = stage.gate(GateState.HALTED, reason="cut short", by="ann", trip=4)

    switch = await stage.start_kill_switch()
    await until(switch, "state", gate_is(GateState.HALTED))

    assert [order.trip for order in stage.kill.script.of("flatten_all")] == [4, 4]
    assert not stage.kill.script.count("write_gate")


async def test_a_trip_does_not_wait_for_a_gate_that_cannot_be_read(
    stage: Any, until: Until
) -> None:
    reading = stage.kill.script.hold("read_gate")
    switch = await stage.start_kill_switch()
    await stage.kill.script.called("read_gate")
    before = int(datetime.now(UTC).timestamp())

    await switch.signal("trip", {"by": "ann"})
    order = await stage.kill.script.called("flatten_all")
    reading.let_go()
    await until(switch, "state", gate_is(GateState.HALTED))

    assert order.trip > before
    assert stage.kill.row.trip == order.trip


async def test_a_trip_does_not_wait_for_a_safe_mode_that_cannot_be_written(
    stage: Any, until: Until
) -> None:
    with stage.env.with_time_skipping_disabled():
        switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    writing = stage.kill.script.hold("write_gate")
    await switch.signal("safe_mode", {"on": True, "by": "bob"})
    await stage.kill.script.called("write_gate")

    await switch.signal("trip", {"by": "ann"})
    await stage.kill.script.called("flatten_all")
    writing.let_go()
    await stage.env.fast_forward(switch, QUIET_TIME + timedelta(seconds=5))
    await until(switch, "state", gate_is(GateState.HALTED))

    assert stage.kill.row.state is GateState.HALTED


async def test_a_misspelled_key_trips_all_the_same(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("trip", {"reson": "panic", "by": "ann"})
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert state["needs_operator"] == "signal trip was taken, but unknown keys were ignored: reson"


async def test_a_trip_without_an_argument_trips(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("trip")

    await until(switch, "state", gate_is(GateState.HALTED))


async def test_an_unknown_signal_is_told(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("halt", {"by": "ann"})
    state = await until(switch, "state", lambda s: bool(s["needs_operator"]))

    assert "takes trip, safe_mode and rearm" in state["needs_operator"]


async def test_a_journal_that_is_away_holds_nothing_up(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.journal.script.answer("record", *(failure("away") for _ in range(5)))
    switch = await stage.start_kill_switch()

    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))
    await stage.journal.script.called("record", 7)

    assert stage.kill.script.count("flatten_all") == 2


async def test_a_cancel_does_not_end_the_kill_switch(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)

    await switch.cancel()
    state = await until(switch, "state", lambda s: bool(s["needs_operator"]))
    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    assert "a cancel was ignored" in state["needs_operator"]
    assert (await switch.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_it_is_started_by_the_trip_itself(stage: Any, until: Until) -> None:
    switch = await stage.client.start_workflow(
        KillSwitchWorkflow.run,
        KillSwitchStart(account=stage.account),
        id=ids.kill_switch_workflow(stage.account),
        task_queue=stage.queue("kill"),
        start_signal="trip",
        start_signal_args=[TripWish(reason="panic", by="ann")],
    )
    stage.keep(switch)

    await until(switch, "state", gate_is(GateState.HALTED))

    assert stage.kill.script.count("flatten_all") == 2


async def test_a_flatten_goes_on_through_continue_as_new(
    impatient_stage: Any, until: Until
) -> None:
    stage = impatient_stage
    started = await stage.start_kill_switch()
    switch = stage.client.get_workflow_handle(started.id)
    stage.kill.script.answer("flatten_all", *(held() for _ in range(12)))

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await stage.kill.script.called("flatten_all", 14)
    await until(switch, "state", gate_is(GateState.HALTED))

    described = await switch.describe()
    assert described.run_id != started.first_execution_run_id
    assert stage.kill.script.count("read_gate") == 1
    assert {order.trip for order in stage.kill.script.of("flatten_all")} == {1}


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


async def test_a_rearm_that_is_older_than_a_trip_does_not_undo_it(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    held = stage.kill.script.hold("flatten_all")
    await switch.signal("trip", TripWish(reason="first", by="risk monitor"))
    await stage.kill.script.called("flatten_all")

    await switch.signal("rearm", RearmWish(by="ann", reason="it looked fine"))
    await switch.signal("trip", TripWish(reason="second, and newer", by="bob"))
    held.let_go()
    state = await until(switch, "state", waiting)

    assert state["gate"]["state"] == GateState.HALTED
    assert stage.kill.row.state is GateState.HALTED
    assert state["also"] == ["bob: second, and newer"]


async def test_a_trip_goes_on_beside_a_row_that_is_slow_to_be_written(
    stage: Any, until: Until
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    held = stage.kill.script.hold("write_gate")

    await switch.signal("trip", TripWish(reason="panic", by="ann"))
    await stage.kill.script.called("flatten_all")
    flattened_while_open = stage.kill.row.state is GateState.OPEN
    held.let_go()
    await until(switch, "state", lambda s: waiting(s) and not s["flattening"])

    assert flattened_while_open
    assert stage.kill.row.state is GateState.HALTED


async def test_a_complaint_about_a_message_ends_with_the_next_good_one(
    stage: Any, until: Until
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)

    await switch.signal("safe_mode", {"onn": False, "by": "ann"})
    misread = await until(switch, "state", lambda s: bool(s["needs_operator"]))
    await switch.signal("safe_mode", {"on": False, "by": "ann"})
    understood = await until(switch, "state", lambda s: not s["needs_operator"])

    assert misread["needs_operator"].startswith("signal safe_mode was not understood: on: ")
    assert misread["gate"]["state"] == GateState.OPEN
    assert understood["gate"]["state"] == GateState.OPEN


async def test_a_second_trip_changes_nothing_and_its_reason_stays_to_be_seen(
    stage: Any, until: Until
) -> None:
    switch = await stage.start_kill_switch()
    flattening = stage.kill.script.hold("flatten_all")
    await switch.signal("trip", TripWish(reason="max_daily_loss", by="risk monitor"))
    await stage.kill.script.called("flatten_all")

    for _ in range(2):
        await switch.signal("trip", TripWish(reason="it falls", by="bob"))
    seen = await until(switch, "state", lambda s: bool(s["also"]))
    flattening.let_go()
    rest = await until(switch, "state", gate_is(GateState.HALTED))

    assert (seen["gate"]["by"], seen["also"]) == ("risk monitor", ["bob: it falls"])
    assert rest["also"] == ["bob: it falls"]
    assert stage.kill.row.reason == "max_daily_loss"
    assert [stage.kill.script.count(name) for name in ("write_gate", "flatten_all")] == [1, 2]
    asked = [e.data["detail"] for e in stage.journal.events if e.data["step"] == "asked"]
    assert asked == [
        "halted by risk monitor: max_daily_loss",
        "halted by bob: it falls; the trip under way does it",
    ]


async def test_trips_that_wait_together_are_one_trip(stage: Any, until: Until) -> None:
    reading = stage.kill.script.hold("read_gate")
    switch = await stage.start_kill_switch()
    await stage.kill.script.called("read_gate")

    await switch.signal("trip", TripWish(reason="one", by="ann"))
    await switch.signal("rearm", RearmWish(reason="all is well", by="eve"))
    await switch.signal("trip", TripWish(reason="two", by="bob"))
    reading.let_go()
    state = await until(switch, "state", lambda s: waiting(s) and s["gate"]["state"] == "halted")

    assert (state["gate"]["reason"], state["also"]) == ("one", ["bob: two"])
    assert stage.kill.script.count("flatten_all") == 2


async def test_the_next_round_begins_behind_the_links_of_the_one_before(
    stage: Any, until: Until
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    left = held().model_copy(update={"next_link": 31})
    stage.kill.script.answer("flatten_all", left)

    await switch.signal("trip", {"by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))

    assert [order.first_link for order in stage.kill.script.of("flatten_all")][:2] == [1, 31]


async def test_a_person_is_told_of_the_trip_and_when_it_is_flat(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    switch = await stage.start_kill_switch()

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))
    heard = await until(notifier, "heard", lambda told: len(told) == 2)

    trip, flat = (message for _, message in heard)
    assert trip["key"] == flat["key"]
    assert (trip["priority"], trip["resolved"]) == (Priority.URGENT, False)
    assert trip["title"] == f"kill switch tripped on {stage.account} by ann: panic"
    assert (flat["priority"], flat["resolved"]) == (Priority.WARNING, True)
    assert "flat: read twice" in flat["title"]


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


async def test_no_notifier_holds_a_trip_up(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("trip", {"by": "ann"})
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert not state["needs_operator"]


async def test_what_was_closed_past_it_is_flattened_and_kept(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    row = stage.gate(GateState.HALTED, reason="temporal was away", by="ann")
    # Written by a machine whose clock is ahead
    stage.kill.row = row.model_copy(update={"at": datetime.now(UTC) + timedelta(hours=1)})

    shown = stage.kill.row
    await switch.signal("adopt", shown)
    state = await until(switch, "state", gate_is(GateState.HALTED))
    await switch.signal("adopt", shown)
    older = datetime.now(UTC) - timedelta(hours=1)
    await switch.signal("adopt", row.model_copy(update={"at": older}))
    await switch.signal("safe_mode", {"on": False, "by": "bob"})
    await stage.kill.script.called("write_gate", 2)
    await until(switch, "state", waiting)

    assert (state["gate"]["by"], state["gate"]["reason"]) == ("ann", "temporal was away")
    assert stage.kill.script.count("flatten_all") == 2


async def test_a_rearm_is_not_undone_by_the_row_of_before(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"by": "ann"})
    tripped = await until(switch, "state", gate_is(GateState.HALTED))
    await switch.signal("rearm", {"by": "ann", "reason": "checked"})
    await until(switch, "state", gate_is(GateState.OPEN))

    await switch.signal("adopt", tripped["gate"])
    await switch.signal("safe_mode", {"on": False, "by": "ann"})
    await until(switch, "state", waiting)

    assert stage.kill.row.state is GateState.OPEN
    assert stage.kill.script.count("flatten_all") == 2


async def test_a_read_from_before_the_row_was_closed_is_never_the_last(
    stage: Any, until: Until, failure: Failure
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    refusals = [failure("database is away", final=True) for _ in range(4)]
    stage.kill.script.answer("write_gate", *refusals)

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await until(switch, "state", lambda s: waiting(s) and not s["flattening"])

    written = [n for n, (name, _) in enumerate(stage.kill.script.calls) if name == "write_gate"]
    after = [name for name, _ in stage.kill.script.calls[written[-1] :]]
    assert after.count("flatten_all") >= 1
    assert stage.kill.script.count("flatten_all") > 2


async def test_two_runs_of_it_know_who_else_tripped(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    started = await stage.start_kill_switch()
    switch = stage.client.get_workflow_handle(started.id)
    stage.kill.script.answer(
        "flatten_all", *(held().model_copy(update={"next_link": n}) for n in range(2, 14))
    )

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await stage.kill.script.called("flatten_all", 2)
    await switch.signal("trip", {"reason": "me too", "by": "bob"})
    await stage.kill.script.called("flatten_all", 14)
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert (await switch.describe()).run_id != started.first_execution_run_id
    assert state["also"] == ["bob: me too"]
    links = [order.first_link for order in stage.kill.script.of("flatten_all")]
    assert links[:13] == list(range(1, 14))


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


async def test_a_trip_past_it_that_a_wish_of_its_own_runs_into_is_finished(
    stage: Any, until: Until
) -> None:
    switch = await stage.start_kill_switch()
    await until(switch, "state", waiting)
    direct = stage.gate(GateState.HALTED, reason="temporal was away", by="ann")
    stage.kill.row = direct.model_copy(update={"at": datetime.now(UTC) + timedelta(hours=1)})
    shown = stage.kill.row

    await switch.signal("safe_mode", {"on": True, "reason": "careful", "by": "bob"})
    await stage.kill.script.called("flatten_all", 2)
    await switch.signal("adopt", shown)
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert (state["gate"]["by"], state["gate"]["reason"]) == ("ann", "temporal was away")
    assert (state["flattening"], stage.kill.script.count("flatten_all")) == (False, 2)


async def test_a_rearm_opens_a_gate_that_a_clock_ahead_has_closed(stage: Any, until: Until) -> None:
    row = stage.gate(GateState.HALTED, reason="panic", by="ann")
    stage.kill.row = row.model_copy(update={"at": datetime.now(UTC) + timedelta(hours=1)})
    switch = await stage.start_kill_switch()
    await until(switch, "state", gate_is(GateState.HALTED))

    await switch.signal("rearm", {"by": "bob", "reason": "checked"})
    state = await until(switch, "state", gate_is(GateState.OPEN))

    assert (state["gate"]["by"], stage.kill.row.state) == ("bob", GateState.OPEN)


async def test_a_rearm_that_the_row_refuses_is_followed_by_word_of_the_trip(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await until(switch, "state", gate_is(GateState.HALTED))
    again = stage.gate(GateState.HALTED, reason="again", by="cid")
    stage.kill.row = again.model_copy(update={"at": datetime.now(UTC) + timedelta(hours=1)})

    await switch.signal("rearm", {"by": "bob", "reason": "checked"})
    await stage.kill.script.called("flatten_all", 4)
    await until(switch, "state", gate_is(GateState.HALTED))
    told = [notice["title"] for name, notice in await notifier.query("heard") if name == "tell"]
    await switch.signal("rearm", {"by": "bob", "reason": "checked again"})
    await until(switch, "state", gate_is(GateState.OPEN))

    assert any(title.endswith("by cid: again") for title in told)
    assert stage.kill.row.state is GateState.OPEN
