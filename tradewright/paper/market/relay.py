"""A relay of Bybit's public market: its book, trades, prices and candles, with our fills."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import msgspec
from websockets.exceptions import WebSocketException

from tradewright.domain.market import Instrument
from tradewright.paper.clock import ms
from tradewright.paper.market.candle import HISTORY, MINUTE_MS, Bar, Series
from tradewright.paper.market.listing import LISTED, Listing
from tradewright.paper.market.message import Reader, Slip
from tradewright.paper.market.move import (
    Beat,
    Close,
    Floor,
    Halt,
    Move,
    Path,
    Played,
    Reference,
)
from tradewright.paper.market.upstream import MarketUnreachable, Upstream
from tradewright.paper.settings import PaperSettings

log = logging.getLogger(__name__)

_USUAL = 10
"""Symbols that are relayed when none are named: the first that are listed."""
_DEPTH = 50
_PATIENCE_MS = 3000
"""How long after a minute its candle may come."""
_SHORTEST_S, _LONGEST_S = 0.5, 30.0
_LOST = (OSError, TimeoutError, WebSocketException, MarketUnreachable, Slip, msgspec.DecodeError)


class Relay:
    base_minutes = 1
    waits = True
    steps_total: int | None = None

    def __init__(
        self, upstream: Upstream, symbols: tuple[str, ...], *, born: datetime, history: int
    ) -> None:
        self._upstream = upstream
        self.begins_ms = ms(born)
        self.start_ms = self.begins_ms // MINUTE_MS * MINUTE_MS
        self.identity = f"live {','.join(symbols)}"
        self.listings: dict[str, Listing] = {
            s: upstream.listing(s, number) for number, s in enumerate(symbols, start=1)
        }
        self._tickers = {s: upstream.ticker(s) for s in symbols}
        self._rates = {s: ticker.funding_rate for s, ticker in self._tickers.items()}
        self._history = {s: upstream.candles(s, history) for s in symbols}
        newest = [bars[-1].open_ms for bars in self._history.values() if bars]
        self._closed_ms = min(newest, default=self.start_ms - MINUTE_MS) + MINUTE_MS

    @classmethod
    def of(cls, settings: PaperSettings, born: datetime) -> Self:
        """Return a relay of the exchange that *settings* name, which is asked at once.

        Raises:
            MarketUnreachable: It does not answer as it should.
        """
        upstream = Upstream(settings.live_rest, settings.live_stream)
        symbols = settings.symbols or tuple(LISTED)[:_USUAL]
        return cls(upstream, symbols, born=born, history=settings.history or HISTORY)

    @property
    def instruments(self) -> dict[str, Instrument]:
        return {s: listing.instrument for s, listing in self.listings.items()}

    def series(self, steps: int) -> dict[str, Series]:
        made = {s: Series(1) for s in self.listings}
        for symbol, series in made.items():
            for bar in self._history[symbol]:
                if bar.open_ms < self._closed_ms:
                    series.add(bar)
        return made

    def prices(self, steps: int) -> Mapping[str, Decimal]:
        return {s: ticker.last for s, ticker in self._tickers.items()}

    async def play(self, first: int, floor: Floor, *, whole: bool) -> Played:
        wait_s = _SHORTEST_S
        while True:
            # Nobody trades on a book that is not told
            yield Beat(floor.behind_ms(0), [Halt(s) for s in self.listings])
            try:
                async with aclosing(self._connected(floor)) as items:
                    async for item in items:
                        yield item
                        wait_s = _SHORTEST_S
            except _LOST as error:
                log.warning("relayed market is lost: detail=%s wait_s=%g", error, wait_s)
                yield Beat(floor.behind_ms(0), [Halt(s) for s in self.listings])
            await asyncio.sleep(wait_s)
            wait_s = min(_LONGEST_S, wait_s * 2)

    def funding_rate(self, symbol: str, at_ms: int) -> Decimal | None:
        return self._rates.get(symbol)

    async def _connected(self, floor: Floor) -> Played:
        """Yield what is told until the connection is lost."""
        kinds = (f"orderbook.{_DEPTH}", "publicTrade", "tickers", "kline.1")
        topics = [f"{kind}.{symbol}" for symbol in self.listings for kind in kinds]
        async with self._upstream.stream(topics) as messages:
            missed = await asyncio.to_thread(self._missed)
            for close in missed:
                self._closed_ms = close.close_ms
                yield close
            tickers = await asyncio.to_thread(self._ask_tickers)
            opening: list[Move] = [
                move
                for symbol, t in tickers.items()
                for move in (
                    Path(symbol, (t.last,), jumps=True),
                    Reference(symbol, t.mark, t.index, t.funding_rate),
                )
            ]
            yield Beat(floor.behind_ms(0), opening)
            async with aclosing(self._told(messages, floor)) as items:
                async for item in items:
                    yield item

    async def _told(self, messages: AsyncIterator[Any], floor: Floor) -> Played:
        reader, bars = Reader(), dict[str, Bar]()
        halted = set(self.listings)
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        receiving = asyncio.create_task(_fill(inbox, messages))
        try:
            while True:
                moves: list[Move] = []
                for message in await _drained(inbox):
                    if message is None:
                        await receiving
                        return
                    if (bar := _candle(message)) is not None:
                        bars[bar[0]] = bar[1]
                    elif (told := reader.read(message)) is not None:
                        moves += told.moves
                whole = {s for s in halted if s in reader.ladders and reader.ladders[s].is_whole}
                halted -= whole
                moves += [Halt(s, halted=False) for s in whole]
                for move in moves:
                    if isinstance(move, Reference) and move.funding_rate is not None:
                        self._rates[move.symbol] = move.funding_rate
                now_ms = floor.behind_ms(0)
                if moves:
                    yield Beat(now_ms, moves)
                if (close := self._due(bars, now_ms)) is not None:
                    self._closed_ms = close.close_ms
                    bars = {s: b for s, b in bars.items() if b.open_ms >= close.close_ms}
                    yield close
        finally:
            receiving.cancel()
            with suppress(asyncio.CancelledError, *_LOST):
                await receiving

    def _due(self, bars: Mapping[str, Bar], now_ms: int) -> Close | None:
        """Return the close of the minute that is over, once all its candles have come."""
        open_ms, close_ms = self._closed_ms, self._closed_ms + MINUTE_MS
        come = {s: bar for s, bar in bars.items() if bar.open_ms == open_ms}
        if come.keys() == self.listings.keys():
            return Close(open_ms, close_ms, come)
        is_late = now_ms >= close_ms + _PATIENCE_MS
        has_gone_on = any(bar.open_ms > open_ms for bar in bars.values())
        return Close(open_ms, close_ms, come or None) if is_late or has_gone_on else None

    def _missed(self) -> list[Close]:
        """Ask for the candles that have closed since the last one."""
        found: dict[int, dict[str, Bar]] = {}
        for symbol in self.listings:
            for bar in self._upstream.candles(symbol, 10_000, self._closed_ms):
                found.setdefault(bar.open_ms, {})[symbol] = bar
        return [Close(o, o + MINUTE_MS, bars) for o, bars in sorted(found.items())]

    def _ask_tickers(self) -> dict[str, Any]:
        return {s: self._upstream.ticker(s) for s in self.listings}


async def _fill(inbox: "asyncio.Queue[Any]", messages: AsyncIterator[Any]) -> None:
    try:
        async for message in messages:
            inbox.put_nowait(message)
    finally:
        inbox.put_nowait(None)


async def _drained(inbox: "asyncio.Queue[Any]") -> list[Any]:
    """Return all messages that have come; wait up to a second for one."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            found = [await inbox.get()]
        while not inbox.empty():
            found.append(inbox.get_nowait())
        return found
    return []


def _candle(message: Any) -> tuple[str, Bar] | None:
    """Return the symbol and the candle that *message* says has closed."""
    topic = message.get("topic", "") if isinstance(message, dict) else ""
    if not topic.startswith("kline.1."):
        return None
    for row in message["data"]:
        if row["confirm"]:
            columns = ("open", "high", "low", "close", "volume", "turnover")
            opened, high, low, close, volume, turnover = (Decimal(row[name]) for name in columns)
            bar = Bar(row["start"], opened, high, low, close, volume, turnover)
            return topic.rpartition(".")[2], bar
    return None
