"""The public stream of candles: closed ones in a queue, whatever becomes of the connection."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import structlog
from pydantic import ValidationError

from activities.candles import kline_candle
from activities.wire import STEADY_AFTER, BackOff, Wire, WireLost, WireRefused
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Candle, Timeframe

log = structlog.get_logger(__name__)

QUIET = 5.0
_TIMEFRAMES = {timeframe.interval: timeframe for timeframe in Timeframe}


class Series(NamedTuple):
    """Candles of one symbol and length."""

    symbol: str
    timeframe: Timeframe

    @property
    def topic(self) -> str:
        return f"kline.{self.timeframe.interval}.{self.symbol}"


class Closed(NamedTuple):
    """A candle that is final."""

    series: Series
    candle: Candle


class LastPrice(NamedTuple):
    """At what a symbol traded last, as far as the stream has told."""

    price: Decimal
    heard_at: datetime
    """Wall clock."""


class CandleFeed:
    """Follows the series that are wanted; rebuilds the connection when it is lost."""

    def __init__(self, url: str, prices: dict[str, LastPrice] | None = None) -> None:
        """Listen at *url*; keep in *prices*, by symbol, what was heard last."""
        self._url = url
        self._prices = {} if prices is None else prices
        self._wanted: set[Series] = set()
        self._refused: set[Series] = set()
        self._wire: Wire | None = None
        self._turn = asyncio.Lock()
        self.heard_at = asyncio.get_running_loop().time()
        """When the last message came, by the loop's clock."""
        self._heard: dict[Series, float] = {}
        """Likewise, of each topic; since it was subscribed to if nothing came."""
        self.fault: str | None = None
        """Why nothing is heard; empty while there is a connection, None before the first."""
        self.closed: asyncio.Queue[Closed | None] = asyncio.Queue()
        """Closed candles; None each time that the stream begins and may have missed some."""

    @property
    def wanted(self) -> Collection[Series]:
        """Return what is followed, without what the exchange does not know."""
        return self._wanted

    async def want(self, series: Iterable[Series]) -> None:
        """Follow these as well, from now on if there is a connection."""
        new = set(series) - self._wanted - self._refused
        if not new:
            return
        async with self._turn:
            self._wanted |= new
            if self._wire is not None:
                try:
                    await self._subscribe(self._wire, new)
                except WireLost as e:
                    # The next connection begins with all that is wanted
                    log.warning("market_stream_lost", detail=str(e))

    def silent_for(self, series: Series) -> float:
        """Return for how many seconds its topic has said nothing, not even of an open candle."""
        now = asyncio.get_running_loop().time()
        return now - self._heard.get(series, now)

    async def resubscribe(self, series: Iterable[Series]) -> None:
        """Ask anew for topics that have gone silent while the connection lives."""
        silent = set(series) & self._wanted
        wire = self._wire
        if not silent or wire is None:
            return
        async with self._turn:
            try:
                await wire.resubscribe(one.topic for one in silent)
            except TradewrightError as e:
                log.warning("market_stream_not_resubscribed", detail=str(e))
                await wire.close()

    async def renew(self) -> None:
        """Throw the connection away: it has gone silent."""
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
                        self._wanted |= self._refused
                        self._refused.clear()
                        await self._subscribe(wire, set(self._wanted))
                        self._wire = wire
                    self.heard_at = loop.time()
                    self.fault = ""
                    self.closed.put_nowait(None)
                    await self._listen(wire)
            except TradewrightError as e:
                log.warning("market_stream_lost", detail=str(e))
                self.fault = str(e)
            finally:
                self._wire = None
            if loop.time() - begun > STEADY_AFTER:
                back_off.reset()
            await back_off.pause()

    async def _listen(self, wire: Wire) -> None:
        while True:
            message = await wire.receive(within=QUIET)
            if message is None:
                continue
            self.heard_at = asyncio.get_running_loop().time()
            _, interval, symbol = message["topic"].split(".")
            series = Series(symbol, _TIMEFRAMES[interval])
            self._heard[series] = self.heard_at
            for row in message["data"]:
                self._note_price(symbol, row)
                if row["confirm"]:
                    self._put(series, row)

    def _note_price(self, symbol: str, row: dict[str, Any]) -> None:
        try:
            self._prices[symbol] = LastPrice(Decimal(row["close"]), datetime.now(UTC))
        except (KeyError, InvalidOperation):
            # What cannot be read is told when the candle closes
            return

    def _put(self, series: Series, row: dict[str, Any]) -> None:
        try:
            candle = kline_candle(row)
        except (ValidationError, ArithmeticError) as e:
            # Read by REST when the others have closed
            log.error("candle_not_understood", topic=series.topic, detail=str(e))
        else:
            self.closed.put_nowait(Closed(series, candle))

    async def _subscribe(self, wire: Wire, wanted: set[Series]) -> None:
        if not wanted:
            return
        try:
            await wire.subscribe(series.topic for series in wanted)
        except WireRefused:
            # One unknown symbol must not keep the others from their candles
            for series in sorted(wanted):
                try:
                    await wire.subscribe([series.topic])
                except WireRefused as e:
                    log.error("candles_refused", topic=series.topic, detail=str(e))
                    self._wanted.discard(series)
                    self._refused.add(series)
        now = asyncio.get_running_loop().time()
        self._heard.update(dict.fromkeys(wanted & self._wanted, now))
