"""The gate, the kill switch, strategies and the whole, as an operator works with them."""

import functools
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError

from tests.cli.conftest import System, WritePreset
from tradewright import ids
from tradewright.app import operate, wish
from tradewright.domain.case import Case
from tradewright.domain.gate import GateState
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.ports import KillSwitchState
from workflows.reconciliation import ReconciliationStart

# --- gate and kill switch ---------------------------------------------------------------------


async def test_safe_mode_closes_the_gate_to_entries_and_opens_it_again(working: System) -> None:
    on = await working.call("safe-mode", "on", "--reason", "maintenance", "--by", "ann")
    row = await working.desk.journal.gate(working.account)
    off = await working.call("safe-mode", "off", "-o", "json")

    assert on.code == 0
    assert f"{working.account}: gate exits only by ann: maintenance" in on.out
    assert row is not None
    assert row.state is GateState.EXITS_ONLY
    assert off.code == 0
    assert off.document["kill_switch"]["gate"]["state"] == "open"
    assert off.document["kill_switch"]["url"].endswith(f"kill-switch%2F{working.account}")


async def test_a_trip_flattens_and_only_a_named_rearm_opens_the_gate(working: System) -> None:
    tripped = await working.call("kill", "trip", "--wait", "--reason", "fire", "--by", "ann")
    safe_off = await working.call("safe-mode", "off")
    nameless = await working.call("kill", "rearm", "--reason", "it is out")
    rearmed = await working.call("kill", "rearm", "--by", "bea", "--reason", "it is out")

    assert tripped.code == 0
    assert "gate halted by ann: fire" in tripped.out
    assert "kill switch: ready" in tripped.out
    assert "flat" in tripped.err
    assert safe_off.code == 6
    assert "the gate is halted by ann (fire)" in safe_off.err
    assert "tradewright kill rearm" in safe_off.err
    assert nameless.code == 2
    assert rearmed.code == 0
    assert "gate open by bea: it is out" in rearmed.out


@pytest.mark.usefixtures("_short_patience")
async def test_a_trip_that_nobody_answers_closes_the_row_and_is_kept(system: System) -> None:
    answer = await system.call("kill", "trip", "--reason", "fire", "--by", "ann")

    assert answer.code == 5
    assert f"gate of {system.account} is halted in the journal: nothing enters" in answer.err
    assert "trip is recorded and will be done when the kill worker is back" in answer.err
    assert "tradewright worker --queues kill" in answer.err
    row = await system.desk.journal.gate(system.account)
    assert row is not None
    assert (row.state, row.reason, row.by) == (GateState.HALTED, "fire", "ann")
    switch = system.client.get_workflow_handle(ids.kill_switch_workflow(system.account))
    events = [e async for e in switch.fetch_history_events()]
    signals = [e.workflow_execution_signaled_event_attributes.signal_name for e in events]
    assert [name for name in signals if name] == ["trip"]


async def test_a_trip_without_temporal_still_closes_the_row(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_TEMPORAL__ADDRESS", "127.0.0.1:1")

    answer = await system.call("kill", "trip", "--by", "ann")

    assert answer.code == 5
    assert "is halted in the journal" in answer.err
    assert "temporal 127.0.0.1:1 does not answer" in answer.err
    row = await system.desk.journal.gate(system.account)
    assert row is not None
    assert row.state is GateState.HALTED


@pytest.mark.usefixtures("_short_patience")
async def test_a_wish_that_loosens_is_not_kept_when_nobody_answers(system: System) -> None:
    await system.start_singletons()

    rearm = await system.call("kill", "rearm", "--by", "bea", "--reason", "it is out")
    off = await system.call("safe-mode", "off")

    assert (rearm.code, off.code) == (5, 5)
    assert "rearm was not sent, nothing was done" in rearm.err
    assert "safe_mode was not sent, nothing was done" in off.err
    switch = system.client.get_workflow_handle(ids.kill_switch_workflow(system.account))
    async with system.workers(ids.QUEUE_KILL):
        state = await wish.ask(system.client, switch.id, "state", KillSwitchState)
        assert not state.needs_operator
    kinds = {event.event_type async for event in switch.fetch_history_events()}
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED not in kinds
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED not in kinds


# --- strategies -------------------------------------------------------------------------------


async def test_a_strategy_is_listed_paused_resumed_and_stopped(
    working: System, write_preset: WritePreset
) -> None:
    name = f"trend-{working.account}"
    await working.call("apply", write_preset(name, account=working.account))
    workflow_id = await working.start_trade(preset=name)
    await working.listed(f"Account = '{working.account}' AND WorkflowType = 'TradeWorkflow'")

    listed = await working.call("strategy", "list")
    paused = await working.call("strategy", "pause", name, "--reason", "holiday", "--by", "ann")
    pause_shown = await working.call("strategy", "list", "-o", "json")
    resumed = await working.call("strategy", "resume", name)
    stopped = await working.call("strategy", "stop", name, "--by", "ann")
    handle = working.client.get_workflow_handle(ids.strategy_workflow(name))
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    gone = await working.call("strategy", "pause", name)
    still_listed = await working.call("strategy", "list")
    still_shown = await working.call("strategy", "show", name, "-o", "json")

    assert listed.out.splitlines()[1].split()[:4] == [name, "trading", "BTCUSDT", "1m"]
    assert f"{name}: paused: holiday" in paused.out
    (line,) = pause_shown.document["strategies"]
    assert (line["state"], line["status"]["pause_reason"]) == ("paused", "holiday")
    assert f"{name}: trading" in resumed.out
    assert stopped.code == 0
    assert "open trades that go on: " in stopped.out
    assert workflow_id in stopped.out
    assert gone.code == 4
    assert "apply its preset" in gone.err
    version = listed.out.splitlines()[1].split()[4]
    assert still_listed.out.splitlines()[1].split()[:5] == [
        *(name, "stopped", "BTCUSDT", "1m", version),
    ]
    assert still_shown.document["strategy"]["state"] == "stopped"


async def test_a_stopped_strategy_is_told_as_a_document(
    working: System, write_preset: WritePreset
) -> None:
    name = f"trend-{working.account}"
    await working.call("apply", write_preset(name, account=working.account))

    stopped = await working.call("strategy", "stop", name, "-o", "json")

    strategy = stopped.document["strategy"]
    assert (strategy["name"], strategy["open_trades"]) == (name, [])
    assert strategy["url"].endswith(f"strategy%2F{name}")


async def test_a_stopped_strategy_is_listed_though_nobody_answers_for_it(
    system: System, write_preset: WritePreset
) -> None:
    name = f"trend-{system.account}"
    async with system.workers(ids.QUEUE_TRADING):
        await system.call("apply", write_preset(name, account=system.account))
        await system.call("strategy", "stop", name, "--by", "ann")
        with pytest.raises(WorkflowFailureError):
            await system.client.get_workflow_handle(ids.strategy_workflow(name)).result()

    listed = await system.call("strategy", "list")

    assert listed.out.splitlines()[1].split() == [name, "stopped"]


@pytest.mark.parametrize(
    "command",
    [
        *(("strategy", verb) for verb in ("show", "history", "pause", "resume", "stop")),
        ("strategy", "promote", "--reason", "x"),
        ("diff",),
    ],
)
async def test_a_misspelt_preset_is_answered_with_the_name_that_is_near(
    working: System, write_preset: WritePreset, command: tuple[str, ...]
) -> None:
    await working.call("apply", write_preset("ema-cross", account=working.account))

    answer = await working.call(*command, "ema-cros")

    assert answer.code == 4
    assert answer.err.splitlines() == [
        "error: preset ema-cros was never applied (did you mean 'ema-cross'?); "
        "see `tradewright strategy list`"
    ]


@pytest.mark.parametrize("which", ["--live", "--all"])
async def test_a_list_of_no_trades_says_that_the_preset_is_misspelt(
    working: System, write_preset: WritePreset, which: str
) -> None:
    await working.call("apply", write_preset("ema-cross", account=working.account))

    misspelt = await working.call("trade", "list", which, "--preset", "ema-cros", "-o", "json")
    idle = await working.call("trade", "list", which, "--preset", "ema-cross")

    assert (misspelt.code, misspelt.document["trades"]) == (0, [])
    assert "ema-cros was never applied (did you mean 'ema-cross'?)" in misspelt.err
    assert idle.err == ""


# --- status and reconcile ---------------------------------------------------------------------


async def test_status_shows_the_desk_the_trades_and_what_needs_a_person(
    working: System, write_preset: WritePreset
) -> None:
    name = f"trend-{working.account}"
    await working.call("apply", write_preset(name, account=working.account))
    workflow_id = await working.start_trade()
    await working.call("reconcile")
    await working.client.get_workflow_handle(workflow_id).signal("exti", {"note": "leave"})
    await working.call("safe-mode", "on", "--reason", "maintenance", "--by", "ann")
    mine = f"Account = '{working.account}'"
    await working.listed(f"{mine} AND NeedsOperator = true")
    await working.listed(f"{mine} AND WorkflowType = 'ReconciliationWorkflow'")
    await working.listed(f"{mine} AND WorkflowType = 'StrategyWorkflow'")

    shown = await working.call("status")
    document = await working.call("status", "-o", "json")

    assert shown.err == ""
    assert shown.code == 0
    for fact in (
        "exits only since",
        "maintenance, by ann",
        "10000.00 USDT",
        "day loss 0.00% of at most 5.00%",
        "private stream  follows",
        "the books agree",
        f"{workflow_id}  signal exti was not understood: there is no such signal",
        f"account/{working.account}  http://127.0.0.1:8233/",
    ):
        assert fact in shown.out, fact
    found = document.document["status"]
    assert found["desk"]["equity"] == "10000"
    assert [line["name"] for line in found["strategies"]] == [name]
    assert found["faults"] == []


@pytest.mark.usefixtures("_short_patience")
async def test_status_of_a_system_without_workers_says_which_to_start(system: System) -> None:
    await system.start_singletons()

    answer = await system.call("status")

    assert answer.code == 5
    assert "gate           " in answer.out
    for queue in ("kill", "trading"):
        assert f"tradewright worker --queues {queue}" in answer.err
    assert "private stream" in answer.err


async def test_reconcile_finds_the_books_in_agreement(working: System) -> None:
    answer = await working.call("reconcile", "-o", "json")

    assert answer.code == 0
    report = answer.document["reconciliation"]["report"]
    assert report == {"found": 0, "mended": [], "left": [], "ignored": []}


async def test_reconcile_tells_what_was_mended_and_what_is_left(
    working: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = functools.partial(ReconciliationStart, second_look=timedelta(milliseconds=10))
    monkeypatch.setattr(operate, "ReconciliationStart", at_once)
    orphan = Discrepancy(kind=Kind.ORPHAN_POSITION, symbol="BTCUSDT", detail="Buy 1 is held")
    late = orphan.model_copy(update={"symbol": "ETHUSDT", "detail": "Sell 2 is held"})
    working.desk.passes = [(orphan,), (orphan,), (orphan,), (orphan, late)]

    mended = await working.call("reconcile")
    left = await working.call("reconcile", "-o", "json")

    assert mended.code == 0
    assert "differences found: 1" in mended.out
    assert "mended: Buy 1 is held: the position is gone" in mended.out
    assert left.code == 1
    report = left.document["reconciliation"]["report"]
    assert (report["found"], report["left"]) == (2, ["Sell 2 is held"])
    assert "error: differences left: 1" in left.err


async def test_what_waits_for_a_person_is_left_and_what_is_ignored_is_no_fault(
    working: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = functools.partial(ReconciliationStart, second_look=timedelta(milliseconds=10))
    monkeypatch.setattr(operate, "ReconciliationStart", at_once)
    foreign = Discrepancy(
        kind=Kind.FOREIGN_ORDER, symbol="BTCUSDT", detail="order o1 is not ours", order_id="o1"
    )
    working.desk.passes = [(foreign,)] * 4
    case = ids.case_workflow(working.account, "BTCUSDT", Kind.FOREIGN_ORDER)

    asked = await working.call("reconcile")
    await working.listed(f"WorkflowType='CaseWorkflow' AND Account='{working.account}'")
    await working.call("case", "decide", case, "ignore", "--by", "ann")
    working.desk.cases = (await wish.ask(working.client, case, "case", Case),)
    ignored = await working.call("reconcile")

    assert asked.code == 1
    assert f"left: order o1 is not ours: a person decides in {case}" in asked.out
    assert "mended" not in asked.out
    assert "tradewright case list" in asked.err
    assert ignored.code == 0
    assert "ignored: order o1 is not ours" in ignored.out
    assert "left" not in ignored.out


@pytest.mark.usefixtures("_short_patience")
async def test_a_reconciliation_that_nobody_takes_is_kept(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operate, "ANSWER_WITHIN", timedelta(seconds=1))

    answer = await system.call("reconcile")

    assert answer.code == 5
    assert "reconcile is recorded" in answer.err
