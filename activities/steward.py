"""Trades that are managed from closed candles: each is told what is due, and decides again."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from activities.candles import CandleCache
from activities.feed import Series
from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import TradewrightError
from tradewright.domain.exits import manage
from tradewright.domain.market import Candle, Timeframe
from tradewright.domain.plan import TradePlan
from tradewright.domain.shadow import followed
from tradewright.domain.trade import ExitRequested, Trade, TradeState
from tradewright.ports import ClosedCandle, ShadowCandles, TradeView, Watchlist

log = structlog.get_logger(__name__)

Arrived = Mapping[Series, Candle]

BASE = Timeframe.M1
"""Trades are managed at each close of this length."""
LONGEST_MISS = timedelta(hours=6)
MANAGED = frozenset({TradeState.ENTERING, TradeState.OPEN})


class Steward:
    """Asks the desk what is held, and every trade of it whether something is due."""

    def __init__(self, messenger: Messenger, candles: CandleCache, account: str) -> None:
        self._messenger = messenger
        self._candles = candles
        self._account = account
        self.held: tuple[TradePlan, ...] = ()
        self.shadows: tuple[TradePlan, ...] = ()
        """Virtual trades, as the watchlist has them."""
        self._seen: dict[str, datetime] = {}
        """Up to which close the candles of each virtual trade were looked at."""
        self._last: dict[str, tuple[Candle, datetime]] = {}
        """The last candle of each symbol, and when it closed; for exits when nothing else is."""

    async def ask_desk(self, within: float | None) -> None:
        """Ask what is held; what was held last stands for a desk that does not say."""
        desk = await self._messenger.ask_in_time(
            ids.account_workflow(self._account), "account", Account, within
        )
        if desk is not None:
            self.held = tuple(reservation.plan for reservation in desk.reservations)

    async def _ask_market(self, within: float | None) -> None:
        """Ask for the virtual trades; at each close, for one may have begun at the last."""
        market = ids.market_workflow(self._account)
        watchlist = await self._messenger.ask_in_time(market, "watchlist", Watchlist, within)
        if watchlist is not None:
            self.shadows = watchlist.shadows
            running = {plan.trade_id for plan in self.shadows}
            self._seen = {trade: at for trade, at in self._seen.items() if trade in running}

    async def manage(
        self, close: datetime, gap: timedelta, arrived: Arrived, within: float | None
    ) -> bool:
        """Tell trades what is due at *close*; return whether any was told.

        Args:
            close: Of the candles; market clock.
            gap: Since the last close that trades were managed at.
            arrived: The candles that the stream told of.
            within: Seconds that one workflow may take to answer.
        """
        await asyncio.gather(self.ask_desk(within), self._ask_market(within))
        ends = await asyncio.gather(
            *(self._manage_trade(plan, close, gap, arrived, within) for plan in self.held),
            *(self._follow_shadow(plan, close, gap, arrived, within) for plan in self.shadows),
            return_exceptions=True,
        )
        for end in ends:
            # It ends this consumer, of which a person hears, but no other trade's turn
            if isinstance(end, BaseException):
                raise end
        return any(ends)

    async def _manage_trade(
        self,
        plan: TradePlan,
        close: datetime,
        gap: timedelta,
        arrived: Arrived,
        within: float | None,
    ) -> bool:
        workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
        # One that does not answer is managed at a later close; its stop is at the exchange
        view = await self._messenger.ask_in_time(workflow_id, "trade", TradeView, within)
        # An entry that waits for its price is managed as well
        if view is None or view.trade.state not in MANAGED:
            return False
        own = [series for series in arrived if series.symbol == plan.symbol]
        finest = min(own, key=lambda series: series.timeframe.length, default=None)
        candle = arrived[finest] if finest else None
        if finest is None or gap > finest.timeframe.length:
            candle = await self._missed_candle(view.trade, close, gap) or candle
        age = timedelta()
        if candle is not None:
            self._last[plan.symbol] = candle, close
        elif plan.symbol in self._last:
            # Neither stream nor list: what leaves the market does not wait for them
            candle, closed = self._last[plan.symbol]
            age = close - closed
        if candle is None:
            return False
        event = manage(view.trade, candle, close)
        if event is None:
            return False
        if age:
            log.warning("managed_by_old_candle", trade_id=plan.trade_id, age_s=age.total_seconds())
            if isinstance(event, ExitRequested):
                note = f"{event.note}; by a price {age.total_seconds():.0f} s old"
                event = event.model_copy(update={"note": note})
        log.info("trade_managed", trade_id=plan.trade_id, kind=event.kind, close=close.isoformat())
        return await self._messenger.tell(workflow_id, "report", event)

    async def _follow_shadow(
        self,
        plan: TradePlan,
        close: datetime,
        gap: timedelta,
        arrived: Arrived,
        within: float | None,
    ) -> bool:
        """Tell a virtual trade of its candles if something happens to it within them."""
        # No exchange holds its stop: every minute counts, until it was looked at
        seen = self._seen.setdefault(plan.trade_id, close - gap)
        workflow_id = ids.shadow_workflow(plan.symbol, plan.trade_id)
        view = await self._messenger.ask_in_time(workflow_id, "trade", TradeView, within)
        if view is None or view.trade.is_final:
            return False
        candle = arrived.get(Series(plan.symbol, BASE))
        if candle is not None and close - seen <= BASE.length:
            closed = [ClosedCandle(candle=candle, close=close)]
        else:
            missed = min(close - seen, LONGEST_MISS)
            closed = await self._missed_candles(view.trade, close, missed)
        if closed:
            self._seen[plan.trade_id] = closed[-1].close
        if not _happens(view.trade, closed):
            return False
        log.info("shadow_told", trade_id=plan.trade_id, close=close.isoformat())
        told = ShadowCandles(closed=tuple(closed))
        return await self._messenger.tell(workflow_id, "candles", told)

    async def _missed_candle(self, trade: Trade, close: datetime, gap: timedelta) -> Candle | None:
        """Return one candle of all that happened since the last close that was told of."""
        return merged([found.candle for found in await self._missed_candles(trade, close, gap)])

    async def _missed_candles(
        self, trade: Trade, close: datetime, gap: timedelta
    ) -> list[ClosedCandle]:
        """Return the candles since the last close that was told of, oldest first."""
        count = max(1, gap // BASE.length)
        opened = trade.opened_at or trade.plan.trigger
        times = [close - i * BASE.length for i in reversed(range(count))]
        symbol = trade.plan.symbol
        try:
            # One request for all of them
            await self._candles.window(symbol, BASE, close, count)
            found = [(t, await self._candles.candle(symbol, BASE, t)) for t in times if t > opened]
        except TradewrightError as e:
            log.warning("candles_not_read", symbol=symbol, detail=str(e))
            return []
        return [ClosedCandle(candle=candle, close=t) for t, candle in found if candle is not None]


def _happens(trade: Trade, closed: Iterable[ClosedCandle]) -> bool:
    return any(followed(trade, one.candle, one.close) for one in closed)


def merged(candles: Collection[Candle]) -> Candle | None:
    if not candles:
        return None
    ordered = sorted(candles, key=lambda candle: candle.open_time)
    first, last = ordered[0], ordered[-1]
    return Candle(
        open_time=first.open_time,
        open=first.open,
        high=max(candle.high for candle in ordered),
        low=min(candle.low for candle in ordered),
        close=last.close,
        volume=sum((candle.volume for candle in ordered), Decimal(0)),
    )
