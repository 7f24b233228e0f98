"""A stage for workflows: a real server, scripted activities, one set of queues per test.

Every port is played by a class whose methods answer plainly unless a test has put something else
into their script: a value, an exception, or a coroutine function of the argument.
"""

import asyncio
import contextlib
import itertools
import json
import uuid
from abc import ABC
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from tradewright import ids
from tradewright.app import services
from tradewright.app.workers import workflow_runner
from tradewright.domain.account import Account, Decision, Limits, Snapshot, decide
from tradewright.domain.event import JournalEvent
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, Proposal, RiskFraction, TradePlan
from tradewright.domain.reconciliation import Discrepancy
from tradewright.domain.signal import Signal
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopMissing,
    StopRefused,
)
from tradewright.ports import (
    AccountPort,
    Adoption,
    CandlesDone,
    Comparison,
    Evaluation,
    ExchangePort,
    Exposure,
    GateWish,
    JournalBatch,
    JournalPort,
    KillPort,
    MarketPort,
    MarketView,
    Proposals,
    ReconciliationPort,
    StreamPort,
    TradeEvents,
    TradeOrder,
    TripOrder,
    Watchlist,
    activities_of,
)
from workflows.account import AccountStart, AccountWorkflow
from workflows.attributes import attributes
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow
from workflows.market import MarketWorkflow
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow
from workflows.strategy import Applied, StrategyStart, StrategyWorkflow
from workflows.stream import StreamWorkflow
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""Market clock of every script."""
TRADING = (TradeWorkflow, StrategyWorkflow, AccountWorkflow, ReconciliationWorkflow)
SUGGEST_AFTER = 40
"""Events after which the impatient server suggests to continue as new."""


class Script:
    """What is asked of a port, in order; the answers that a test has laid down come first."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._answers: dict[str, deque[Any]] = defaultdict(deque)
        self._changed = asyncio.Condition()

    def answer(self, name: str, *answers: Any) -> None:
        """Let the next calls of *name* be answered so."""
        self._answers[name].extend(answers)

    def hold(self, name: str) -> "Held":
        """Let the next call of *name* hang until it is let go."""
        held = Held()
        self.answer(name, held)
        return held

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    def of(self, name: str) -> list[Any]:
        return [argument for called, argument in self.calls if called == name]

    async def called(self, name: str, times: int = 1) -> Any:
        """Wait for call number *times* of *name* and return its argument."""
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: self.count(name) >= times)
        return self.of(name)[times - 1]

    async def play(self, name: str, argument: Any, plain: Callable[[], Any]) -> Any:
        async with self._changed:
            self.calls.append((name, argument))
            self._changed.notify_all()
        answer = self._answers[name].popleft() if self._answers[name] else None
        if isinstance(answer, Held):
            answer = await answer.wait()
        if callable(answer):
            answer = await answer(argument)
        if isinstance(answer, BaseException):
            raise answer
        return plain() if answer is None else answer


class Held:
    """A call that hangs."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._answer: Any = None

    def let_go(self, answer: Any = None) -> None:
        self._answer = answer
        self._free.set()

    async def wait(self) -> Any:
        while not self._free.is_set():
            activity.heartbeat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._free.wait(), 0.5)
        return self._answer


class ScriptedExchange(ExchangePort):
    """An exchange of one symbol that fills at once, and tells only who asks."""

    def __init__(self) -> None:
        self.script = Script()
        self.held = Decimal(0)
        self.stop: Decimal | None = None
        self.executions: list[Execution] = []
        self._numbers = itertools.count(1)

    def execute(
        self, plan: TradePlan, side: Side, *, link: str = "", cause: ExitReason | None = None
    ) -> Execution:
        """Fill the whole of *plan*; on its own side it enters, on the other it leaves."""
        number = next(self._numbers)
        execution = Execution(
            exec_id=f"{plan.trade_id}-{number}",
            seq=number,
            order_id=f"order-{link or number}",
            order_link_id=link,
            symbol=plan.symbol,
            side=side,
            price=plan.price if side is plan.side else plan.price + 100 * plan.side.sign,
            qty=plan.qty,
            fee=Decimal("0.05"),
            at=NOON + timedelta(seconds=number),
            cause=cause,
        )
        self.executions.append(execution)
        self.held += plan.qty if side is plan.side else -plan.qty
        self.stop = plan.stop_loss if self.held else None
        return execution

    def _position(self) -> PositionRead:
        return PositionRead(qty=self.held, at=NOON + timedelta(minutes=1))

    def _all(self) -> TradeEvents:
        return TradeEvents(
            events=(*(Executed(execution=e) for e in self.executions), self._position())
        )

    @activity.defn
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        def fill() -> EntryPlaced:
            link = ids.order_link(order.plan.trade_id, "e", order.number)
            self.execute(order.plan, order.plan.side, link=link)
            return EntryPlaced(order_id=f"order-{link}")

        found: EntryPlaced | EntryRejected = await self.script.play("place_entry", order, fill)
        return found

    @activity.defn
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        def shown() -> StopConfirmed | StopMissing | PositionRead:
            if not self.held:
                return self._position()
            return StopMissing() if self.stop is None else StopConfirmed(price=self.stop)

        found: StopConfirmed | StopMissing | PositionRead = await self.script.play(
            "verify_stop", order, shown
        )
        return found

    @activity.defn
    async def set_stop(self, order: TradeOrder) -> StopConfirmed | StopRefused | PositionRead:
        def moved() -> StopConfirmed:
            self.stop = order.price
            assert order.price is not None
            return StopConfirmed(price=order.price)

        found: StopConfirmed | StopRefused | PositionRead = await self.script.play(
            "set_stop", order, moved
        )
        return found

    @activity.defn
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        found: TradeEvents = await self.script.play("look_up", order, self._all)
        return found

    @activity.defn
    async def flatten(self, order: TradeOrder) -> ExitSent:
        def close() -> ExitSent:
            if not self.held:
                return ExitSent()
            link = ids.order_link(order.plan.trade_id, "x", order.number)
            execution = self.execute(order.plan, order.plan.side.opposite, link=link)
            return ExitSent(order_link_id=link, order_id=execution.order_id, qty=execution.qty)

        found: ExitSent = await self.script.play("flatten", order, close)
        return found

    @activity.defn
    async def settle(self, order: TradeOrder) -> TradeEvents:
        found: TradeEvents = await self.script.play("settle", order, self._all)
        return found


class ScriptedJournal(JournalPort):
    def __init__(self) -> None:
        self.script = Script()
        self.batches: list[JournalBatch] = []

    @property
    def events(self) -> list[JournalEvent]:
        return [event for batch in self.batches for event in batch.events]

    @activity.defn
    async def record(self, batch: JournalBatch) -> None:
        await self.script.play("record", batch, lambda: None)
        self.batches.append(batch)


class ScriptedMarket(MarketPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        found: Proposals = await self.script.play("evaluate", evaluation, Proposals)
        return found

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        found: MarketView = await self.script.play(
            "observe", plan, lambda: MarketView(price=plan.price)
        )
        return found

    @activity.defn
    async def done(self, candles: CandlesDone) -> None:
        await self.script.play("done", candles, lambda: None)

    @activity.defn
    async def consume_market(self, watchlist: Watchlist) -> None:
        await self.script.play("consume_market", watchlist, lambda: None)


class ScriptedStream(StreamPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def consume_stream(self, account: str) -> None:
        await self.script.play("consume_stream", account, lambda: None)


class ScriptedDesk(AccountPort):
    """Decides by the pure rules, for a desk that is always open."""

    def __init__(self, account: str) -> None:
        self.script = Script()
        self.equity = Decimal(10_000)
        self.account = account

    def snapshot(self) -> Snapshot:
        now = datetime.now(UTC)
        return Snapshot(at=now, market_at=NOON, equity=self.equity, wallet=self.equity)

    @activity.defn
    async def read_snapshot(self, account: str) -> Snapshot:
        found: Snapshot = await self.script.play("read_snapshot", account, self.snapshot)
        return found

    @activity.defn
    async def reserve(self, proposal: Proposal) -> Decision:
        now = datetime.now(UTC)
        desk = Account(
            name=self.account, started_at=now, reconciled_at=now, snapshot=self.snapshot()
        )
        found: Decision = await self.script.play(
            "reserve", proposal, lambda: decide(proposal, desk, Limits(), now)
        )
        return found


class ScriptedKillSwitch(KillPort):
    """Keeps the gate's row by its rules; flat unless the script says otherwise."""

    def __init__(self, account: str) -> None:
        self.script = Script()
        self.row = Gate(account=account, at=datetime.now(UTC) - timedelta(days=1))

    @activity.defn
    async def read_gate(self, account: str) -> Gate:
        found: Gate = await self.script.play("read_gate", account, lambda: self.row)
        return found

    @activity.defn
    async def write_gate(self, wish: GateWish) -> Gate:
        def write() -> Gate:
            self.row = self.row.after(wish.gate, rearm=wish.rearm)
            return self.row

        found: Gate = await self.script.play("write_gate", wish, write)
        return found

    @activity.defn
    async def cancel_entries(self, order: TripOrder) -> int:
        found: int = await self.script.play("cancel_entries", order, lambda: 1)
        return found

    @activity.defn
    async def flatten_all(self, order: TripOrder) -> Exposure:
        found: Exposure = await self.script.play(
            "flatten_all", order, lambda: Exposure(at=datetime.now(UTC))
        )
        return found

    @activity.defn
    async def read_exposure(self, order: TripOrder) -> Exposure:
        found: Exposure = await self.script.play(
            "read_exposure", order, lambda: Exposure(at=datetime.now(UTC))
        )
        return found


class ScriptedReconciliation(ReconciliationPort):
    def __init__(self) -> None:
        self.script = Script()

    @activity.defn
    async def compare(self, account: str) -> Comparison:
        found: Comparison = await self.script.play(
            "compare", account, lambda: Comparison(at=datetime.now(UTC))
        )
        return found

    @activity.defn
    async def plan_adoption(self, orphan: Discrepancy) -> Adoption | None:
        found: Adoption | None = await self.script.play("plan_adoption", orphan, lambda: None)
        return found

    @activity.defn
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        await self.script.play("cancel_unknown", unknown, lambda: None)


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
                graceful_shutdown_timeout=timedelta(0),
            )

        return (
            serve(
                ids.QUEUE_TRADING,
                (*TRADING, Listener),
                self.exchange,
                self.journal,
                self.desk,
                self.reconciliation,
            ),
            serve(ids.QUEUE_MARKET, (MarketWorkflow, StreamWorkflow), self.market, self.stream),
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


async def _until(handle: WorkflowHandle[Any, Any], query: str, holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while True:
            answer = await handle.query(query)
            if holds(answer):
                return answer


@pytest.fixture
def until() -> Any:
    """Ask a workflow until what it answers (as JSON) holds."""
    return _until


@pytest.fixture
def failure() -> Callable[..., ApplicationError]:
    def make(message: str = "it does not work", *, final: bool = False) -> ApplicationError:
        return ApplicationError(message, type="TestFailure", non_retryable=final)

    return make


@pytest.fixture
async def stage(
    temporal_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    async with Stage(temporal_env, make_instrument()).running() as running:
        yield running


@pytest.fixture
async def strict_stage(
    temporal_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    """A stage whose sandbox lets nothing of ours pass: clock and chance are refused everywhere."""
    stage = Stage(temporal_env, make_instrument())
    async with stage.running(SandboxedWorkflowRunner()) as running:
        yield running


@pytest.fixture(scope="session")
async def impatient_env() -> AsyncIterator[WorkflowEnvironment]:
    """A server that suggests to continue as new after a few events."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=services.program("temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *services.temporal_arguments(),
            "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
            "--dynamic-config-value=frontend.WorkflowTimeSkippingMaxSkipPerSession=1000000",
            f"--dynamic-config-value=limit.historyCount.suggestContinueAsNew={SUGGEST_AFTER}",
        ],
    )
    yield environment
    await environment.shutdown()


@pytest.fixture
async def impatient_stage(
    impatient_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    async with Stage(impatient_env, make_instrument()).running() as running:
        yield running
