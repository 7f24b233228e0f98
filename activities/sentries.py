"""All presets that order books trigger, and the books that they share."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from activities.book_feed import BookFeed, BookTopic
from activities.channel import ChannelReport
from activities.joint import together
from activities.library import Library, PresetUnusable
from activities.messenger import Messenger
from activities.sentry import BookMark, Eyes, Sentry
from activities.strategist import Strategist
from tradewright import ids
from tradewright.book import BookBroken, Ladder
from tradewright.domain.errors import TradewrightError
from tradewright.ports import StrategyStatus, Watch

log = structlog.get_logger(__name__)

LINEAR = "linear"


class BookSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class Sentries:
    """Posts a sentry for each preset whose watch names a depth.

    On a venue that does not wait they live by the stream. A lockstep stands still until all have
    decided: there the book is read once at each of the preset's closes, and every run is the same.
    """

    def __init__(
        self,
        url: str,
        marks: Mapping[str, Mapping[str, BookMark]],
        *,
        source: BookSource,
        library: Library,
        strategist: Strategist,
        messenger: Messenger,
        eyes: Eyes,
        report: ChannelReport,
    ) -> None:
        """Post nobody yet; *marks* are what the worker before this one has left, by preset."""
        self._report = report
        self._feed = BookFeed(url, self._note)
        self._left = {preset: dict(its) for preset, its in marks.items()}
        self._source = source
        self._library = library
        self._strategist = strategist
        self._messenger = messenger
        self._eyes = eyes
        self._watches: dict[str, Watch] = {}
        self._sentries: dict[str, Sentry] = {}
        self._by_topic: dict[BookTopic, list[Sentry]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def marks(self) -> dict[str, dict[str, BookMark]]:
        """Return what each preset was called for last, by symbol; without what says nothing."""
        posted = {name: sentry.marks for name, sentry in self._sentries.items()}
        return {
            name: told
            for name, marks in (self._left | posted).items()
            if (told := {symbol: mark for symbol, mark in marks.items() if mark != BookMark()})
        }

    async def post(self, watches: Iterable[Watch], *, lockstep: bool, within: float | None) -> None:
        """Watch for these presets, as far as order books trigger them, and for no others."""
        wanted = {watch.preset: watch for watch in watches if watch.book_depth is not None}
        for name in self._sentries.keys() - wanted.keys():
            self._dismiss(name)
        for name in self._left.keys() - wanted.keys():
            del self._left[name]
        for name, watch in sorted(wanted.items()):
            if self._watches.get(name) != watch:
                await self._send(watch, within)
        by_topic: dict[BookTopic, list[Sentry]] = {}
        for name, sentry in self._sentries.items():
            for symbol in self._watches[name].symbols:
                by_topic.setdefault(_topic(self._watches[name], symbol), []).append(sentry)
        self._by_topic = by_topic
        if not lockstep:
            await self._feed.follow(by_topic)

    async def look(self, watch: Watch, close: datetime) -> None:
        """Look at the books of one preset at its *close*, in a market that stands still."""
        sentry = self._sentries.get(watch.preset)
        if sentry is None or watch.book_depth is None:
            return
        for symbol in watch.symbols:
            ladder = Ladder(symbol)
            try:
                answer = await self._source.call(
                    "get_orderbook", category=LINEAR, symbol=symbol, limit=watch.book_depth
                )
                told, at_ms = answer["result"], round(close.timestamp() * 1000)
                ladder.restart(int(told["u"]) or 1, at_ms, told["b"], told["a"])
            except (TradewrightError, BookBroken, KeyError, TypeError, ValueError) as e:
                log.warning("book_not_read", symbol=symbol, detail=str(e))
                continue
            book = ladder.book()
            if book is not None:
                await sentry.look_once(symbol, book)

    def judge(self) -> None:
        """Report what the books are worth now, where anybody looks at them."""
        fault = self._feed.fault
        if fault:
            self._report.degraded(fault)
        elif fault is not None and (self._sentries or self._report.fault):
            self._report.healthy()

    async def run(self) -> None:
        """Listen until cancelled."""
        await together(self._feed.run(), self._stand())

    async def _stand(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name, sentry in self._sentries.items():
                self._tasks[name] = group.create_task(sentry.run())
            await asyncio.Event().wait()

    async def _send(self, watch: Watch, within: float | None) -> None:
        """Post a sentry, or tell the one that is posted of another version or other symbols."""
        name = watch.preset
        try:
            loaded = await self._library.preset(watch.preset_hash)
        except PresetUnusable as e:
            # Its next candle says so to a person; it is tried again with the next look
            log.error("preset_unusable", preset=name, detail=str(e))
            self._dismiss(name)
            return
        if loaded.preset.trigger.on != "order_book":
            self._dismiss(name)
            return
        status = await self._messenger.ask_in_time(
            ids.strategy_workflow(name), "status", StrategyStatus, within
        )
        sentry = self._sentries.get(name)
        if sentry is None or sentry.loaded.hash != loaded.hash:
            # A version that wishes what the one before it did has been called for it
            self._dismiss(name)
            self._watches[name] = watch
            sentry = self._sentries[name] = Sentry(
                loaded,
                eyes=self._eyes,
                strategist=self._strategist,
                messenger=self._messenger,
                book=lambda symbol: self._feed.book(_topic(self._watches[name], symbol)),
            )
            if self._group is not None:
                self._tasks[name] = self._group.create_task(sentry.run())
        self._watches[name] = watch
        sentry.watch(watch.symbols, self._left.get(name, {}), status.last_book if status else {})

    def _dismiss(self, name: str) -> None:
        sentry = self._sentries.pop(name, None)
        self._watches.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        if sentry is not None:
            self._left[name] = sentry.marks

    def _note(self, topic: BookTopic) -> None:
        for sentry in self._by_topic.get(topic, ()):
            sentry.note(topic.symbol)


def _topic(watch: Watch, symbol: str) -> BookTopic:
    return BookTopic(watch.book_depth or 0, symbol)
