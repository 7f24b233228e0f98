"""Closes are told of, once and in turn: workflows here only note what they hear."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import herald, messenger
from activities.herald import MarketCursor
from activities.market import BybitMarket
from activities.pace import PaperPace
from activities.steward import merged
from tradewright import ids
from tradewright.domain.account import Account, Reservation
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Candle, Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Executed, ExitRequested, Started, Trade, TradeEvent
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.paper.call import Call
from tradewright.paper.rest.kline import kline
from tradewright.ports import (
    CandleClosed,
    CandlesDone,
    MarketPort,
    TradeView,
    Watch,
    Watchlist,
)

START = datetime(2025, 1, 1, tzinfo=UTC)

MakeInstrument = Callable[..., Instrument]


def test_missed_candles_are_managed_as_one() -> None:
    def candle(minute: int, high: int, low: int, close: int) -> Candle:
        return Candle(
            open_time=START + timedelta(minutes=minute),
            open=Decimal(100),
            high=Decimal(high),
            low=Decimal(low),
            close=Decimal(close),
            volume=Decimal(2),
        )

    joined = merged([candle(1, 105, 99, 101), candle(0, 120, 98, 104), candle(2, 104, 90, 95)])

    assert joined is not None
    assert (joined.open_time, joined.high, joined.low) == (START, Decimal(120), Decimal(90))
    assert (joined.close, joined.volume) == (Decimal(95), Decimal(6))


@workflow.defn
class NotingStrategy:
    """Notes candles, and acknowledges them where it is asked to."""

    def __init__(self) -> None:
        self._candles: list[CandleClosed] = []
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

    @workflow.query
    def candles(self) -> list[CandleClosed]:
        return self._candles


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

    @workflow.run
    async def run(self, account: Account) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def account(self) -> Account:
        return self._account

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


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "HEARTBEAT_EVERY", 0.01)


@pytest.fixture
def make_plan(make_instrument: MakeInstrument) -> Callable[..., TradePlan]:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": "twaaaaaaaaaaaaaaaa",
            "account": "main",
            "preset": "breakout",
            "preset_hash": "abc",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(50000),
            "stop_loss": Decimal(49000),
            "exits": ExitRules(timeframe=Timeframe.M1, max_candles=2),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            **dict.fromkeys(("trigger", "decided_at", "expires_at"), START),
        }
        return TradePlan.model_validate(fields | changes)

    return make


class Town:
    """Everybody whom the market tells, at a paper exchange of its own."""

    def __init__(self, client: Client, paper: PaperExchange) -> None:
        name = uuid.uuid4().hex[:8]
        self.client = client
        self.paper = paper
        self.account = f"town-{name}"
        self.queue = f"town-{name}"
        self.pace = PaperPace(paper.http_url)
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


def market_of(place: Town, url: str | None = None) -> BybitMarket:
    bybit: Any = PublicRest(place.paper)
    no_presets: Any = None
    stream = url or f"{place.paper.stream_url}/public/linear"
    return BybitMarket(place.client, bybit, no_presets, place.pace, stream)


class PublicRest:
    """The paper exchange's candles, straight from its own handler."""

    def __init__(self, paper: PaperExchange) -> None:
        self._paper = paper

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert method == "get_kline"
        parameters = {name: str(value) for name, value in arguments.items()}
        return {"result": kline(Call(self._paper.exchange, parameters))}


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
    task = asyncio.create_task(environment.run(consumer.consume_market, watchlist))
    try:
        yield
    finally:
        environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def minutes(*numbers: int) -> list[datetime]:
    return [START + timedelta(minutes=number) for number in numbers]


def watching(preset: str, timeframe: Timeframe, *symbols: str) -> Watch:
    return Watch(preset=preset, symbols=symbols or ("BTCUSDT",), timeframe=timeframe)


async def test_in_a_lockstep_every_preset_hears_of_its_closes_once(temporal: Client) -> None:
    async with town(temporal, speed="lockstep", steps=6) as place:
        quick, slow = place.named("quick"), place.named("slow")
        await place.open_desk()
        watchlist = await place.watch(
            watching(quick, Timeframe.M1, "BTCUSDT", "ETHUSDT"), watching(slow, Timeframe.M3)
        )
        async with consuming(place, watchlist):
            await eventually(lambda: subscribed(place, 3))
            await place.pace.start()
            assert (await place.pace.turn("nobody", -1)).ended
            heard = await place.heard(quick)

            assert await place.closes(quick, 6) == minutes(1, 2, 3, 4, 5, 6)
            assert await place.closes(slow, 2) == minutes(3, 6)
            assert heard[0].symbols == ("BTCUSDT", "ETHUSDT")
            assert all(candle.acknowledge for candle in heard)


async def subscribed(place: Town, count: int) -> bool:
    return len(place.paper.exchange.barriers.subscribers) == count


async def test_a_preset_that_is_applied_later_is_heard_of_without_a_restart(
    temporal: Client,
) -> None:
    async with town(temporal, speed="lockstep", steps=3) as place:
        early, late = place.named("early"), place.named("late")
        await place.open_desk()
        watchlist = await place.watch(watching(early, Timeframe.M1))
        async with consuming(place, watchlist):
            await eventually(lambda: subscribed(place, 2))
            await place.open_strategy(late)
            handle = temporal.get_workflow_handle(ids.market_workflow(place.account))
            both = (*watchlist.watches, watching(late, Timeframe.M1, "ETHUSDT"))
            await handle.signal("replace", watchlist.model_copy(update={"watches": both}))
            await eventually(lambda: subscribed(place, 3))
            await place.pace.start()

            assert await place.closes(late, 3) == minutes(1, 2, 3)


async def test_a_preset_that_is_gone_is_not_waited_for(temporal: Client) -> None:
    async with town(temporal, speed="lockstep", steps=2) as place:
        gone = place.named("gone")
        await place.open_desk()
        watchlist = Watchlist(account=place.account, watches=(watching(gone, Timeframe.M1),))
        await place.start(NotingMarket.run, watchlist, ids.market_workflow(place.account))
        async with consuming(place, watchlist):
            await eventually(lambda: subscribed(place, 2))
            handle = temporal.get_workflow_handle(ids.market_workflow(place.account))
            await handle.signal("replace", Watchlist(account=place.account))
            await eventually(lambda: subscribed(place, 1))
            await place.pace.start()

            assert (await place.pace.turn("nobody", -1)).ended


async def test_another_consumer_takes_over_in_the_middle_of_a_step(temporal: Client) -> None:
    async with town(temporal, speed="lockstep", steps=3) as place:
        preset = place.named("steady")
        await place.open_desk()
        watchlist = await place.watch(watching(preset, Timeframe.M1))
        # As if the last consumer had died after the candle was published and before it was told
        await place.pace.subscribe(ids.market_workflow(place.account), "market", (), None)
        await place.pace.subscribe(ids.strategy_workflow(preset), "preset", ("BTCUSDT",), "1m")
        await place.pace.start()
        await eventually(lambda: awaited(place))

        async with consuming(place, watchlist):
            assert await place.closes(preset, 3) == minutes(1, 2, 3)
            assert (await place.pace.turn("nobody", -1)).ended


async def awaited(place: Town) -> bool:
    return await place.pace.awaited(ids.market_workflow(place.account)) is not None


async def test_a_stream_that_cannot_be_reached_is_replaced_by_questions(
    temporal: Client, free_port: int
) -> None:
    async with town(temporal, speed=300) as place:
        preset = place.named("patient")
        await place.open_desk()
        watchlist = await place.watch(watching(preset, Timeframe.M1))

        async with consuming(place, watchlist, url=f"ws://127.0.0.1:{free_port}/v5/public/linear"):
            closes = await place.closes(preset, 3)

    assert closes == sorted(set(closes))
    assert all(close.second == 0 for close in closes)


async def test_closes_that_were_missed_are_told_of_at_the_start(temporal: Client) -> None:
    async with town(temporal, speed=60) as place:
        preset = place.named("late-riser")
        await place.open_desk()
        watchlist = await place.watch(watching(preset, Timeframe.H1))
        before = START - timedelta(hours=1)
        cursor = MarketCursor(managed=before, told={preset: before})

        async with consuming(place, watchlist, cursor=cursor):
            assert await place.closes(preset, 1) == [START]


def open_trade(plan: TradePlan) -> Trade:
    entry = Execution(
        exec_id="exec-1",
        seq=1,
        order_id="order-1",
        symbol=plan.symbol,
        side=Side.BUY,
        price=Decimal(50000),
        qty=plan.qty,
        fee=Decimal(0),
        at=START,
    )
    return Trade(plan=plan).after(Started()).after(Executed(execution=entry))


async def test_an_open_trade_is_told_when_its_time_is_over(
    temporal: Client, make_plan: Callable[..., TradePlan]
) -> None:
    async with town(temporal, speed=300) as place:
        plan = make_plan(
            account=place.account,
            trade_id=ids.trade_id(place.account, "breakout", "BTCUSDT", START),
        )
        await place.open_desk(plan)
        watchlist = await place.watch()
        workflow_id = ids.trade_workflow("BTCUSDT", plan.trade_id)
        await place.start(OpenTrade.run, open_trade(plan), workflow_id)

        # Nobody watches the symbol; the trade alone is reason enough
        async with consuming(place, watchlist):
            events = await place.events(workflow_id)

        assert isinstance(events[0], ExitRequested)
        assert events[0].reason is ExitReason.TIME_STOP


async def test_a_trade_that_does_not_answer_keeps_the_market_from_nobody(
    temporal: Client, make_plan: Callable[..., TradePlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(herald, "ANSWER_WITHIN", 0.3)
    async with town(temporal, speed=300) as place:
        wedged, sound = (
            make_plan(
                account=place.account,
                symbol=symbol,
                trade_id=ids.trade_id(place.account, "breakout", symbol, START),
            )
            for symbol in ("BTCUSDT", "ETHUSDT")
        )
        preset = place.named("steady")
        await place.open_desk(wedged, sound)
        watchlist = await place.watch(watching(preset, Timeframe.M1))
        sound_id = ids.trade_workflow("ETHUSDT", sound.trade_id)
        await place.start(OpenTrade.run, open_trade(sound), sound_id)
        await temporal.start_workflow(
            OpenTrade.run,
            open_trade(wedged),
            id=ids.trade_workflow("BTCUSDT", wedged.trade_id),
            task_queue="nobody-works-here",
        )

        async with consuming(place, watchlist):
            events = await place.events(sound_id)
            closes = await place.closes(preset, 3)

    assert isinstance(events[0], ExitRequested)
    assert closes == sorted(set(closes))
