"""The kill switch: it works until flat was read twice, whatever else fails."""

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from tests.workflows.switch import Failure, Until, gate_is, held, waiting
from tradewright import ids
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.domain.notice import Priority
from tradewright.ports import Exposure
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow, TripWish


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


async def test_no_notifier_holds_a_trip_up(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()

    await switch.signal("trip", {"by": "ann"})
    state = await until(switch, "state", gate_is(GateState.HALTED))

    assert not state["needs_operator"]


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
