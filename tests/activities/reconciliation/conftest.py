"""Real workflows that trade on the paper exchange, without a stream."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.account import BybitAccount
from activities.interceptor import DomainErrors
from activities.journal import JournalActivities
from activities.reconciliation import BybitReconciliation
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Adopted, TradeState
from tradewright.ports import activities_of
from workflows.account import AccountStart, AccountWorkflow
from workflows.attributes import attributes
from workflows.case_life import CaseWorkflow
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

StartTrade = Callable[..., Awaitable[WorkflowHandle[Any, Any]]]
Reserve = Callable[..., Awaitable[None]]


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def books(bench: Any, temporal: Client, name: str) -> BybitReconciliation:
    return BybitReconciliation(bench.client, bench.pace, temporal, name)


@pytest.fixture
async def queue(bench: Any, temporal: Client) -> AsyncIterator[str]:
    queue = f"test-{uuid.uuid4().hex}:trading"
    account = BybitAccount(bench.client, bench.journal, bench.pace, temporal)
    records = JournalActivities(bench.journal)
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[TradeWorkflow, AccountWorkflow, CaseWorkflow],
        activities=activities_of(bench.exchange, account, records),
        interceptors=[DomainErrors()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        yield queue


@pytest.fixture
def plan(make_plan: Any, name: str) -> TradePlan:
    made: TradePlan = make_plan()
    trade_id = ids.trade_id(name, made.preset, made.symbol, made.trigger)
    return made.model_copy(update={"account": name, "trade_id": trade_id})


@pytest.fixture
async def start_trade(temporal: Client, queue: str) -> AsyncIterator[StartTrade]:
    """Start trades and wait until they are open; all end with the test."""
    started = []

    async def start(plan: TradePlan, adopted: Adopted | None = None) -> WorkflowHandle[Any, Any]:
        handle = await temporal.start_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan, adopted=adopted),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=queue,
            search_attributes=attributes(*plan_attributes(plan)),
        )
        started.append(handle)
        async with asyncio.timeout(20):
            while True:
                view = await handle.query(TradeWorkflow.trade)
                if view.trade.state is TradeState.OPEN and not view.busy:
                    return handle
                await asyncio.sleep(0.05)

    yield start
    for handle in started:
        if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await handle.terminate()


@pytest.fixture
async def reserve(temporal_env: WorkflowEnvironment, queue: str) -> AsyncIterator[Reserve]:
    """Start the desk with the risk of a plan held, as it has been for so many seconds."""
    started = []

    async def start(plan: TradePlan, age: float = 0) -> None:
        now = datetime.now(UTC)
        held_since = now - timedelta(seconds=age)
        desk = Account(name=plan.account, started_at=now).reserved(plan, held_since)
        # Else its snapshots would follow each other without a pause
        with temporal_env.with_time_skipping_disabled():
            handle = await temporal_env.client.start_workflow(
                AccountWorkflow.run,
                AccountStart(account=plan.account, carried=desk),
                id=ids.account_workflow(plan.account),
                task_queue=queue,
            )
        started.append(handle)

    yield start
    for handle in started:
        await handle.terminate()
