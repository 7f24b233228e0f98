"""What an operator may look at: asked of the workflows themselves, in parallel, within seconds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, RPCError, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCStatusCode

from tradewright import ids
from tradewright.app.books import books
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.line import (
    STOPPED,
    FeedLine,
    Need,
    Overview,
    ReconciliationLine,
    StrategyLine,
    TradeLine,
    line_of_attributes,
    line_of_desk,
    line_of_trade,
    strategy_state,
)
from tradewright.app.strategy_run import is_running
from tradewright.app.wish import NotRunning, NoWorkerAnswers, TemporalFailed, ask
from tradewright.domain.account import Account, Limits
from tradewright.domain.errors import TradewrightError
from tradewright.domain.gate import Gate
from tradewright.ports import KillSwitchState, StrategyStatus, TradeView
from tradewright.settings import Settings
from workflows.reconciliation import ReconciliationReport

if TYPE_CHECKING:
    pass

AT_ONCE: Final = 20
"""Queries under way at the same time."""

V = TypeVar("V")
W = TypeVar("W")


async def overview(
    client: Client,
    settings: Settings,
    gate: Callable[[], Coroutine[Any, Any, Gate | None]],
    *,
    now: datetime,
) -> Overview:
    """Return how the account stands; whatever does not answer becomes a fault, not a failure.

    Args:
        client: Of the venue's namespace.
        settings: Name the account.
        gate: Reads the gate's row.
        now: Wall clock.
    """
    account = settings.account
    faults: list[str] = []
    switch_id, desk_id = ids.kill_switch_workflow(account), ids.account_workflow(account)
    async with asyncio.TaskGroup() as group:

        def begin(answer: Coroutine[Any, Any, V]) -> asyncio.Task[V | None]:
            return group.create_task(_or_fault(answer, faults))

        row = begin(gate())
        switch = begin(ask(client, switch_id, "state", KillSwitchState))
        book = begin(ask(client, desk_id, "account", Account))
        limits = begin(ask(client, desk_id, "limits", Limits))
        running = begin(strategies(client, account))
        live = begin(live_trades(client, account))
        consumers = begin(feeds(client, account))
        reconciled = begin(last_reconciliation(client, account))
        needy = begin(needs(client, account))
    following = consumers.result() or ()
    faults += [
        f"{feed.name} {feed.workflow_id} does not follow: {feed.state}"
        for feed in following
        if not feed.works
    ]
    gate_row, machine = row.result(), switch.result()
    waiting = needy.result() or ()
    if gate_row and machine and gate_row.state is not machine.gate.state:
        why = (
            f"it has the gate {machine.gate.state}, the journal's row has it {gate_row.state} "
            f"({gate_row.reason}), and entries obey the row; trip or rearm again"
        )
        waiting += (Need(workflow_id=switch_id, why=why),)
    account_book, in_force = book.result(), limits.result()
    snapshot = account_book.snapshot if account_book else None
    held = {p.symbol: p.unrealised_pnl for p in snapshot.positions} if snapshot else {}
    return Overview(
        venue=settings.venue,
        account=account,
        at=now,
        gate=gate_row or (machine.gate if machine else None),
        kill_switch=machine,
        desk=line_of_desk(account_book, in_force) if account_book and in_force else None,
        strategies=running.result() or (),
        trades=tuple(
            line.model_copy(update={"open_pnl": held.get(line.symbol)})
            for line in live.result() or ()
        ),
        feeds=following,
        reconciliation=reconciled.result(),
        needs=waiting,
        faults=tuple(dict.fromkeys(faults)),
    )


async def strategies(
    client: Client, account: str, known: Iterable[str] = ()
) -> tuple[StrategyLine, ...]:
    """Return the strategies that run, and those of *known* that do not, by name.

    Args:
        client: Of the venue's namespace.
        account: Name of the account.
        known: Names of presets that were applied at some time; Temporal's list lags a second.
    """
    visible = {w.id async for w in _listed(client, "StrategyWorkflow", account)}
    wanted = visible | {ids.strategy_workflow(name) for name in known}

    async def line(workflow_id: str) -> StrategyLine:
        name = workflow_id.partition("/")[2]
        runs = workflow_id in visible or await is_running(client, workflow_id)
        try:
            status = await ask(client, workflow_id, "status", StrategyStatus)
        # One that fails is shown as such, and hides no other
        except (NoWorkerAnswers, NotRunning, TemporalFailed):
            state = "silent" if runs else STOPPED
            return StrategyLine(name=name, workflow_id=workflow_id, state=state)
        state = strategy_state(status) if runs else STOPPED
        return StrategyLine(name=name, workflow_id=workflow_id, state=state, status=status)

    return tuple(await _each(line, sorted(wanted)))


async def live_trades(
    client: Client, account: str, kind: str = "TradeWorkflow"
) -> tuple[TradeLine, ...]:
    """Return the trades that run, asked one by one; one that is silent shows what Temporal knows.

    Temporal's list lags a second behind what was just started or ended.
    """
    listed = [w async for w in _listed(client, kind, account)]

    async def line(found: WorkflowExecution) -> TradeLine:
        try:
            view = await ask(client, found.id, "trade", TradeView)
        except (NoWorkerAnswers, NotRunning, TemporalFailed):
            return line_of_attributes(found)
        return line_of_trade(view.trade, found.id, view.needs_operator)

    lines = await _each(line, sorted(listed, key=lambda w: w.start_time, reverse=True))
    return tuple(lines)


async def running_trades(client: Client, account: str) -> tuple[str, ...]:
    """Return the workflow ids of the trades that run, those of the virtual ones at the end."""
    kinds = ("TradeWorkflow", "ShadowWorkflow")
    return tuple([w.id for kind in kinds async for w in _listed(client, kind, account)])


async def last_reconciliation(client: Client, account: str) -> ReconciliationLine | None:
    """Return the run that ended last."""
    query = f"WorkflowType = 'ReconciliationWorkflow' AND Account = '{account}'"
    async for found in _list(client, f"{query} AND ExecutionStatus != 'Running'", limit=1):
        report = None
        if found.status is WorkflowExecutionStatus.COMPLETED:
            handle = client.get_workflow_handle(
                found.id, run_id=found.run_id, result_type=ReconciliationReport
            )
            report = books(await handle.result(rpc_timeout=ANSWER_WITHIN))
        at = found.close_time or found.start_time
        return ReconciliationLine(workflow_id=found.id, at=at, report=report)
    return None


async def needs(client: Client, account: str) -> tuple[Need, ...]:
    """Return every workflow that waits for a person, and what it says."""
    query = f"NeedsOperator = true AND ExecutionStatus = 'Running' AND Account = '{account}'"
    found = [w.id async for w in _list(client, query)]

    async def need(workflow_id: str) -> Need:
        return Need(workflow_id=workflow_id, why=await _complaint(client, workflow_id))

    return tuple(await _each(need, sorted(found)))


async def _complaint(client: Client, workflow_id: str) -> str:
    """Return what the workflow's page in the Web UI says about its need."""
    handle = client.get_workflow_handle(workflow_id)
    try:
        page: WorkflowMetadata = await handle.query(
            "__temporal_workflow_metadata", result_type=WorkflowMetadata, rpc_timeout=ANSWER_WITHIN
        )
    except RPCError:
        return "no worker answers for it; its page in the Web UI says what it last did"
    lines = [line.strip("-*# ") for line in page.current_details.splitlines() if line.strip()]
    marker = "needs a person:** "
    told = [line[len(marker) :] for line in lines if line.lower().startswith(marker)]
    return (told or lines or ["its page in the Web UI says why"])[0]


async def feeds(client: Client, account: str) -> tuple[FeedLine, ...]:
    """Return how the consumers of both streams are doing."""
    return (
        await _feed(client, "private stream", ids.stream_workflow(account)),
        await _feed(client, "market stream", ids.market_workflow(account)),
    )


def _fault(activity: Any) -> str:
    """Return what the consumer's last heartbeat complains of."""
    for payload in activity.heartbeat_details.payloads:
        with contextlib.suppress(ValueError):
            told = json.loads(payload.data)
            return str(told.get("fault") or "") if isinstance(told, dict) else ""
    return ""


async def _feed(client: Client, name: str, workflow_id: str) -> FeedLine:
    """Return how the consumer is doing: its heartbeats are in the workflow's description."""
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is not RPCStatusCode.NOT_FOUND:
            raise TemporalFailed(f"description of {workflow_id}", e.message) from None
        return FeedLine(
            name=name, workflow_id=workflow_id, state="every worker starts it", works=False
        )
    if found.close_time is not None:
        return FeedLine(name=name, workflow_id=workflow_id, state="it was stopped", works=False)
    for activity in found.raw_description.pending_activities:
        heard = activity.last_heartbeat_time
        failure = activity.last_failure.message
        if failure and not heard.seconds:
            state = f"attempt {activity.attempt}: {failure}"
            return FeedLine(name=name, workflow_id=workflow_id, state=state, works=False)
        if fault := _fault(activity):
            return FeedLine(name=name, workflow_id=workflow_id, state=fault, works=False)
        return FeedLine(
            name=name,
            workflow_id=workflow_id,
            state="follows" if heard.seconds else "begins",
            heard_at=heard.ToDatetime(tzinfo=UTC) if heard.seconds else None,
            works=True,
        )
    return FeedLine(name=name, workflow_id=workflow_id, state="nobody takes its task", works=False)


def _listed(client: Client, kind: str, account: str) -> AsyncIterator[WorkflowExecution]:
    running = f"WorkflowType = '{kind}' AND ExecutionStatus = 'Running'"
    return _list(client, f"{running} AND Account = '{account}'")


async def _list(
    client: Client, query: str, limit: int | None = None
) -> AsyncIterator[WorkflowExecution]:
    try:
        async for found in client.list_workflows(query, limit=limit, rpc_timeout=ANSWER_WITHIN):
            yield found
    except RPCError as e:
        raise TemporalFailed(f"the list of workflows ({query})", e.message) from None


async def _each(ask_one: Callable[[V], Awaitable[W]], things: Iterable[V]) -> list[W]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(thing: V) -> W:
        async with turn:
            return await ask_one(thing)

    return await asyncio.gather(*(one(thing) for thing in things))


async def _or_fault(answer: Awaitable[V], faults: list[str]) -> V | None:
    try:
        return await answer
    except TradewrightError as e:
        faults.append(str(e))
        return None
