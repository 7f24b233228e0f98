"""Only a named person rearms, and a gate that was closed past the switch is adopted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from tests.workflows.switch import Until, gate_is, waiting
from tradewright import ids
from tradewright.domain.gate import GateState
from tradewright.domain.notice import Notice
from tradewright.domain.notification import GATHER, Book, Delivery
from workflows.kill_switch import KillSwitchWorkflow, RearmWish, TripWish


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
    while_flattening = await switch.query("state")
    hanging.let_go()
    opened = await until(switch, "state", gate_is(GateState.OPEN))

    assert while_flattening["gate"]["state"] == "halted"
    assert "ann has rearmed it: the gate opens by itself" in while_flattening["meaning"]
    assert opened["meaning"] == GateState.OPEN.meaning
    assert stage.kill.script.count("flatten_all") == 2


async def test_a_rearm_ends_what_is_told_of_the_trips_before_it(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    held = stage.kill.script.hold("flatten_all")
    await switch.signal("trip", TripWish(reason="panic", by="ann"))
    await stage.kill.script.called("flatten_all")
    await switch.signal("trip", TripWish(reason="again", by="ann"))
    held.let_go()
    halted = await until(switch, "state", gate_is(GateState.HALTED))

    await switch.signal("rearm", RearmWish(by="bob", reason="checked"))
    opened = await until(switch, "state", gate_is(GateState.OPEN))
    await switch.signal("safe_mode", {"on": True, "by": "bob"})
    closed = await until(switch, "state", gate_is(GateState.EXITS_ONLY))

    assert halted["also"] == ["ann: again"]
    assert opened["also"] == closed["also"] == []


async def test_a_rearm_is_told_each_time_and_asks_for_nobody(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    switch = await stage.start_kill_switch()
    for _ in range(2):
        await switch.signal("trip", TripWish(reason="panic", by="ann"))
        await until(switch, "state", gate_is(GateState.HALTED))
        await switch.signal("rearm", RearmWish(by="bob", reason="checked"))
        await until(switch, "state", gate_is(GateState.OPEN))
    heard = await until(notifier, "heard", lambda told: len(told) == 6)

    book, now, sent = Book(), datetime.now(UTC), []
    for _, notice in heard:
        book = book.heard(Notice.model_validate(notice), now)
        now += GATHER
        book = book.composed(now)
        if message := book.to_send(now):
            sent.append(message.title)
            book = book.after(message.number, Delivery(delivered=("log",)), now)

    rearmed = f"gate rearmed on {stage.account} by bob: checked"
    assert book.open == ()
    assert [title for title in sent if title.endswith("checked")] == [rearmed, rearmed]


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
