"""The market: candles become wishes, and closes are told of."""

import asyncio

import structlog
from temporalio import activity
from temporalio.client import Client

from activities.candles import CandleCache
from activities.channel import ChannelReport
from activities.decider import Decider, MarketSource
from activities.feed import CandleFeed, LastPrice
from activities.funding import fetch_fundings
from activities.herald import Herald, MarketCursor
from activities.joint import together
from activities.library import Library, PresetSource, PresetUnusable
from activities.messenger import Messenger, heartbeats
from activities.migration import Migrations
from activities.pace import Pace
from activities.sentries import Sentries
from activities.strategist import Strategist
from activities.ticker import Tickers
from activities.universe import Universes
from activities.warmup import Warmup
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import DeskUnreachable, TradewrightError
from tradewright.domain.plan import TradePlan
from tradewright.domain.record import read_back
from tradewright.domain.universe import Filter
from tradewright.ports import (
    CandlesDone,
    Evaluation,
    ExitsWish,
    ExitTerms,
    Fundings,
    FundingWish,
    MarketPort,
    MarketView,
    Proposals,
    Universe,
    UniverseWish,
    Watchlist,
)

log = structlog.get_logger(__name__)

FACTORS_WITHIN = 4.0
"""Seconds for the indicators that are seen at an exit."""
DESK_WITHIN = 5.0
"""Seconds for the question what is held; an unanswered one must not drop a symbol that is."""


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
        self._bybit = bybit
        self._messenger = Messenger(client)
        self._pace = pace
        self._url = url
        self._prices: dict[str, LastPrice] = {}
        self._tickers = Tickers(bybit, self._prices)
        self._candles = CandleCache(bybit)
        self._strategist = Strategist()
        self._library = Library(presets, self._strategist)
        self._universes = Universes(bybit)
        self._decider = Decider(
            bybit=bybit,
            library=self._library,
            strategist=self._strategist,
            candles=self._candles,
            tickers=self._tickers,
            pace=pace,
            messenger=self._messenger,
        )
        self._migrations = Migrations(
            client, self._library, self._strategist, self._decider.lookout
        )

    @activity.defn
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        return await self._decider.decide(evaluation)

    @activity.defn
    async def observe(self, plan: TradePlan) -> MarketView:
        price, market = await self._tickers.price(plan.symbol)
        return MarketView(
            price=price,
            factors=await self._factors(plan),
            market=market,
            at=await self._pace.market_now(),
        )

    @activity.defn
    async def reckon_exits(self, wish: ExitsWish) -> ExitTerms:
        return await self._migrations.terms(wish)

    @activity.defn
    async def read_fundings(self, wish: FundingWish) -> Fundings:
        return await fetch_fundings(self._bybit, wish)

    @activity.defn
    async def universe(self, wish: UniverseWish) -> Universe:
        declared = (await self._library.preset(wish.preset_hash)).preset.market.universe
        if declared is None:
            raise PresetUnusable(wish.preset_hash, "it names its symbols; there is no universe")
        name = ids.account_workflow(wish.account)
        desk = await self._messenger.ask(name, "account", Account, DESK_WITHIN)
        if desk is None:
            # What is held cannot be told from nothing
            raise DeskUnreachable(name, "it does not run, and what is held is not known")
        plans = [reservation.plan for reservation in desk.reservations]
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
        cursor = read_back(MarketCursor, carried[0]) if carried else MarketCursor()
        feed = CandleFeed(self._url, self._prices)
        report = ChannelReport(
            self._messenger,
            watchlist.account,
            "public",
            fault=cursor.fault,
            since=cursor.fault_since,
        )
        books = ChannelReport(self._messenger, watchlist.account, "books", heeded=False)
        sentries = Sentries(
            self._url,
            cursor.books,
            source=self._bybit,
            library=self._library,
            strategist=self._strategist,
            messenger=self._messenger,
            eyes=self._decider.sight,
            report=books,
        )
        warmup = Warmup(self._library, self._strategist, self._decider.lookout.sight, self._pace)
        herald = Herald(
            watchlist,
            cursor,
            messenger=self._messenger,
            candles=self._candles,
            pace=self._pace,
            feed=feed,
            sentries=sentries,
            warmup=warmup,
            report=report,
        )
        async with heartbeats(lambda: herald.cursor):
            await together(
                *(feed.run(), sentries.run(), warmup.run(), herald.run()),
                *(report.run(), books.run()),
            )

    async def _factors(self, plan: TradePlan) -> dict[str, float]:
        """Return the preset's indicators at the last closed candle; none if there is no preset."""
        try:
            loaded = await self._library.preset(plan.preset_hash)
        except PresetUnusable:
            return {}
        now = await self._pace.market_now()
        try:
            async with asyncio.timeout(FACTORS_WITHIN):
                sight = await self._decider.lookout.sight(loaded, plan.symbol, now)
                return (await self._strategist.ask(loaded, sight.view)).factors
        except (TradewrightError, TimeoutError) as e:
            log.warning("factors_unknown", symbol=plan.symbol, detail=str(e))
            return {}
