"""How a trade leaves the market: the entry withdrawn, what is held closed, the end settled."""

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import structlog
from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, BybitClient
from activities.entry import ABSENCE_BELIEVED_AFTER, DUPLICATE_LINK
from activities.parse import PlacedOrder
from activities.reading import (
    FLAT_BELIEVED_AFTER,
    POLL,
    READS_LAG,
    TradeReads,
    entry_events,
    entry_link,
    fills_shown,
    open_qty,
    waited,
)
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.errors import ExitRejected, OrderRejected, TradewrightError
from tradewright.domain.execution import Execution
from tradewright.domain.plan import LimitEntry, Origin, TradePlan
from tradewright.domain.trade import EntryEnded, EntryPlaced, ExitSent
from tradewright.ports import TradeEvents, TradeOrder

log = structlog.get_logger(__name__)

UNKNOWN_THERE = "the exchange does not know it"
NOTHING_TO_REDUCE = frozenset({110017, 110034})


class Exits:
    def __init__(self, client: BybitClient, reads: TradeReads) -> None:
        self._client = client
        self._reads = reads

    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        """Cancel what is left of the entry, and tell what it came to, its fills among it.

        One that the exchange does not know has ended, once that is believed: whoever might have
        sent it had ended before this was asked for.

        Raises:
            ReadsDisagree: It is not shown as ended yet.
        """
        plan = order.plan
        worked = await lookup.cancel(self._client, plan.symbol, orderLinkId=entry_link(plan))
        deadline = time.monotonic() + READS_LAG
        while True:
            entry = await self._reads.entry(plan)
            is_over = entry is not None and entry.status.is_terminal
            if is_over or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL)
        found = await self._reads.look_up(order)
        events = found.events
        if not any(isinstance(event, EntryEnded) for event in events):
            is_shown = entry is not None or any(isinstance(e, EntryPlaced) for e in events)
            if not (worked or is_shown) and waited() >= ABSENCE_BELIEVED_AFTER.total_seconds():
                return TradeEvents(events=(EntryEnded(reason=UNKNOWN_THERE), *events))
            shown = entry.status if entry is not None else "shown nowhere"
            raise lookup.ReadsDisagree(plan.symbol, f"the entry was cancelled and is {shown}")
        return found

    async def flatten(self, order: TradeOrder) -> ExitSent:
        """Close what the exchange says is held, as far as one market order goes."""
        plan, client = order.plan, self._client
        link = ids.order_link(plan.trade_id, "x", order.number)
        if activity.info().attempt > 1:
            sent = await lookup.fetch_order(client, plan.symbol, link)
            if sent is not None:
                return _exit(link, sent)
        await self._try_to_cancel_entry(plan)
        position = await self._reads.held(plan)
        if position is None:
            return ExitSent()
        qty = min(position.qty, plan.instrument.max_market_qty)
        try:
            answer = await client.call(
                "place_order",
                category=LINEAR,
                symbol=plan.symbol,
                side=plan.side.opposite.value,
                orderType="Market",
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=True,
                **_size(plan, qty),
            )
        except OrderRejected as e:
            if e.ret_code in NOTHING_TO_REDUCE:
                return ExitSent()
            if e.ret_code != DUPLICATE_LINK:
                raise ExitRejected(link, e.ret_code, e.ret_msg) from e
            return _exit(link, await lookup.fetch_order(client, plan.symbol, link))
        return ExitSent(order_link_id=link, order_id=str(answer["result"]["orderId"]), qty=qty)

    async def _try_to_cancel_entry(self, plan: TradePlan) -> None:
        if plan.origin is not Origin.SIGNAL:
            return
        link = entry_link(plan)
        try:
            await lookup.cancel(self._client, plan.symbol, orderLinkId=link)
        except TradewrightError as e:
            # What is held must be closed all the same; `settle` cancels once more
            log.warning("entry_not_cancelled", order_link_id=link, detail=str(e))

    async def settle(self, order: TradeOrder) -> TradeEvents:
        """Wait for flat, remove what is left of our orders, return every execution found.

        What is held is told after `READS_LAG`, whatever the executions say: it only leads to
        another flatten, and takes no order away, for the read may have lagged. Of a position
        that leaves in parts it is told as soon as the executions show the last part. Flat ends the
        trade, so it is told when the executions say so too, or when it has been read for
        `FLAT_BELIEVED_AFTER`; and only after whatever could still be filled was cancelled.

        Raises:
            ReadsDisagree: It reads flat, and its executions do not say so.
        """
        plan, reads = order.plan, self._reads
        deadline, is_cleared = time.monotonic() + READS_LAG, False
        while True:
            position = await reads.held(plan)
            executions, funding = await reads.history(order)
            agree = position is None and not open_qty(plan, executions)
            entry = None
            if position is not None and _is_left(order, position, executions):
                break
            if agree and (not executions or isinstance(plan.entry, LimitEntry)):
                # Either no more was ever filled, or the reads lag
                entry = await reads.entry(plan)
                agree = _is_told(plan, entry, executions)
            if agree and not is_cleared:
                is_cleared = True
                # An entry that rested may have been filled between the read and its cancel
                if await self._clear(order) or isinstance(plan.entry, LimitEntry):
                    continue
            agree = agree and (entry is None or entry.status.is_terminal)
            if agree or time.monotonic() > deadline:
                break
            if waited() > (FLAT_BELIEVED_AFTER if position is None else READS_LAG):
                # Calls that fail now and then must not hold up what has been seen for so long
                break
            await asyncio.sleep(POLL)
        if position is None and not agree:
            read = await reads.flat_after_all(plan, executions)
            if await self._clear(order):
                raise lookup.ReadsDisagree(plan.symbol, "orders worked where nothing is held")
        else:
            read = await reads.position_read(position)
        events = entry_events(plan, entry, executions)
        settled = read.model_copy(update={"settled": True})
        return TradeEvents(events=(*events, *funding, settled))

    async def _clear(self, order: TradeOrder) -> bool:
        """Cancel what could still be filled for the trade; return whether there was anything."""
        plan = order.plan
        found = [
            shown
            for shown in await lookup.fetch_open_orders(self._client, plan.symbol)
            if (named := ids.parse_link(shown.order_link_id)) and named.trade == plan.trade_id
        ]
        for shown in found:
            await lookup.cancel(self._client, plan.symbol, orderId=shown.order_id)
        # By their links too: a list may lag behind what has been resting for long
        links = [target.order_link_id for target in order.targets]
        if isinstance(plan.entry, LimitEntry) and plan.origin is Origin.SIGNAL:
            links.append(entry_link(plan))
        worked = bool(found)
        for link in links:
            worked |= await lookup.cancel(self._client, plan.symbol, orderLinkId=link)
        return worked


def _is_told(plan: TradePlan, entry: PlacedOrder | None, executions: Sequence[Execution]) -> bool:
    """Return whether *executions* hold all that an entry filled which could be filled till now."""
    if plan.origin is not Origin.SIGNAL:
        return True
    return entry is not None and fills_shown(plan, entry, executions)


def _is_left(order: TradeOrder, position: Position, executions: Sequence[Execution]) -> bool:
    """Return whether *position* is what the last exit left, itself as large as may be sent."""
    plan = order.plan
    link = ids.order_link(plan.trade_id, "x", order.number - 1)
    sent = sum((e.qty for e in executions if e.order_link_id == link), Decimal(0))
    return sent >= plan.instrument.max_market_qty and position.qty == open_qty(plan, executions)


def _size(plan: TradePlan, qty: Decimal) -> dict[str, Any]:
    """Return how to ask for *qty*; what is no order of its own is closed as all that is left."""
    instrument = plan.instrument
    if qty < instrument.min_qty or qty % instrument.qty_step:
        return {"qty": "0", "closeOnTrigger": True}
    return {"qty": parse.text(qty)}


def _exit(link: str, found: PlacedOrder | None) -> ExitSent:
    if found is None:
        return ExitSent(order_link_id=link)
    return ExitSent(order_link_id=link, order_id=found.order_id, qty=found.qty)
