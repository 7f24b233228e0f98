"""Order books that trigger presets, from the paper exchange to the strategy's workflow."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from activities.book_feed import BookFeed
from activities.herald import MarketCursor
from activities.sentries import Sentries
from tests.activities.town import START, Shelf, Town, consuming, eventually, minutes, town
from tradewright import ids
from tradewright.book import NUMBERS
from tradewright.domain.market import Timeframe
from tradewright.ports import BookTrigger, Watch
from tradewright.preset import loads

ALWAYS = "book.imbalance > 0.1"
NEVER = "book.imbalance > 1"
RISEN = f"{ALWAYS} and close > open"
FALLEN = f"{ALWAYS} and close < open"


def document(name: str, long: str, short: str) -> str:
    return f"""\
version: 1
name: {name}
market: {{category: linear, symbols: [BTCUSDT, ETHUSDT]}}
trigger: {{on: order_book, depth: 50, timeframe: 1m, at_most_every: 1s}}
strategy: {{plugin: rules, params: {{long: {long}, short: {short}}}}}
entry: {{type: market, expires_after: 3s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 1}}}}
risk: {{sizing: fixed_notional, notional: 100}}
"""


def put(place: Town, name: str, long: str, short: str = NEVER) -> Watch:
    """Put a preset into the journal; return its watch."""
    text = document(place.named(name), long, short)
    place.shelf = Shelf(text)
    return Watch(
        preset=place.named(name),
        symbols=("BTCUSDT", "ETHUSDT"),
        timeframe=Timeframe.M1,
        preset_hash=loads(text).hash,
        book_depth=50,
    )


async def triggers(place: Town, watch: Watch) -> Sequence[BookTrigger]:
    handle = place.client.get_workflow_handle(ids.strategy_workflow(watch.preset))
    found: list[BookTrigger] = await handle.query("triggers", result_type=list[BookTrigger])
    return found


async def called(place: Town, watch: Watch, count: int) -> Sequence[BookTrigger]:
    async def enough() -> bool:
        return len(await triggers(place, watch)) >= count

    await eventually(enough)
    return await triggers(place, watch)


async def test_a_book_calls_the_strategy_and_no_restart_makes_it_call_again(
    temporal: Client,
) -> None:
    async with town(temporal, speed=60) as place:
        watch = put(place, "steady", ALWAYS)
        await place.open_desk()
        watchlist = await place.watch(watch)
        async with consuming(place, watchlist):
            first = await called(place, watch, 2)
            await place.closes(watch.preset, 2)
        # One worker has noted what it called for, another one died before it could
        for cursor in (place.cursor, MarketCursor()):
            seen = len(await place.heard(watch.preset))
            async with consuming(place, watchlist, cursor=cursor):
                await place.closes(watch.preset, seen + 3)

        assert await triggers(place, watch) == first

    assert sorted(trigger.symbol for trigger in first) == ["BTCUSDT", "ETHUSDT"]
    assert all(tuple(trigger.book) == NUMBERS for trigger in first)
    assert all(trigger.price > 0 for trigger in first)


async def lockstep(temporal: Client, steps: int) -> list[tuple[str, int, str]]:
    async with town(temporal, speed="lockstep", steps=steps) as place:
        watch = put(place, "stepwise", RISEN, FALLEN)
        await place.open_desk()
        watchlist = await place.watch(watch)
        async with consuming(place, watchlist):

            async def subscribed() -> bool:
                return len((await place.pace.status())["subscribers"]) >= 2

            await eventually(subscribed)
            await place.pace.start()
            assert (await place.pace.turn("nobody", -1)).ended
        assert await place.closes(watch.preset, steps) == minutes(*range(1, steps + 1))
        told = await triggers(place, watch)
    return [
        (trigger.symbol, (trigger.at - START) // timedelta(minutes=1), str(trigger.price))
        for trigger in told
    ]


async def test_in_a_lockstep_the_same_market_makes_the_same_calls(temporal: Client) -> None:
    first, second = await asyncio.gather(lockstep(temporal, 12), lockstep(temporal, 12))

    assert first == second
    for symbol in ("BTCUSDT", "ETHUSDT"):
        steps = [step for name, step, _ in first if name == symbol]
        # The answer changes now and then, and only a change calls
        assert 1 < len(steps) < 12
        assert steps == sorted(set(steps))


async def test_a_preset_that_is_watched_no_more_is_called_no_more(temporal: Client) -> None:
    async with town(temporal, speed=60) as place:
        watch = put(place, "leaving", RISEN, FALLEN)
        candles = watch.model_copy(update={"book_depth": None})
        await place.open_desk()
        watchlist = await place.watch(watch)
        async with consuming(place, watchlist):
            await called(place, watch, 2)

            async def posted() -> bool:
                return bool(place.cursor.books)

            await eventually(posted)
            market = temporal.get_workflow_handle(ids.market_workflow(place.account))
            await market.signal("replace", watchlist.model_copy(update={"watches": (candles,)}))

            async def unposted() -> bool:
                return not await posted()

            await eventually(unposted)
            before, seen = await triggers(place, watch), len(await place.heard(watch.preset))
            await place.closes(watch.preset, seen + 4)

            assert await triggers(place, watch) == before


class Verdicts:
    """Notes what is said of the books."""

    def __init__(self) -> None:
        self.fault = ""
        self.told: list[str] = []

    def degraded(self, fault: str) -> None:
        self.fault = fault
        self.told.append(fault)

    def healthy(self) -> None:
        self.fault = ""
        self.told.append("")


async def test_books_are_judged_where_anybody_looks_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody: Any = None
    verdicts: Any = Verdicts()
    posted = Sentries(
        "ws://nowhere",
        {},
        source=nobody,
        library=nobody,
        strategist=nobody,
        messenger=nobody,
        eyes=nobody,
        report=verdicts,
    )
    for fault in (None, "", "the book is not known", None, "", ""):
        monkeypatch.setattr(BookFeed, "fault", fault)
        posted.judge()

    assert verdicts.told == ["the book is not known", ""]
