"""Orders and positions at Bybit: every activity is safe to repeat."""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import structlog
from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, BybitClient
from activities.entry import DUPLICATE_LINK, READS_LAG, EntryJournal, EntryOrders
from activities.pace import Pace
from activities.parse import PlacedOrder
from activities.pulse import beating
from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.errors import (
    ExitRejected,
    OrderRejected,
    OutcomeUnknown,
    TradewrightError,
)
from tradewright.domain.execution import Execution
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopKept,
    StopMissing,
    StopRefused,
    TargetOrder,
    TargetsPlaced,
    TradeEvent,
    TrailingRefused,
    TrailingSet,
)
from tradewright.ports import ExchangePort, TradeEvents, TradeOrder

log = structlog.get_logger(__name__)

NOTHING_TO_REDUCE = frozenset({110017, 110034})
STOP_UNCHANGED = 34040
STOP_PASSED = frozenset({110092, 110093})
PASSED_TEXT = re.compile(r"expect (falling|rising)|should (be )?(lower|higher|less|greater)", re.I)
"""Of the parameter error, 10001, that a stop beyond the price is refused with."""

POLL = 0.1
STOP_DEADLINE = 5.0
"""Seconds since it was first asked for, however often the question failed meanwhile."""
FLAT_BELIEVED_AFTER = 60.0
"""Seconds for which a position must have read flat against its executions to be believed."""


class BybitExchange(ExchangePort):
    def __init__(self, client: BybitClient, journal: EntryJournal, pace: Pace) -> None:
        self._client = client
        self._pace = pace
        self._entries = EntryOrders(client, journal)

    @activity.defn
    @beating
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        return await self._entries.place(order.plan)

    @activity.defn
    @beating
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        """Read the position back until it shows its stop, or the deadline is over.

        Raises:
            ReadsDisagree: It reads flat, and its executions say that it is held.
        """
        deadline = time.monotonic() + max(0.0, STOP_DEADLINE - _waited())
        # Whoever comes late looks twice: a stop may follow its position by a moment
        was_shown = activity.info().attempt > 1
        while True:
            position = await self._held(order.plan)
            if position is not None and position.stop_loss is not None:
                return StopConfirmed(price=position.stop_loss)
            is_late = time.monotonic() > deadline
            if position is None:
                # A read that lags behind the fill looks the same: the executions tell
                fills = await self._executions(order)
                if fills and _open_qty(order.plan, fills) <= 0:
                    return await self._position_read(None)
                if is_late:
                    return await self._flat_after_all(order.plan, fills)
            elif is_late and was_shown:
                return StopMissing()
            was_shown = position is not None
            await asyncio.sleep(POLL)

    @activity.defn
    @beating
    async def set_stop(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        plan = order.plan
        price = order.price if order.price is not None else plan.stop_loss
        try:
            await self._client.call(
                "set_trading_stop",
                category=LINEAR,
                symbol=plan.symbol,
                positionIdx=0,
                tpslMode="Full",
                stopLoss=parse.text(price),
                slTriggerBy="LastPrice",
            )
        except OrderRejected as e:
            if e.ret_code != STOP_UNCHANGED:
                if await self._held(plan) is None:
                    return await self._position_read(None)
                if e.ret_code in STOP_PASSED or PASSED_TEXT.search(e.ret_msg):
                    reason = f"{e.ret_msg} (retCode {e.ret_code})"
                    standing = await self._held(plan)
                    if order.wished_by and standing is not None and standing.stop_loss is not None:
                        return StopKept(price=standing.stop_loss, reason=reason)
                    return StopRefused(reason=reason)
                raise
        deadline = time.monotonic() + STOP_DEADLINE
        while True:
            position = await self._held(plan)
            if position is not None and position.stop_loss == price:
                return StopConfirmed(price=price)
            if time.monotonic() > deadline:
                if position is None:
                    return await self._position_read(None)
                shown = position.stop_loss
                raise OutcomeUnknown(
                    f"set_trading_stop {plan.symbol}", f"the stop shown is {shown}"
                )
            await asyncio.sleep(POLL)

    @activity.defn
    @beating
    async def set_trailing(self, order: TradeOrder) -> TrailingSet | TrailingRefused | PositionRead:
        plan, trailing = order.plan, order.plan.exits.trailing
        assert trailing is not None  # noqa: S101 - asked for only where it is planned
        active = {} if order.price is None else {"activePrice": parse.text(order.price)}
        try:
            await self._client.call(
                "set_trading_stop",
                category=LINEAR,
                symbol=plan.symbol,
                positionIdx=0,
                tpslMode="Full",
                trailingStop=parse.text(trailing.distance),
                **active,
            )
        except OrderRejected as e:
            if e.ret_code != STOP_UNCHANGED:
                if await self._held(plan) is None:
                    return await self._position_read(None)
                return TrailingRefused(reason=f"{e.ret_msg} (retCode {e.ret_code})")
        return TrailingSet()

    @activity.defn
    @beating
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced | PositionRead:
        placed, faults = [], []
        for target in order.targets:
            try:
                placed.append(await self._place_target(order.plan, target))
            except OrderRejected as e:
                faults.append(str(e))
        return TargetsPlaced(orders=tuple(placed), reason="; ".join(faults))

    async def _place_target(self, plan: TradePlan, target: TargetOrder) -> TargetOrder:
        link = target.order_link_id
        if activity.info().attempt > 1:
            sent = await lookup.fetch_order(self._client, plan.symbol, link)
            if sent is not None:
                return target.model_copy(update={"order_id": sent.order_id})
        try:
            answer = await self._client.call(
                "place_order",
                category=LINEAR,
                symbol=plan.symbol,
                side=plan.side.opposite.value,
                orderType="Limit",
                price=parse.text(target.price),
                qty=parse.text(target.qty),
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=True,
            )
        except OrderRejected as e:
            if e.ret_code != DUPLICATE_LINK:
                raise
            return target
        return target.model_copy(update={"order_id": str(answer["result"]["orderId"])})

    @activity.defn
    @beating
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        link = ids.order_link(order.plan.trade_id, "e", 1)
        await lookup.cancel(self._client, order.plan.symbol, orderLinkId=link)
        return await self._look_up(order)

    @activity.defn
    @beating
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        return await self._look_up(order)

    async def _look_up(self, order: TradeOrder) -> TradeEvents:
        plan = order.plan
        deadline, flat_reads = time.monotonic() + READS_LAG, 0
        while True:
            entry = None
            if plan.origin is Origin.SIGNAL:
                link = ids.order_link(plan.trade_id, "e", 1)
                entry = await lookup.fetch_order(self._client, plan.symbol, link)
            position = await self._held(plan)
            flat_reads = flat_reads + 1 if position is None else 0
            executions = await self._executions(order)
            fills_shown = entry is None or _entry_qty(plan, executions) >= entry.filled
            agree = fills_shown and _qty(position) == _open_qty(plan, executions)
            if agree or (time.monotonic() > deadline and flat_reads != 1):
                break
            await asyncio.sleep(POLL)
        events: list[TradeEvent] = []
        if entry is not None and not entry.came_to_nothing:
            events.append(EntryPlaced(order_id=entry.order_id))
        events += [Executed(execution=e) for e in executions]
        if entry is not None and entry.status.is_terminal and fills_shown:
            events.append(EntryEnded(order_id=entry.order_id, reason=entry.reason))
        # Flat against its executions is told too, else a trade whose end nobody saw never ends:
        # it does not close by that, it settles
        if agree or flat_reads:
            events.append(await self._position_read(position))
        return TradeEvents(events=tuple(events))

    @activity.defn
    @beating
    async def flatten(self, order: TradeOrder) -> ExitSent:
        plan, client = order.plan, self._client
        link = ids.order_link(plan.trade_id, "x", order.number)
        if activity.info().attempt > 1:
            sent = await lookup.fetch_order(client, plan.symbol, link)
            if sent is not None:
                return _exit(link, sent)
        await self._cancel_entry(plan)
        position = await self._held(plan)
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
                qty=parse.text(qty),
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=True,
            )
        except OrderRejected as e:
            if e.ret_code in NOTHING_TO_REDUCE:
                return ExitSent()
            if e.ret_code != DUPLICATE_LINK:
                raise ExitRejected(link, e.ret_code, e.ret_msg) from e
            return _exit(link, await lookup.fetch_order(client, plan.symbol, link))
        return ExitSent(order_link_id=link, order_id=str(answer["result"]["orderId"]), qty=qty)

    async def _cancel_entry(self, plan: TradePlan) -> None:
        if plan.origin is not Origin.SIGNAL:
            return
        link = ids.order_link(plan.trade_id, "e", 1)
        try:
            await lookup.cancel(self._client, plan.symbol, orderLinkId=link)
        except TradewrightError as e:
            # What is held must be closed all the same; `settle` cancels once more
            log.warning("entry_not_cancelled", order_link_id=link, detail=str(e))

    @activity.defn
    @beating
    async def settle(self, order: TradeOrder) -> TradeEvents:
        """Wait for flat, remove what is left of our orders, return every execution found.

        What is held is told after `READS_LAG`, whatever the executions say: it only leads to
        another flatten. Flat ends the trade, so it is told when the executions say so too, or
        when it has been read for `FLAT_BELIEVED_AFTER`.

        Raises:
            ReadsDisagree: It reads flat, and its executions do not say so.
        """
        plan = order.plan
        deadline = time.monotonic() + READS_LAG
        while True:
            position = await self._held(plan)
            executions = await self._executions(order)
            agree = position is None and not _open_qty(plan, executions)
            if agree and not executions:
                # Either nothing was ever filled, or the reads lag
                link = ids.order_link(plan.trade_id, "e", 1)
                entry = await lookup.fetch_order(self._client, plan.symbol, link)
                agree = entry is not None and entry.came_to_nothing
            if agree or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL)
        if position is not None or agree:
            read = await self._position_read(position)
        else:
            read = await self._flat_after_all(plan, executions)
        if position is None:
            await self._cancel_leftovers(plan)
        return TradeEvents(events=(*(Executed(execution=e) for e in executions), read))

    async def _flat_after_all(
        self, plan: TradePlan, executions: Sequence[Execution]
    ) -> PositionRead:
        """Return that the position is flat although *executions* do not say so.

        Raises:
            ReadsDisagree: It is too early to believe it.
        """
        shown = (
            f"nothing is held, and by {len(executions)} executions {_open_qty(plan, executions)}"
        )
        if _waited() < FLAT_BELIEVED_AFTER:
            raise lookup.ReadsDisagree(plan.symbol, shown)
        log.error("executions_missing", trade_id=plan.trade_id, symbol=plan.symbol, detail=shown)
        return await self._position_read(None)

    async def _cancel_leftovers(self, plan: TradePlan) -> None:
        for order in await lookup.fetch_open_orders(self._client, plan.symbol):
            link = ids.parse_link(order.order_link_id)
            if link is not None and link.trade == plan.trade_id:
                await lookup.cancel(self._client, plan.symbol, orderId=order.order_id)

    async def _held(self, plan: TradePlan) -> Position | None:
        """Return what is held on the trade's side; the other side is none of its business."""
        position = await lookup.fetch_position(self._client, plan.symbol)
        return position if position is not None and position.side is plan.side else None

    async def _executions(self, order: TradeOrder) -> tuple[Execution, ...]:
        since, now = order.since or order.plan.trigger, await self._pace.market_now()
        found = await lookup.fetch_executions(self._client, order.plan.symbol, since, now)
        return lookup.executions_of(order.plan, found)

    async def _position_read(self, position: Position | None) -> PositionRead:
        return PositionRead(qty=_qty(position), at=await self._pace.market_now())


def _waited() -> float:
    """Return for how many seconds the answer has been waited for, over all attempts."""
    return max(0.0, (datetime.now(UTC) - activity.info().scheduled_time).total_seconds())


def _exit(link: str, found: PlacedOrder | None) -> ExitSent:
    if found is None:
        return ExitSent(order_link_id=link)
    return ExitSent(order_link_id=link, order_id=found.order_id, qty=found.qty)


def _qty(position: Position | None) -> Decimal:
    return position.qty if position is not None else Decimal(0)


def _entry_qty(plan: TradePlan, executions: Sequence[Execution]) -> Decimal:
    link = ids.order_link(plan.trade_id, "e", 1)
    return sum((e.qty for e in executions if e.order_link_id == link), Decimal(0))


def _open_qty(plan: TradePlan, executions: Sequence[Execution]) -> Decimal:
    """Return what is held if *executions* are all there are."""
    adopted = plan.qty if plan.origin is Origin.ADOPTED else Decimal(0)
    return sum((e.qty * e.side.sign * plan.side.sign for e in executions), adopted)
