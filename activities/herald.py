"""Tells of every close, once: first the open trades that have to move, then the presets.

In a lockstep it takes turns with everybody, so that the same market gives the same trades.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from pydantic import AwareDatetime, Field

from activities.candles import CandleCache
from activities.channel import ChannelReport
from activities.feed import CandleFeed, Closed, Series
from activities.hearing import Hearing
from activities.messenger import Messenger
from activities.pace import Pace
from activities.sentries import Sentries
from activities.sentry import BookMark
from activities.settlement import Settlement
from activities.steward import Steward
from activities.warmup import Warmup
from tradewright import ids
from tradewright.domain.market import Candle, Timeframe, Value
from tradewright.ports import CandleClosed, Watch, Watchlist

log = structlog.get_logger(__name__)

M = TypeVar("M")

BASE = Timeframe.M1
"""Open trades are managed at each close of this length."""
LOOK_EVERY = 5.0
LOOK_EVERY_LOCKSTEP = 0.5
GRACE = 1.0
"""Seconds that the last candles of a close may be later than the first."""
GRACE_LOCKSTEP = 10.0
SILENT_AFTER = 2.0
"""Seconds after a close without a candle, when the exchange is asked instead."""
DEAD_AFTER = 70.0
"""Seconds without any message, when the connection is thought dead; candles come every minute."""
STUCK_AFTER = 10.0
ANSWER_WITHIN = 5.0
"""Seconds that one workflow may keep the market from all others; a lockstep waits, as for all."""
SCALED_TO = 4.0
"""A faster market shortens these waits no further: machines do not go faster with it."""
LONGEST_GAP = timedelta(hours=6)


class MarketCursor(Value):
    """How far closes have been told of; carried by the heartbeat."""

    managed: AwareDatetime | None = None
    told: dict[str, AwareDatetime] = Field(default_factory=dict, description="By preset.")
    books: dict[str, dict[str, BookMark]] = Field(
        default_factory=dict, description="What presets were called for by order books, by symbol."
    )
    fault: str = ""
    """Why the public stream cannot be relied on at the moment."""
    fault_since: AwareDatetime | None = None
    """Wall clock."""


class Herald:
    def __init__(
        self,
        watchlist: Watchlist,
        cursor: MarketCursor,
        *,
        messenger: Messenger,
        candles: CandleCache,
        pace: Pace,
        feed: CandleFeed,
        sentries: Sentries,
        warmup: Warmup,
        report: ChannelReport,
    ) -> None:
        self._account = watchlist.account
        self._watches: dict[str, Watch] = {}
        self._first_watchlist = watchlist
        self._managed = cursor.managed
        self._told = dict(cursor.told)
        self._messenger = messenger
        self._candles = candles
        self._pace = pace
        self._feed = feed
        self._sentries = sentries
        self._warmup = warmup
        self._report = report
        self._steward = Steward(messenger, candles, self._account)
        self._hearing = Hearing(feed, candles, report)
        self._settlement = Settlement(messenger, pace, self._account)
        self._arrived: dict[datetime, dict[Series, Candle]] = {}
        self._since: dict[datetime, float] = {}
        """When the first candle of a close arrived."""
        self._name = ids.market_workflow(self._account)
        self._lockstep = False
        self._haste = 1.0
        self._looked = float("-inf")
        self._missed = False
        """The stream has begun anew: what happened before it is not known."""

    @property
    def cursor(self) -> MarketCursor:
        return MarketCursor(
            managed=self._managed,
            told=self._told,
            books=self._sentries.marks,
            fault=self._report.fault,
            fault_since=self._report.since,
        )

    async def run(self) -> None:
        """Tell of closes until cancelled."""
        self._lockstep = await self._pace.lockstep()
        self._haste = min(SCALED_TO, max(1.0, await self._pace.speed()))
        if self._managed is None:
            self._managed = _floor(await self._pace.market_now(), BASE)
        await self._watch(self._first_watchlist)
        if self._lockstep:
            await self._pace.subscribe(self._name, "market", (), None)
        while True:
            await self._look()
            await self._collect()
            self._hearing.judge()
            self._sentries.judge()
            close = await self._due()
            if close is not None:
                await self._tell_of(close)

    # --- what to follow -----------------------------------------------------------------------

    async def _look(self) -> None:
        """Ask now and then what is watched and held, so that no restart is needed."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < (LOOK_EVERY_LOCKSTEP if self._lockstep else LOOK_EVERY):
            return
        self._looked = now
        watchlist = await self._messenger.ask_in_time(
            self._name, "watchlist", Watchlist, self._within
        )
        if watchlist is not None:
            await self._watch(watchlist)

    async def _watch(self, watchlist: Watchlist) -> None:
        wanted = {watch.preset: watch for watch in watchlist.watches}
        await self._steward.ask_desk(self._within)
        watched = {
            Series(symbol, timeframe)
            for watch in wanted.values()
            for symbol in watch.symbols
            for timeframe in (watch.timeframe, BASE)
        }
        self._steward.shadows = watchlist.shadows
        held = (*self._steward.held, *watchlist.shadows)
        await self._feed.follow(watched | {Series(plan.symbol, BASE) for plan in held})
        if not self._lockstep:
            self._warmup.want(wanted.values())
        await self._sentries.post(wanted.values(), lockstep=self._lockstep, within=self._within)
        for name, watch in sorted(wanted.items()):
            if self._watches.get(name) == watch:
                continue
            if self._lockstep:
                await self._pace.subscribe(
                    ids.strategy_workflow(name), "preset", watch.symbols, watch.timeframe
                )
            elif name not in self._told:
                # It begins with the next candle; what closed before is not its business
                now = await self._pace.market_now()
                self._told[name] = _floor(now, watch.timeframe)
        for name in sorted((self._watches.keys() | self._told.keys()) - wanted.keys()):
            self._told.pop(name, None)
            await self._pace.unsubscribe(ids.strategy_workflow(name))
        self._watches = wanted

    # --- which close is next ------------------------------------------------------------------

    async def _collect(self) -> None:
        """Take what the feed brings, or wait as long as nothing else is due."""
        closed = self._feed.closed
        if closed.empty():
            try:
                async with asyncio.timeout(self._patience()):
                    self._take(await closed.get())
            except TimeoutError:
                return
        while not closed.empty():
            self._take(closed.get_nowait())

    def _take(self, closed: Closed | None) -> None:
        if closed is None:
            self._looked = float("-inf")
            self._missed = True
            return
        series, candle = closed
        self._hearing.heard(series)
        self._candles.add(series.symbol, series.timeframe, candle)
        close = candle.open_time + series.timeframe.length
        self._arrived.setdefault(close, {})[series] = candle
        self._since.setdefault(close, asyncio.get_running_loop().time())

    def _patience(self) -> float:
        if not self._since:
            return 0.25 / self._haste
        grace = GRACE_LOCKSTEP if self._lockstep else GRACE / self._haste
        passed = asyncio.get_running_loop().time() - min(self._since.values())
        return max(0.0, min(0.25 / self._haste, grace - passed))

    async def _due(self) -> datetime | None:
        """Return the close to tell of, if one is complete or waited for long enough."""
        if self._lockstep and (self._missed or not self._feed.wanted):
            self._missed = False
            # The market may have told of it while nobody listened, or have nothing to tell us
            awaited = await self._pace.awaited(self._name)
            if awaited is not None:
                return awaited
        if self._arrived:
            close = min(self._arrived)
            expected = {s for s in self._feed.wanted if s.timeframe.closes_at(close)}
            if expected <= self._arrived[close].keys() or self._is_late(close):
                return close
        if not self._lockstep:
            return await self._silent()
        return None

    def _is_late(self, close: datetime) -> bool:
        grace = GRACE_LOCKSTEP if self._lockstep else GRACE / self._haste
        return asyncio.get_running_loop().time() - self._since[close] >= grace

    async def _silent(self) -> datetime | None:
        """Return the close that the stream should have told of by now."""
        lag = timedelta(seconds=SILENT_AFTER / self._haste) * await self._pace.speed()
        close = _floor(await self._pace.market_now() - lag, BASE)
        if self._managed is None or close <= self._managed or close in self._arrived:
            return None
        log.warning("candle_missed", close_time=close.isoformat())
        self._hearing.missed(close)
        if asyncio.get_running_loop().time() - self._feed.heard_at > DEAD_AFTER / self._haste:
            await self._feed.renew()
        return close

    @property
    def _within(self) -> float | None:
        """Return how long one workflow may take to answer."""
        return None if self._lockstep else ANSWER_WITHIN

    # --- telling ------------------------------------------------------------------------------

    async def _tell_of(self, close: datetime) -> None:
        arrived = self._arrived.pop(close, {})
        self._since.pop(close, None)
        if self._managed is not None and close <= self._managed and not self._lockstep:
            return
        if self._lockstep:
            # Trades first and to their end: what they free, presets may use
            if await self._manage(close, arrived):
                await self._settlement.settle()
            await self._tell_presets(close)
            await self._pace.done(self._name, close)
        else:
            await asyncio.gather(self._manage(close, arrived), self._tell_presets(close))
        self._managed = max(self._managed or close, close)
        await self._hearing.find_silent(close, arrived.keys())
        for old in [t for t in self._arrived if t <= close]:
            del self._arrived[old], self._since[old]

    async def _manage(self, close: datetime, arrived: dict[Series, Candle]) -> bool:
        gap = min(close - (self._managed or close), LONGEST_GAP)
        return await self._steward.manage(close, gap, arrived, self._within)

    async def _tell_presets(self, close: datetime) -> None:
        due = [
            (watch, at)
            for name, watch in sorted(self._watches.items())
            if (at := self._close_for(watch, close)) is not None
        ]
        for number, (watch, at) in enumerate(due):
            workflow_id = ids.strategy_workflow(watch.preset)
            if self._lockstep:
                # Before the candle, with which both are acknowledged
                await self._sentries.look(watch, at)
            message = CandleClosed(symbols=watch.symbols, close_time=at, acknowledge=self._lockstep)
            if not await self._messenger.tell(workflow_id, "candle", message):
                log.error("strategy_not_running", preset=watch.preset)
            self._told[watch.preset] = at
            if self._lockstep:
                await self._wait_for(workflow_id, message)
                if number + 1 < len(due):
                    await self._settlement.settle()

    def _close_for(self, watch: Watch, close: datetime) -> datetime | None:
        """Return the close to tell the preset of, if there is one at *close*."""
        told = self._told.get(watch.preset)
        if self._lockstep:
            at = close if watch.timeframe.closes_at(close) else None
        else:
            # One that was missed is told of late rather than never; its age is judged later
            at = _floor(close, watch.timeframe)
        return None if at is None or (told is not None and at <= told) else at

    async def _wait_for(self, workflow_id: str, message: CandleClosed) -> None:
        """Wait until the preset has acknowledged the candle, or does not run any more."""
        while True:
            try:
                async with asyncio.timeout(STUCK_AFTER):
                    await self._pace.wait_for(workflow_id, message.close_time)
            except TimeoutError:
                # A repeat does no harm, and shows whether anybody hears
                if not await self._messenger.tell(workflow_id, "candle", message):
                    await self._pace.unsubscribe(workflow_id)
            else:
                return


def _floor(moment: datetime, timeframe: Timeframe) -> datetime:
    """Return the last close of *timeframe* at *moment*."""
    seconds = int(timeframe.length.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)
