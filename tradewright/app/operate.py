"""What an operator may ask of the running system; each answer says what really happened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from temporalio.client import Client, RPCError, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCStatusCode

from tradewright import ids
from tradewright.app.apply import apply, prune
from tradewright.app.books import Books, books
from tradewright.app.connect import ANSWER_WITHIN, opened_journal
from tradewright.app.line import StrategyLine, strategy_state
from tradewright.app.wish import (
    NotRunning,
    NoWorkerAnswers,
    TemporalFailed,
    WishRefused,
    WishStored,
    ask,
    reason_of,
    remedy,
    tell,
    tell_or_store,
)
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Value
from tradewright.domain.plan import Mode
from tradewright.domain.trade import Kept, TradeState
from tradewright.ports import (
    Choice,
    KillSwitchState,
    ModeWish,
    PauseWish,
    StrategyStatus,
    TradeView,
)
from tradewright.settings import Settings
from workflows.kill_switch import (
    KillSwitchStart,
    KillSwitchWorkflow,
    RearmWish,
    SafeModeWish,
    TripWish,
)
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow
from workflows.trade import ExitWish, MigrateWish, ResolveWish, StopWish

__all__ = [
    "Reconciliation",
    "apply",
    "close_gate",
    "exit_trade",
    "follow_kill_switch",
    "follow_trade",
    "migrate_trade",
    "pause_strategy",
    "prune",
    "rearm",
    "reconcile",
    "resume_strategy",
    "safe_mode",
    "stop_strategy",
    "trip",
]

POLL: Final = 0.25
SETTLED_WITHIN: Final = 10.0
"""Seconds that the kill switch is given to write the gate before the answer is what it does now."""

MIGRATED_WITHIN: Final = timedelta(seconds=15)
"""The exits are reckoned from candles that may have to be fetched."""

Progress = Callable[[str], None]


# --- strategies -------------------------------------------------------------------------------


async def pause_strategy(client: Client, name: str, *, reason: str, by: str) -> StrategyStatus:
    """Take no new entries for the preset; its open trades go on. Kept if nobody answers."""
    wish = PauseWish(reason=reason, by=by)
    workflow_id = ids.strategy_workflow(name)
    return await tell_or_store(client, workflow_id, "pause", wish, StrategyStatus, probe="status")


async def resume_strategy(client: Client, name: str, *, reason: str, by: str) -> StrategyStatus:
    """Take entries again; not kept if nobody answers."""
    wish = PauseWish(reason=reason, by=by)
    workflow_id = ids.strategy_workflow(name)
    return await tell(client, workflow_id, "resume", wish, StrategyStatus, probe="status")


async def set_mode(
    client: Client, name: str, *, mode: Mode, by: str, reason: str, expect: str = ""
) -> StrategyStatus:
    """Let the running version of the preset trade, follow in the shadow, or alert.

    Raises:
        WishRefused: It is in that mode already, or another version runs than *expect* begins.
    """
    workflow_id = ids.strategy_workflow(name)
    running = await ask(client, workflow_id, "status", StrategyStatus)
    if not running.preset_hash.startswith(expect):
        raise WishRefused(
            workflow_id, f"it runs version {running.preset_hash}, not {expect}; look at it first"
        )
    wish = ModeWish(mode=mode, by=by, reason=reason, expected_hash=running.preset_hash)
    return await tell(client, workflow_id, "set_mode", wish, StrategyStatus, probe="status")


async def strategy(client: Client, name: str) -> StrategyLine:
    """Return one strategy that runs, and what it says of itself."""
    workflow_id = ids.strategy_workflow(name)
    status = await ask(client, workflow_id, "status", StrategyStatus)
    return StrategyLine(
        name=name, workflow_id=workflow_id, state=strategy_state(status), status=status
    )


async def stop_strategy(client: Client, name: str, *, reason: str) -> str:
    """Cancel the strategy and return its workflow's id; its open trades go on without it."""
    handle = client.get_workflow_handle(ids.strategy_workflow(name))
    try:
        found = await handle.describe(rpc_timeout=ANSWER_WITHIN)
        if found.close_time is not None:
            raise NotRunning(handle.id, remedy(handle.id))
        await handle.cancel(reason=reason, rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            raise NotRunning(handle.id, remedy(handle.id)) from None
        raise TemporalFailed(f"cancel of {handle.id}", e.message) from None
    return handle.id


# --- trades -----------------------------------------------------------------------------------


async def exit_trade(client: Client, workflow_id: str, *, note: str, by: str) -> TradeView:
    """Ask the trade to leave the market; kept if nobody answers."""
    wish = ExitWish(note=note, by=by)
    return await tell_or_store(client, workflow_id, "exit", wish, TradeView, probe="trade")


async def move_stop(client: Client, workflow_id: str, *, price: Decimal, by: str) -> TradeView:
    """Tighten the trade's stop; one that stands there already is left alone.

    Raises:
        WishRefused: It would not tighten, or the exchange does not take it.
    """
    _insist_on_real(workflow_id)
    view = await ask(client, workflow_id, "trade", TradeView)
    if view.trade.stop == view.trade.wanted_stop == price and view.trade.state is TradeState.OPEN:
        return view
    wish = StopWish(price=price, by=by)
    return await tell(client, workflow_id, "move_stop", wish, TradeView, probe="trade")


async def migrate_trade(
    client: Client,
    workflow_id: str,
    *,
    by: str,
    reason: str,
    expect: str = "",
    keep: Collection[Kept] = (),
) -> TradeView:
    """Move the trade to the exits of the version of its preset that runs now.

    Args:
        client: Of the venue's namespace.
        workflow_id: Of the trade.
        by: Who wants it.
        reason: Why.
        expect: Refuse unless this version runs (its beginning).
        keep: What stays as the trade was opened with.

    Raises:
        WishRefused: It cannot be moved, and why.
    """
    _insist_on_real(workflow_id)
    wish = MigrateWish(by=by, reason=reason, expected_hash=expect, keep=tuple(keep))
    return await tell(
        client, workflow_id, "migrate", wish, TradeView, probe="trade", within=MIGRATED_WITHIN
    )


async def resolve_trade(
    client: Client, workflow_id: str, *, choice: Choice, reason: str, by: str
) -> TradeView:
    """Say how a trade goes on that cannot by itself.

    Raises:
        WishRefused: It can, or that is no choice here.
    """
    _insist_on_real(workflow_id)
    wish = ResolveWish(choice=choice, reason=reason, by=by)
    return await tell(client, workflow_id, "resolve", wish, TradeView, probe="trade")


def _insist_on_real(workflow_id: str) -> None:
    """Refuse what only a trade at the exchange can do.

    Raises:
        WishRefused: It is a virtual one.
    """
    if workflow_id.startswith("shadow/"):
        raise WishRefused(
            workflow_id, "it is virtual, nothing of it is at the exchange; it can only be exited"
        )


async def follow_trade(client: Client, workflow_id: str) -> AsyncIterator[TradeView]:
    """Yield the trade whenever it has changed, until it has ended."""
    seen: TradeView | None = None
    while True:
        view = await ask(client, workflow_id, "trade", TradeView)
        if view != seen:
            seen = view
            yield view
        if view.trade.is_final:
            return
        await asyncio.sleep(POLL)


# --- gate and kill switch ---------------------------------------------------------------------


async def trip(
    client: Client, account: str, *, reason: str, by: str, queue: str = ids.QUEUE_KILL
) -> KillSwitchState:
    """Halt the account and begin to flatten it; kept if nobody answers.

    Args:
        client: Of the venue's namespace.
        account: Name of the account.
        reason: Shown to everybody.
        by: Who.
        queue: Where a kill switch is started that does not run yet.
    """
    return await _tighten(client, account, "trip", TripWish(reason=reason, by=by), queue)


async def safe_mode(
    client: Client, account: str, *, on: bool, reason: str, by: str, queue: str = ids.QUEUE_KILL
) -> KillSwitchState:
    """Let nothing enter any more, or let it again; only the former is kept if nobody answers."""
    wish = SafeModeWish(on=on, reason=reason, by=by)
    if on:
        return await _tighten(client, account, "safe_mode", wish, queue)
    workflow_id = ids.kill_switch_workflow(account)
    await tell(client, workflow_id, "safe_mode", wish, KillSwitchState, probe="state")
    state = await _settled(client, workflow_id)
    if state.gate.state is GateState.HALTED:
        raise WishRefused(
            workflow_id,
            f"the gate is halted by {state.gate.by or 'nobody'} ({state.gate.reason}), and safe "
            f"mode does not open it; `tradewright kill rearm` does",
        )
    return state


async def rearm(client: Client, account: str, *, reason: str, by: str) -> KillSwitchState:
    """Open the gate by name and reason; never kept if nobody answers."""
    workflow_id = ids.kill_switch_workflow(account)
    wish = RearmWish(reason=reason, by=by)
    await tell(client, workflow_id, "rearm", wish, KillSwitchState, probe="state")
    return await _settled(client, workflow_id)


async def _tighten(
    client: Client, account: str, name: str, wish: Value, queue: str
) -> KillSwitchState:
    workflow_id = ids.kill_switch_workflow(account)
    try:
        await tell(client, workflow_id, name, wish, KillSwitchState, probe="state")
        return await _settled(client, workflow_id)
    except (NoWorkerAnswers, NotRunning):
        # Signal and start in one: the wish is kept even where no kill switch ever ran
        try:
            await client.start_workflow(
                KillSwitchWorkflow.run,
                KillSwitchStart(account=account),
                id=workflow_id,
                task_queue=queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=name,
                start_signal_args=[wish],
                rpc_timeout=ANSWER_WITHIN,
            )
        except RPCError as e:
            raise TemporalFailed(f"signal {name} to {workflow_id}", e.message) from None
        raise WishStored(workflow_id, name) from None


async def _settled(client: Client, workflow_id: str) -> KillSwitchState:
    """Return the kill switch once it waits, or flattens, or has had its time."""
    tries = int(SETTLED_WITHIN / POLL)
    for _ in range(tries):
        state = await ask(client, workflow_id, "state", KillSwitchState)
        if state.flattening or state.step == "waiting":
            break
        await asyncio.sleep(POLL)
    return state


async def follow_kill_switch(client: Client, account: str) -> AsyncIterator[KillSwitchState]:
    """Yield the kill switch whenever it has changed, until it waits again."""
    seen: KillSwitchState | None = None
    while True:
        state = await ask(client, ids.kill_switch_workflow(account), "state", KillSwitchState)
        if state != seen:
            seen = state
            yield state
        if state.step == "waiting":
            return
        await asyncio.sleep(POLL)


async def close_gate(
    settings: Settings, state: GateState, *, reason: str, by: str, now: datetime
) -> Gate:
    """Write the gate's row without Temporal, which keeps entries out while the kill worker is away.

    Args:
        settings: Name journal and account.
        state: EXITS_ONLY or HALTED; a tighter gate stays as it is.
        reason: Shown to everybody.
        by: Who.
        now: Wall clock.

    Raises:
        JournalMissing: There is none.
        JournalUnavailable: The row was not written.
    """
    gate = Gate(account=settings.account, state=state, reason=reason, by=by, at=now)
    async with opened_journal(settings) as journal:
        return await journal.set_gate(gate, rearm=False)


# --- reconciliation ---------------------------------------------------------------------------


class Reconciliation(Value):
    """A run that has ended."""

    workflow_id: str
    report: Books


async def reconcile(
    client: Client,
    account: str,
    *,
    now: datetime,
    progress: Progress = lambda line: None,
    queue: str = ids.QUEUE_TRADING,
) -> Reconciliation:
    """Compare the exchange with the trades now, and return what was found and mended.

    Args:
        client: Of the venue's namespace.
        account: Name of the account.
        now: Wall clock; becomes part of the run's id.
        progress: Told what the run is waiting for.
        queue: Of the trading workers.

    Raises:
        WishStored: No worker took the run; it is made when one is back.
        WishRefused: The run failed.
    """
    name = f"{ids.reconciliation_workflow(account)}-{now:%Y-%m-%dT%H:%M:%S.%fZ}"
    try:
        handle = await client.start_workflow(
            ReconciliationWorkflow.run,
            ReconciliationStart(account=account),
            id=name,
            task_queue=queue,
            static_summary="exchange and trades compared, asked for by a person",
            rpc_timeout=ANSWER_WITHIN,
        )
    except RPCError as e:
        raise TemporalFailed(f"start of {name}", e.message) from None
    result = asyncio.ensure_future(handle.result())
    try:
        while not (await asyncio.wait([result], timeout=ANSWER_WITHIN.total_seconds()))[0]:
            found = await handle.describe()
            # Started and its first task scheduled: two events, and nobody has taken the task
            if found.history_length <= 2:
                raise WishStored(handle.id, "reconcile")
            for line in _pending(found):
                progress(line)
        return Reconciliation(workflow_id=handle.id, report=books(result.result()))
    except WorkflowFailureError as e:
        raise WishRefused(handle.id, reason_of(e)) from None
    except RPCError as e:
        raise TemporalFailed(f"the wait for {handle.id}", e.message) from None
    finally:
        result.cancel()


def _pending(found: Any) -> list[str]:
    """Return what the workflow's activities are waiting for."""
    pending = found.raw_description.pending_activities
    lines = [
        f"{activity.activity_type.name}, attempt {activity.attempt}"
        + (f": {activity.last_failure.message}" if activity.last_failure.message else "")
        for activity in pending
    ]
    return lines or ["taking the second look"]
