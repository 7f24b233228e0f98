"""Closes are told of, once and in turn: workflows here only note what they hear."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client

from activities import channel, hearing, herald, messenger
from activities.herald import MarketCursor
from activities.steward import merged
from tests.activities.noting import fault, no_faults
from tests.activities.town import (
    START,
    MakeInstrument,
    NotingMarket,
    OpenTrade,
    Town,
    consuming,
    eventually,
    minutes,
    town,
    watching,
)
from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Candle, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import Executed, ExitRequested, Started, Trade
from tradewright.ports import (
    Watchlist,
)


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


async def test_a_topic_that_dies_alone_costs_no_close_and_the_desk_hears_of_it(
    temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2, F4: the candles of one symbol stop, and those of the other go on."""
    monkeypatch.setattr(hearing, "TOPIC_SILENT_AFTER", 0.5)
    monkeypatch.setattr(channel, "BLIP", 0.05)
    async with town(temporal, speed=120) as place:
        preset = place.named("both")
        await place.open_desk()
        watchlist = await place.watch(watching(preset, Timeframe.M1, "BTCUSDT", "ETHUSDT"))

        async with consuming(place, watchlist):
            await place.closes(preset, 1)
            await fault(place.paper, "{kind: stream_loss, when: {topic: kline.1.ETHUSDT}}")
            await eventually(lambda: any_channel(place, "kline.1.ETHUSDT said nothing"))
            await no_faults(place.paper)
            await eventually(lambda: is_healthy(place))
            closes = await place.closes(preset, 6)

    steps = {later - earlier for earlier, later in itertools.pairwise(closes)}
    assert steps == {timedelta(minutes=1)}


async def channels(place: Town) -> list[Channel]:
    desk = place.client.get_workflow_handle(ids.account_workflow(place.account))
    told: list[Channel] = await desk.query("channels", result_type=list[Channel])
    return told


async def any_channel(place: Town, fault: str) -> bool:
    return any(told.fault.startswith(fault) for told in await channels(place))


async def is_healthy(place: Town) -> bool:
    return not (await channels(place))[-1].fault


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
