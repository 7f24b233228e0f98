"""The stop of a position at the exchange: read back, amended in place, trailed."""

import asyncio
import re
import time
from decimal import Decimal
from typing import Any

import structlog
from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, BybitClient
from activities.reading import POLL, READS_LAG, TradeReads, open_qty, waited
from tradewright.domain.errors import OrderRejected, OutcomeUnknown
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    PositionRead,
    StopConfirmed,
    StopKept,
    StopMissing,
    StopRefused,
    TrailingRefused,
    TrailingSet,
)
from tradewright.ports import TradeOrder

log = structlog.get_logger(__name__)

UNCHANGED = 34040
PASSED = frozenset({110092, 110093})
PASSED_TEXT = re.compile(r"expect (falling|rising)|should (be )?(lower|higher|less|greater)", re.I)
"""Of the parameter error, 10001, that a stop beyond the price is refused with."""
TRIGGERED_BY = "LastPrice"

STOP_DEADLINE = 5.0
"""Seconds since it was first asked for, however often the question failed meanwhile."""


class Stops:
    def __init__(self, client: BybitClient, reads: TradeReads) -> None:
        self._client = client
        self._reads = reads

    async def verify(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        """Read the position back until it shows its stop, or the deadline is over.

        Raises:
            ReadsDisagree: It reads flat, and its executions say that it is held.
        """
        plan, reads = order.plan, self._reads
        deadline = time.monotonic() + max(0.0, STOP_DEADLINE - waited())
        # Whoever comes late looks twice: a stop may follow its position by a moment
        was_shown = activity.info().attempt > 1
        while True:
            position = await reads.held(plan)
            if position is not None and position.stop_loss is not None:
                if not _may_be_stale(order, position.stop_loss):
                    return await self._confirmed(plan, position.stop_loss)
                await asyncio.sleep(READS_LAG - waited() + POLL)
                continue
            is_late = time.monotonic() > deadline
            if position is None:
                # A read that lags behind the fill looks the same: the executions tell
                fills = await reads.executions(order)
                if fills and open_qty(plan, fills) <= 0:
                    return await reads.position_read(None)
                if is_late:
                    return await reads.flat_after_all(plan, fills)
            elif is_late and was_shown:
                return StopMissing()
            was_shown = position is not None
            await asyncio.sleep(POLL)

    async def move(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        """Amend the stop in place; it is never cancelled to be made anew, and never loosened.

        A tighter one that stands, whoever has put it there, is told instead.
        """
        plan, reads = order.plan, self._reads
        price = order.price if order.price is not None else plan.stop_loss
        position = await reads.held(plan)
        if position is not None and position.stop_loss is not None:
            standing = position.stop_loss
            if (standing - price) * plan.side.sign > 0:
                return await self._tighter(order, standing)
        try:
            await self._set(plan, stopLoss=parse.text(price), slTriggerBy=TRIGGERED_BY)
        except OrderRejected as e:
            if e.ret_code != UNCHANGED:
                position = await reads.held(plan)
                if position is None:
                    return await reads.position_read(None)
                if e.ret_code not in PASSED and not PASSED_TEXT.search(e.ret_msg):
                    raise
                reason = f"{e.ret_msg} (retCode {e.ret_code})"
                if order.wished_by and position.stop_loss is not None:
                    return StopKept(price=position.stop_loss, reason=reason)
                return StopRefused(reason=reason)
        deadline = time.monotonic() + STOP_DEADLINE
        while True:
            position = await reads.held(plan)
            shown = position.stop_loss if position is not None else None
            if shown is not None and (shown - price) * plan.side.sign >= 0:
                return await self._confirmed(plan, shown)
            if time.monotonic() > deadline:
                if position is None:
                    return await reads.position_read(None)
                raise OutcomeUnknown(
                    f"set_trading_stop {plan.symbol}", f"the stop shown is {shown}"
                )
            await asyncio.sleep(POLL)

    async def _tighter(self, order: TradeOrder, standing: Decimal) -> StopConfirmed | StopKept:
        """Return that the stop stays at *standing*, which is tighter than what is asked for."""
        confirmed = await self._confirmed(order.plan, standing)
        if not order.wished_by:
            return confirmed
        return StopKept(price=standing, reason="a tighter stop stands at the exchange already")

    async def trail(self, order: TradeOrder) -> TrailingSet | TrailingRefused | PositionRead:
        """Let the exchange trail, from `order.price` on, or at once where that has been passed.

        Nothing is sent when it trails already: setting it anew would forget the best price.
        """
        plan, trailing = order.plan, order.plan.exits.trailing
        assert trailing is not None  # noqa: S101 - asked for only where it is planned
        distance = plan.instrument.ceil_price(trailing.distance)
        if await self._reads.held(plan) is None:
            return await self._reads.position_read(None)
        if await lookup.fetch_trailing(self._client, plan.symbol) != distance:
            begin = await self._begin(order)
            try:
                try:
                    await self._set(plan, trailingStop=parse.text(distance), **begin)
                except OrderRejected:
                    # Perhaps it was passed a moment ago
                    if not begin or await self._begin(order):
                        raise
                    await self._set(plan, trailingStop=parse.text(distance))
            except OrderRejected as e:
                if e.ret_code != UNCHANGED:
                    if await self._reads.held(plan) is None:
                        return await self._reads.position_read(None)
                    return TrailingRefused(reason=f"{e.ret_msg} (retCode {e.ret_code})")
        return await self._trails(plan, distance)

    async def _trails(self, plan: TradePlan, distance: Decimal) -> TrailingSet | PositionRead:
        """Read back until the exchange shows that it trails.

        Raises:
            OutcomeUnknown: It does not show it in time.
        """
        deadline = time.monotonic() + STOP_DEADLINE
        while (shown := await lookup.fetch_trailing(self._client, plan.symbol)) != distance:
            if time.monotonic() > deadline:
                if await self._reads.held(plan) is None:
                    return await self._reads.position_read(None)
                raise OutcomeUnknown(
                    f"set_trading_stop {plan.symbol}", f"the distance shown is {shown}"
                )
            await asyncio.sleep(POLL)
        return TrailingSet()

    async def _begin(self, order: TradeOrder) -> dict[str, str]:
        """Return where trailing begins; nothing if the market is there already."""
        plan, price = order.plan, order.price
        if price is None:
            return {}
        last = await lookup.fetch_last_price(self._client, plan.symbol)
        return {} if (last - price) * plan.side.sign >= 0 else {"activePrice": parse.text(price)}

    async def _confirmed(self, plan: TradePlan, price: Decimal) -> StopConfirmed:
        """Return that the stop stands at *price*, triggered by what it was to be triggered by."""
        shown = await lookup.fetch_stop_trigger(self._client, plan.symbol)
        if shown not in {None, TRIGGERED_BY}:
            log.warning("stop_trigger_corrected", trade_id=plan.trade_id, shown=shown)
            await self._set(plan, stopLoss=parse.text(price), slTriggerBy=TRIGGERED_BY)
        return StopConfirmed(price=price)

    async def _set(self, plan: TradePlan, **changes: Any) -> None:
        await self._client.call(
            "set_trading_stop",
            category=LINEAR,
            symbol=plan.symbol,
            positionIdx=0,
            tpslMode="Full",
            **changes,
        )


def _may_be_stale(order: TradeOrder, shown: Decimal) -> bool:
    """Return whether a moved stop may stand no more where the read has shown it.

    What fills may have put the one before it back, and reads lag: one that is looser than
    what is wanted tells of that, one that is not may be older than the fill.
    """
    plan, wanted = order.plan, order.price
    if wanted is None or wanted == plan.stop_loss or waited() > READS_LAG:
        return False
    return (shown - wanted) * plan.side.sign >= 0
