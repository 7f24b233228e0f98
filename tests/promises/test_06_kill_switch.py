"""The kill switch works until it has *read* flat and no orders twice; only a person rearms it.

One system, tripped four times: by a signal while its worker is killed at every step, with
everything else away or at fault, after a terminate, and from a terminal without Temporal.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pybit.exceptions import FailedRequestError
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from tests.system.live_system import LiveSystem, until
from tradewright import ids
from tradewright.app import kill_switch
from tradewright.app.paper_control import control
from tradewright.app.trip_record import FOLDER
from tradewright.domain.account import RefusalCode
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.domain.market import Side
from tradewright.domain.trade import Trade, TradeState
from tradewright.ports import KillSwitchState
from workflows.kill_switch import TripWish

pytestmark = pytest.mark.timeout(300)

KILLED = {(TradeState.CLOSED, ExitReason.KILL_SWITCH)}


# --- hands ------------------------------------------------------------------------------------


def switch_of(live: LiveSystem) -> WorkflowHandle[Any, Any]:
    return live.client.get_workflow_handle(ids.kill_switch_workflow(live.settings.account))


async def step_is(live: LiveSystem, *words: str) -> KillSwitchState:
    """Wait until the kill switch is at a step that begins with one of *words*."""

    async def is_so() -> KillSwitchState | None:
        state = await live.switch()
        return state if state.step.startswith(words) else None

    found = await until(is_so)
    assert found is not None
    return found


async def is_halted_and_done(live: LiveSystem) -> KillSwitchState:
    async def is_so() -> KillSwitchState | None:
        state = await live.switch()
        halted = state.gate.state is GateState.HALTED
        return state if halted and state.step == "waiting" and not state.flattening else None

    found = await until(is_so, within=120)
    assert found is not None
    return found


async def rearm(live: LiveSystem) -> None:
    await is_halted_and_done(live)
    await kill_switch.rearm(live.client, live.settings.account, reason="looked at it", by="ann")

    async def is_open() -> bool:
        return (await live.desk()).gate is GateState.OPEN

    await until(is_open)


async def faults(live: LiveSystem, *wanted: dict[str, Any]) -> None:
    for fault in wanted:
        body = json.dumps(fault)
        await asyncio.to_thread(control, live.settings.paper_url, "POST", "faults", body=body)


async def struck(live: LiveSystem, name: str) -> bool:
    told = await asyncio.to_thread(control, live.settings.paper_url, "GET", "faults")
    return any(strike["fault"] == name for strike in told["strikes"])


async def no_faults(live: LiveSystem) -> None:
    await asyncio.to_thread(control, live.settings.paper_url, "DELETE", "faults")


async def nothing_left(live: LiveSystem) -> bool:
    """Return whether the exchange holds no position and no order."""
    try:
        held = (await live.by_hand("get_positions", settleCoin="USDT"))["list"]
        return not held and not (await live.by_hand("get_open_orders", settleCoin="USDT"))["list"]
    except FailedRequestError:
        # The faults strike who only looks, too
        return False


def is_pending(handle: WorkflowHandle[Any, Any], activity: str) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        found = (await handle.describe()).raw_description.pending_activities
        return any(a.activity_type.name == activity for a in found)

    return is_so


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody else from writing to the database."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


async def steps(live: LiveSystem) -> list[tuple[str, str]]:
    """Return what the journal has of the kill switch."""
    written = await live.journal.events(kind=EventKind.KILL_SWITCH, limit=None)
    return [(e.event.data["step"], e.event.data["detail"]) for e in written]


# --- killed at every step ---------------------------------------------------------------------


@dataclass
class Survivor:
    """A trip whose worker was killed at every step."""

    trades: list[Trade] = field(default_factory=list)
    killed_at: list[str] = field(default_factory=list)
    state: KillSwitchState | None = None


@pytest.fixture(scope="module")
async def survivor(live: LiveSystem) -> Survivor:
    found = Survivor()
    handles = [await live.open("SOLUSDT"), await live.open("XRPUSDT", Side.SELL)]
    low = f"{(await live.price('BTCUSDT')) // 2:f}"
    high = f"{(await live.price('BTCUSDT')) * 2:f}"
    entry = {"symbol": "BTCUSDT", "side": "Buy", "qty": "0.1"}
    await live.by_hand("place_order", **entry, orderType="Limit", price=low)
    await live.by_hand(
        "place_order", **entry, orderType="Market", triggerPrice=high, triggerDirection=1
    )
    await faults(
        live,
        {"kind": "stall", "name": "c", "when": {"endpoint": "/v5/order/cancel", "times": 1}},
        {"kind": "stall", "name": "f", "when": {"order_link": "kill-*", "times": 1}},
    )

    async def kill(at: str) -> None:
        await live.kill_and_restart("kill-worker")
        found.killed_at.append(at)

    switch = switch_of(live)
    with locked(live.settings.state / "journal.db"):
        await switch.signal("trip", TripWish(reason="fire", by="ann"))
        await until(is_pending(switch, "write_gate"))
        await kill("closing the gate")
    for at, fault in (("cancelling", "c"), ("flattening", "f")):

        async def is_struck(fault: str = fault) -> bool:
            return await struck(live, fault)

        await until(is_struck)
        await kill(at)
    await step_is(live, "flat; reading again")
    await switch.signal("trip", TripWish(reason="smoke", by="bob"))
    await kill("between the two reads")
    found.state = await is_halted_and_done(live)
    found.trades = [await live.ended(handle) for handle in handles]
    await no_faults(live)
    return found


async def test_a_trip_goes_on_when_its_worker_is_killed_at_every_step(
    live: LiveSystem, survivor: Survivor
) -> None:
    assert len(survivor.killed_at) == 4
    assert await nothing_left(live)
    assert {(t.state, t.exit_reason) for t in survivor.trades} == KILLED
    gate = await live.journal.gate(live.settings.account)
    assert gate is not None
    assert (gate.state, gate.by, gate.reason) == (GateState.HALTED, "ann", "fire")
    assert await live.differences(*survivor.trades) == []


async def test_entries_are_cancelled_and_every_close_only_reduces(
    live: LiveSystem, survivor: Survivor
) -> None:
    by_hand = [o for o in await live.orders("BTCUSDT") if not o["orderLinkId"]]
    assert {o["orderStatus"] for o in by_hand} <= {"Cancelled", "Deactivated"}
    closes = await live.orders_with("kill-")
    assert all(o["reduceOnly"] for o in closes)
    assert {o["symbol"] for o in closes} >= {t.plan.symbol for t in survivor.trades}
    links = [o["orderLinkId"] for o in closes]
    assert len(links) == len(set(links))


async def test_the_last_read_comes_when_nothing_sent_before_the_gate_closed_can_land(
    live: LiveSystem, survivor: Survivor
) -> None:
    closed_at: datetime | None = None
    last_read: datetime | None = None
    names: dict[int, str] = {}
    async for event in switch_of(live).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            names[event.event_id] = name
            if name == "flatten_all":
                last_read = event.event_time.ToDatetime()
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes.scheduled_event_id
            if names[done] == "write_gate" and closed_at is None:
                closed_at = event.event_time.ToDatetime()
    assert closed_at is not None
    assert last_read is not None
    assert last_read - closed_at >= QUIET_TIME


async def test_a_second_trip_is_harmless_and_its_reason_is_kept(
    live: LiveSystem, survivor: Survivor
) -> None:
    assert survivor.state is not None
    assert survivor.state.also == ("bob: smoke",)

    async def is_written() -> bool:
        return [step for step, _ in await steps(live)].count("flat") == 1

    await until(is_written)
    asked = [detail for step, detail in await steps(live) if step == "asked"]
    assert asked == ["halted by ann: fire", "halted by bob: smoke; the trip under way does it"]


# --- who may open it again --------------------------------------------------------------------


async def test_leaving_safe_mode_never_opens_a_halted_gate(
    live: LiveSystem, survivor: Survivor
) -> None:
    answer = await live.command("safe-mode", "off", "--by", "bob")

    assert answer.code == 6
    assert "safe mode does not open it" in answer.err
    assert (await live.switch()).gate.state is GateState.HALTED
    assert (await live.refused("BTCUSDT")).code is RefusalCode.GATE_CLOSED


async def test_a_cancel_is_ignored_and_a_terminated_kill_switch_comes_back_halted(
    live: LiveSystem, survivor: Survivor
) -> None:
    switch = switch_of(live)
    await switch.cancel()

    async def is_told() -> bool:
        return "a cancel was ignored" in (await live.switch()).needs_operator

    await until(is_told)
    assert (await switch.describe()).status is WorkflowExecutionStatus.RUNNING

    await switch.terminate("a mistake")
    assert (await live.command("reconcile")).code == 0

    state = await is_halted_and_done(live)
    assert (state.gate.by, state.gate.reason) == ("ann", "fire")
    assert (await switch.describe()).status is WorkflowExecutionStatus.RUNNING
    assert (await live.refused("BTCUSDT")).code is RefusalCode.GATE_CLOSED


# --- everything else away or at fault ---------------------------------------------------------


async def test_a_trip_gets_flat_without_journal_and_vault_on_an_exchange_at_fault(
    live: LiveSystem, survivor: Survivor
) -> None:
    await rearm(live)
    handles = [await live.open("SOLUSDT"), await live.open("XRPUSDT", Side.SELL)]
    vault = live.child("vault").spec
    await live.supervisor.stop("vault")
    create, read = "/v5/order/create", "/v5/position/list"
    await faults(
        live,
        {"kind": "code_10006", "when": {"endpoint": create, "times": 3}},
        {"kind": "http_error", "when": {"endpoint": create, "after": 3, "times": 2}},
        {"kind": "stall", "when": {"order_link": "kill-*", "after": 5, "times": 1}},
        {"kind": "reset", "when": {"endpoint": "/v5/order/cancel-all", "times": 1}},
        {"kind": "http_error", "name": "r", "when": {"endpoint": read, "probability": 0.4}},
    )
    try:
        with locked(live.settings.state / "journal.db"):
            await switch_of(live).signal("trip", TripWish(reason="storm", by="ann"))
            await until(lambda: nothing_left(live), within=120)
            row = await live.journal.gate(live.settings.account)
            assert row is not None
            assert row.state is GateState.OPEN
        await no_faults(live)
        await is_halted_and_done(live)
    finally:
        await no_faults(live)
        await live.supervisor.start(vault)

    trades = [await live.ended(handle) for handle in handles]
    assert {(t.state, t.exit_reason) for t in trades} == KILLED
    row = await live.journal.gate(live.settings.account)
    assert row is not None
    assert (row.state, row.reason) == (GateState.HALTED, "storm")


# --- without Temporal -------------------------------------------------------------------------


async def test_without_temporal_a_terminal_gets_flat_and_the_kill_switch_adopts_it_later(
    live: LiveSystem, survivor: Survivor
) -> None:
    await rearm(live)
    handles = [await live.open("SOLUSDT"), await live.open("XRPUSDT", Side.SELL)]
    temporal = live.child("temporal").spec
    await live.supervisor.stop("temporal")
    trip = ("kill", "trip", "--direct", "--by", "ann", "--reason", "temporal is gone")
    await faults(live, {"kind": "stall", "when": {"order_link": "kill-d*", "times": 1}})

    # kill -9 in the middle: its first order is taken, and never answered
    first = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewright", "--settings", str(live.running_file), *trip),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
    )

    async def has_sent() -> bool:
        return bool(await live.orders_with("kill-d"))

    await until(has_sent)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    again = await live.command(*trip, "--output", "json")

    assert again.code == 0, again.err
    assert again.document["direct_trip"]["gate_fault"] == ""
    assert await nothing_left(live)
    links = [o["orderLinkId"] for o in await live.orders_with("kill-d")]
    assert len(links) == len(set(links))
    row = await live.journal.gate(live.settings.account)
    assert row is not None
    assert (row.state, row.by) == (GateState.HALTED, "ann")

    await live.supervisor.start(temporal)

    async def is_adopted() -> bool:
        gate = (await live.switch()).gate
        return (gate.state, gate.reason) == (GateState.HALTED, "temporal is gone")

    await until(is_adopted, within=120)
    await is_halted_and_done(live)
    trades = [await live.ended(handle) for handle in handles]
    assert {(t.state, t.exit_reason) for t in trades} == KILLED
    assert await live.differences(*trades) == []

    async def is_taken_in() -> bool:
        left = await asyncio.to_thread(lambda: list((live.settings.state / FOLDER).iterdir()))
        return len(left) == 2 and all(path.suffix == ".done" for path in left)

    await until(is_taken_in)
    told = [e.event for e in await live.journal.events(kind=EventKind.KILL_SWITCH, limit=None)]
    direct = [e for e in told if e.chain == f"kill-direct/{live.settings.account}"]
    ends = [e.data["step"] for e in direct if e.data["step"] in {"flat", "cut_short"}]
    assert sorted(ends) == ["cut_short", "flat"]
    assert len({e.event_id for e in direct}) == len(direct)
