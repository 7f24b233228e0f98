"""What the kill switch is told: misspelled, unknown, twice, or all at once."""

from typing import Any

from tests.workflows.switch import Until, gate_is, waiting
from tradewright.domain.gate import GateState
from workflows.kill_switch import RearmWish, TripWish


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
