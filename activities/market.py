"""The market: candles become wishes, and closes are told of."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import structlog
from temporalio import activity
from temporalio.client import Client

from activities import parse
from activities.candles import CandleCache, Window
from activities.channel import ChannelReport
from activities.evaluation import leave_wishes, propose
from activities.feed import CandleFeed, LastPrice
from activities.herald import Herald, MarketCursor
from activities.joint import together
from activities.messenger import Messenger, heartbeats
from activities.pace import Pace
from activities.strategist import Strategist, StrategyFailed
from activities.universe import Universes
from tradewright import ids
from tradewright.domain.account import Account, LeaveWish
from tradewright.domain.errors import AnswerMalformed, TradewrightError
from tradewright.domain.market import Instrument
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.universe import Filter
from tradewright.plugin import View
from tradewright.ports import (
    CandlesDone,
    Evaluation,
    MarketPort,
    MarketView,
    Proposals,
    Universe,
    UniverseWish,
    Watchlist,
)
from tradewright.preset import LoadedPreset, PresetInvalid, loads

log = structlog.get_logger(__name__)

CANDLE_GRACE = timedelta(seconds=5)
"""Wall time that any candle is given: it may be listed, and told of, seconds after its close."""
TICKER_WITHIN, FACTORS_WITHIN = 3.0, 4.0
"""Seconds for what is seen at an exit; then what was known last has to do."""
DESK_WITHIN = 5.0
"""Seconds for the question what is held; an unanswered one must not drop a symbol that is."""
CANDLE_TRIES = 5
CANDLE_WAIT = 0.3
"""Seconds between tries for a candle that has closed and is not listed yet."""
TICKER = {
    "mark_price": "markPrice",
    "index_price": "indexPrice",
    "funding_rate": "fundingRate",
    "bid": "bid1Price",
    "ask": "ask1Price",
    "open_interest": "openInterest",
}


class MarketSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...

    async def instrument(self, symbol: str) -> Instrument: ...


class PresetDocument(Protocol):
    @property
    def document(self) -> str: ...


class PresetSource(Protocol):
    """The part of the journal that is used here."""

    async def preset(self, preset_hash: str) -> PresetDocument | None: ...


class PresetUnusable(TradewrightError):
    """The version of a preset that runs cannot be evaluated here."""

    def __init__(self, preset_hash: str, detail: str) -> None:
        super().__init__(f"preset version {preset_hash} cannot be evaluated: {detail}")
        self.preset_hash = preset_hash


class _View(NamedTuple):
    """What a preset makes of one symbol at one candle."""

    proposal: Proposal | None = None
    exits: tuple[LeaveWish, ...] = ()
    note: str = ""
    fault: str = ""


class BybitMarket(MarketPort):
    def __init__(
        self,
        client: Client,
        bybit: MarketSource,
        presets: PresetSource,
        pace: Pace,
        url: str,
    ) -> None:
        """Listen at *url*, the venue's public WebSocket of linear contracts."""
        self._messenger = Messenger(client)
        self._bybit = bybit
        self._presets = presets
        self._pace = pace
        self._url = url
        self._candles = CandleCache(bybit)
        self._strategist = Strategist()
        self._universes = Universes(bybit)
        self._loaded: dict[str, LoadedPreset] = {}
        self._prices: dict[str, LastPrice] = {}
        self._tickers: dict[str, tuple[datetime, parse.Row]] = {}
        """What was read last, by symbol, and when; wall clock."""

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        close_time = evaluation.close_time
        earlier = await self._exits_of_earlier(evaluation)
        try:
            loaded = await self._preset(evaluation.preset_hash)
        except PresetUnusable as e:
            log.error("preset_unusable", preset=evaluation.preset, detail=str(e))
            return Proposals(exits=earlier, note=str(e), fault=str(e))
        age = await self._pace.market_now() - close_time
        is_stale = age > await self._patience(loaded)
        found = await asyncio.gather(
            *(self._evaluate(loaded, symbol, close_time) for symbol in evaluation.symbols)
        )
        exits = (*earlier, *(leave for view in found for leave in view.exits))
        fault = "; ".join(view.fault for view in found if view.fault)
        # What is to be left is left by an old candle, too; entered is by none but the last
        if is_stale:
            note = f"stale candle: it closed {age} ago"
            return Proposals(exits=exits, note=note, fault=fault)
        if evaluation.exits_only:
            return Proposals(exits=exits, note=fault, fault=fault)
        wishes = (self._with_market(view.proposal) for view in found if view.proposal is not None)
        return Proposals(
            proposals=tuple(await asyncio.gather(*wishes)),
            exits=exits,
            note="; ".join(view.note for view in found if view.note),
            fault=fault,
        )

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        price, market = await self._ticker(plan.symbol)
        return MarketView(price=price, factors=await self._factors(plan), market=market)

    @activity.defn
    async def universe(self, wish: UniverseWish) -> Universe:
        declared = (await self._preset(wish.preset_hash)).preset.market.universe
        if declared is None:
            raise PresetUnusable(wish.preset_hash, "it names its symbols; there is no universe")
        desk = await self._messenger.ask(
            ids.account_workflow(wish.account), "account", Account, DESK_WITHIN
        )
        plans = [held.plan for held in desk.reservations] if desk else []
        held = [plan.symbol for plan in plans if plan.preset == wish.preset]
        wanted = Filter(
            top=declared.top,
            max_spread_bp=declared.max_spread_bp,
            min_turnover=declared.min_turnover,
            exclude=declared.exclude,
        )
        return await self._universes.choose(wanted, wish.symbols, held)

    @activity.defn
    async def done(self, candles: CandlesDone) -> None:
        await self._pace.done(ids.strategy_workflow(candles.preset), candles.close_time)

    @activity.defn
    async def consume_market(self, watchlist: Watchlist) -> None:
        carried = activity.info().heartbeat_details
        cursor = MarketCursor.model_validate(carried[0]) if carried else MarketCursor()
        feed = CandleFeed(self._url, self._prices)
        report = ChannelReport(
            self._messenger,
            watchlist.account,
            "public",
            fault=cursor.fault,
            since=cursor.fault_since,
        )
        herald = Herald(
            watchlist,
            cursor,
            messenger=self._messenger,
            candles=self._candles,
            pace=self._pace,
            feed=feed,
            report=report,
        )
        async with heartbeats(lambda: herald.cursor):
            await together(feed.run(), herald.run(), report.run())

    async def _with_market(self, proposal: Proposal) -> Proposal:
        """Return *proposal* with the market that it was made in; a record only."""
        try:
            _, market = await self._ticker(proposal.symbol)
        except (TradewrightError, TimeoutError):
            return proposal
        return proposal.model_copy(update={"market": market})

    async def _ticker(self, symbol: str) -> tuple[Decimal, dict[str, str]]:
        """Return the last price and what else is known of the market.

        By the exchange's list; when that cannot be read, what was known last, and its age.
        """
        now = datetime.now(UTC)
        try:
            async with asyncio.timeout(TICKER_WITHIN):
                answer = await self._bybit.call("get_tickers", category="linear", symbol=symbol)
            row = next(iter(parse.rows("get_tickers", answer)), None)
            if row is None:
                raise AnswerMalformed(f"get_tickers {symbol}", "it holds no row")
        except (TradewrightError, TimeoutError) as e:
            return self._remembered(symbol, now, e)
        self._tickers[symbol] = now, row
        return Decimal(row["lastPrice"]), _market(row)

    def _remembered(
        self, symbol: str, now: datetime, error: Exception
    ) -> tuple[Decimal, dict[str, str]]:
        read_at, row = self._tickers.get(symbol, (None, None))
        heard = self._prices.get(symbol)
        if heard is not None and (read_at is None or heard.heard_at > read_at):
            price, at, market = heard.price, heard.heard_at, dict[str, str]()
        elif row is not None and read_at is not None:
            price, at, market = Decimal(row["lastPrice"]), read_at, _market(row)
        else:
            raise error
        age = f"{(now - at).total_seconds():.1f}"
        log.warning(
            "market_data_old", symbol=symbol, age_s=age, detail=str(error) or "no answer in time"
        )
        return price, market | {"age_s": age}

    async def _exits_of_earlier(self, evaluation: Evaluation) -> tuple[LeaveWish, ...]:
        """Return what earlier versions of the preset want left: a trade keeps its version."""
        found: list[LeaveWish] = []
        for version in evaluation.earlier:
            try:
                loaded = await self._preset(version)
            except PresetUnusable as e:
                log.warning("preset_unusable", preset=evaluation.preset, detail=str(e))
                continue
            says_exits = getattr(loaded.strategy, "says_exits", True)
            closes = loaded.preset.trigger.timeframe.closes_at(evaluation.close_time)
            if says_exits and closes:
                for symbol in loaded.preset.market.symbols:
                    view = await self._evaluate(loaded, symbol, evaluation.close_time)
                    found += view.exits
        return tuple(found)

    async def _evaluate(self, loaded: LoadedPreset, symbol: str, close_time: datetime) -> _View:
        """Return what the preset wishes on *symbol*, or why nothing; and what it wants left."""
        window = await self._window(loaded, symbol, close_time)
        if not window.is_complete or window.close is None:
            return _View(note=f"{symbol}: the candle that closed at {close_time} is not listed yet")
        count, needed = len(window.candles), loaded.strategy.needs.candles
        if count < needed:
            return _View(note=f"{symbol}: warming up, {count} of {needed} candles")
        try:
            evaluation = await self._strategist.ask(loaded, _view(window, close_time))
        except StrategyFailed as e:
            return _View(note=f"{symbol}: {e}", fault=f"{symbol}: {e}")
        proposed = propose(
            loaded.preset,
            preset_hash=loaded.hash,
            symbol=symbol,
            evaluation=evaluation,
            price=window.close,
            window=window.key,
            instrument=await self._bybit.instrument(symbol),
            close_time=close_time,
        )
        exits = leave_wishes(loaded.preset.name, loaded.hash, symbol, evaluation)
        if isinstance(proposed, str):
            return _View(exits=exits, note=proposed)
        return _View(proposal=proposed, exits=exits)

    async def _patience(self, loaded: LoadedPreset) -> timedelta:
        """Return how old a candle may be, in market time, and still be entered at market.

        What the preset lets an entry take from its decision on is also what may pass between
        the candle and the decision: the price that was decided on is the candle's close. Beyond
        it the market has moved on, however long the timeframe. A market that runs faster than
        the wall clock is given as much of wall time.
        """
        allowed = max(loaded.preset.entry.expires_after, CANDLE_GRACE)
        return allowed * max(1.0, await self._pace.speed())

    async def _window(self, loaded: LoadedPreset, symbol: str, close_time: datetime) -> Window:
        timeframe, needed = loaded.preset.trigger.timeframe, loaded.strategy.needs.candles
        for _ in range(CANDLE_TRIES - 1):
            window = await self._candles.window(symbol, timeframe, close_time, needed)
            if window.is_complete:
                return window
            await asyncio.sleep(CANDLE_WAIT)
        return await self._candles.window(symbol, timeframe, close_time, needed)

    async def _factors(self, plan: TradePlan) -> dict[str, float]:
        """Return the preset's indicators at the last closed candle; none if there is no preset."""
        try:
            loaded = await self._preset(plan.preset_hash)
        except PresetUnusable:
            return {}
        now = await self._pace.market_now()
        try:
            async with asyncio.timeout(FACTORS_WITHIN):
                window = await self._candles.window(
                    plan.symbol, loaded.preset.trigger.timeframe, now, loaded.strategy.needs.candles
                )
                return (await self._strategist.ask(loaded, _view(window, now))).factors
        except (TradewrightError, TimeoutError) as e:
            log.warning("factors_unknown", symbol=plan.symbol, detail=str(e))
            return {}

    async def _preset(self, preset_hash: str) -> LoadedPreset:
        known = self._loaded.get(preset_hash)
        if known is not None:
            return known
        stored = await self._presets.preset(preset_hash)
        if stored is None:
            raise PresetUnusable(preset_hash, "the journal does not hold it; apply it again")
        try:
            loaded = await asyncio.to_thread(loads, stored.document)
        except PresetInvalid as e:
            raise PresetUnusable(preset_hash, f"{e}; correct it and apply it again") from None
        if loaded.hash != preset_hash:
            raise PresetUnusable(
                preset_hash, "its plugin has another version now; apply the preset again"
            )
        self._loaded[preset_hash] = loaded
        return loaded


def _view(window: Window, at: datetime) -> View:
    return View(symbol=window.symbol, at=at, timeframe=window.timeframe, candles=window.candles)


def _market(row: parse.Row) -> dict[str, str]:
    return {name: str(row[key]) for name, key in TICKER.items() if row.get(key)}
