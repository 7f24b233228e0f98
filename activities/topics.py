"""Public topics, followed over as many connections as they need, whatever becomes of those."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any

import structlog

from activities.wire import STEADY_AFTER, BackOff, Wire, WireLost, WireRefused
from tradewright.domain.errors import TradewrightError

log = structlog.get_logger(__name__)

QUIET = 5.0
MOST_LETTERS = 20_000
"""Of the topics of one connection, as they are written; Bybit takes 21,000."""

Message = dict[str, Any]


class Topics:
    """Knows which topics are wanted; each connection begins with all of its own."""

    def __init__(
        self,
        url: str,
        hear: Callable[[Message], None],
        begun: Callable[[Collection[str]], None],
        *,
        lost: Callable[[Collection[str]], None] = lambda _: None,
        standing: bool = False,
        most_letters: int = MOST_LETTERS,
    ) -> None:
        """Follow nothing yet.

        Args:
            url: Of the venue's public WebSocket.
            hear: Takes each message of a topic, in order.
            begun: Is told the topics of a connection each time that it begins: what happened
                before may have been missed.
            lost: Is told the topics of a connection when it is lost.
            standing: Keep a connection also when nothing is wanted: it shows what it is worth.
            most_letters: Written on one connection.
        """
        self._url = url
        self._hear = hear
        self._begun = begun
        self._lost = lost
        self._most_letters = most_letters
        self._line_of: dict[str, _Line] = {}
        self._turn = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self.heard_at = asyncio.get_running_loop().time()
        """When the last message came, by the loop's clock."""
        self._heard: dict[str, float] = {}
        """Likewise, of each topic; since it was subscribed to if nothing came."""
        self._lines: list[_Line] = [self._new_line()] if standing else []

    @property
    def wanted(self) -> Collection[str]:
        """Return what is followed, without what the exchange does not know."""
        return [t for t, line in self._line_of.items() if t not in line.refused]

    @property
    def fault(self) -> str | None:
        """Return why something is not heard: empty while there are connections, None before."""
        faults = [line.fault for line in self._lines]
        return next(filter(None, faults), None if None in faults else "")

    async def follow(self, topics: Iterable[str]) -> None:
        """Follow these and no others, from now on if there are connections."""
        wanted = set(topics)
        async with self._turn:
            gone = self._by_line(self._line_of.keys() - wanted)
            new = sorted(wanted - self._line_of.keys())
            for line, its in gone.items():
                for topic in its:
                    del self._line_of[topic]
                    self._heard.pop(topic, None)
                await line.drop(its)
            for topic in new:
                line = self._line_with_room(topic)
                line.topics.add(topic)
                self._line_of[topic] = line
            for line, its in self._by_line(new).items():
                await line.add(its)

    def silent_for(self, topic: str) -> float:
        """Return for how many seconds a topic has said nothing."""
        now = asyncio.get_running_loop().time()
        return now - self._heard.get(topic, now)

    async def resubscribe(self, topics: Iterable[str]) -> None:
        """Ask anew for topics that have gone silent while the connection lives."""
        for line, its in self._by_line(set(topics) & self._line_of.keys()).items():
            await line.resubscribe(its)

    async def renew(self) -> None:
        """Throw the connections away: they have gone silent."""
        for line in self._lines:
            await line.renew()

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for line in self._lines:
                group.create_task(line.run())
            await asyncio.Event().wait()

    def _by_line(self, topics: Iterable[str]) -> "dict[_Line, set[str]]":
        found: dict[_Line, set[str]] = {}
        for topic in topics:
            found.setdefault(self._line_of[topic], set()).add(topic)
        return found

    def _line_with_room(self, topic: str) -> "_Line":
        for line in self._lines:
            if line.letters + _letters(topic) <= self._most_letters:
                return line
        line = self._new_line()
        self._lines.append(line)
        if self._group is not None:
            self._group.create_task(line.run())
        return line

    def _new_line(self) -> "_Line":
        return _Line(self._url, self._note, self._note_subscribed, self._note_begun, self._lost)

    def _note(self, message: Message) -> None:
        self.heard_at = self._heard[message["topic"]] = asyncio.get_running_loop().time()
        self._hear(message)

    def _note_subscribed(self, topics: Collection[str]) -> None:
        self._heard.update(dict.fromkeys(topics, asyncio.get_running_loop().time()))

    def _note_begun(self, topics: Collection[str]) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        self._begun(topics)


class _Line:
    """The topics of one connection, and the connection while there is one."""

    def __init__(
        self,
        url: str,
        hear: Callable[[Message], None],
        subscribed: Callable[[Collection[str]], None],
        begun: Callable[[Collection[str]], None],
        lost: Callable[[Collection[str]], None],
    ) -> None:
        self._url = url
        self._hear = hear
        self._subscribed = subscribed
        self._begun = begun
        self._lost = lost
        self.topics: set[str] = set()
        self.refused: set[str] = set()
        self.fault: str | None = None
        self._wire: Wire | None = None
        self._turn = asyncio.Lock()

    @property
    def letters(self) -> int:
        return sum(map(_letters, self.topics))

    async def add(self, topics: set[str]) -> None:
        async with self._turn:
            if self._wire is not None:
                try:
                    await self._subscribe(self._wire, topics)
                except WireLost as e:
                    # The next connection begins with all that is wanted
                    log.warning("market_stream_lost", detail=str(e))

    async def drop(self, topics: set[str]) -> None:
        async with self._turn:
            self.topics -= topics
            told = topics - self.refused
            self.refused -= topics
            if self._wire is not None and told:
                try:
                    await self._wire.unsubscribe(told)
                except TradewrightError as e:
                    # What comes all the same is not listened to
                    log.warning("market_stream_not_unsubscribed", detail=str(e))

    async def resubscribe(self, topics: set[str]) -> None:
        async with self._turn:
            wire = self._wire
            if wire is None:
                return
            try:
                await wire.resubscribe(topics)
            except TradewrightError as e:
                log.warning("market_stream_not_resubscribed", detail=str(e))
                await wire.close()

    async def renew(self) -> None:
        wire = self._wire
        if wire is not None:
            await wire.close()

    async def run(self) -> None:
        back_off = BackOff()
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                async with await Wire.open(self._url, "linear") as wire:
                    async with self._turn:
                        # What one connection refused, the next may know
                        self.refused.clear()
                        await self._subscribe(wire, set(self.topics))
                        self._wire = wire
                    self.fault = ""
                    self._begun(self.topics - self.refused)
                    await self._listen(wire)
            except TradewrightError as e:
                log.warning("market_stream_lost", detail=str(e))
                self.fault = str(e)
            finally:
                self._wire = None
                self._lost(self.topics)
            if loop.time() - begun > STEADY_AFTER:
                back_off.reset()
            await back_off.pause()

    async def _listen(self, wire: Wire) -> None:
        while True:
            message = await wire.receive(within=QUIET)
            if message is not None and message["topic"] in self.topics:
                self._hear(message)

    async def _subscribe(self, wire: Wire, topics: set[str]) -> None:
        if not topics:
            return
        try:
            await wire.subscribe(topics)
        except WireRefused as e:
            if len(topics) == 1:
                log.error("topic_refused", topic=min(topics), detail=str(e))
                self.refused |= topics
                return
            # One unknown symbol must not keep the others from what they want
            ordered = sorted(topics)
            for half in (ordered[::2], ordered[1::2]):
                await self._subscribe(wire, set(half))
        else:
            self._subscribed(topics)


def _letters(topic: str) -> int:
    # Quoted, and a comma
    return len(topic) + 3
