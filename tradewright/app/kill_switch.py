"""What an operator may ask of gate and kill switch; each answer says what really happened."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from temporalio.client import Client, RPCError
from temporalio.common import WorkflowIDConflictPolicy

from tradewright import ids
from tradewright.app.connect import ANSWER_WITHIN, opened_journal
from tradewright.app.wish import (
    NotRunning,
    NoWorkerAnswers,
    TemporalFailed,
    WishRefused,
    WishStored,
    ask,
    tell,
)
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Value
from tradewright.ports import (
    KillSwitchState,
)
from tradewright.settings import Settings
from workflows.kill_switch import (
    KillSwitchStart,
    KillSwitchWorkflow,
    RearmWish,
    SafeModeWish,
    TripWish,
)

POLL: Final = 0.25
SETTLED_WITHIN: Final = 10.0
"""Seconds that the kill switch is given to write the gate before the answer is what it does now."""


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


async def follow(client: Client, account: str) -> AsyncIterator[KillSwitchState]:
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
