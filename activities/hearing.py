"""What the public stream is worth: whether it tells of every close, topic by topic."""

import asyncio
from collections.abc import Collection
from datetime import datetime

import structlog

from activities.candles import CandleCache
from activities.channel import ChannelReport
from activities.feed import CandleFeed, Series
from tradewright.domain.errors import TradewrightError

log = structlog.get_logger(__name__)

TOPIC_SILENT_AFTER = 5.0
"""Seconds that one topic may say nothing while its candle is listed and others are told of."""
MOST_ASKED = 20
"""Candles asked for at once to find silent topics; with more of them the connection is at fault."""


class Hearing:
    """Finds silent topics by the list of candles, has them asked for anew, and reports."""

    def __init__(self, feed: CandleFeed, candles: CandleCache, report: ChannelReport) -> None:
        self._feed = feed
        self._candles = candles
        self._report = report
        self._mute: dict[Series, None] = {}
        """Topics that were silent at their last close, though their candle was listed."""
        self._late = ""
        """The close of which the whole stream has not told, though it is connected."""

    def heard(self, series: Series) -> None:
        """Take that a topic has told of a close."""
        self._late = ""
        self._mute.pop(series, None)

    def missed(self, close: datetime) -> None:
        """Take that no topic has told of *close*."""
        if self._feed.wanted:
            self._late = f"it said nothing of the close at {close:%H:%M}"

    def judge(self) -> None:
        """Report what the stream is worth now."""
        if self._feed.fault is None:
            return
        silent = ", ".join(series.topic for series in sorted(self._mute))
        fault = self._feed.fault or self._late or (silent and f"{silent} said nothing of a close")
        if fault:
            self._report.degraded(fault)
        else:
            self._report.healthy()

    async def find_silent(self, close: datetime, arrived: Collection[Series]) -> None:
        """Ask anew for topics that told nothing of *close*, though the exchange lists it."""
        missing = sorted(
            series
            for series in self._feed.wanted
            if series.timeframe.closes_at(close)
            and series not in arrived
            and self._feed.silent_for(series) > TOPIC_SILENT_AFTER
        )
        # A connection that says nothing at all is not judged by its topics
        if not arrived or not missing:
            return
        if len(missing) > MOST_ASKED:
            await self._feed.renew()
            return
        listed = await asyncio.gather(*(self._is_listed(series, close) for series in missing))
        silent = [series for series, is_so in zip(missing, listed, strict=True) if is_so]
        if not silent:
            return
        log.warning("topics_silent", topics=[series.topic for series in silent])
        if any(series in self._mute for series in silent):
            # To ask anew has not helped
            await self._feed.renew()
        else:
            await self._feed.resubscribe(silent)
        self._mute |= dict.fromkeys(silent)

    async def _is_listed(self, series: Series, close: datetime) -> bool:
        try:
            found = await self._candles.candle(series.symbol, series.timeframe, close)
        except TradewrightError as e:
            log.warning("candles_not_read", symbol=series.symbol, detail=str(e))
            return False
        return found is not None
