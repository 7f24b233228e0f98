"""Sentries: a strategy is called when its answer to the order book becomes another one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from activities.sentry import FAILED, BookMark, Sentry
from activities.strategist import Strategist
from tradewright import ids
from tradewright.book import Book
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles, View
from tradewright.ports import BookTrigger
from tradewright.preset import LoadedPreset, loads

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
PRESET = """\
version: 1
name: imbalance
market: {category: linear, symbols: [BTCUSDT, ETHUSDT]}
trigger: {on: order_book, depth: 50, timeframe: 1m, at_most_every: 5s}
strategy:
  plugin: rules
  params:
    long: book.imbalance > 0.75 and book.bid_cluster >= 10000 and close > 100
    short: book.imbalance < 0.25
    exit_long: book.imbalance < 0.1
entry: {type: market, expires_after: 3s}
exits: {stop: {fraction: 0.01}, target: {r: 1}}
risk: {sizing: fixed_notional, notional: 100}
"""
LOADED = loads(PRESET)


class Calls:
    """Takes the calls of a sentry; whoever is not running hears nothing."""

    def __init__(self) -> None:
        self.heard: list[BookTrigger] = []
        self.running = True

    async def tell(self, workflow_id: str, signal: str, message: BookTrigger) -> bool:
        assert (workflow_id, signal) == (ids.strategy_workflow("imbalance"), "book_trigger")
        self.heard.append(message)
        return self.running


class OpenEyes:
    """Sees candles that closed at *close*; some symbols are short, some cannot be read."""

    def __init__(self) -> None:
        self.close = 101.0
        self.seen: list[tuple[str, datetime]] = []
        self.short: set[str] = set()
        self.away: set[str] = set()

    async def __call__(self, loaded: LoadedPreset, symbol: str, at: datetime) -> Any:
        last = datetime.fromtimestamp(at.timestamp() // 60 * 60, UTC)
        self.seen.append((symbol, last))
        if symbol in self.away:
            raise ExchangeUnreachable("get_kline", "it is away")
        prices = np.full(3, self.close)
        opened = np.array([int(last.timestamp() * 1000) - n * 60_000 for n in (3, 2, 1)])
        view = View(
            symbol=symbol,
            at=last,
            timeframe=Timeframe.M1,
            candles=Candles(opened, prices, prices, prices, prices, prices),
        )
        return Seen(view, symbol in self.short)


class Seen:
    def __init__(self, view: View, is_short: bool) -> None:
        self.view = view
        self.is_short = is_short


class Stand:
    """A sentry, what it sees, and whom it calls."""

    def __init__(self, loaded: LoadedPreset = LOADED) -> None:
        self.books: dict[str, Book | None] = {}
        self.eyes = OpenEyes()
        self.calls = Calls()
        nobody: Any = self.calls
        self.sentry = Sentry(
            loaded,
            eyes=self.eyes,
            strategist=Strategist(),
            messenger=nobody,
            book=lambda symbol: self.books.get(symbol),
        )
        self.sentry.watch(["BTCUSDT", "ETHUSDT"], {}, {})

    async def show(self, imbalance: float, seconds: float, symbol: str = "BTCUSDT") -> list[str]:
        """Show a book; return the numbers and prices of the calls that have come of all of them."""
        await self.sentry.look_once(symbol, book(imbalance, seconds, symbol))
        return self.told

    @property
    def told(self) -> list[str]:
        return [f"{(c.at - NOON).total_seconds():g}s {c.price}" for c in self.calls.heard]


def book(imbalance: float, seconds: float, symbol: str = "BTCUSDT") -> Book:
    return Book(
        symbol=symbol,
        at_ms=round((NOON + timedelta(seconds=seconds)).timestamp() * 1000),
        best_bid=99.5,
        best_ask=100.5,
        best_bid_qty=1,
        best_ask_qty=1,
        bid_volume=imbalance * 100_000,
        ask_volume=(1 - imbalance) * 100_000,
        bid_cluster=imbalance * 100_000,
        ask_cluster=(1 - imbalance) * 100_000,
        imbalance=imbalance,
        spread_bps=100,
    )


async def test_a_strategy_is_called_when_its_answer_changes_and_not_while_it_stays() -> None:
    stand = Stand()

    assert await stand.show(0.5, 1) == []
    assert await stand.show(0.8, 2) == ["2s 100.5"]
    for second in range(3, 50):
        await stand.show(0.8 + second / 1000, second)
    assert await stand.show(0.2, 50) == ["2s 100.5", "50s 99.5"]


async def test_a_call_carries_all_that_the_decision_needs() -> None:
    stand = Stand()

    await stand.show(0.8, 2)

    (call,) = stand.calls.heard
    assert call.number == round(call.at.timestamp() * 1000)
    assert Book.of(call.symbol, call.number, call.book) == book(0.8, 2)
    assert call.price == Decimal("100.5")


async def test_calls_are_no_more_frequent_than_the_preset_says() -> None:
    stand = Stand()

    await stand.show(0.8, 0)
    await stand.show(0.5, 1)
    await stand.show(0.8, 2)
    await stand.show(0.2, 4.9)
    assert stand.told == ["0s 100.5"]

    # What still stands after the rest calls then
    assert await stand.show(0.2, 5) == ["0s 100.5", "5s 99.5"]


async def test_an_answer_that_has_gone_before_the_rest_is_over_calls_for_nothing() -> None:
    stand = Stand()
    await stand.show(0.8, 0)
    await stand.show(0.2, 1)
    await stand.show(0.5, 2)

    assert await stand.show(0.5, 9) == ["0s 100.5"]


async def test_an_exit_calls_beside_an_entry() -> None:
    stand = Stand()

    await stand.show(0.2, 1)
    await stand.show(0.05, 10)

    # To leave a long is to sell, and so is to enter a short
    assert stand.told == ["1s 99.5", "10s 99.5"]


async def test_each_symbol_is_watched_for_itself() -> None:
    stand = Stand()

    await stand.show(0.8, 1)
    await stand.show(0.8, 1, "ETHUSDT")

    assert [call.symbol for call in stand.calls.heard] == ["BTCUSDT", "ETHUSDT"]


async def test_another_worker_calls_for_nothing_that_was_called_for() -> None:
    before, after = Stand(), Stand()
    await before.show(0.8, 1)
    (call,) = before.calls.heard

    after.sentry.watch([], {}, {})
    after.sentry.watch(["BTCUSDT"], before.sentry.marks, {"BTCUSDT": call.number})
    await after.show(0.8, 20)
    assert after.told == []

    assert await after.show(0.2, 21) == ["21s 99.5"]


async def test_a_call_that_the_last_worker_did_not_live_to_note_is_not_repeated() -> None:
    before, after = Stand(), Stand()
    await before.show(0.8, 1)
    (call,) = before.calls.heard

    after.sentry.watch([], {}, {})
    after.sentry.watch(["BTCUSDT"], {"BTCUSDT": BookMark()}, {"BTCUSDT": call.number})
    assert await after.show(0.8, 20) == []
    assert await after.show(0.2, 21) == ["21s 99.5"]


async def test_a_call_that_nobody_heard_is_made_by_the_next_worker() -> None:
    after = Stand()

    after.sentry.watch([], {}, {})
    after.sentry.watch(["BTCUSDT"], {"BTCUSDT": BookMark()}, {})

    assert await after.show(0.8, 20) == ["20s 100.5"]


async def test_candles_of_another_close_are_seen_before_the_book_is_answered() -> None:
    stand = Stand()
    await stand.show(0.5, 1)
    stand.eyes.close = 99.0

    # By the candle that has closed meanwhile it is no entry
    assert await stand.show(0.8, 61) == []
    assert [at for _, at in stand.eyes.seen] == [NOON, NOON + timedelta(minutes=1)]


async def test_without_candles_nothing_is_answered() -> None:
    stand = Stand()
    stand.eyes.short.add("BTCUSDT")
    stand.eyes.away.add("ETHUSDT")

    await stand.show(0.8, 1)
    await stand.show(0.8, 1, "ETHUSDT")
    assert stand.told == []

    stand.eyes.short.clear()
    assert await stand.show(0.8, 2) == ["2s 100.5"]


class Broken:
    """A strategy that fails at books of too much bids."""

    needs = LOADED.strategy.needs

    def on_book(self, view: View, book: Book) -> Any:
        if book.imbalance > 0.75:
            raise ZeroDivisionError("nothing to divide")
        return LOADED.strategy.on_book(view, book)  # type: ignore[attr-defined]


async def test_a_strategy_that_fails_is_called_for_once_and_harms_nobody() -> None:
    """The decision then fails in the same way, where it is counted and shown."""
    broken: Any = Broken()
    stand = Stand(LoadedPreset(LOADED.preset, LOADED.document, LOADED.hash, broken))

    for second in range(1, 30):
        await stand.show(0.8, second)
    assert len(stand.told) == 1
    assert stand.sentry.marks["BTCUSDT"].answer == FAILED

    assert await stand.show(0.2, 40) == ["1s 100.5", "40s 99.5"]


async def test_a_strategy_that_does_not_run_is_not_called_again_and_again() -> None:
    stand = Stand()
    stand.calls.running = False

    for second in range(1, 30):
        await stand.show(0.8, second)

    assert len(stand.told) == 1


@asynccontextmanager
async def on_duty(stand: Stand) -> AsyncIterator[None]:
    duty = asyncio.create_task(stand.sentry.run())
    try:
        yield
    finally:
        duty.cancel()
        with suppress(asyncio.CancelledError):
            await duty


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - another task does it
            await asyncio.sleep(0)


async def test_changes_are_looked_at_as_they_come_once_the_candles_are_seen() -> None:
    stand = Stand()
    async with on_duty(stand):
        stand.books["BTCUSDT"] = book(0.8, 1)
        stand.sentry.note("BTCUSDT")
        await eventually(lambda: bool(stand.told))
        stand.books["BTCUSDT"] = book(0.2, 10)
        stand.sentry.note("BTCUSDT")
        await eventually(lambda: len(stand.told) == 2)
        # Broken meanwhile, or not watched
        stand.books["BTCUSDT"] = None
        stand.sentry.note("BTCUSDT")
        stand.sentry.note("SOLUSDT")
        stand.books["ETHUSDT"] = book(0.8, 11, "ETHUSDT")
        stand.sentry.note("ETHUSDT")
        await eventually(lambda: len(stand.told) == 3)

    assert stand.told == ["1s 100.5", "10s 99.5", "11s 100.5"]
    assert stand.eyes.seen == [("BTCUSDT", NOON), ("ETHUSDT", NOON)]


async def test_of_several_changes_at_once_the_last_one_counts() -> None:
    stand = Stand()
    await stand.show(0.5, 1)
    async with on_duty(stand):
        for number, imbalance in enumerate((0.8, 0.2, 0.5, 0.2)):
            stand.books["BTCUSDT"] = book(imbalance, 2 + number)
            stand.sentry.note("BTCUSDT")
        await eventually(lambda: bool(stand.told))

    assert stand.told == ["5s 99.5"]


async def test_symbols_that_leave_are_not_watched_and_those_that_stay_keep_their_marks() -> None:
    stand = Stand()
    await stand.show(0.8, 1)
    await stand.show(0.8, 1, "ETHUSDT")

    stand.sentry.watch(["BTCUSDT", "SOLUSDT"], {}, {})

    assert set(stand.sentry.marks) == {"BTCUSDT", "SOLUSDT"}
    assert len(await stand.show(0.8, 30)) == 2
    assert len(await stand.show(0.2, 30, "ETHUSDT")) == 2
