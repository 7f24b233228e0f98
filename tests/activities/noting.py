"""Workflows that only note what they are told, and the private stream between them and paper."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.bybit import BybitClient
from activities.happening import StreamCursor
from activities.pace import PaperPace
from activities.secrets import ExchangeKey
from activities.stream import BybitStream
from tradewright import ids
from tradewright.app.paper_control import control
from tradewright.domain.account import Account, Channel, Filled, Reservation
from tradewright.domain.execution import Execution
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.notice import Notice
from tradewright.domain.plan import ExitRules, Origin, TradePlan
from tradewright.domain.trade import Executed, RecheckRequested, Started, Trade, TradeEvent
from tradewright.paper import PaperExchange, PaperSettings
from tradewright.ports import TradeView

START = datetime(2025, 1, 1, tzinfo=UTC)
KEY = ExchangeKey(api_key=SecretStr("paper-key"), api_secret=SecretStr("paper-secret"))

AWAY = RecheckRequested(reason="the stream was away")

INSTRUMENT = Instrument(
    symbol="BTCUSDT",
    base_coin="BTC",
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    max_market_qty=Decimal(100),
)


def plan_of(**changes: Any) -> TradePlan:
    fields = {
        "trade_id": "twaaaaaaaaaaaaaaaa",
        "account": "main",
        "preset": "noting",
        "preset_hash": "abc",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "qty": Decimal("0.01"),
        "price": Decimal(50000),
        "stop_loss": Decimal(49000),
        "exits": ExitRules(timeframe=Timeframe.M1),
        "leverage": Decimal(3),
        "instrument": INSTRUMENT,
        "trigger": START,
        "decided_at": START,
        "expires_at": START,
    }
    return TradePlan.model_validate(fields | changes)


class Keys:
    async def exchange_key(self) -> ExchangeKey:
        return KEY


@workflow.defn
class NotingDesk:
    """Stands in for the desk: answers what it was started with."""

    @workflow.init
    def __init__(self, account: Account) -> None:
        self._account = account
        self._channels: list[Channel] = []
        self._fills: list[str] = []

    @workflow.run
    async def run(self, account: Account) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def account(self) -> Account:
        return self._account

    @workflow.signal
    def filled(self, told: Filled) -> None:
        self._fills.append(told.symbol)

    @workflow.query
    def fills(self) -> list[str]:
        return self._fills

    @workflow.signal
    def channel(self, told: Channel) -> None:
        self._channels.append(told)

    @workflow.query
    def channels(self) -> list[Channel]:
        return self._channels


@workflow.defn
class NotingNotifier:
    """Stands in for the notifier: keeps what a person would be told."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def tell(self, notice: Notice) -> None:
        self._notices.append(notice)

    @workflow.query
    def notices(self) -> list[Notice]:
        return self._notices


@workflow.defn
class NotingTrade:
    """Stands in for a trade: keeps what it is told."""

    @workflow.init
    def __init__(self, plan: TradePlan) -> None:
        self._plan = plan
        self._events: list[TradeEvent] = []

    @workflow.run
    async def run(self, plan: TradePlan) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def report(self, event: TradeEvent) -> None:
        self._events.append(event)

    @workflow.query
    def events(self) -> list[TradeEvent]:
        return self._events

    @workflow.query
    def trade(self) -> TradeView:
        trade = Trade(plan=self._plan)
        if self._plan.origin is Origin.SIGNAL:
            trade = trade.after(Started())
        for event in self._events:
            trade = trade.after(event)
        return TradeView(trade=trade, busy=False)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


class Desk:
    """An account with running trades, at a paper exchange that stands still."""

    def __init__(self, client: Client, worker: Worker) -> None:
        self.client = client
        self.account = f"desk-{uuid.uuid4().hex[:8]}"
        self._queue = worker.task_queue

    async def open(self, *symbols: str, trigger: datetime = START, **more: Any) -> list[TradePlan]:
        plans = [
            plan_of(
                symbol=symbol,
                trigger=trigger,
                trade_id=ids.trade_id(self.account, "noting", symbol, trigger),
                **more,
            )
            for symbol in symbols
        ]
        account = Account(
            name=self.account,
            started_at=START,
            reservations=tuple(Reservation(plan=plan, at=START) for plan in plans),
        )
        await self.client.start_workflow(
            NotingDesk.run,
            account,
            id=ids.account_workflow(self.account),
            task_queue=self._queue,
        )
        for plan in plans:
            await self.client.start_workflow(
                NotingTrade.run,
                plan,
                id=ids.trade_workflow(plan.symbol, plan.trade_id),
                task_queue=self._queue,
            )
        return plans

    async def open_notifier(self) -> None:
        await self.client.start_workflow(
            NotingNotifier.run, id=ids.notifier_workflow(self.account), task_queue=self._queue
        )

    async def channels(self) -> list[Channel]:
        """Return what the desk was told of the streams."""
        desk = self.client.get_workflow_handle(ids.account_workflow(self.account))
        told: list[Channel] = await desk.query("channels", result_type=list[Channel])
        return told

    async def fills(self) -> list[str]:
        handle = self.client.get_workflow_handle(ids.account_workflow(self.account))
        found: list[str] = await handle.query(NotingDesk.fills)
        return found

    async def notices(self) -> list[Notice]:
        notifier = self.client.get_workflow_handle(ids.notifier_workflow(self.account))
        told: list[Notice] = await notifier.query("notices", result_type=list[Notice])
        return told

    async def told(self, plan: TradePlan) -> Sequence[TradeEvent]:
        """Return what the trade was told, beside that a stream has begun."""
        return [event for event in await self.all_told(plan) if event != AWAY]

    async def all_told(self, plan: TradePlan) -> Sequence[TradeEvent]:
        handle = self.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
        events: list[TradeEvent] = await handle.query("events", result_type=list[TradeEvent])
        return events

    async def executions(self, plan: TradePlan, count: int) -> list[Execution]:
        """Return the executions that the trade was told of, once there are *count*."""

        async def found() -> bool:
            return sum(isinstance(e, Executed) for e in await self.told(plan)) >= count

        await eventually(found)
        return [e.execution for e in await self.told(plan) if isinstance(e, Executed)]


def settings(**changes: Any) -> PaperSettings:
    fields: dict[str, Any] = {
        "port": 0,
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "history": 10,
        "start": START,
        "speed": "lockstep",
        "api_key": KEY.api_key.get_secret_value(),
        "api_secret": KEY.api_secret,
    }
    return PaperSettings.model_validate(fields | changes)


@contextmanager
def client_of(paper: PaperExchange) -> Iterator[BybitClient]:
    client = BybitClient(paper.http_url, Keys())
    try:
        yield client
    finally:
        client.close()


class Following:
    """The activity at work, and what it heartbeats."""

    def __init__(self) -> None:
        self.cursor = StreamCursor()


@asynccontextmanager
async def following(
    desk: Desk,
    paper: PaperExchange,
    cursor: StreamCursor | None = None,
    stream_url: str | None = None,
) -> AsyncIterator[Following]:
    pace, exit_stack = PaperPace(paper.http_url), ExitStack()
    client = exit_stack.enter_context(client_of(paper))
    url = f"{stream_url or paper.stream_url}/private"
    consumer = BybitStream(desk.client, client, Keys(), pace, url)
    environment, follower = ActivityEnvironment(), Following()

    def note(*details: Any) -> None:
        follower.cursor = details[0]

    environment.on_heartbeat = note
    details = [cursor.model_dump(mode="json")] if cursor else []
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    task = asyncio.create_task(environment.run(consumer.consume_stream, desk.account))
    try:
        # It listens before it reads the list, and knows its time after that
        await eventually(lambda: holds(lambda: follower.cursor.at is not None))
        yield follower
    finally:
        environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        exit_stack.close()
        pace.close()


async def order(paper: PaperExchange, symbol: str, side: str, link: str = "", **more: Any) -> None:
    fields = {"orderType": "Market", "qty": "0.01" if symbol == "BTCUSDT" else "0.1"} | more
    if link:
        fields["orderLinkId"] = link
    with client_of(paper) as client:
        await client.call("place_order", category="linear", symbol=symbol, side=side, **fields)


def noting_worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=f"noting-{uuid.uuid4().hex}",
        workflows=[NotingDesk, NotingTrade, NotingNotifier],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def fault(paper: PaperExchange, text: str) -> None:
    """Put one fault in force."""
    await asyncio.to_thread(control, paper.http_url, "POST", "faults", body=text)


async def no_faults(paper: PaperExchange) -> None:
    await asyncio.to_thread(control, paper.http_url, "DELETE", "faults")


async def holds(condition: Callable[[], bool]) -> bool:
    return condition()
