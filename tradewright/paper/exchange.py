"""The exchange: engine, market, history and state behind one door.

Requests change it through `change`, the market through `advance`: both first make durable
what happened and then tell the streams.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Protocol

import msgspec

from tradewright.clock import MarketClock
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Instrument
from tradewright.matching import (
    Balance,
    Engine,
    Event,
    Executed,
    Execution,
    Market,
    Order,
    OrderChanged,
    Profile,
    RequestRejected,
    StopTrailed,
    WalletChanged,
)
from tradewright.paper import wire
from tradewright.paper.barrier import Barriers, Phase
from tradewright.paper.clock import PaperClock, moment, ms, wall
from tradewright.paper.market.candle import Bar, Series
from tradewright.paper.market.generator import Generator
from tradewright.paper.market.recording import Recording
from tradewright.paper.quote import Quote
from tradewright.paper.settings import PaperSettings
from tradewright.paper.store import StateUnusable, Store
from tradewright.paper.stream.feed import Feed

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where candles come from: the same ones, in the same order, every time."""

    base_minutes: int
    start_ms: int
    steps_total: int | None
    identity: str
    instruments: dict[str, Instrument]

    def history(self) -> Iterable[dict[str, Bar]]: ...
    def steps(self) -> Iterable[dict[str, Bar]]: ...


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


class ExchangeBroken(TradewrightError):
    def __init__(self) -> None:
        super().__init__("exchange is broken: an earlier change failed; restart it")


class Records:
    """All orders and executions, for the reads."""

    def __init__(self, orders: list[Order], executions: list[Execution]) -> None:
        self.orders = {o.order_id: o for o in orders}
        self.executions = executions
        self._by_link = {o.link: o.order_id for o in orders if o.link}

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, OrderChanged | StopTrailed):
                self.orders[event.order.order_id] = event.order
                if event.order.link:
                    self._by_link[event.order.link] = event.order.order_id
            elif isinstance(event, Executed):
                self.executions.append(event.execution)

    def order(self, order_id: str, link: str) -> Order | None:
        """Return the order with *order_id*; without one, with *link*."""
        return self.orders.get(order_id or self._by_link.get(link, ""))


class Exchange:
    def __init__(self, settings: PaperSettings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.broken = asyncio.Event()
        self.source: Source = (
            Recording.of(settings)
            if settings.data
            else Generator(settings, moment(self._born_ms()))
        )
        self._check_identity()
        markets = [Market(i, settings.spread_ticks) for i in self.source.instruments.values()]
        self.records = Records(self.store.orders(), self.store.executions())
        links = {(MAIN, o.link) for o in self.records.orders.values() if o.link}
        self.engine = Engine(markets, seed=f"{settings.seed}", links=links)
        self.engine.open_account(
            Profile(account=MAIN, uid=1, leverage=settings.leverage), settings.cash
        )
        self.barriers = Barriers(self.store.subscribers())
        self.progress = self.store.fact("progress", Progress) or Progress(
            started=not settings.is_lockstep
        )
        self.series = {s: Series(self.source.base_minutes) for s in self.engine.markets}
        self.quotes = {
            s: Quote(self.engine.markets[s], series, settings.funding_rate)
            for s, series in self.series.items()
        }
        self._restore()
        self.steps = self._fast_forward()
        self.clock = PaperClock(self._anchor())
        self.feed = Feed(self)
        self.phase: Phase = "waiting"

    def now(self) -> datetime:
        return self.clock.now()

    def change(self, call: Callable[[datetime], list[Event]]) -> list[Event]:
        """Run an engine *call* at market time; its events are durable when this returns."""
        with self.unbroken():
            events = call(self.now())
            self._save(events)
        self.feed.tell_soon(events)
        return events

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """Let refusals through; after any other failure memory and file may differ, so stop."""
        if self.broken.is_set():
            raise ExchangeBroken
        try:
            yield
        except RequestRejected:
            raise
        except Exception:
            log.critical("exchange is broken and stops: its state in memory is not to be trusted")
            self.broken.set()
            raise

    def advance(self, events: list[Event], progress: Progress) -> None:
        """Make durable what the market did and how far it is; tell the streams."""
        self.progress = progress
        self._save(events)
        self.feed.tell(events)

    def _save(self, events: list[Event]) -> None:
        facts: dict[str, Any] = {"last": self.engine.last, "progress": self.progress}
        if any(isinstance(e, WalletChanged) for e in events):
            facts["balance"] = self.engine.accounts[MAIN].balance
        self.store.save(events, facts)
        self.records.take(events)

    def ledger(self) -> dict[str, Any]:
        """Return what the executions add up to, beside the wallet."""
        account, executions = self.engine.accounts[MAIN], self.records.executions
        balance = account.balance
        realised = sum((e.pnl for e in executions), Decimal(0))
        fees = sum((e.fee for e in executions), Decimal(0))
        held = {s: p for s, p in account.positions.items() if p.size}
        net: dict[str, Decimal] = {}
        for e in executions:
            net[e.symbol] = net.get(e.symbol, Decimal(0)) + e.side.sign * e.qty
        sizes = {s: q for s, q in net.items() if q}
        balanced = (
            balance.start + realised - fees == balance.cash
            and (realised, fees) == (balance.realised, balance.fees)
            and sizes == {s: p.side.sign * p.size for s, p in held.items()}
        )
        return {
            "start": wire.num(balance.start),
            "realised": wire.num(realised),
            "fees": wire.num(fees),
            "wallet": wire.num(balance.cash),
            "unrealised": wire.num(account.unrealised()),
            "executions": len(executions),
            "orders": len(self.records.orders),
            "positions": {s: wire.num(q) for s, q in sizes.items()},
            "balanced": balanced,
        }

    def _born_ms(self) -> int:
        """Return when this state was new; a generated market starts there."""
        born = self.store.fact("born_ms", int)
        if born is None:
            born = ms(wall())
            self.store.save([], {"born_ms": born})
        return born

    def _check_identity(self) -> None:
        known = self.store.fact("identity", str)
        if known is None:
            self.store.save([], {"identity": self.source.identity})
        elif known != self.source.identity:
            raise StateUnusable(
                self.settings.state,
                f"it belongs to another market ({known}, not {self.source.identity}); "
                "use another state file",
            )

    def _restore(self) -> None:
        balance = self.store.fact("balance", Balance)
        account = self.engine.accounts[MAIN]
        seqs = [o.seq for o in self.records.orders.values()]
        seqs += [e.seq for e in self.records.executions]
        self.engine.restore(
            profiles=[account.profile],
            balances=[balance or account.balance],
            positions=self.store.positions(),
            orders=[o for o in self.records.orders.values() if o.is_open],
            last=self.store.fact("last", dict[str, Decimal]) or {},
            seq=max(seqs, default=0),
        )

    def _fast_forward(self) -> Iterator[dict[str, Bar]]:
        """Fill the candles up to where the market stands; return those still to come."""
        for bars in self.source.history():
            self._show(bars)
        steps = iter(self.source.steps())
        for bars in islice(steps, self.progress.step):
            self._show(bars)
        coming = list(islice(steps, 1))
        for symbol, series in self.series.items():
            newest = series.last_closed(series.base)
            if newest is not None:
                self.engine.begin(symbol, newest.close)
            elif coming:
                # Nothing has traded yet: what comes first is the only price there is
                self.engine.begin(symbol, coming[0][symbol].open)
        return chain(coming, steps)

    def _show(self, bars: dict[str, Bar]) -> None:
        for symbol, bar in bars.items():
            self.series[symbol].add(bar)

    def _first_ms(self) -> int:
        """Return the market time at which all begins: now, unless a start was named."""
        if self.settings.data or self.settings.start or self.settings.is_lockstep:
            return self.source.start_ms
        return self._born_ms()

    def _anchor(self) -> MarketClock:
        speed = 0.0 if self.settings.speed == "lockstep" else float(self.settings.speed)
        known = self.store.fact("anchor", str)
        if known is not None:
            anchor = MarketClock.model_validate_json(known)
            if anchor.speed == speed != 0:
                return anchor
        reached = moment(self.progress.at_ms or self._first_ms())
        anchor = MarketClock(anchor=wall(), market=reached, speed=speed)
        self.store.save([], {"anchor": anchor.model_dump_json()})
        return anchor
