"""A place where everybody only notes what the market tells them."""

import asyncio
import dataclasses
import types
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.herald import MarketCursor
from activities.market import BybitMarket
from activities.pace import PaperPace
from tradewright import ids
from tradewright.domain.account import Account, Channel, Reservation
from tradewright.domain.market import Instrument, Timeframe
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Trade, TradeEvent
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.call import Call
from tradewright.paper.rest.instrument import instruments_info
from tradewright.paper.rest.kline import kline
from tradewright.paper.rest.market import orderbook, tickers
from tradewright.ports import (
    BookTrigger,
    CandleClosed,
    CandlesDone,
    MarketPort,
    StrategyStatus,
    TradeView,
    Watch,
    Watchlist,
)
from tradewright.preset import loads

START = datetime(2025, 1, 1, tzinfo=UTC)

MakeInstrument = Callable[..., Instrument]


@workflow.defn
class NotingStrategy:
    """Notes candles, and acknowledges them where it is asked to."""

    def __init__(self) -> None:
        self._candles: list[CandleClosed] = []
        self._triggers: list[BookTrigger] = []
        self._done = 0

    @workflow.run
    async def run(self, preset: str) -> None:
        while True:
            await workflow.wait_condition(lambda: len(self._candles) > self._done)
            candle = self._candles[self._done]
            if candle.acknowledge:
                await workflow.execute_activity_method(
                    MarketPort.done,
                    CandlesDone(preset=preset, close_time=candle.close_time),
                    start_to_close_timeout=timedelta(seconds=10),
                )
            self._done += 1

    @workflow.signal
    def candle(self, candle: CandleClosed) -> None:
        self._candles.append(candle)

    @workflow.signal
    def book_trigger(self, trigger: BookTrigger) -> None:
        self._triggers.append(trigger)

    @workflow.query
    def candles(self) -> list[CandleClosed]:
        return self._candles

    @workflow.query
    def triggers(self) -> list[BookTrigger]:
        return self._triggers

    @workflow.query
    def status(self) -> StrategyStatus:
        return StrategyStatus(
            preset="noting",
            preset_hash="",
            account="",
            symbols=(),
            timeframe=Timeframe.M1,
            last_book={trigger.symbol: trigger.number for trigger in self._triggers},
        )


@workflow.defn
class NotingMarket:
    """Answers what is watched."""

    @workflow.init
    def __init__(self, watchlist: Watchlist) -> None:
        self._watchlist = watchlist

    @workflow.run
    async def run(self, watchlist: Watchlist) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def replace(self, watchlist: Watchlist) -> None:
        self._watchlist = watchlist

    @workflow.query
    def watchlist(self) -> Watchlist:
        return self._watchlist


@workflow.defn
class OpenDesk:
    @workflow.init
    def __init__(self, account: Account) -> None:
        self._account = account
        self._channels: list[Channel] = []

    @workflow.run
    async def run(self, account: Account) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def account(self) -> Account:
        return self._account

    @workflow.signal
    def channel(self, told: Channel) -> None:
        self._channels.append(told)

    @workflow.query
    def channels(self) -> list[Channel]:
        return self._channels

    @workflow.update
    async def refresh(self) -> None:
        """Do nothing."""


@workflow.defn
class OpenTrade:
    """Stands open, and notes what it is told."""

    @workflow.init
    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self._events: list[TradeEvent] = []

    @workflow.run
    async def run(self, trade: Trade) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def report(self, event: TradeEvent) -> None:
        self._events.append(event)

    @workflow.query
    def trade(self) -> TradeView:
        return TradeView(trade=self._trade, busy=False)

    @workflow.query
    def events(self) -> list[TradeEvent]:
        return self._events


class Town:
    """Everybody whom the market tells, at a paper exchange of its own."""

    def __init__(self, client: Client, paper: PaperExchange) -> None:
        name = uuid.uuid4().hex[:8]
        self.client = client
        self.paper = paper
        self.account = f"town-{name}"
        self.queue = f"town-{name}"
        self.pace = PaperPace(paper.http_url)
        self.shelf = Shelf()
        self.cursor = MarketCursor()

    def named(self, preset: str) -> str:
        return f"{preset}-{self.account}"

    async def start(self, run: Any, argument: Any, workflow_id: str) -> None:
        await self.client.start_workflow(run, argument, id=workflow_id, task_queue=self.queue)

    async def watch(self, *watches: Watch) -> Watchlist:
        watchlist = Watchlist(account=self.account, watches=watches)
        await self.start(NotingMarket.run, watchlist, ids.market_workflow(self.account))
        for watch in watches:
            await self.open_strategy(watch.preset)
        return watchlist

    async def open_strategy(self, preset: str) -> None:
        await self.start(NotingStrategy.run, preset, ids.strategy_workflow(preset))

    async def open_desk(self, *plans: TradePlan) -> None:
        account = Account(
            name=self.account,
            started_at=START,
            reservations=tuple(Reservation(plan=plan, at=START) for plan in plans),
        )
        await self.start(OpenDesk.run, account, ids.account_workflow(self.account))

    async def heard(self, preset: str) -> Sequence[CandleClosed]:
        handle = self.client.get_workflow_handle(ids.strategy_workflow(preset))
        candles: list[CandleClosed] = await handle.query("candles", result_type=list[CandleClosed])
        return candles

    async def closes(self, preset: str, count: int) -> list[datetime]:
        async def enough() -> bool:
            return len(await self.heard(preset)) >= count

        await eventually(enough)
        return [candle.close_time for candle in await self.heard(preset)]

    async def events(self, workflow_id: str) -> Sequence[TradeEvent]:
        """Return what the trade was told, once it was told anything."""
        handle = self.client.get_workflow_handle(workflow_id)

        async def told() -> list[TradeEvent]:
            found: list[TradeEvent] = await handle.query("events", result_type=list[TradeEvent])
            return found

        async def any_told() -> bool:
            return bool(await told())

        await eventually(any_told)
        return await told()


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await is_so():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


@asynccontextmanager
async def town(temporal: Client, **settings: Any) -> AsyncIterator[Town]:
    fields: dict[str, Any] = {"port": 0, "symbols": ("BTCUSDT", "ETHUSDT"), "history": 50}
    async with running(PaperSettings.model_validate(fields | {"start": START} | settings)) as paper:
        place = Town(temporal, paper)
        consumer = market_of(place)
        worker = Worker(
            temporal,
            task_queue=place.queue,
            workflows=[NotingStrategy, NotingMarket, OpenDesk, OpenTrade],
            activities=[consumer.done],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        try:
            async with worker:
                yield place
        finally:
            place.pace.close()


class Shelf:
    """Presets by their hashes, as the journal keeps them."""

    def __init__(self, *documents: str) -> None:
        self._documents = {loads(document).hash: document for document in documents}

    async def preset(self, preset_hash: str) -> Any:
        document = self._documents.get(preset_hash)
        return None if document is None else types.SimpleNamespace(document=document)


def market_of(place: Town, url: str | None = None) -> BybitMarket:
    bybit: Any = PublicRest(place.paper)
    stream = url or f"{place.paper.stream_url}/public/linear"
    return BybitMarket(place.client, bybit, place.shelf, place.pace, stream)


class PublicRest:
    """The paper exchange's public reads, straight from its own handlers."""

    def __init__(self, paper: PaperExchange) -> None:
        self._paper = paper

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        read = {
            "get_kline": kline,
            "get_orderbook": orderbook,
            "get_tickers": tickers,
            "get_instruments_info": instruments_info,
        }[method]
        parameters = {name: str(value) for name, value in arguments.items() if value}
        return {"result": read(Call(self._paper.exchange, parameters))}


@asynccontextmanager
async def consuming(
    place: Town, watchlist: Watchlist, *, url: str | None = None, cursor: MarketCursor | None = None
) -> AsyncIterator[None]:
    environment = ActivityEnvironment()
    details = [cursor.model_dump(mode="json")] if cursor else []
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)

    def note(*details: Any) -> None:
        place.cursor = details[0]

    environment.on_heartbeat = note
    consumer = market_of(place, url)
    # One that fails ends the test: nobody starts it again here, and a lockstep waits for ever
    async with asyncio.TaskGroup() as group:
        task = group.create_task(environment.run(consumer.consume_market, watchlist))
        try:
            yield
        finally:
            environment.cancel()
    assert task.cancelled()


def minutes(*numbers: int) -> list[datetime]:
    return [START + timedelta(minutes=number) for number in numbers]


def watching(preset: str, timeframe: Timeframe, *symbols: str) -> Watch:
    return Watch(preset=preset, symbols=symbols or ("BTCUSDT",), timeframe=timeframe)
