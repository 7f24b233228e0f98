"""Order books watched for one preset: when its answer changes, its strategy is called."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import structlog

from activities.lookout import Sight
from activities.messenger import Messenger
from activities.strategist import Strategist, StrategyFailed
from tradewright import ids
from tradewright.book import Book
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Side, Value
from tradewright.plugin import Evaluation, View
from tradewright.ports import BookTrigger
from tradewright.preset import LoadedPreset

log = structlog.get_logger(__name__)

VIEW_AGAIN = 1.0
"""Seconds until candles that could not be seen are looked for again."""
FAILED = "failed"
"""The answer of a strategy that has none: told once, so that the decision fails where it shows."""

Eyes = Callable[[LoadedPreset, str, datetime], Awaitable[Sight]]
"""Return what a preset sees of a symbol at a time."""


class BookMark(Value):
    """What a preset was called for last on one symbol; carried by the heartbeat."""

    number: int = 0
    answer: str = ""
    """Which way it wished to go; empty since it has wished nothing."""


@dataclass
class _Post:
    """One symbol of the preset."""

    symbol: str
    mark: BookMark
    is_new: bool
    """It is not known what the preset was called for last: its first answer calls for nothing."""
    view: View | None = None
    begin_ms: int = 0
    end_ms: int = 0
    """Times of books that `view` is the last closed candle of."""
    renewal: asyncio.Task[None] | None = None
    again_at: float = 0.0

    def sees(self, book: Book) -> bool:
        return self.view is not None and self.begin_ms <= book.at_ms < self.end_ms


@dataclass(frozen=True)
class _Call:
    post: _Post
    trigger: BookTrigger
    wish: str


class Sentry:
    """Asks a preset's strategy at every change of a book.

    It calls only when the answer has become another one, no more often than the preset says, and
    never twice for the same: neither here nor in the worker after this one.
    """

    def __init__(
        self,
        loaded: LoadedPreset,
        *,
        eyes: Eyes,
        strategist: Strategist,
        messenger: Messenger,
        book: Callable[[str], Book | None],
    ) -> None:
        """Watch no symbol yet; *book* returns that of a symbol, as it stands."""
        trigger = loaded.preset.trigger
        if trigger.on != "order_book":
            raise ValueError(f"preset {loaded.preset.name} is not triggered by order books")
        self.loaded = loaded
        self._timeframe = trigger.timeframe
        self._rest_ms = trigger.at_most_every // timedelta(milliseconds=1)
        self._eyes = eyes
        self._strategist = strategist
        self._messenger = messenger
        self._book = book
        self._posts: dict[str, _Post] = {}
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    @property
    def marks(self) -> dict[str, BookMark]:
        return {symbol: post.mark for symbol, post in self._posts.items()}

    def watch(
        self,
        symbols: Iterable[str],
        marks: dict[str, BookMark],
        called: dict[str, int],
    ) -> None:
        """Watch these and no others.

        Args:
            symbols: Of the preset.
            marks: What it was called for last, by symbol, as far as is known here.
            called: The number of the last call that its strategy has heard, by symbol.
        """
        wanted = dict.fromkeys(symbols)
        for symbol in self._posts.keys() - wanted.keys():
            post = self._posts.pop(symbol)
            if post.renewal is not None:
                post.renewal.cancel()
        for symbol in wanted:
            if symbol not in self._posts:
                mark, heard = marks.get(symbol, BookMark()), called.get(symbol, 0)
                # It was called after the mark was made: with what answer is not known
                is_new = heard > mark.number
                mark = BookMark(number=max(heard, mark.number), answer=mark.answer)
                self._posts[symbol] = _Post(symbol, mark, is_new)

    def note(self, symbol: str) -> None:
        """Take that the book of *symbol* has changed."""
        self._changed[symbol] = None
        self._wake.set()

    async def run(self) -> None:
        """Look at what has changed until cancelled; of several changes at once the last counts."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                changed, self._changed = self._changed, {}
                calls = list[_Call]()
                for symbol in changed:
                    post, book = self._posts.get(symbol), self._book(symbol)
                    if post is None or book is None:
                        continue
                    if post.sees(book):
                        if call := await self._look(post, book):
                            calls.append(call)
                    else:
                        self._see_again(post, book)
                if calls:
                    await asyncio.gather(*(self._call(call) for call in calls))
        finally:
            for post in self._posts.values():
                if post.renewal is not None:
                    post.renewal.cancel()

    async def look_once(self, symbol: str, book: Book) -> None:
        """Look at *book* and call at once if it calls for that; for a market that stands still."""
        post = self._posts.get(symbol)
        if post is None:
            return
        if not post.sees(book):
            await self._see(post, book.at)
        if post.sees(book) and (call := await self._look(post, book)):
            await self._call(call)

    async def _look(self, post: _Post, book: Book) -> "_Call | None":
        """Return what the strategy is to be called for, if it is."""
        assert post.view is not None  # noqa: S101 - whoever looks has seen
        price = book.ask
        try:
            answer = await self._strategist.ask_book(self.loaded, post.view, book)
        except StrategyFailed:
            wish = FAILED
        else:
            wish, price = _wish(answer), _price(answer, book)
        mark = post.mark
        if post.is_new:
            post.is_new = False
            post.mark = mark.model_copy(update={"answer": wish})
            return None
        if wish == mark.answer:
            return None
        if not wish:
            post.mark = mark.model_copy(update={"answer": ""})
            return None
        if book.at_ms < mark.number + self._rest_ms:
            # Not forgotten: the next change is looked at as if this one had not been
            return None
        trigger = BookTrigger(
            number=book.at_ms,
            symbol=post.symbol,
            at=book.at,
            book=book.numbers(),
            price=price,
        )
        return _Call(post, trigger, wish)

    async def _call(self, call: "_Call") -> None:
        trigger = call.trigger
        preset = self.loaded.preset.name
        log.info("book_triggers", preset=preset, symbol=trigger.symbol, number=trigger.number)
        if not await self._messenger.tell(ids.strategy_workflow(preset), "book_trigger", trigger):
            log.error("strategy_not_running", preset=preset)
        # Not before: whoever comes after a call that was never heard makes it again
        call.post.mark = BookMark(number=trigger.number, answer=call.wish)

    def _see_again(self, post: _Post, book: Book) -> None:
        """Have the candles of another close looked at, while books wait for them."""
        is_late = post.view is not None and book.at_ms < post.begin_ms
        now = asyncio.get_running_loop().time()
        if is_late or now < post.again_at or (post.renewal and not post.renewal.done()):
            return
        post.again_at = now + VIEW_AGAIN
        post.renewal = asyncio.create_task(self._renew(post, book.at))

    async def _renew(self, post: _Post, at: datetime) -> None:
        await self._see(post, at)
        if post.view is not None:
            self.note(post.symbol)

    async def _see(self, post: _Post, at: datetime) -> None:
        post.view = None
        try:
            sight = await self._eyes(self.loaded, post.symbol, at)
        except TradewrightError as e:
            log.warning("candles_not_read", symbol=post.symbol, detail=str(e))
            return
        if sight.is_short:
            return
        # What else is wrong the decision finds, and says
        post.view = sight.view
        post.begin_ms = (sight.view.at - _EPOCH) // _MS
        post.end_ms = post.begin_ms + self._timeframe.length // _MS


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def _wish(answer: Evaluation) -> str:
    """Return which way the answer goes; factors and confidence may change without a call."""
    wishes = [f"leave {leave.side}" for leave in answer.exits]
    if answer.signal is not None:
        wishes.append(f"enter {answer.signal.side}")
    return ", ".join(sorted(wishes))


def _price(answer: Evaluation, book: Book) -> Decimal:
    """Return at what the answer would trade now."""
    if answer.signal is not None:
        return book.ask if answer.signal.side is Side.BUY else book.bid
    sides = {leave.side for leave in answer.exits}
    return book.bid if Side.BUY in sides else book.ask
