"""The entry of a trade: journaled, asked of the gate, sent once."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from temporalio import activity

from activities import lookup, parse
from activities.bybit import LINEAR, BybitClient
from activities.parse import PlacedOrder
from tradewright import ids
from tradewright.domain.errors import (
    ExchangeUnreachable,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    Retry,
    TradewrightError,
)
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import EntryPlaced, EntryRejected

DUPLICATE_LINK = 110072
LEVERAGE_UNCHANGED = 110043
PLAIN_REJECTIONS: Final = frozenset({400, 404, 10001, *range(110001, 110138)}) - {
    # Not documented, or not a word on whether the order was taken
    *(110002, 110030, 110072, 110081, 110084, 110091, 110122, 110133, 110134),
    *range(110126, 110131),
}
"""retCodes of which Bybit documents that the order was not taken; after others it is looked up."""

MOST_MOVED = Decimal("0.5")
"""Share of the distance to the stop by which the price may be worse than planned."""
LOOK_UP_POLL = 0.5
READS_LAG = 3.0
"""How long a read may lag behind a write before it is taken as it is."""
LANDING_MARGIN = timedelta(seconds=2)
"""Beyond recv_window: the second that Bybit allows for clocks, and one for its queues."""


class EntryJournal(Protocol):
    """The part of the journal that an entry depends on."""

    async def append(self, incoming: Sequence[JournalEvent]) -> int: ...
    async def gate(self, account: str) -> Gate | None: ...


class EntryOrders:
    """Places entries; every call is safe to repeat."""

    def __init__(self, client: BybitClient, journal: EntryJournal) -> None:
        self._client = client
        self._journal = journal
        self._leverage: dict[str, Decimal] = {}

    async def place(self, plan: TradePlan) -> EntryPlaced | EntryRejected:
        info = activity.info()
        link = ids.order_link(plan.trade_id, "e", 1)
        try:
            is_first = bool(await self._journal.append([_intent(plan, link)]))
        except TradewrightError:
            # A trade that is in the market already must not wait for the journal
            sent = await lookup.fetch_order(self._client, plan.symbol, link)
            if sent is None:
                raise
            return _entry(sent)
        # Without an intent nothing was sent; else the attempt before this one left its number
        # behind if it surely had sent nothing
        if not is_first and info.attempt - 1 not in info.heartbeat_details:
            sent = await self._resolved(plan.symbol, link)
            if sent is not None:
                return _entry(sent)
        try:
            return await self._enter(plan, link)
        except TradewrightError as e:
            if e.retry is not Retry.ASK_FIRST:
                activity.heartbeat(info.attempt)
            raise

    async def _enter(self, plan: TradePlan, link: str) -> EntryPlaced | EntryRejected:
        """Send an entry of which the exchange has nothing yet."""
        try:
            await self._set_leverage(plan)
            refusal = await self._refusal(plan)
            if refusal is not None:
                return refusal
            stop_and_target = {"stopLoss": parse.text(plan.stop_loss), "slTriggerBy": "LastPrice"}
            if plan.take_profit is not None:
                stop_and_target |= {
                    "takeProfit": parse.text(plan.take_profit),
                    "tpTriggerBy": "LastPrice",
                }
            answer = await self._client.call(
                "place_order",
                category=LINEAR,
                symbol=plan.symbol,
                side=plan.side.value,
                orderType="Market",
                qty=parse.text(plan.qty),
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=False,
                tpslMode="Full",
                **stop_and_target,
            )
        except OrderRejected as e:
            if e.ret_code == DUPLICATE_LINK:
                return await self._duplicate(plan.symbol, link)
            if e.ret_code not in PLAIN_REJECTIONS:
                found = await self._shown(plan.symbol, link)
                if found is not None:
                    return _entry(found)
            return EntryRejected(code=f"bybit_{e.ret_code}", reason=e.ret_msg)
        except KeyRefused as e:
            return EntryRejected(code="key_refused", reason=str(e))
        return EntryPlaced(order_id=str(answer["result"]["orderId"]))

    async def _refusal(self, plan: TradePlan) -> EntryRejected | None:
        """Return why the entry must not be sent now; the last thing that is asked before it.

        Not when the market has moved against the plan, higher for a buy, by more than
        `MOST_MOVED` of the distance to the stop: the size was reckoned from the planned price,
        and so was the risk. Nor when it trades at the stop or beyond it. In a lockstep the
        market stands at the candle's close, which is the planned price.
        """
        last, sign = await lookup.fetch_last_price(self._client, plan.symbol), plan.side.sign
        worse, distance = (last - plan.price) * sign, abs(plan.price - plan.stop_loss)
        if worse > MOST_MOVED * distance or (last - plan.stop_loss) * sign <= 0:
            reason = f"it trades at {last}, planned was {plan.price} with the stop {plan.stop_loss}"
            return EntryRejected(code="price_moved", reason=reason)
        gate = await self._journal.gate(plan.account)
        if gate is not None and gate.state is not GateState.OPEN:
            reason = f"the gate is {gate.state} by {gate.by or 'nobody'}: {gate.reason}"
            return EntryRejected(code="gate_closed", reason=reason)
        now = datetime.now(UTC)
        if now > plan.expires_at:
            late = (now - plan.expires_at).total_seconds()
            return EntryRejected(code="expired", reason=f"{late:.1f} s after {plan.expires_at}")
        return None

    async def _set_leverage(self, plan: TradePlan) -> None:
        if self._leverage.get(plan.symbol) == plan.leverage:
            return
        wanted = parse.text(plan.leverage)
        try:
            await self._client.call(
                "set_leverage",
                category=LINEAR,
                symbol=plan.symbol,
                buyLeverage=wanted,
                sellLeverage=wanted,
            )
        except OrderRejected as e:
            if e.ret_code != LEVERAGE_UNCHANGED:
                raise
        except OutcomeUnknown as e:
            # Of the leverage, not of the order: it is simply set again
            raise ExchangeUnreachable(e.request, str(e)) from e
        self._leverage[plan.symbol] = plan.leverage

    async def _resolved(self, symbol: str, link: str) -> PlacedOrder | None:
        """Return the order that an earlier attempt may have sent; None is conclusive.

        No request of an earlier attempt was signed after this one was scheduled, and the
        exchange takes none whose signature is older than recv_window.
        """
        signed_by = activity.info().current_attempt_scheduled_time
        conclusive_at = signed_by + self._client.recv_window + LANDING_MARGIN
        while True:
            is_conclusive = datetime.now(UTC) > conclusive_at
            found = await lookup.fetch_order(self._client, symbol, link)
            if found is not None or is_conclusive:
                return found
            await asyncio.sleep(LOOK_UP_POLL)

    async def _duplicate(self, symbol: str, link: str) -> EntryPlaced | EntryRejected:
        """Return what became of the order that the exchange says it has."""
        found = await self._shown(symbol, link)
        if found is None:
            raise OutcomeUnknown(f"place_order {link}", "it exists and no read shows it yet")
        return _entry(found)

    async def _shown(self, symbol: str, link: str) -> PlacedOrder | None:
        """Return the order that was just sent if a read shows it as soon as reads show writes.

        Raises:
            OutcomeUnknown: The exchange could not be asked.
        """
        deadline = time.monotonic() + READS_LAG
        while True:
            try:
                found = await lookup.fetch_order(self._client, symbol, link)
            except TradewrightError as e:
                # It was sent, so that no attempt after this one may begin with sending
                raise OutcomeUnknown(f"place_order {link}", str(e)) from e
            if found is not None or time.monotonic() > deadline:
                return found
            await asyncio.sleep(LOOK_UP_POLL)


def _intent(plan: TradePlan, link: str) -> JournalEvent:
    workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
    return JournalEvent(
        event_id=f"{workflow_id}/intent",
        chain=workflow_id,
        kind=EventKind.ENTRY_INTENDED,
        account=plan.account,
        # Of the decision, so that a repeat writes the very same event
        at=plan.decided_at,
        market_at=plan.trigger,
        trade_id=plan.trade_id,
        symbol=plan.symbol,
        preset=plan.preset,
        data={"plan": plan.model_dump(mode="json"), "order_link_id": link},
    )


def _entry(found: PlacedOrder) -> EntryPlaced | EntryRejected:
    if found.came_to_nothing:
        reason = found.reason or "the order ended without a fill"
        return EntryRejected(code=f"bybit_{found.status.lower()}", reason=reason)
    return EntryPlaced(order_id=found.order_id)
