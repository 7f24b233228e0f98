"""A stage for workflows: scripted activities, and one set of queues and names per test."""

import asyncio
import contextlib
import json
import uuid
from abc import ABC
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker, WorkflowRunner

from tests.workflows.script import (
    NOON,
    ScriptedDesk,
    ScriptedFolder,
    ScriptedJournal,
    ScriptedKillSwitch,
    ScriptedMarket,
    ScriptedReceivers,
    ScriptedReconciliation,
    ScriptedStream,
)
from tests.workflows.scripted_exchange import ScriptedExchange
from tradewright import ids
from tradewright.answer import PlainAnswers
from tradewright.app.workers import workflow_runner
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, Proposal, RiskFraction, TradePlan
from tradewright.domain.signal import Signal
from tradewright.ports import (
    Applied,
    activities_of,
)
from workflows.account import AccountStart, AccountWorkflow
from workflows.attributes import attributes
from workflows.case_life import CaseWorkflow
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow
from workflows.market import MarketWorkflow
from workflows.notifier import NotifierStart, NotifierWorkflow
from workflows.presets import PresetsWorkflow
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow
from workflows.shadow import ShadowWorkflow
from workflows.strategy import StrategyStart, StrategyWorkflow
from workflows.stream import StreamWorkflow
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

TRADING = (
    TradeWorkflow,
    StrategyWorkflow,
    ShadowWorkflow,
    AccountWorkflow,
    ReconciliationWorkflow,
    CaseWorkflow,
    NotifierWorkflow,
    MarketWorkflow,
    StreamWorkflow,
    PresetsWorkflow,
)


@workflow.defn(sandboxed=False)
class Listener:
    """Stands where another workflow would be, and remembers what it is told."""

    def __init__(self) -> None:
        self._heard: list[tuple[str, Any]] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal(dynamic=True)
    def hear(self, name: str, args: Sequence[RawValue]) -> None:
        self._heard.append((name, json.loads(args[0].payload.data) if args else None))

    @workflow.query
    def heard(self) -> list[tuple[str, Any]]:
        return self._heard


class Stage:
    """One test's queues, workers, scripts and names."""

    def __init__(self, env: WorkflowEnvironment, instrument: Instrument) -> None:
        unique = uuid.uuid4().hex[:12]
        self.env = env
        self.client: Client = env.client
        self.account = f"account-{unique}"
        self.preset = f"preset-{unique}"
        self.prefix = f"test-{unique}"
        self.instrument = instrument
        self.exchange = ScriptedExchange()
        self.journal = ScriptedJournal()
        self.market = ScriptedMarket()
        self.stream = ScriptedStream()
        self.folder = ScriptedFolder()
        self.receivers = ScriptedReceivers()
        self.desk = ScriptedDesk(self.account)
        self.kill = ScriptedKillSwitch(self.account)
        self.reconciliation = ScriptedReconciliation()
        self._handles: list[WorkflowHandle[Any, Any]] = []

    def queue(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    @contextlib.asynccontextmanager
    async def running(self, runner: WorkflowRunner | None = None) -> AsyncIterator["Stage"]:
        """Serve every queue; whatever still runs at the end is terminated."""
        async with contextlib.AsyncExitStack() as stack:
            for worker in self._workers(runner or workflow_runner()):
                await stack.enter_async_context(worker)
            try:
                yield self
            finally:
                await self._clear()

    def _workers(self, runner: WorkflowRunner) -> Sequence[Worker]:
        def serve(queue: str, workflows: Sequence[type], *adapters: ABC) -> Worker:
            return Worker(
                self.client,
                task_queue=self.queue(queue),
                workflows=workflows,
                activities=activities_of(*adapters),
                workflow_runner=runner,
                interceptors=[PlainAnswers()],
                # Each poll is a request of its own, which the server has to keep and to end
                max_concurrent_workflow_task_polls=2,
                max_concurrent_activity_task_polls=1,
                graceful_shutdown_timeout=timedelta(0),
            )

        return (
            serve(
                ids.QUEUE_TRADING,
                (*TRADING, Listener),
                self.exchange,
                self.journal,
                self.receivers,
                self.desk,
                self.reconciliation,
            ),
            serve(ids.QUEUE_MARKET, (), self.market),
            serve(ids.stream_queue(self.account), (), self.stream),
            serve(ids.QUEUE_PRESETS, (), self.folder),
            serve(ids.QUEUE_KILL, (KillSwitchWorkflow,), self.kill, self.journal),
        )

    async def _clear(self) -> None:
        for handle in self._handles:
            # It may have ended by itself
            with contextlib.suppress(RPCError):
                await handle.terminate("the test is over")

    # --- starting -------------------------------------------------------------------------------

    async def start(
        self, run: Any, argument: Any, workflow_id: str, queue: str = ids.QUEUE_TRADING
    ) -> WorkflowHandle[Any, Any]:
        args = [] if argument is None else [argument]
        handle: WorkflowHandle[Any, Any] = await self.client.start_workflow(
            run, args=args, id=workflow_id, task_queue=self.queue(queue)
        )
        self.keep(handle)
        return handle

    def keep(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Terminate it, whichever run it has come to, when the test is over."""
        self._handles.append(self.client.get_workflow_handle(handle.id))

    async def listen_as(self, workflow_id: str) -> WorkflowHandle[Any, Any]:
        return await self.start(Listener.run, None, workflow_id)

    async def start_trade(self, plan: TradePlan, **changes: Any) -> WorkflowHandle[Any, Any]:
        workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
        handle = await self.client.start_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan, **changes),
            id=workflow_id,
            task_queue=self.queue(ids.QUEUE_TRADING),
            search_attributes=attributes(*plan_attributes(plan)),
        )
        self.keep(handle)
        return handle

    async def start_account(self, **changes: Any) -> WorkflowHandle[Any, Any]:
        """Start the desk on real time: its timers never end."""
        with self.env.with_time_skipping_disabled():
            return await self.start(
                AccountWorkflow.run,
                AccountStart.model_validate({"account": self.account} | changes),
                ids.account_workflow(self.account),
            )

    async def start_kill_switch(self) -> WorkflowHandle[Any, Any]:
        return await self.start(
            KillSwitchWorkflow.run,
            KillSwitchStart(account=self.account),
            ids.kill_switch_workflow(self.account),
            ids.QUEUE_KILL,
        )

    async def start_notifier(self) -> WorkflowHandle[Any, Any]:
        return await self.start(
            NotifierWorkflow.run,
            NotifierStart(account=self.account),
            ids.notifier_workflow(self.account),
        )

    async def start_strategy(self, **changes: Any) -> WorkflowHandle[Any, Any]:
        return await self.start(
            StrategyWorkflow.run,
            StrategyStart(applied=self.applied(**changes)),
            ids.strategy_workflow(self.preset),
        )

    async def reconcile(self) -> WorkflowHandle[Any, Any]:
        return await self.start(
            ReconciliationWorkflow.run,
            ReconciliationStart(account=self.account),
            f"{ids.reconciliation_workflow(self.account)}-{uuid.uuid4().hex[:8]}",
        )

    # --- valid things ---------------------------------------------------------------------------

    def plan(self, **changes: Any) -> TradePlan:
        now = datetime.now(UTC)
        fields = {
            "trade_id": ids.trade_id(self.account, self.preset, "BTCUSDT", NOON),
            "account": self.account,
            "preset": self.preset,
            "preset_hash": "c0ffee",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.1"),
            "price": Decimal(50_000),
            "stop_loss": Decimal(49_500),
            "exits": ExitRules(timeframe=Timeframe.M1),
            "leverage": Decimal(3),
            "instrument": self.instrument,
            "trigger": NOON,
            "decided_at": now,
            "expires_at": now + timedelta(seconds=30),
        }
        return TradePlan.model_validate(fields | changes)

    def proposal(self, **changes: Any) -> Proposal:
        fields = {
            "trade_id": ids.trade_id(self.account, self.preset, "BTCUSDT", NOON),
            "account": self.account,
            "preset": self.preset,
            "preset_hash": "c0ffee",
            "symbol": "BTCUSDT",
            "signal": Signal(side=Side.BUY, reason="test"),
            "trigger": NOON,
            "price": Decimal(50_000),
            "stop_loss": Decimal(49_500),
            "exits": ExitRules(timeframe=Timeframe.M1),
            "sizing": RiskFraction(risk_fraction=Decimal("0.005")),
            "leverage": Decimal(3),
            "max_open_trades": 2,
            "expires_after": timedelta(seconds=30),
            "instrument": self.instrument,
            "window": "w",
        }
        return Proposal.model_validate(fields | changes)

    def applied(self, **changes: Any) -> Applied:
        fields = {
            "preset": self.preset,
            "preset_hash": "c0ffee",
            "account": self.account,
            "symbols": ("BTCUSDT", "ETHUSDT"),
            "timeframe": Timeframe.M1,
            "by": "ann",
        }
        return Applied.model_validate(fields | changes)

    def gate(self, state: GateState, **changes: Any) -> Gate:
        return Gate(account=self.account, state=state, at=datetime.now(UTC), **changes)


async def until(handle: WorkflowHandle[Any, Any], query: str, holds: Callable[[Any], bool]) -> Any:
    pause = 0.002
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await handle.query(query)
            except RPCError as e:
                # A run that has just begun is not ready to be asked
                if e.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
            else:
                if holds(answer):
                    return answer
            # Whoever asks all the time keeps the server from its work
            await asyncio.sleep(pause)
            pause = min(1.3 * pause, 0.1)
