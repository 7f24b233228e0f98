"""What makes the market move: step after step, by the clock or in lockstep."""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import aclosing
from decimal import Decimal
from time import monotonic

from msgspec.structs import replace

from tradewright.domain.market import Timeframe
from tradewright.matching import StopKind, StopTrailed
from tradewright.paper.barrier import Barrier, Phase, Subscriber
from tradewright.paper.exchange import WHOLE, Exchange
from tradewright.paper.market.candle import MINUTE_MS, Bar, closing
from tradewright.paper.market.move import Beat, Close
from tradewright.paper.turn import Turn

log = logging.getLogger(__name__)

Concerns = Callable[[Subscriber], bool]

_TURN_S = 0.005
"""How long the market may go on before requests are answered."""


class Runner:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._barriers = exchange.barriers
        self._base_ms = exchange.source.base_minutes * MINUTE_MS
        self._is_whole = exchange.settings.is_lockstep
        self._turn = Turn(exchange)
        self._turn_ends = 0.0
        progress = exchange.progress
        # Of a step that a restart broke off
        self._played_ms = progress.at_ms if progress.tick and not exchange.source.waits else -1
        self._held: set[str] = set()
        self._held_seq = -1
        self._go = asyncio.Event()
        if exchange.progress.started:
            self._go.set()

    def start(self) -> None:
        """Let a lockstep market begin; durable."""
        exchange = self._exchange
        exchange.advance([], replace(exchange.progress, started=True))
        exchange.flush()
        self._go.set()

    async def run(self) -> None:
        exchange = self._exchange
        await self._go.wait()
        beats: list[Beat] = []
        first = exchange.progress.step
        async with aclosing(exchange.source.play(first, self, whole=self._is_whole)) as items:
            async for item in items:
                if not self._is_whole:
                    await self._by_clock(item)
                elif isinstance(item, Beat):
                    beats.append(item)
                else:
                    await self._lockstep(item, beats)
                    beats = []
        self._turn.commit()
        exchange.clock.stand(exchange.progress.at_ms or exchange.source.start_ms)
        exchange.advance([], replace(exchange.progress, ended=True))
        exchange.phase = "ended"
        self._barriers.touch()
        log.info("market ended: step=%d", exchange.progress.step)

    def watched(self) -> Collection[str]:
        engine = self._exchange.engine
        if engine.seq != self._held_seq:
            # Whatever is ordered or held has taken a number
            self._held_seq, self._held = engine.seq, set()
            for account in engine.accounts.values():
                self._held |= {s for s, position in account.positions.items() if position.size}
                self._held |= {s for s, orders in account.orders.items() if orders}
        return self._held | {t.rpartition(".")[2] for t in self._exchange.feed.hub.topics}

    def behind_ms(self, at_ms: int) -> int:
        return 0 if self._is_whole else self._exchange.clock.now_ms() - at_ms

    def last(self, symbol: str) -> Decimal:
        return self._exchange.engine.last[symbol]

    def triggers(self, symbol: str) -> Collection[Decimal]:
        return [
            order.trigger_price
            for account in self._exchange.engine.accounts.values()
            for order in account.orders[symbol].values()
            if order.stop is not StopKind.NONE and order.trigger_price
        ]

    async def _lockstep(self, close: Close, beats: list[Beat]) -> None:
        exchange = self._exchange
        step, close_ms = exchange.progress.step, close.close_ms
        exchange.phase = "path"
        exchange.clock.stand(close_ms)
        # One that resumes cannot know whether the account has had its turn after the path
        touched = True
        if exchange.progress.tick != WHOLE:
            for beat in beats:
                self._turn.apply(beat)
            self._turn.fund(close_ms)
            touched = any(not isinstance(e, StopTrailed) for e in self._turn.events)
            exchange.progress = replace(exchange.progress, step=step, tick=WHOLE, at_ms=close_ms)
            self._turn.commit()
            await exchange.told()
        bars = self._close(close)
        closing_now = closing(self._intervals, close_ms)
        if touched:
            await self._barrier(last_barrier(step) - 2, "settle", close_ms, _is_account)
        exchange.phase = "close"
        self._confirm(self._closed(bars, closing_now))
        await self._barrier(
            last_barrier(step) - 1, "close", close_ms, lambda s: _sees_close(s, bars, closing_now)
        )
        await self._barrier(last_barrier(step), "settle", close_ms, _is_account)
        exchange.advance([], replace(exchange.progress, step=step + close.steps, tick=0))
        # A market without subscribers lets requests in, too
        await exchange.told()

    async def _by_clock(self, item: Beat | Close) -> None:
        exchange = self._exchange
        exchange.phase = "path"
        progress = exchange.progress
        if isinstance(item, Beat):
            if item.at_ms <= self._played_ms:
                return
            await self._until(item.at_ms)
            self._turn.apply(item)
            exchange.progress = replace(progress, tick=progress.tick + 1, at_ms=item.at_ms)
            if exchange.source.waits:
                self._turn.commit()
            return
        await self._until(item.close_ms)
        self._turn.fund(item.close_ms)
        bars = self._close(item)
        exchange.progress = replace(
            progress, step=progress.step + item.steps, tick=0, at_ms=item.close_ms
        )
        # More candles may close before this one is shown
        closed = self._closed(bars, closing(self._intervals, item.close_ms))
        self._turn.show(lambda: self._confirm(closed))
        if exchange.source.waits:
            self._turn.commit()

    async def _until(self, at_ms: int) -> None:
        """Go on at once while the market is late, but let requests in now and then."""
        if self._exchange.source.waits:
            return
        seconds = self._exchange.clock.wall_seconds_until(at_ms)
        if seconds <= 0 and monotonic() < self._turn_ends:
            return
        self._turn.commit()
        await asyncio.sleep(max(0.0, seconds))
        self._turn_ends = monotonic() + _TURN_S

    def _close(self, close: Close) -> Collection[str]:
        """Close the candles; return the symbols that have one."""
        series = self._exchange.series
        if close.bars is None:
            return [s for s, candles in series.items() if candles.seal(close.close_ms)]
        for symbol, bar in close.bars.items():
            series[symbol].add(bar)
        return close.bars.keys()

    def _closed(self, symbols: Collection[str], intervals: list[str]) -> list[tuple[str, str, Bar]]:
        """Return the candles that have closed now and that somebody follows."""
        found = []
        for topic in self._exchange.feed.hub.topics:
            kind, _, rest = topic.partition(".")
            interval, _, symbol = rest.rpartition(".")
            if kind == "kline" and interval in intervals and symbol in symbols:
                bar = self._exchange.series[symbol].last_closed(interval)
                if bar is not None:
                    found.append((symbol, interval, bar))
        return found

    def _confirm(self, closed: list[tuple[str, str, Bar]]) -> None:
        for symbol, interval, bar in closed:
            self._exchange.feed.candle(symbol, interval, bar, confirm=True)

    @property
    def _intervals(self) -> tuple[str, ...]:
        return next(iter(self._exchange.series.values())).intervals

    async def _barrier(self, number: int, phase: Phase, at_ms: int, concerns: Concerns) -> None:
        self._exchange.phase = phase
        await self._barriers.pass_through(Barrier(number, phase, at_ms, concerns))


def last_barrier(step: int) -> int:
    """Return the number of the last of the three barriers of *step*; they only ever grow."""
    return 3 * step + 2


def _is_account(subscriber: Subscriber) -> bool:
    return subscriber.role == "account"


def _sees_close(subscriber: Subscriber, closed: Collection[str], intervals: list[str]) -> bool:
    if subscriber.role == "market":
        return True
    if subscriber.role == "account" or subscriber.timeframe is None:
        return False
    interval = Timeframe(subscriber.timeframe).interval
    symbols = set(subscriber.symbols) & set(closed) if subscriber.symbols else closed
    return interval in intervals and bool(symbols)
