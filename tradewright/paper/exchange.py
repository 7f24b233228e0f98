"""The exchange: engine, market, history and state behind one door.

Requests change it through `change`, the market through `advance`. Both change memory at once;
what happened within one turn of the event loop is then written together, seen by the reads and,
when the requests have been answered, told to the listeners.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

import msgspec

from tradewright.clock import MarketClock
from tradewright.matching import Engine, Event, OrderRequest, Profile
from tradewright.paper.barrier import Barriers, Phase
from tradewright.paper.batch import NO_NOTE, TransferNote
from tradewright.paper.clock import PaperClock, moment, ms, wall
from tradewright.paper.commit import ExchangeBroken, GroupCommit
from tradewright.paper.layout import StateUnusable
from tradewright.paper.links import Links
from tradewright.paper.market.identity import in_words
from tradewright.paper.market.move import Source
from tradewright.paper.market.opening import open_source
from tradewright.paper.quote import Quote
from tradewright.paper.settings import PaperSettings
from tradewright.paper.store import Store
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.private import PrivateFeed
from tradewright.paper.stream.public import PublicFeed
from tradewright.paper.view import View, seen


class Progress(msgspec.Struct, frozen=True):
    """How far the market has come."""

    step: int = 0
    """Candles that are wholly done."""
    tick: int = 0
    """Prices played of the candle after them; `WHOLE` when its path is played."""
    at_ms: int = 0
    """Market time of what was played last."""
    started: bool = False
    ended: bool = False


WHOLE = 1_000_000
MAIN = "main"
FIRST_UID = 100_001


class Exchange:
    def __init__(self, settings: PaperSettings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.source: Source = open_source(settings, moment(self._born_ms()))
        self._check_identity()
        listings = self.source.listings.values()
        width = settings.spread_ticks, settings.depth, settings.lean
        markets = [listing.market(*width) for listing in listings]
        links = Links(store)
        self.engine = Engine(markets, seed=f"{settings.seed}", links=links)
        self.barriers = Barriers(self.store.subscribers())
        self.progress = self.store.lasting_fact("progress", Progress) or Progress(
            started=not settings.is_lockstep
        )
        self.series = self.source.series(self.progress.step)
        self.quotes = {
            s: Quote(
                self.engine.markets[s],
                series,
                settings.funding_rate,
                self.source.listings[s].funding_cap,
            )
            for s, series in self.series.items()
        }
        self._restore()
        for symbol, price in self.source.prices(self.progress.step).items():
            self.engine.begin(symbol, price)
        self.clock = PaperClock(self._anchor())
        self.phase: Phase = "waiting"
        self._commit = GroupCommit(
            self.engine,
            store,
            lambda: {"progress": self.progress},
            is_checked=settings.check_ledger,
        )
        self.broken = self._commit.broken
        self._commit.on_written.append(links.written)
        self.written = self.open_view()
        """All that is durable, and nothing more; memory may be ahead."""
        lag_ms = settings.read_lag_ms
        self._view = self.open_view(lag_ms) if lag_ms else self.written
        self.listeners = self._commit.listeners
        """Told of all events, in their order, once the requests that caused them are answered."""
        self.place: Callable[[str, OrderRequest], list[Event]] = self._place
        """Takes a new order of an account; faults put themselves in its place."""
        self.feed = PublicFeed(self, Hub())
        self.listeners += [self.feed.tell, PrivateFeed(self, self.feed.hub).tell]
        if MAIN not in self.engine.accounts:
            self.open_account(MAIN, settings.cash)
            self.flush()

    def now(self) -> datetime:
        return self.clock.now()

    @property
    def view(self) -> View:
        """What the present request sees; a fault may let it see an older state."""
        return seen.get() or self._view

    def open_view(self, lag_ms: int = 0) -> View:
        """Return another view, which begins with the present state; close it after use."""
        view = View(self.engine, self.store.history, lag_ms=lag_ms, guard=self._commit.reading)
        self._commit.on_written.append(view.take)
        return view

    def close_view(self, view: View) -> None:
        self._commit.on_written.remove(view.take)

    def _place(self, account: str, request: OrderRequest) -> list[Event]:
        return self.change(lambda now: self.engine.place(account, request, now))

    def change(
        self, call: Callable[[datetime], list[Event]], note: TransferNote = NO_NOTE
    ) -> list[Event]:
        """Run an engine *call* at market time; *note* names the transfer that it makes.

        What it did is in memory at once, but an answer may leave only after `durable`.

        Raises:
            RequestRejected: The engine refuses; nothing has changed.
            ExchangeBroken: An earlier change failed.
        """
        with self._commit.unbroken:
            now = self.now()
            events = call(now)
            self._commit.take(events, now, note)
        return events

    def advance(self, events: list[Event], progress: Progress) -> None:
        """Note what the market did and how far it is."""
        with self._commit.unbroken:
            self.progress = progress
            self._commit.take(events, self.now())

    def open_account(self, name: str, cash: Decimal) -> list[Event]:
        profile = Profile(
            account=name,
            uid=FIRST_UID + len(self.engine.accounts),
            leverage=self.settings.leverage,
        )
        return self.change(lambda _: self.engine.open_account(profile, cash))

    async def durable(self) -> None:
        """Return when all that has happened so far would survive the process.

        Raises:
            ExchangeBroken: It could not be written.
        """
        await self._commit.durable()

    async def told(self) -> None:
        """Return when the streams, too, have been told all that has happened so far."""
        await self._commit.told()

    def flush(self) -> None:
        """Write at once what has happened so far.

        Raises:
            ExchangeBroken: It could not be written.
        """
        self._commit.flush()

    def close(self) -> None:
        """Write and settle what is left, if it can be written."""
        with suppress(ExchangeBroken):
            self._commit.close()

    def _born_ms(self) -> int:
        """Return when this state was new; a generated market starts there."""
        born = self.store.lasting_fact("born_ms", int)
        if born is None:
            born = ms(wall())
            self.store.put_fact("born_ms", born)
        return born

    def _check_identity(self) -> None:
        known = self.store.lasting_fact("identity", str)
        if known is None:
            self.store.put_fact("identity", self.source.identity)
        elif known != self.source.identity:
            raise StateUnusable(
                self.settings.state,
                f"it belongs to another market ({in_words(known)}; not "
                f"{in_words(self.source.identity)}); use another state file",
            )

    def _restore(self) -> None:
        store, prices = self.store, self.store.prices()
        self.engine.restore(
            profiles=store.profiles(),
            balances=store.balances(),
            positions=store.positions(),
            orders=store.open_orders(),
            last={s: p.last for s, p in prices.items()},
            mark={s: p.mark for s, p in prices.items()},
            index={s: p.index for s, p in prices.items()},
            seq=store.history.last_seq(),
        )

    def _anchor(self) -> MarketClock:
        speed = 0.0 if self.settings.speed == "lockstep" else float(self.settings.speed)
        known = self.store.fact("anchor", str)
        if known is not None:
            anchor = MarketClock.model_validate_json(known)
            if anchor.speed == speed != 0:
                return anchor
        reached = moment(self.progress.at_ms or self.source.begins_ms)
        anchor = MarketClock(anchor=wall(), market=reached, speed=speed)
        self.store.put_fact("anchor", anchor.model_dump_json())
        return anchor
