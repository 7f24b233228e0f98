"""What the exchange shows of one trade: its entry, its executions, what is held."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import structlog
from temporalio import activity

from activities import lookup
from activities.bybit import BybitClient
from activities.pace import Pace
from activities.parse import Payment, PlacedOrder
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.execution import Execution
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    Executed,
    Funded,
    PositionRead,
    TradeEvent,
)
from tradewright.ports import TradeEvents, TradeOrder

log = structlog.get_logger(__name__)

POLL = 0.1
READS_LAG = 3.0
"""How long a read may lag behind a write before it is taken as it is."""
FLAT_BELIEVED_AFTER = 60.0
"""Seconds for which a position must have read flat against its executions to be believed."""
FORGOTTEN_AFTER = timedelta(days=1)
"""How long Bybit shows an order that ended without a fill; what works it always shows."""


class History(NamedTuple):
    """What the exchange lists of one trade."""

    executions: tuple[Execution, ...]
    funding: tuple[Funded, ...]


class TradeReads:
    def __init__(self, client: BybitClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    async def held(self, plan: TradePlan) -> Position | None:
        """Return what is held on the trade's side; the other side is none of its business."""
        position = await lookup.fetch_position(self._client, plan.symbol)
        return position if position is not None and position.side is plan.side else None

    async def executions(self, order: TradeOrder) -> tuple[Execution, ...]:
        return (await self.history(order)).executions

    async def history(self, order: TradeOrder) -> History:
        plan = order.plan
        since, now = order.since or plan.trigger, await self._pace.market_now()
        found = await lookup.fetch_history(self._client, plan.symbol, since, now)
        executions = lookup.executions_of(plan, [e for e in found if isinstance(e, Execution)])
        if plan.origin is Origin.SIGNAL:
            # What was paid before its first fill was paid for another trade
            found = found[found.index(executions[0]) :] if executions else ()
        payments = [p for p in found if isinstance(p, Payment)]
        funding = [Funded(exec_id=p.exec_id, amount=p.amount, at=p.at) for p in payments]
        return History(executions, tuple(funding))

    async def entry(self, plan: TradePlan) -> PlacedOrder | None:
        """Return the entry order if a read shows it; what was adopted has none."""
        if plan.origin is not Origin.SIGNAL:
            return None
        return await lookup.fetch_order(self._client, plan.symbol, entry_link(plan))

    async def position_read(self, position: Position | None) -> PositionRead:
        return PositionRead(qty=qty_of(position), at=await self._pace.market_now())

    async def flat_after_all(
        self, plan: TradePlan, executions: Sequence[Execution]
    ) -> PositionRead:
        """Return that the position is flat although *executions* do not say so.

        Raises:
            ReadsDisagree: It is too early to believe it.
        """
        shown = f"nothing is held, and by {len(executions)} executions {open_qty(plan, executions)}"
        if waited() < FLAT_BELIEVED_AFTER:
            raise lookup.ReadsDisagree(plan.symbol, shown)
        log.error("executions_missing", trade_id=plan.trade_id, symbol=plan.symbol, detail=shown)
        return await self.position_read(None)

    async def look_up(self, order: TradeOrder) -> TradeEvents:
        """Ask for the entry, its executions and the position, until they tell one story."""
        plan = order.plan
        deadline, flat_reads = time.monotonic() + READS_LAG, 0
        while True:
            entry = await self.entry(plan)
            position = await self.held(plan)
            flat_reads = flat_reads + 1 if position is None else 0
            executions, funding = await self.history(order)
            agree = fills_shown(plan, entry, executions) and (
                qty_of(position) == open_qty(plan, executions)
            )
            if agree or (time.monotonic() > deadline and flat_reads != 1):
                break
            await asyncio.sleep(POLL)
        events = [*entry_events(plan, entry, executions), *funding]
        # Flat against its executions is told too, else a trade whose end nobody saw never ends:
        # it does not close by that, it settles
        if agree or flat_reads:
            events.append(await self.position_read(position))
        return TradeEvents(events=tuple(events))


def entry_events(
    plan: TradePlan, entry: PlacedOrder | None, executions: Sequence[Execution]
) -> list[TradeEvent]:
    """Return what *entry* and *executions* tell of the trade, in the order of its life."""
    events: list[TradeEvent] = []
    if entry is not None and not entry.came_to_nothing:
        events.append(EntryPlaced(order_id=entry.order_id))
    events += [Executed(execution=e) for e in executions]
    if entry is not None:
        if entry.status.is_terminal and fills_shown(plan, entry, executions):
            events.append(EntryEnded(order_id=entry.order_id, reason=entry.reason))
    elif _is_forgotten(plan, executions):
        events.append(EntryEnded(reason="the exchange shows no such order any more"))
    return events


def _is_forgotten(plan: TradePlan, executions: Sequence[Execution]) -> bool:
    """Return whether no read shows the entry because it ended long ago, without a fill."""
    is_old = datetime.now(UTC) > plan.expires_at + FORGOTTEN_AFTER
    return plan.origin is Origin.SIGNAL and is_old and not executions


def fills_shown(
    plan: TradePlan, entry: PlacedOrder | None, executions: Sequence[Execution]
) -> bool:
    """Return whether *executions* hold all that was filled of *entry*."""
    if entry is None:
        return True
    link = entry_link(plan)
    found = sum((e.qty for e in executions if e.order_link_id == link), Decimal(0))
    return found >= entry.filled


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


def qty_of(position: Position | None) -> Decimal:
    return position.qty if position is not None else Decimal(0)


def open_qty(plan: TradePlan, executions: Sequence[Execution]) -> Decimal:
    """Return what is held if *executions* are all there are."""
    adopted = plan.qty if plan.origin is Origin.ADOPTED else Decimal(0)
    return sum((e.qty * e.side.sign * plan.side.sign for e in executions), adopted)


def waited() -> float:
    """Return for how many seconds the answer has been waited for, over all attempts."""
    return max(0.0, (datetime.now(UTC) - activity.info().scheduled_time).total_seconds())
