"""What the durable shell around a trade costs, beside a bare workflow with the same activities.

``python bench/trade_lifecycle.py [TRADES]`` takes trades from their plan to flat on a real server,
with activities that do nothing but answer, and a workflow that calls the same ones in a row. It
prints latency one at a time, and throughput with fifty at once, as ratios to the bare workflow.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import Priority, RawValue
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tradewright import ids
from tradewright.app import services
from tradewright.app.workers import workflow_runner
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    TargetsPlaced,
    TrailingSet,
)
from tradewright.ports import (
    CandlesDone,
    Evaluation,
    ExchangePort,
    ExitsWish,
    ExitTerms,
    Fundings,
    FundingWish,
    JournalBatch,
    JournalPort,
    MarketPort,
    MarketView,
    Proposals,
    TradeEvents,
    TradeOrder,
    Universe,
    UniverseWish,
    Watchlist,
    activities_of,
)
from workflows.attributes import attributes
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ACCOUNT = "main"
AT_ONCE = 50
RECORDS = 3
"""Writes to the journal of a trade; the bare workflow makes as many."""


def plan_of(kind: str, number: int) -> TradePlan:
    now = datetime.now(UTC)
    return TradePlan(
        trade_id=ids.trade_id(ACCOUNT, f"{kind}-{number}", "BTCUSDT", NOON),
        account=ACCOUNT,
        preset="bench",
        preset_hash="c0ffee",
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        price=Decimal(50_000),
        stop_loss=Decimal(49_500),
        exits=ExitRules(timeframe=Timeframe.M1),
        leverage=Decimal(3),
        instrument=Instrument(
            symbol="BTCUSDT",
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
        ),
        trigger=NOON,
        decided_at=now,
        expires_at=now + timedelta(seconds=30),
    )


def fill(plan: TradePlan, side: Side, *, cause: ExitReason | None = None) -> Executed:
    entry = side is plan.side
    execution = Execution(
        exec_id=f"{plan.trade_id}-{side}",
        seq=1 if entry else 2,
        order_id=f"{plan.trade_id}-{side}",
        order_link_id=ids.order_link(plan.trade_id, "e", 1) if entry else "",
        symbol=plan.symbol,
        side=side,
        price=plan.price,
        qty=plan.qty,
        fee=Decimal("0.05"),
        at=NOON + timedelta(seconds=1 if entry else 2),
        cause=cause,
    )
    return Executed(execution=execution)


class Answers(ExchangePort, JournalPort, MarketPort):
    """Fills at once, is stopped out at once, and tells as the stream would."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def _report(self, plan: TradePlan, event: Executed) -> None:
        # Of both kinds of workflow: an activity knows who asked
        workflow_id = activity.info().workflow_id
        assert workflow_id is not None
        await self._client.get_workflow_handle(workflow_id).signal("report", event)

    @activity.defn
    async def place_entry(self, order: TradeOrder) -> EntryPlaced:
        await self._report(order.plan, fill(order.plan, order.plan.side))
        return EntryPlaced(order_id="o")

    @activity.defn
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed:
        out = fill(order.plan, order.plan.side.opposite, cause=ExitReason.STOP)
        await self._report(order.plan, out)
        return StopConfirmed(price=order.plan.stop_loss)

    @activity.defn
    async def settle(self, order: TradeOrder) -> TradeEvents:
        return TradeEvents(
            events=(PositionRead(qty=Decimal(0), at=NOON + timedelta(minutes=1), settled=True),)
        )

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        return MarketView(price=plan.price)

    @activity.defn
    async def record(self, batch: JournalBatch) -> None:
        """Take it, and forget it."""

    # Nothing of what follows is asked of a trade that is stopped out

    @activity.defn
    async def set_stop(self, order: TradeOrder) -> StopConfirmed:
        raise NotImplementedError

    @activity.defn
    async def set_trailing(self, order: TradeOrder) -> TrailingSet:
        raise NotImplementedError

    @activity.defn
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced:
        raise NotImplementedError

    @activity.defn
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        raise NotImplementedError

    @activity.defn
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        raise NotImplementedError

    @activity.defn
    async def flatten(self, order: TradeOrder) -> ExitSent:
        raise NotImplementedError

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        raise NotImplementedError

    @activity.defn
    async def reckon_exits(self, wish: ExitsWish) -> ExitTerms:
        raise NotImplementedError

    @activity.defn
    async def read_fundings(self, wish: FundingWish) -> Fundings:
        raise NotImplementedError

    @activity.defn
    async def universe(self, wish: UniverseWish) -> Universe:
        raise NotImplementedError

    @activity.defn
    async def done(self, candles: CandlesDone) -> None:
        raise NotImplementedError

    @activity.defn
    async def consume_market(self, watchlist: Watchlist) -> None:
        raise NotImplementedError


@workflow.defn
class BareWorkflow:
    """The same activities and signals in a row, and nothing else: no state, no page, no rules."""

    def __init__(self) -> None:
        self._heard = 0

    @workflow.run
    async def run(self, plan: TradePlan) -> None:
        order = TradeOrder(plan=plan)
        await self._do(ExchangePort.place_entry, order)
        await workflow.wait_condition(lambda: self._heard >= 1)
        await self._do(ExchangePort.verify_stop, order)
        await workflow.wait_condition(lambda: self._heard >= 2)
        await self._do(ExchangePort.settle, order)
        await self._do(MarketPort.observe, plan, queue=ids.QUEUE_MARKET)
        for name in ("opened", "release", "closed"):
            await workflow.get_external_workflow_handle("listener").signal(name, plan.trade_id)
        for _ in range(RECORDS):
            await self._do(JournalPort.record, JournalBatch(events=()))

    async def _do(self, method: Any, argument: Any, queue: str = ids.QUEUE_TRADING) -> None:
        await workflow.execute_activity_method(
            method,
            argument,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=30),
            priority=Priority(priority_key=1),
        )

    @workflow.signal
    def report(self, event: Any) -> None:
        self._heard += 1


@workflow.defn
class Listener:
    """Desk and notifier: hears all."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal(dynamic=True)
    def hear(self, name: str, args: Sequence[RawValue]) -> None:
        del name, args


async def trade(client: Client, kind: str, number: int) -> float:
    """Return how many seconds one life took."""
    plan = plan_of(kind, number)
    began = time.perf_counter()
    if kind.startswith("bare"):
        await client.execute_workflow(
            BareWorkflow.run, plan, id=f"bare/{plan.trade_id}", task_queue=ids.QUEUE_TRADING
        )
    else:
        await client.execute_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=ids.QUEUE_TRADING,
            search_attributes=attributes(*plan_attributes(plan)),
        )
    return time.perf_counter() - began


async def one_at_a_time(client: Client, kinds: tuple[str, ...], count: int) -> dict[str, float]:
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(count + 5):
        for kind in kinds:
            took = await trade(client, f"{kind}-single", number)
            if number >= 5:
                times[kind].append(took)
    return {kind: statistics.median(found) for kind, found in times.items()}


async def at_once(client: Client, kinds: tuple[str, ...], count: int) -> dict[str, float]:
    """Return how many a second."""
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(3):
        for kind in kinds:
            numbers = iter(range(count))

            async def some(kind: str = kind, numbers: Any = numbers, turn: int = turn) -> None:
                for number in numbers:
                    await trade(client, f"{kind}-many-{turn}", number)

            began = time.perf_counter()
            await asyncio.gather(*(some() for _ in range(AT_ONCE)))
            rates[kind].append(count / (time.perf_counter() - began))
    return {kind: statistics.median(found) for kind, found in rates.items()}


async def main(trades: int) -> None:
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=services.program("temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[*services.temporal_arguments()],
    ) as env:
        client = env.client
        adapter = Answers(client)
        found = activities_of(adapter)
        for name in (ids.account_workflow(ACCOUNT), ids.notifier_workflow(ACCOUNT), "listener"):
            await client.start_workflow(Listener.run, id=name, task_queue="listeners")
        async with (
            Worker(
                client,
                task_queue=ids.QUEUE_TRADING,
                workflows=[TradeWorkflow, BareWorkflow],
                activities=found,
                workflow_runner=workflow_runner(),
            ),
            Worker(client, task_queue=ids.QUEUE_MARKET, activities=found),
            Worker(
                client,
                task_queue="listeners",
                workflows=[Listener],
                workflow_runner=workflow_runner(),
            ),
        ):
            kinds = ("bare", "trade")
            latency = await one_at_a_time(client, kinds, trades)
            rate = await at_once(client, kinds, 4 * trades)
    print(f"anchor: bare workflow        {1000 * latency['bare']:.1f} ms, {rate['bare']:.1f} /s")
    print(
        f"latency of a trade, p50      {1000 * latency['trade']:.1f} ms "
        f"= {latency['trade'] / latency['bare']:.2f} bare"
    )
    print(
        f"throughput, {AT_ONCE} at once       {rate['trade']:.1f} /s "
        f"= {rate['trade'] / rate['bare']:.2f} bare"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
    sys.stdout.flush()
    os._exit(0)
