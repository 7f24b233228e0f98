"""What makes the market move: candle after candle, by the clock or in lockstep."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from msgspec.structs import replace

from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.matching import Event, StopTrailed
from tradewright.paper.barrier import Barrier, Phase, Subscriber
from tradewright.paper.clock import moment
from tradewright.paper.exchange import WHOLE, Exchange
from tradewright.paper.market.candle import MINUTE_MS, Bar

log = logging.getLogger(__name__)

Concerns = Callable[[Subscriber], bool]

TICKS = 12
"""Prices that a candle is spread over when the market goes by the clock."""


class Runner:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._barriers = exchange.barriers
        self._base_ms = exchange.source.base_minutes * MINUTE_MS
        self._go = asyncio.Event()
        if exchange.progress.started:
            self._go.set()

    def start(self) -> None:
        """Let a lockstep market begin; durable."""
        exchange = self._exchange
        exchange.advance([], replace(exchange.progress, started=True))
        self._go.set()

    async def run(self) -> None:
        exchange = self._exchange
        await self._go.wait()
        for bars in exchange.steps:
            step = exchange.progress.step
            if exchange.settings.is_lockstep:
                await self._lockstep(step, bars)
            else:
                await self._by_clock(step, bars)
        exchange.clock.stand(exchange.progress.at_ms or exchange.source.start_ms)
        exchange.advance([], replace(exchange.progress, ended=True))
        exchange.phase = "ended"
        self._barriers.touch()
        log.info("market ended: step=%d", exchange.progress.step)

    async def _lockstep(self, step: int, bars: dict[str, Bar]) -> None:
        exchange = self._exchange
        close_ms = _open_ms(bars) + self._base_ms
        exchange.phase = "path"
        exchange.clock.stand(close_ms)
        # One that resumes cannot know whether the account has had its turn after the path
        touched = True
        if exchange.progress.tick != WHOLE:
            events = self._play(bars, close_ms)
            touched = any(not isinstance(e, StopTrailed) for e in events)
            exchange.advance(
                events, replace(exchange.progress, step=step, tick=WHOLE, at_ms=close_ms)
            )
            for symbol, bar in bars.items():
                self._show(symbol, bar)
        closing = {s: exchange.series[s].add(bar) for s, bar in bars.items()}
        if touched:
            await self._barrier(last_barrier(step) - 2, "settle", close_ms, _is_account)
        exchange.phase = "close"
        self._confirm(closing)
        await self._barrier(
            last_barrier(step) - 1, "close", close_ms, lambda s: _sees_close(s, closing)
        )
        await self._barrier(last_barrier(step), "settle", close_ms, _is_account)
        exchange.advance([], replace(exchange.progress, step=step + 1, tick=0))
        # Else a market without subscribers would never let a request in
        await asyncio.sleep(0)

    async def _by_clock(self, step: int, bars: dict[str, Bar]) -> None:
        exchange = self._exchange
        exchange.phase = "path"
        open_ms = _open_ms(bars)
        close_ms = open_ms + self._base_ms
        rules = exchange.source.instruments
        paths = {s: ticks(bar, rules[s]) for s, bar in bars.items()}
        for tick in range(exchange.progress.tick, TICKS):
            at_ms = open_ms + self._base_ms * tick // TICKS
            await self._until(at_ms)
            events = []
            before = dict(exchange.engine.last)
            for symbol, path in paths.items():
                now = moment(at_ms)
                if tick == 0:
                    events += exchange.engine.play(symbol, path[:1], now)
                else:
                    events += exchange.engine.glide(symbol, path[tick], now)
            progress = replace(exchange.progress, step=step, tick=tick + 1, at_ms=at_ms)
            if events:
                exchange.advance(events, progress)
            else:
                # Written with the next change, or at the close
                exchange.progress = progress
            for symbol, path in paths.items():
                self._tick(symbol, bars[symbol], path[: tick + 1], before[symbol])
        await self._until(close_ms)
        closing = {s: exchange.series[s].add(bar) for s, bar in bars.items()}
        exchange.advance([], replace(exchange.progress, step=step + 1, tick=0, at_ms=close_ms))
        self._confirm(closing)

    async def _until(self, at_ms: int) -> None:
        # One pass through the loop even when late, so that requests are answered
        await asyncio.sleep(max(0.0, self._exchange.clock.wall_seconds_until(at_ms)))

    def _play(self, bars: dict[str, Bar], close_ms: int) -> list[Event]:
        # Within the candle, so that what its path does is not dated at the next one
        now = moment(close_ms) - timedelta(milliseconds=1)
        engine = self._exchange.engine
        return [e for s, bar in bars.items() for e in engine.play(s, bar.path(), now)]

    def _show(self, symbol: str, bar: Bar) -> None:
        """Push what the public sees of a candle played at once."""
        before = bar.open
        size = self._exchange.source.instruments[symbol].floor_qty(bar.volume / 4)
        for price in bar.path():
            self._exchange.feed.trade(symbol, _taker(before, price), price, size)
            before = price
        self._exchange.feed.market(symbol)

    def _tick(self, symbol: str, bar: Bar, path: list[Decimal], before: Decimal) -> None:
        exchange = self._exchange
        part = Decimal(len(path)) / TICKS
        live = Bar(
            bar.open_ms,
            path[0],
            max(path),
            min(path),
            path[-1],
            exchange.source.instruments[symbol].floor_qty(bar.volume * part),
            bar.turnover * part,
        )
        exchange.series[symbol].live(live)
        size = exchange.source.instruments[symbol].floor_qty(bar.volume / TICKS)
        exchange.feed.trade(symbol, _taker(before, path[-1]), path[-1], size)
        exchange.feed.market(symbol)

    def _confirm(self, closing: dict[str, list[str]]) -> None:
        for symbol, intervals in closing.items():
            for interval in intervals:
                bar = self._exchange.series[symbol].last_closed(interval)
                if bar is not None:
                    self._exchange.feed.candle(symbol, interval, bar, confirm=True)

    async def _barrier(self, number: int, phase: Phase, at_ms: int, concerns: Concerns) -> None:
        self._exchange.phase = phase
        await self._barriers.pass_through(Barrier(number, phase, at_ms, concerns))


def last_barrier(step: int) -> int:
    """Return the number of the last of the three barriers of *step*; they only ever grow."""
    return 3 * step + 2


def _taker(before: Decimal, price: Decimal) -> Side:
    return Side.BUY if price >= before else Side.SELL


def _open_ms(bars: dict[str, Bar]) -> int:
    return next(iter(bars.values())).open_ms


def _is_account(subscriber: Subscriber) -> bool:
    return subscriber.role == "account"


def _sees_close(subscriber: Subscriber, closing: dict[str, list[str]]) -> bool:
    if subscriber.role == "market":
        return True
    if subscriber.role == "account" or subscriber.timeframe is None:
        return False
    interval = Timeframe(subscriber.timeframe).interval
    return any(interval in closing.get(s, ()) for s in subscriber.symbols or closing)


def ticks(bar: Bar, instrument: Instrument) -> list[Decimal]:
    """Return the candle's path as `TICKS` prices, evenly in time, in whole ticks of price."""
    path = bar.path()
    prices = [path[0]]
    legs = [(path[i], path[i + 1]) for i in range(3)]
    steps = (4, 4, TICKS - 9)
    for (start, end), count in zip(legs, steps, strict=True):
        between = [start + (end - start) * i / count for i in range(1, count)]
        prices += [instrument.floor_price(p) for p in between] + [end]
    return prices
