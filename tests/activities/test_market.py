"""Candles become wishes, and closes are told of: workflows here only note what they hear."""

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

from activities import market, messenger
from activities.herald import MarketCursor, _merged
from activities.market import BybitMarket
from activities.pace import PaperPace, WallPace, milliseconds, moment
from tradewright import ids
from tradewright.domain.account import Account, Reservation
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Candle, Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Executed, ExitRequested, Started, Trade, TradeEvent
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.plugin import Evaluation as Answer
from tradewright.ports import (
    CandleClosed,
    CandlesDone,
    Evaluation,
    MarketPort,
    TradeView,
    Watch,
    Watchlist,
)
from tradewright.preset import loads

START = datetime(2025, 1, 1, tzinfo=UTC)
PRESET = """\
version: 1
name: breakout
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 1m}
strategy: {plugin: donchian_breakout, params: {period: 2, atr_period: 2}}
entry: {type: market, expires_after: 30s}
exits: {stop: {indicator: atr, times: 2}, target: {r: 2}}
risk: {sizing: risk_fraction, risk_fraction: 0.005}
"""
HASH = loads(PRESET).hash

MakeInstrument = Callable[..., Instrument]


# --- evaluation --------------------------------------------------------------------------------


class ScriptedExchange:
    """Candles that all look alike, but the last one closes at *last*; everything else as Bybit."""

    def __init__(self, instrument: Instrument, last: str, count: int = 100) -> None:
        self._instrument = instrument
        self._last = last
        self._count = count

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        if method == "get_tickers":
            row = {"lastPrice": "50010.5", "markPrice": "50011", "fundingRate": "0.0001"}
            return {"result": {"list": [row]}}
        assert method == "get_kline"
        first, last = (arguments[name] // 60_000 for name in ("start", "end"))
        born = milliseconds(START) // 60_000 - self._count
        rows = [self._row(n) for n in range(max(first, born), last + 1)]
        return {"result": {"list": list(reversed(rows))}}

    async def instrument(self, symbol: str) -> Instrument:
        return self._instrument

    def _row(self, number: int) -> list[str]:
        is_last = moment(number * 60_000) == START - timedelta(minutes=1)
        close = self._last if is_last else "50000"
        prices = ("50000", max("50010", close), "49990", close)
        return [str(number * 60_000), *prices, "1", "50000"]


class MemoryPresets:
    def __init__(self, **documents: str) -> None:
        self._documents = documents

    async def preset(self, preset_hash: str) -> Any:
        text = self._documents.get(preset_hash)
        return None if text is None else dataclasses.make_dataclass("Stored", ["document"])(text)


class StandingMarket(WallPace):
    def __init__(self, now: datetime = START) -> None:
        self.now = now
        self.finished: list[tuple[str, datetime]] = []

    async def market_now(self) -> datetime:
        return self.now

    async def done(self, name: str, at: datetime) -> None:
        self.finished.append((name, at))


MakeMarket = Callable[..., BybitMarket]


@pytest.fixture
def make_market(make_instrument: MakeInstrument) -> MakeMarket:
    def make(last: str = "50100", count: int = 100, **changes: Any) -> BybitMarket:
        nobody: Any = None
        fields = {
            "client": nobody,
            "bybit": ScriptedExchange(make_instrument(), last, count),
            "presets": MemoryPresets(**{HASH: PRESET}),
            "pace": StandingMarket(),
            "url": "ws://nowhere",
        }
        return BybitMarket(**(fields | changes))

    return make


def candle_of(preset_hash: str = HASH, close_time: datetime = START) -> Evaluation:
    return Evaluation(
        account="main",
        preset="breakout",
        preset_hash=preset_hash,
        symbols=("BTCUSDT",),
        close_time=close_time,
    )


async def test_a_breakout_becomes_a_priced_proposal(make_market: MakeMarket) -> None:
    wishes = await make_market().evaluate(candle_of())

    (wish,) = wishes.proposals
    assert wishes.note == ""
    assert (wish.signal.side, wish.price, wish.trigger) == (Side.BUY, Decimal(50100), START)
    assert wish.trade_id == ids.trade_id("main", "breakout", "BTCUSDT", START)
    assert wish.stop_loss < wish.price < (wish.take_profit or 0)
    assert wish.window.startswith("BTCUSDT/1m/2024-12-31T23:")
    assert wish.signal.factors["close"] == 50100


async def test_the_same_candle_gives_the_same_proposal(make_market: MakeMarket) -> None:
    assert await make_market().evaluate(candle_of()) == await make_market().evaluate(candle_of())


async def test_without_a_signal_there_is_nothing_to_say(make_market: MakeMarket) -> None:
    wishes = await make_market(last="50000").evaluate(candle_of())

    assert (wishes.proposals, wishes.note) == ((), "")


async def test_a_stale_candle_is_not_traded(make_market: MakeMarket) -> None:
    late = StandingMarket(START + timedelta(seconds=61))

    wishes = await make_market(pace=late).evaluate(candle_of())

    assert wishes.proposals == ()
    assert wishes.note == "stale candle: it closed 0:01:01 ago"


async def test_a_market_that_is_too_young_is_not_traded(make_market: MakeMarket) -> None:
    wishes = await make_market(count=5).evaluate(candle_of())

    assert wishes.note == "BTCUSDT: warming up, 5 of 17 candles"


async def test_a_candle_that_is_not_listed_is_not_traded(
    make_market: MakeMarket, make_instrument: MakeInstrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lagging(ScriptedExchange):
        async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
            arguments["end"] = min(arguments["end"], milliseconds(START) - 120_000)
            return await super().call(method, **arguments)

    monkeypatch.setattr(market, "CANDLE_WAIT", 0.0)
    lagging = make_market(bybit=Lagging(make_instrument(), "50100"))

    wishes = await lagging.evaluate(candle_of())

    assert wishes.note == f"BTCUSDT: the candle that closed at {START} is not listed yet"


async def test_a_preset_that_the_journal_does_not_hold_is_told(make_market: MakeMarket) -> None:
    wishes = await make_market().evaluate(candle_of("unknown"))

    assert wishes.note == (
        "preset version unknown cannot be evaluated: the journal does not hold it; apply it again"
    )


async def test_a_plugin_of_another_version_does_not_trade_under_the_old_hash(
    make_market: MakeMarket,
) -> None:
    wishes = await make_market(presets=MemoryPresets(older=PRESET)).evaluate(candle_of("older"))

    assert wishes.proposals == ()
    assert "its plugin has another version now; apply the preset again" in wishes.note


async def test_a_preset_that_became_invalid_is_told(make_market: MakeMarket) -> None:
    broken = MemoryPresets(broken=PRESET.replace("donchian_breakout", "donchian_breakaut"))

    wishes = await make_market(presets=broken).evaluate(candle_of("broken"))

    assert "did you mean 'donchian_breakout'?" in wishes.note


async def test_a_plugin_that_raises_ends_its_decision_and_nothing_else(
    make_market: MakeMarket,
) -> None:
    class Failing:
        lookback = 1

        def evaluate(self, candles: Any) -> Answer:
            raise ZeroDivisionError("volume is zero")

    failing: Any = Failing()
    consumer = make_market()
    await consumer.evaluate(candle_of())
    consumer._loaded[HASH] = dataclasses.replace(consumer._loaded[HASH], strategy=failing)

    wishes = await consumer.evaluate(candle_of())

    assert wishes.note == "BTCUSDT: the strategy failed: ZeroDivisionError: volume is zero"


async def test_what_a_trade_saw_is_price_market_and_indicators(
    make_market: MakeMarket, make_plan: Callable[..., TradePlan]
) -> None:
    view = await make_market().observe(make_plan(preset_hash=HASH))
    bare = await make_market().observe(make_plan(preset_hash="adopted"))

    assert view.price == Decimal("50010.5")
    assert view.market == {"mark_price": "50011", "funding_rate": "0.0001"}
    assert view.factors["close"] == 50100
    assert (bare.price, bare.factors) == (view.price, {})


async def test_done_is_said_in_the_strategy_s_name(make_market: MakeMarket) -> None:
    pace = StandingMarket()

    await make_market(pace=pace).done(CandlesDone(preset="breakout", close_time=START))

    assert pace.finished == [(ids.strategy_workflow("breakout"), START)]


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

    merged = _merged([candle(1, 105, 99, 101), candle(0, 120, 98, 104), candle(2, 104, 90, 95)])

    assert merged is not None
    assert (merged.open_time, merged.high, merged.low) == (START, Decimal(120), Decimal(90))
    assert (merged.close, merged.volume) == (Decimal(95), Decimal(6))


# --- telling -----------------------------------------------------------------------------------


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
            "preset_hash": HASH,
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(50000),
            "stop_loss": Decimal(49000),
            "exits": ExitRules(timeframe=Timeframe.M1, max_candles=2),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "trigger": START,
            "decided_at": START,
            "expires_at": START,
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
        """Return the closes that the preset was told of, once there are *count*."""

        async def enough() -> bool:
            return len(await self.heard(preset)) >= count

        await eventually(enough)
        return [candle.close_time for candle in await self.heard(preset)]


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
    stream = url or f"{place.paper.stream_url}/public/linear"
    return BybitMarket(place.client, bybit, MemoryPresets(), place.pace, stream)


class PublicRest:
    """The paper exchange's candles, straight from its own handler."""

    def __init__(self, paper: PaperExchange) -> None:
        self._paper = paper

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert method == "get_kline"
        from tradewright.paper import rest_market

        parameters = {name: str(value) for name, value in arguments.items()}
        return {"result": rest_market.kline(self._paper.exchange, parameters)}


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
    temporal: Client, monkeypatch: pytest.MonkeyPatch
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
        async with consuming(place, Watchlist(account=place.account, watches=watchlist.watches)):
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


async def test_an_open_trade_is_told_when_its_time_is_over(
    temporal: Client, make_plan: Callable[..., TradePlan]
) -> None:
    async with town(temporal, speed=300) as place:
        plan = make_plan(
            account=place.account,
            trade_id=ids.trade_id(place.account, "breakout", "BTCUSDT", START),
        )
        entry = Execution(
            exec_id="exec-1",
            seq=1,
            order_id="order-1",
            symbol="BTCUSDT",
            side=Side.BUY,
            price=Decimal(50000),
            qty=plan.qty,
            fee=Decimal(0),
            at=START,
        )
        trade = Trade(plan=plan).after(Started()).after(Executed(execution=entry))
        workflow_id = ids.trade_workflow("BTCUSDT", plan.trade_id)
        await place.open_desk(plan)
        watchlist = await place.watch()
        await place.start(OpenTrade.run, trade, workflow_id)
        handle = temporal.get_workflow_handle(workflow_id)

        async def told() -> bool:
            return bool(await handle.query("events", result_type=list[TradeEvent]))

        # Nobody watches the symbol; the trade alone is reason enough
        async with consuming(place, watchlist):
            await eventually(told)

        events: list[TradeEvent] = await handle.query("events", result_type=list[TradeEvent])
        assert isinstance(events[0], ExitRequested)
        assert events[0].reason is ExitReason.TIME_STOP
