"""The public streams of order books: each kept whole, or asked for anew."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import structlog

from activities.joint import together
from activities.topics import Message, Topics
from tradewright.book import Book, BookBroken, Ladder

log = structlog.get_logger(__name__)

SILENT_AFTER = 30.0
"""Seconds without a word, when a book is thought dead: one that is traded changes every second."""
ASK_EVERY = 2.0
"""Seconds that a book which was asked for anew is given."""
RENEW_AFTER = 3
"""Times that a book was asked for in vain, before the connection is thought to be at fault."""
TOLD_AFTER = 10.0
"""Seconds that a book is not known, when it is thought not to mend by itself."""


class BookTopic(NamedTuple):
    depth: int
    symbol: str

    @property
    def name(self) -> str:
        return f"orderbook.{self.depth}.{self.symbol}"


class BookFeed:
    """Follows the books that are wanted, and says of each when it has changed."""

    def __init__(self, url: str, changed: Callable[[BookTopic], None]) -> None:
        self._topics = Topics(url, self._hear, self._forget, lost=self._forget)
        self._changed = changed
        self._wanted: dict[str, BookTopic] = {}
        self._ladders: dict[str, Ladder] = {}
        self._books: dict[str, Book | None] = {}
        """As they were asked for since the last change."""
        self._broken: dict[str, str] = {}
        """Why books cannot be continued, by topic."""
        self._broken_since: dict[str, float] = {}
        self._asked: dict[str, tuple[float, int]] = {}
        """When a broken book was asked for last, and how often, since it was whole."""
        self._mend = asyncio.Event()

    async def follow(self, topics: Iterable[BookTopic]) -> None:
        """Follow these and no others."""
        self._wanted = {topic.name: topic for topic in topics}
        for name, topic in self._wanted.items():
            if name not in self._ladders:
                self._ladders[name] = Ladder(topic.symbol)
        for known in (
            *(self._ladders, self._books, self._broken),
            *(self._broken_since, self._asked),
        ):
            for name in known.keys() - self._wanted.keys():
                del known[name]
        await self._topics.follow(self._wanted)

    def book(self, topic: BookTopic) -> Book | None:
        """Return the book as it stands; None while it is not known whole."""
        name = topic.name
        if name not in self._books:
            ladder = self._ladders.get(name)
            self._books[name] = ladder.book() if ladder else None
        return self._books[name]

    @property
    def fault(self) -> str | None:
        """Return why books that are wanted are not known; None before there is a connection."""
        if not self._wanted or self._topics.fault is None:
            return None if self._wanted else ""
        now = asyncio.get_running_loop().time()
        found = [self._topics.fault]
        found += [
            f"{name} is not known: {why}"
            for name, why in sorted(self._broken.items())
            if now - self._broken_since[name] >= TOLD_AFTER
        ]
        refused = sorted(self._wanted.keys() - {*self._topics.wanted})
        found += [f"the exchange refuses {name}" for name in refused]
        return "; ".join(filter(None, found))

    async def run(self) -> None:
        """Listen until cancelled."""
        await together(self._topics.run(), self._keep_whole())

    def _forget(self, topics: Collection[str]) -> None:
        for name in topics:
            if ladder := self._ladders.get(name):
                ladder.forget()
                self._books.pop(name, None)

    def _hear(self, message: Message) -> None:
        name = message["topic"]
        ladder = self._ladders.get(name)
        if ladder is None:
            return
        self._books.pop(name, None)
        try:
            # Milliseconds of the engine; the other time is of the message
            data, at_ms = message["data"], int(message.get("cts") or message["ts"])
            if message["type"] == "snapshot":
                ladder.restart(int(data["u"]), at_ms, data["b"], data["a"])
            elif name in self._broken or not ladder.change(
                int(data["u"]), at_ms, data["b"], data["a"]
            ):
                return
            if ladder.is_crossed:
                raise BookBroken(ladder.symbol, "bids and asks overlap")
        except (BookBroken, KeyError, TypeError, ValueError) as e:
            ladder.forget()
            if name not in self._broken:
                log.warning("book_broken", topic=name, detail=str(e))
            self._break(name, str(e))
            self._mend.set()
        else:
            for known in (self._broken, self._broken_since, self._asked):
                known.pop(name, None)
            self._changed(self._wanted[name])

    def _break(self, name: str, why: str) -> None:
        self._broken[name] = why
        self._broken_since.setdefault(name, asyncio.get_running_loop().time())

    async def _keep_whole(self) -> None:
        """Ask anew for books that are broken or silent, and for a connection if that is vain."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(1.0):
                    await self._mend.wait()
            except TimeoutError:
                self._note_silent()
            self._mend.clear()
            now = loop.time()
            due = [
                name
                for name in self._broken
                if name in self._wanted and now - self._asked.get(name, (0.0, 0))[0] >= ASK_EVERY
            ]
            if not due:
                continue
            in_vain = 0
            for name in due:
                times = self._asked.get(name, (0.0, 0))[1] + 1
                self._asked[name] = now, times
                in_vain = max(in_vain, times)
            if in_vain > RENEW_AFTER:
                self._asked.clear()
                await self._topics.renew()
            else:
                await self._topics.resubscribe(due)

    def _note_silent(self) -> None:
        if self._topics.fault != "":
            return
        for name in self._topics.wanted:
            if self._topics.silent_for(name) > SILENT_AFTER and name not in self._broken:
                log.warning("book_silent", topic=name)
                self._break(name, "it says nothing")
                self._books[name] = None
                if ladder := self._ladders.get(name):
                    ladder.forget()
