"""What an operator may ask of the running system; each answer says what really happened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from temporalio.client import Client, RPCError, WorkflowFailureError
from temporalio.service import RPCStatusCode

from tradewright import ids
from tradewright.app.books import Books, books
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.line import STOPPED, StrategyLine, strategy_state
from tradewright.app.strategy_run import is_running
from tradewright.app.wish import (
    NotRunning,
    TemporalFailed,
    WishRefused,
    WishStored,
    ask,
    reason_of,
    remedy,
    tell,
    tell_or_store,
)
from tradewright.domain.market import Value
from tradewright.domain.plan import Mode
from tradewright.domain.trade import Kept, TradeState
from tradewright.ports import (
    Choice,
    ModeWish,
    PauseWish,
    StrategyStatus,
    TradeView,
)
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow
from workflows.trade import ExitWish, MigrateWish, ResolveWish, StopWish

POLL: Final = 0.25
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
    """Return one strategy, and what it says of itself, or said last before it was stopped."""
    workflow_id = ids.strategy_workflow(name)
    status = await ask(client, workflow_id, "status", StrategyStatus)
    state = strategy_state(status) if await is_running(client, workflow_id) else STOPPED
    return StrategyLine(name=name, workflow_id=workflow_id, state=state, status=status)


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
