"""Decisions on order books: at their own price, and never on one that is old or crossed."""

import dataclasses
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.pace import milliseconds
from tests.activities.decider_worker import DOCUMENT, MakeWorker, Watcher, Worker, codes, degrading
from tests.activities.exchange_of_data import START
from tradewright import testing
from tradewright.plugin import Needs
from tradewright.ports import BookTrigger


def trigger_of(worker: Worker) -> BookTrigger:
    price = worker.exchange.close()
    at = worker.exchange.now
    made = dataclasses.replace(testing.make_book(1), best_bid=price - 0.5, best_ask=price + 0.5)
    return BookTrigger(
        number=milliseconds(at),
        symbol="BTCUSDT",
        at=at,
        book=made.numbers(),
        price=Decimal(repr(price + 0.5)),
    )


async def test_a_book_is_decided_on_at_its_own_price(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.exchange.now = START + timedelta(seconds=437)
    trigger = trigger_of(worker)

    wishes = await worker.decide(book=trigger)

    (wish,) = wishes.proposals
    assert (wish.price, wish.trigger) == (trigger.price, worker.exchange.now)
    (book,) = worker.strategy.books
    assert book.numbers() == trigger.book
    # The candles are those that had closed then
    (view,) = worker.strategy.seen
    assert view.at == START


@pytest.mark.parametrize(
    ("changes", "late", "code"),
    [
        ({"best_ask": 1.0}, 0, "book_crossed"),
        ({}, 6, "book_stale"),
    ],
)
async def test_a_crossed_or_old_book_enters_nothing(
    make_worker: MakeWorker, changes: dict[str, float], late: int, code: str
) -> None:
    worker = make_worker(knows_degraded=True)
    trigger = trigger_of(worker)
    crossed = trigger.model_copy(update={"book": trigger.book | changes})
    worker.pace.late = timedelta(seconds=late)

    for each in (worker, degrading(worker)):
        wishes = await each.decide(book=crossed)

        assert (codes(wishes), wishes.proposals) == ([code], ())


SEES_BOOKS = Needs(candles=40, series=("book.imbalance",))


@pytest.mark.parametrize(
    "told", [{"cts": 1_000}, {"b": []}, {"b": [["1e9", "1"]]}], ids=["stale", "empty", "crossed"]
)
async def test_candles_enter_nothing_by_a_book_that_is_old_or_makes_no_sense(
    make_worker: MakeWorker, told: dict[str, Any]
) -> None:
    worker = make_worker(needs=SEES_BOOKS)
    worker.ask_desk({})
    worker.exchange.book = told

    wishes = await worker.decide()

    assert (codes(wishes), wishes.proposals) == (["book_stale"], ())
    assert len(wishes.exits) == 1


BY_BOOK = DOCUMENT.replace("on: candle, ", "on: order_book, ").replace(
    "{plugin: donchian_breakout}",
    "{plugin: rules, params: {long: book.imbalance > 0.9, exit_long: book.imbalance < 0.1}}",
)


@pytest.mark.parametrize("version", ["running", "earlier"])
async def test_a_candle_asks_once_more_what_the_book_wants_left(
    make_worker: MakeWorker, version: str
) -> None:
    """A call of the book is made once; what came of it may have failed."""
    worker = make_worker()
    strategy = Watcher(needs=SEES_BOOKS)
    of_book = Worker(worker.exchange, BY_BOOK, strategy)
    of_book.ask_desk({})
    changes: dict[str, Any] = {"exits_only": True}
    if version == "earlier":
        running = make_worker().market._library._loaded
        of_book.market._library._loaded |= running
        changes |= {"preset_hash": next(iter(running)), "earlier": (of_book.hash,)}

    wishes = await of_book.decide(**changes)

    assert of_book.hash in {leave.preset_hash for leave in wishes.exits}
    (view,) = strategy.seen
    assert view.series["book.imbalance"][-1] == pytest.approx(0.75, abs=0.01)


async def test_a_ticker_vouches_for_many_books(make_worker: MakeWorker) -> None:
    worker = make_worker()

    for second in range(10):
        worker.exchange.now = START + timedelta(seconds=second)
        await worker.decide(book=trigger_of(worker))

    assert worker.exchange.count("get_tickers") == 1
