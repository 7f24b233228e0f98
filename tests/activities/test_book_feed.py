"""Order books over the wire: whole, or asked for anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from activities import book_feed
from activities.book_feed import BookFeed, BookTopic
from tests.activities.noting import fault, no_faults
from tradewright.book import Book
from tradewright.paper import PaperExchange, PaperSettings, running

BTC = BookTopic(50, "BTCUSDT")
ETH = BookTopic(50, "ETHUSDT")


class Changes:
    """Notes every book at every change of it."""

    def __init__(self) -> None:
        self.feed: BookFeed | None = None
        self.books: dict[BookTopic, list[Book]] = {}

    def note(self, topic: BookTopic) -> None:
        assert self.feed is not None
        book = self.feed.book(topic)
        assert book is not None
        self.books.setdefault(topic, []).append(book)


@asynccontextmanager
async def feeding(**changes: Any) -> AsyncIterator[tuple[PaperExchange, BookFeed, Changes]]:
    fields: dict[str, Any] = {"port": 0, "symbols": ("BTCUSDT", "ETHUSDT"), "history": 10}
    settings = PaperSettings.model_validate(fields | {"speed": 60} | changes)
    noted = Changes()
    async with running(settings) as paper:
        feed = noted.feed = BookFeed(f"{paper.stream_url}/public/linear", noted.note)
        following = asyncio.create_task(feed.run())
        try:
            yield paper, feed, noted
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens at the exchange
            await asyncio.sleep(0.01)


async def test_a_followed_book_is_the_exchange_s() -> None:
    async with feeding() as (paper, feed, noted):
        await feed.follow([BTC, ETH])
        await eventually(lambda: all(len(noted.books.get(t, ())) > 5 for t in (BTC, ETH)))
        told = [book.numbers() for book in noted.books[BTC]]
        await eventually(lambda: _best(feed) == _best_of(paper))

        assert len({numbers["best_bid"] for numbers in told}) > 1
        assert [b.at_ms for b in noted.books[BTC]] == sorted(b.at_ms for b in noted.books[BTC])


def _best(feed: BookFeed) -> tuple[float, float, float] | None:
    book = feed.book(BTC)
    return None if book is None else (book.best_bid, book.best_ask, round(book.ask_volume, 3))


def _best_of(paper: PaperExchange) -> tuple[float, float, float]:
    bids, asks = paper.exchange.engine.levels("BTCUSDT", 50)
    volume = sum(float(price) * float(qty) for price, qty in asks)
    return float(bids[0][0]), float(asks[0][0]), round(volume, 3)


async def test_a_change_that_was_lost_costs_a_new_snapshot_and_no_wrong_book() -> None:
    with structlog.testing.capture_logs() as logs:
        async with feeding() as (paper, feed, noted):
            await feed.follow([BTC, ETH])
            await eventually(lambda: len(noted.books.get(BTC, ())) > 2)
            lost = "{kind: stream_loss, when: {topic: orderbook.50.BTCUSDT, times: 1}}"
            await fault(paper, lost)
            await eventually(lambda: any(line["event"] == "book_broken" for line in logs))
            broken, others = len(noted.books[BTC]), len(noted.books[ETH])
            await eventually(lambda: len(noted.books[BTC]) > broken + 2)

            assert len(noted.books[ETH]) > others
            await eventually(lambda: _best(feed) == _best_of(paper))

    (line,) = [line for line in logs if line["event"] == "book_broken"]
    assert line["topic"] == BTC.name
    assert "follows" in line["detail"]


async def test_what_is_told_twice_changes_nothing_and_breaks_nothing() -> None:
    with structlog.testing.capture_logs() as logs:
        async with feeding() as (paper, feed, noted):
            await feed.follow([BTC])
            await fault(paper, "{kind: stream_duplicate, copies: 2, when: {topic: orderbook*}}")
            await eventually(lambda: len(noted.books.get(BTC, ())) > 8)

    assert not [line for line in logs if line["event"] == "book_broken"]


async def test_a_book_whose_messages_change_places_is_mended() -> None:
    async with feeding() as (paper, feed, noted):
        await feed.follow([BTC])
        await eventually(lambda: len(noted.books.get(BTC, ())) > 2)
        await fault(paper, "{kind: stream_reorder, by: 2, when: {topic: orderbook*, times: 1}}")
        await eventually(lambda: feed.book(BTC) is None)
        await no_faults(paper)
        before = len(noted.books[BTC])
        await eventually(lambda: len(noted.books[BTC]) > before + 2)

        await eventually(lambda: _best(feed) == _best_of(paper))


async def test_after_a_lost_connection_books_begin_anew() -> None:
    async with feeding() as (paper, feed, noted):
        await feed.follow([BTC])
        await eventually(lambda: len(noted.books.get(BTC, ())) > 2)
        shut = "{kind: http_error, status: 503, when: {endpoint: /v5/public/linear}}"
        await fault(paper, shut)
        await fault(paper, "{kind: stream_drop}")
        await eventually(lambda: feed.book(BTC) is None)
        before = len(noted.books[BTC])
        await no_faults(paper)

        await eventually(lambda: len(noted.books[BTC]) > before + 2)


async def test_a_silent_book_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_feed, "SILENT_AFTER", 0.5)
    async with feeding() as (_, feed, noted):
        await feed.follow([BTC, ETH])
        await eventually(lambda: len(noted.books.get(BTC, ())) > 2)
        (line,) = feed._topics._lines
        assert line._wire is not None
        # The exchange forgets one of many subscriptions
        await line._wire.unsubscribe([BTC.name])
        await eventually(lambda: feed.book(BTC) is None)
        before = len(noted.books[BTC])

        await eventually(lambda: len(noted.books[BTC]) > before)


async def test_what_is_wanted_no_more_is_forgotten() -> None:
    async with feeding() as (_, feed, noted):
        await feed.follow([BTC, ETH])
        await eventually(lambda: len(noted.books.get(BTC, ())) > 1)
        await feed.follow([ETH])
        others = len(noted.books[ETH])
        before = len(noted.books[BTC])
        await eventually(lambda: len(noted.books[ETH]) > others + 3)

        assert feed.book(BTC) is None
        assert len(noted.books[BTC]) == before


def message(kind: str, update: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": update}
    return {"topic": BTC.name, "type": kind, "ts": 1_000 + update, "cts": update, "data": data}


@pytest.mark.parametrize(
    "spoilt",
    [
        message("delta", 2, [["101", "1"]], []),
        message("delta", 2, [["x", "1"]], []),
        message("delta", 2, [["100"]], []),
        message("delta", 4, [], []),
        {"topic": BTC.name, "type": "delta", "ts": 5, "data": {"u": 2}},
        {"topic": BTC.name, "type": "delta", "ts": 5},
        {"topic": BTC.name, "type": "delta", "ts": 5, "data": None},
        message("delta", 2, [], []) | {"cts": 10**17},
    ],
    ids=["crossed", "no number", "half a level", "gap", "no levels", "no data", "null", "no time"],
)
async def test_a_book_that_makes_no_sense_is_none_until_the_next_snapshot(
    spoilt: dict[str, Any],
) -> None:
    changed: list[BookTopic] = []
    feed = BookFeed("ws://127.0.0.1:9", changed.append)
    await feed.follow([BTC])
    feed._hear(message("snapshot", 1, [["100", "1"]], [["100.5", "1"]]))
    assert feed.book(BTC) is not None

    feed._hear(spoilt)
    assert feed.book(BTC) is None
    feed._hear(message("delta", 3, [["99", "1"]], []))
    assert feed.book(BTC) is None
    assert changed == [BTC]

    feed._hear(message("snapshot", 9, [["99", "1"]], [["99.5", "1"]]))
    book = feed.book(BTC)
    assert book is not None
    assert book.best_bid == 99


async def test_a_book_that_does_not_mend_is_told_of_until_it_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_feed, "SILENT_AFTER", 0.5)
    monkeypatch.setattr(book_feed, "ASK_EVERY", 0.1)
    monkeypatch.setattr(book_feed, "TOLD_AFTER", 0.3)
    async with feeding() as (paper, feed, noted):
        before = feed.fault
        await feed.follow([BTC, ETH])
        await eventually(lambda: len(noted.books.get(BTC, ())) > 2 and len(noted.books) == 2)
        whole = feed.fault
        await fault(paper, "{kind: stream_loss, when: {topic: orderbook.50.BTCUSDT}}")
        await eventually(lambda: bool(feed.fault))
        broken = feed.fault
        await no_faults(paper)
        await eventually(lambda: feed.fault == "")

        await feed.follow([BTC, BookTopic(50, "NOPEUSDT")])
        await eventually(lambda: feed.fault == "the exchange refuses orderbook.50.NOPEUSDT")
        await feed.follow([BTC])
        assert feed.fault == ""

    assert (before, whole) == ("", "")
    assert broken == "orderbook.50.BTCUSDT is not known: it says nothing"
