"""The public stream of candles: closed ones in a queue, whatever becomes of the connection."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import structlog
from pydantic import ValidationError

from activities.candles import kline_candle
from activities.topics import Message, Topics
from tradewright.domain.market import Candle, Timeframe

log = structlog.get_logger(__name__)


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
    """Follows the series that are wanted; rebuilds connections that are lost."""

    def __init__(self, url: str, prices: dict[str, LastPrice] | None = None) -> None:
        """Listen at *url*; keep in *prices*, by symbol, what was heard last."""
        self._topics = Topics(url, self._hear, self._begin, standing=True)
        self._prices = {} if prices is None else prices
        self._series: dict[str, Series] = {}
        self.closed: asyncio.Queue[Closed | None] = asyncio.Queue()
        """Closed candles; None each time that the stream begins and may have missed some."""

    @property
    def wanted(self) -> Collection[Series]:
        """Return what is followed, without what the exchange does not know."""
        return {self._series[topic] for topic in self._topics.wanted if topic in self._series}

    @property
    def fault(self) -> str | None:
        """Return why something is not heard; empty while there are connections, None before."""
        return self._topics.fault

    @property
    def heard_at(self) -> float:
        """Return when the last message came, by the loop's clock."""
        return self._topics.heard_at

    async def follow(self, series: Iterable[Series]) -> None:
        """Follow these and no others, from now on if there are connections."""
        self._series = {one.topic: one for one in series}
        await self._topics.follow(self._series)

    def silent_for(self, series: Series) -> float:
        """Return for how many seconds its topic has said nothing, not even of an open candle."""
        return self._topics.silent_for(series.topic)

    async def resubscribe(self, series: Iterable[Series]) -> None:
        """Ask anew for topics that have gone silent while the connection lives."""
        await self._topics.resubscribe(one.topic for one in series)

    async def renew(self) -> None:
        """Throw the connections away: they have gone silent."""
        await self._topics.renew()

    async def run(self) -> None:
        await self._topics.run()

    def _begin(self, topics: Collection[str]) -> None:
        self.closed.put_nowait(None)

    def _hear(self, message: Message) -> None:
        series = self._series.get(message["topic"])
        if series is None:
            return
        for row in message["data"]:
            self._note_price(series.symbol, row)
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
