"""The lockstep's last word: no step before every trade is done with the one before."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.pace import PaperPace
from activities.settlement import NotSettled
from tradewright import ids
from tradewright.app.conductor import Conductor, Progress
from tradewright.domain.account import Account, Released, Reservation
from tradewright.domain.execution import Execution
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Executed, Started, Trade
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.call import Call
from tradewright.paper.keys import ApiKey
from tradewright.paper.rest.order import create
from tradewright.ports import TradeView

START = datetime(2025, 1, 1, tzinfo=UTC)


@workflow.defn
class ScriptedDesk:
    @workflow.init
    def __init__(self, account: Account) -> None:
        self._account = account
        self._refreshed = 0

    @workflow.run
    async def run(self, account: Account) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def release(self, released: Released) -> None:
        self._account = self._account.released(released)

    @workflow.query
    def account(self) -> Account:
        return self._account

    @workflow.query
    def refreshed(self) -> int:
        return self._refreshed

    @workflow.update
    async def refresh(self) -> None:
        self._refreshed += 1


@workflow.defn
class ScriptedTrade:
    @workflow.init
    def __init__(self, view: TradeView) -> None:
        self._view = view

    @workflow.run
    async def run(self, view: TradeView) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def become(self, view: TradeView) -> None:
        self._view = view

    @workflow.query
    def trade(self) -> TradeView:
        return self._view


class Stage:
    """A desk with one trade, at a paper exchange in lockstep."""

    def __init__(self, client: Client, paper: PaperExchange, plan: TradePlan) -> None:
        self.client = client
        self.paper = paper
        self.plan = plan
        self.queue = f"stage-{plan.account}"
        self.pace = PaperPace(paper.http_url)
        self.desk = client.get_workflow_handle(ids.account_workflow(plan.account))
        self.trade = client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))

    async def start(
        self, view: TradeView | None, *, with_trade: bool = True, **changes: Any
    ) -> None:
        plans = () if view is None else (self.plan,)
        account = Account(
            name=self.plan.account,
            started_at=START,
            reservations=tuple(Reservation(plan=plan, at=START) for plan in plans),
            **changes,
        )
        await self.client.start_workflow(
            ScriptedDesk.run, account, id=self.desk.id, task_queue=self.queue
        )
        if view is not None and with_trade:
            await self.client.start_workflow(
                ScriptedTrade.run, view, id=self.trade.id, task_queue=self.queue
            )

    def conductor(self, deadline: timedelta = timedelta(seconds=30)) -> Conductor:
        return Conductor(self.client, self.pace, self.plan.account, deadline)

    def open(self, qty: str) -> TradeView:
        entry = Execution(
            exec_id="exec-1",
            seq=1,
            order_id="order-1",
            symbol="BTCUSDT",
            side=Side.BUY,
            price=Decimal(50000),
            qty=Decimal(qty),
            fee=Decimal(0),
            at=START,
        )
        trade = Trade(plan=self.plan).after(Started()).after(Executed(execution=entry))
        return TradeView(trade=trade, busy=False)

    def buy(self, qty: str) -> None:
        """Fill an order at the exchange, as if a trade had placed it."""
        wish = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": qty}
        create(Call(self.paper.exchange, wish, ApiKey("key", "secret")))


MakeStage = Callable[..., Any]


@asynccontextmanager
async def stage_at(temporal: Client, instrument: Instrument, steps: int) -> AsyncIterator[Stage]:
    name = f"account-{uuid.uuid4().hex[:8]}"
    plan = TradePlan(
        trade_id=ids.trade_id(name, "steady", "BTCUSDT", START),
        account=name,
        preset="steady",
        preset_hash="abc",
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.01"),
        price=Decimal(50000),
        stop_loss=Decimal(49000),
        exits=ExitRules(timeframe=Timeframe.M1),
        leverage=Decimal(3),
        instrument=instrument,
        trigger=START,
        decided_at=START,
        expires_at=START,
    )
    settings = PaperSettings(
        port=0, symbols=("BTCUSDT",), history=10, start=START, speed="lockstep", steps=steps
    )
    async with running(settings) as paper:
        stage = Stage(temporal, paper, plan)
        worker = Worker(
            temporal,
            task_queue=stage.queue,
            workflows=[ScriptedDesk, ScriptedTrade],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        try:
            async with worker:
                yield stage
        finally:
            stage.pace.close()


@pytest.fixture
def make_stage(temporal: Client, make_instrument: Callable[..., Instrument]) -> MakeStage:
    return lambda steps=3: stage_at(temporal, make_instrument(), steps)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.005)


async def test_a_market_without_trades_is_conducted_to_its_end(make_stage: MakeStage) -> None:
    async with make_stage(steps=4) as stage:
        await stage.start(None)
        conductor, seen = stage.conductor(), list[Progress]()
        await conductor.subscribe()
        await stage.pace.start()

        await conductor.run(seen.append)

        assert [progress.step for progress in seen] == [0, 1, 2, 3]
        assert {progress.steps_total for progress in seen} == {4}
        assert seen[-1].at == START + timedelta(minutes=4)
        # Once, for what it shows has not changed since
        assert await stage.desk.query("refreshed") == 1


async def test_an_open_position_is_shown_to_the_desk_at_every_step(make_stage: MakeStage) -> None:
    async with make_stage(steps=3) as stage:
        stage.buy("0.01")
        await stage.start(stage.open("0.01"))
        conductor = stage.conductor()
        await conductor.subscribe()
        await stage.pace.start()

        await conductor.run()

        assert await stage.desk.query("refreshed") == 3


async def test_the_market_stands_while_a_trade_is_at_work(make_stage: MakeStage) -> None:
    async with make_stage(steps=2) as stage:
        stage.buy("0.01")
        ready = stage.open("0.01")
        await stage.start(ready.model_copy(update={"busy": True}))
        conductor = stage.conductor()
        await conductor.subscribe()
        await stage.pace.start()
        conducting = asyncio.create_task(conductor.run())

        await until(lambda: _waits_for(stage))
        standing = await stage.pace.market_now()
        await stage.trade.signal("become", ready)
        await conducting

        assert standing == START + timedelta(minutes=1)
        assert (await stage.pace.status())["ended"]


async def test_the_market_stands_while_a_trade_is_told_to_leave(make_stage: MakeStage) -> None:
    async with make_stage(steps=1) as stage:
        stage.buy("0.01")
        await stage.start(stage.open("0.01"), leaving=(stage.plan.trade_id,))
        conductor = stage.conductor(timedelta(seconds=0.05))
        await conductor.subscribe()
        await stage.pace.start()

        with pytest.raises(NotSettled, match=f"{stage.plan.trade_id} is being told to leave"):
            await conductor.run()


async def _waits_for(stage: Stage) -> bool:
    status = await stage.pace.status()
    return bool(status["phase"] == "settle" and stage.desk.id in status["waiting_for"])


@pytest.mark.parametrize(
    ("held", "counted", "why"),
    [
        ("0.01", "0.004", "counts 0.004, the exchange holds 0.01"),
        (None, "0.01", "counts 0.01, the exchange holds 0"),
    ],
)
async def test_a_fill_that_has_not_arrived_is_waited_for(
    make_stage: MakeStage, held: str | None, counted: str, why: str
) -> None:
    async with make_stage(steps=1) as stage:
        if held:
            stage.buy(held)
        await stage.start(stage.open(counted))
        conductor = stage.conductor(timedelta(seconds=0.05))
        await conductor.subscribe()
        await stage.pace.start()

        with pytest.raises(NotSettled) as failure:
            await conductor.run()

        (pending,) = failure.value.pending
        assert pending == f"{stage.trade.id} {why}"
        assert "did not settle within 0.05 s" in str(failure.value)


async def test_an_ended_trade_is_waited_for_until_it_has_given_its_risk_back(
    make_stage: MakeStage,
) -> None:
    async with make_stage(steps=1) as stage:
        closed = stage.open("0.01").trade.model_copy(update={"state": "closed"})
        await stage.start(TradeView(trade=closed, busy=False))
        impatient = stage.conductor(timedelta(seconds=0.05))
        await impatient.subscribe()
        await stage.pace.start()
        with pytest.raises(NotSettled, match="is closed and not released"):
            await impatient.run()

        release = Released(trade_id=stage.plan.trade_id, at=START)
        await stage.desk.signal("release", release)
        await stage.conductor().run()

        assert (await stage.pace.status())["ended"]


async def test_a_reservation_whose_trade_does_not_run_is_named(make_stage: MakeStage) -> None:
    async with make_stage(steps=1) as stage:
        await stage.start(stage.open("0.01"), with_trade=False)
        conductor = stage.conductor(timedelta(seconds=0.05))
        await conductor.subscribe()
        await stage.pace.start()

        with pytest.raises(NotSettled, match=f"{stage.trade.id} is reserved and does not run"):
            await conductor.run()
