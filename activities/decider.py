"""Decisions of presets: what they see becomes proposals, exits, and refusals with their codes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from activities import verdict
from activities.candles import CandleCache
from activities.correlation import Correlations
from activities.evaluation import leave_wishes, propose
from activities.facts import Facts, book_numbers
from activities.flight import SingleFlight
from activities.holding import Holdings
from activities.library import Library, PresetUnusable
from activities.lookout import Lookout, Sight
from activities.messenger import Messenger
from activities.pace import Pace
from activities.strategist import Strategist, StrategyFailed
from activities.ticker import FRESH, Tickers, shown
from tradewright.book import Book, BookBroken, Ladder
from tradewright.domain.account import LeaveWish, RefusalCode
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Instrument
from tradewright.domain.plan import Proposal
from tradewright.domain.protection import OnBad
from tradewright.plugin import BOOK_SERIES
from tradewright.plugin import Evaluation as Answer
from tradewright.ports import BookTrigger, Evaluation, Proposals, Refusal
from tradewright.preset import LoadedPreset
from tradewright.quality import Flaw, book_flaws

log = structlog.get_logger(__name__)

EXITS_GO_ON: Final = frozenset({RefusalCode.DATA_UNVERIFIED, RefusalCode.BOOK_STALE})
"""What keeps entries back, and nothing that is held from being left."""
PRICE_IN_DOUBT: Final = EXITS_GO_ON | {RefusalCode.DATA_OUTLIER, RefusalCode.BOOK_CROSSED}
"""What no degraded rules make good: nothing vouches for what an entry would pay."""
BOOK_DEPTH: Final = 50
"""Levels that a strategy of candles sees of the order book."""
BOOK_FRESH: Final = timedelta(seconds=30)
"""For so long a ticker vouches for the prices of an order book."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LINEAR: Final = "linear"


class MarketSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...

    async def instrument(self, symbol: str) -> Instrument: ...


@dataclass(frozen=True)
class _Outcome:
    """What a preset makes of one symbol."""

    symbol: str
    proposal: Proposal | None = None
    exits: tuple[LeaveWish, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    fault: str = ""

    @property
    def note(self) -> str:
        return "; ".join(f"{refusal.symbol}: {refusal.reason}" for refusal in self.refusals)


class Decider:
    def __init__(
        self,
        *,
        bybit: MarketSource,
        library: Library,
        strategist: Strategist,
        candles: CandleCache,
        tickers: Tickers,
        pace: Pace,
        messenger: Messenger,
    ) -> None:
        self._bybit = bybit
        self._library = library
        self._strategist = strategist
        self._tickers = tickers
        self._pace = pace
        self._facts = Facts(messenger)
        self._holdings = Holdings(messenger)
        self._books: SingleFlight[Book | None] = SingleFlight()
        self._correlations = Correlations(messenger, candles)
        self.lookout = Lookout(bybit, candles)

    async def decide(self, asked: Evaluation) -> Proposals:
        """Return what the preset wishes; what keeps one symbol back does not keep the others."""
        earlier, unknown = ((), "") if asked.book else await self._exits_of_earlier(asked)
        try:
            loaded = await self._library.preset(asked.preset_hash)
        except PresetUnusable as e:
            log.error("preset_unusable", preset=asked.preset, detail=str(e))
            refusals = tuple(
                verdict.refusal(symbol, RefusalCode.PRESET_UNUSABLE, str(e))
                for symbol in asked.symbols
            )
            fault = "; ".join(filter(None, [unknown, str(e)]))
            return Proposals(exits=earlier, note=str(e), fault=fault, refusals=refusals)
        now, speed = await self._pace.market_now(), max(1.0, await self._pace.speed())
        # The book is newer than any ticker; it only vouches for the book's prices
        at, fresh = asked.close_time, FRESH
        if asked.book:
            fresh, at = BOOK_FRESH, at - (at - EPOCH) % BOOK_FRESH
        await self._tickers.read(asked.symbols, at, fresh)
        found = await self._all(loaded, asked, now, speed)
        resting = await self._exits_of_resting(loaded, asked)
        exits = (*earlier, *(leave for each in (*found, *resting) for leave in each.exits))
        fault = "; ".join(filter(None, [unknown, *(each.fault for each in (*found, *resting))]))
        refusals = tuple(refusal for each in found for refusal in each.refusals)
        proposals = tuple(each.proposal for each in found if each.proposal is not None)
        # By now: a strategy that thinks for long has let the market move on
        age = await self._pace.market_now() - asked.close_time
        # What is to be left is left by an old candle, too; entered is by none but the last
        if age > verdict.patience(loaded, speed):
            note, code = f"stale candle: it closed {age} ago", RefusalCode.DATA_STALE
            told = {refusal.symbol for refusal in refusals}
            stale = (verdict.refusal(s, code, note) for s in asked.symbols if s not in told)
            return Proposals(exits=exits, note=note, fault=fault, refusals=(*refusals, *stale))
        if asked.exits_only:
            return Proposals(exits=exits, note=fault, fault=fault, refusals=refusals)
        return Proposals(
            proposals=proposals,
            exits=exits,
            note=verdict.note([each.note for each in found if each.note]),
            fault=fault,
            refusals=refusals,
        )

    async def _all(
        self, loaded: LoadedPreset, asked: Evaluation, now: datetime, speed: float
    ) -> list[_Outcome]:
        """Return what the preset makes of each symbol; raise if none of them can be read."""
        looks = (self._look(loaded, symbol, asked, now, speed) for symbol in asked.symbols)
        ends = await asyncio.gather(*looks, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, BaseException)]
        for error in errors:
            if not isinstance(error, TradewrightError) or len(errors) == len(ends):
                raise error
        return [
            end
            if isinstance(end, _Outcome)
            else _Outcome(
                symbol,
                refusals=(verdict.refusal(symbol, RefusalCode.DATA_EMPTY, str(end), fault=True),),
            )
            for symbol, end in zip(asked.symbols, ends, strict=True)
        ]

    async def _exits_of_earlier(self, asked: Evaluation) -> tuple[tuple[LeaveWish, ...], str]:
        """Return what earlier versions of the preset want left: a trade keeps its version.

        Also what nobody can say of trades that are open.
        """
        found: list[_Outcome] = []
        faults: list[tuple[str, _Outcome]] = []
        for version in asked.earlier:
            try:
                loaded = await self._library.preset(version)
            except PresetUnusable as e:
                log.warning("preset_unusable", preset=asked.preset, detail=str(e))
                faults.append((version, _Outcome("", fault=f"nothing is left by its rules: {e}")))
                continue
            closes = loaded.preset.trigger.timeframe.closes_at(asked.close_time)
            if _says_exits(loaded) and closes:
                symbols = loaded.preset.market.symbols or asked.symbols
                outcomes = await asyncio.gather(
                    *(self._leave(loaded, symbol, asked) for symbol in symbols)
                )
                found += outcomes
                faults += [(version, each) for each in outcomes if each.fault]
        held = await self._holdings.of(asked) if faults else None
        told = [each.fault for version, each in faults if held and held.has(each.symbol, version)]
        return tuple(leave for each in found for leave in each.exits), "; ".join(told)

    async def _exits_of_resting(self, loaded: LoadedPreset, asked: Evaluation) -> list[_Outcome]:
        """Return what the preset wants left where it rests, as far as anything is held there."""
        if not asked.resting or not _says_exits(loaded):
            return []
        held = await self._holdings.of(asked)
        symbols = [symbol for symbol in asked.resting if held.has(symbol)]
        return await asyncio.gather(*(self._leave(loaded, symbol, asked) for symbol in symbols))

    async def _leave(self, loaded: LoadedPreset, symbol: str, asked: Evaluation) -> _Outcome:
        at = asked.close_time
        try:
            sight = await self.sight(loaded, symbol, at, asked.shadows, reads_book=True)
            answer, _ = await self._answer(loaded, sight, sight.flaws, None)
        except TradewrightError as e:
            # A symbol that is listed no more, perhaps: what is traded now does not depend on it
            log.warning("exits_unknown", preset=asked.preset, version=loaded.hash, detail=str(e))
            return _Outcome(symbol, fault=f"{symbol} is not left by its rules: {e}")
        return _Outcome(symbol, exits=() if answer is None else _leaves(loaded, symbol, answer))

    async def _look(
        self,
        loaded: LoadedPreset,
        symbol: str,
        asked: Evaluation,
        now: datetime,
        speed: float,
    ) -> _Outcome:
        """Return what the preset wishes on *symbol*, or why nothing; and what it wants left."""
        terms, trigger = loaded.preset.data, asked.book
        # Bid and ask go by the age of books; it does not matter how long the rest takes
        quotes = self._tickers.row(symbol, min(terms.max_age, terms.max_book_age))
        sight = await self.sight(
            loaded, symbol, asked.close_time, asked.shadows, reads_book=trigger is None
        )
        row = self._tickers.row(symbol, terms.max_age)
        price = trigger.price if trigger else sight.window.close
        flaws = [*sight.flaws, *verdict.doubts(loaded, sight, price, row)]
        book = None
        if trigger is not None:
            book = Book.of(symbol, trigger.number, trigger.book)
            flaws += book_flaws(book, now, terms.max_book_age * speed)
        try:
            answer, refusals = await self._answer(loaded, sight, flaws, book)
        except StrategyFailed as e:
            failed = verdict.refusal(symbol, RefusalCode.STRATEGY_FAILED, str(e), fault=True)
            return _Outcome(symbol, refusals=(failed,), fault=f"{symbol}: {e}")
        if answer is None:
            return _Outcome(symbol, refusals=refusals)
        exits = _leaves(loaded, symbol, answer)
        if asked.exits_only or answer.signal is None:
            return _Outcome(symbol, exits=exits, refusals=refusals)
        proposed = await self._proposed(loaded, sight, answer, asked.close_time, trigger)
        if isinstance(proposed, str):
            # It names the symbol first, as notes do
            reason = proposed.removeprefix(f"{symbol}: ")
            told = verdict.refusal(symbol, RefusalCode.NO_LEVELS, reason)
            return _Outcome(symbol, exits=exits, refusals=(*refusals, told))
        if row is not None:
            proposed = proposed.model_copy(update={"market": shown(row)})
        barred = verdict.barred(loaded, proposed, quotes, asked.close_time, book)
        if barred:
            return _Outcome(symbol, exits=exits, refusals=(*refusals, *barred))
        declared = loaded.preset.risk.correlation
        if declared is not None:
            found = await self._correlations.with_held(
                asked.account, symbol, sight.view.timeframe, sight.view.at, declared.candles
            )
            proposed = proposed.model_copy(update={"correlations": found})
        return _Outcome(symbol, proposal=proposed, exits=exits, refusals=refusals)

    async def sight(
        self,
        loaded: LoadedPreset,
        symbol: str,
        at: datetime,
        shadows: Sequence[str] = (),
        *,
        reads_book: bool = False,
    ) -> Sight:
        """Return what the preset sees of *symbol* at *at*, by the market's clock.

        Args:
            loaded: Whose needs count.
            symbol: What is looked at.
            at: Market clock.
            shadows: Workflow ids of the preset's virtual trades.
            reads_book: No book of the stream comes with it, and the strategy may need one.
        """
        wanted, preset = loaded.strategy.needs.series, loaded.preset
        doubts: list[Flaw] = []

        async def facts(price: float) -> Mapping[str, float]:
            known = await self._facts.known(
                wanted,
                account=preset.account,
                preset=preset.name,
                preset_hash=loaded.hash,
                symbol=symbol,
                price=price,
                at=at,
                timeframe=preset.trigger.timeframe,
                shadows=shadows,
            )
            if reads_book and not set(wanted).isdisjoint(BOOK_SERIES):
                book = await self._books.fetch(symbol, lambda: self._book(symbol))
                known |= book_numbers(book) if book else {}
                # By books it enters only when they call, each with one of its own
                if preset.trigger.on == "candle":
                    doubts.extend(await self._book_doubts(book, preset.data.max_book_age))
            return known

        sight = await self.lookout.sight(loaded, symbol, at, facts)
        return replace(sight, flaws=(*sight.flaws, *doubts))

    async def _book_doubts(self, book: Book | None, max_age: timedelta) -> Sequence[Flaw]:
        if book is None:
            return [Flaw(RefusalCode.BOOK_STALE, "no order book that makes sense can be read")]
        now, speed = await self._pace.market_now(), max(1.0, await self._pace.speed())
        return book_flaws(book, now, max_age * speed)

    async def _book(self, symbol: str) -> Book | None:
        """Return the order book as it stands; None if it cannot be read, or makes no sense."""
        ladder = Ladder(symbol)
        try:
            answer = await self._bybit.call(
                "get_orderbook", category=LINEAR, symbol=symbol, limit=BOOK_DEPTH
            )
            told = answer["result"]
            ladder.restart(int(told["u"]), int(told["cts"]), told["b"], told["a"])
        except (TradewrightError, BookBroken, KeyError, TypeError, ValueError) as e:
            log.warning("book_not_read", symbol=symbol, detail=str(e))
            return None
        return ladder.book()

    async def _answer(
        self, loaded: LoadedPreset, sight: Sight, flaws: Sequence[Flaw], book: Book | None
    ) -> tuple[Answer | None, tuple[Refusal, ...]]:
        """Return what the strategy says, None if it is not asked; and what is wrong."""
        symbol, view, terms = sight.view.symbol, sight.view, loaded.preset.data
        refusals = verdict.refusals(symbol, flaws, terms.on_bad, terms.pause)
        knows_degraded = getattr(loaded.strategy, "knows_degraded", False)
        if not EXITS_GO_ON.issuperset(flaw.code for flaw in flaws):
            if terms.on_bad is not OnBad.DEGRADE or not knows_degraded or sight.is_short:
                return None, refusals
            log.warning("decided_by_degraded_rules", symbol=symbol, flaws=[f.detail for f in flaws])
            view = view.degraded_view()
            refusals = tuple(each for each in refusals if each.code in PRICE_IN_DOUBT)
        answer = await (
            self._strategist.ask(loaded, view)
            if book is None
            else self._strategist.ask_book(loaded, view, book)
        )
        return (answer.model_copy(update={"signal": None}) if refusals else answer), refusals

    async def _proposed(
        self,
        loaded: LoadedPreset,
        sight: Sight,
        answer: Answer,
        close_time: datetime,
        trigger: BookTrigger | None,
    ) -> Proposal | str:
        price = trigger.price if trigger else sight.window.close
        if price is None:
            return f"{sight.view.symbol}: no price: the last candle has none"
        return propose(
            loaded.preset,
            preset_hash=loaded.hash,
            symbol=sight.view.symbol,
            evaluation=answer,
            price=price,
            window=sight.window.key,
            instrument=await self._bybit.instrument(sight.view.symbol),
            close_time=close_time,
        )


def _leaves(loaded: LoadedPreset, symbol: str, answer: Answer) -> tuple[LeaveWish, ...]:
    return leave_wishes(loaded.preset.name, loaded.hash, symbol, answer)


def _says_exits(loaded: LoadedPreset) -> bool:
    return getattr(loaded.strategy, "says_exits", True)
