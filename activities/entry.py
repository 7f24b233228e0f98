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
from activities.pace import Pace
from activities.parse import PlacedOrder
from activities.pulse import Pulse
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
from tradewright.domain.plan import LimitEntry, Mode, TradePlan
from tradewright.domain.protection import slippage_fault
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
SEND_WITHIN = 5.0
"""Seconds that an entry may wait for its turn once it asks the gate; then it asks again."""
LANDING_MARGIN = timedelta(seconds=2)
"""Beyond recv_window: the second that Bybit allows for clocks, and one for its queues."""
ABSENCE_BELIEVED_AFTER = timedelta(seconds=60)
"""Since something may have been sent, for a trade to end because no read shows its order.

After less the order is sent again under the same link, which the exchange never takes twice; but
a trade that ends asks no more, and reads may lag behind writes.
"""
WOULD_TAKE = "EC_PostOnlyWillTakeLiquidity"


class EntryJournal(Protocol):
    """The part of the journal that an entry depends on."""

    async def append(self, incoming: Sequence[JournalEvent]) -> int: ...
    async def gate(self, account: str) -> Gate | None: ...


class EntryOrders:
    """Places entries; every call is safe to repeat."""

    def __init__(self, client: BybitClient, journal: EntryJournal, pace: Pace) -> None:
        self._client = client
        self._journal = journal
        self._pace = pace
        self._leverage: dict[str, Decimal] = {}

    async def place(self, plan: TradePlan, pulse: Pulse) -> EntryPlaced | EntryRejected:
        """Send the entry of *plan* unless the exchange has it already.

        Raises:
            OutcomeUnknown: It may be there; whoever asks again asks for the same order.
        """
        if plan.mode is not Mode.TRADE:
            return EntryRejected(code="not_in_trade", reason=f"its mode is {plan.mode}")
        attempt = activity.info().attempt
        link = ids.order_link(plan.trade_id, "e", 1)
        sent_by = _sent_by()
        try:
            is_first = bool(await self._journal.append([_intent(plan, link)]))
        except TradewrightError:
            if attempt > 1:
                pulse.note(attempt, sent_by)
            # A trade that is in the market already must not wait for the journal
            found = await lookup.fetch_order(self._client, plan.symbol, link)
            if found is not None:
                return _entry(found)
            raise
        if is_first:
            # Without an intent nothing was sent
            sent_by = None
        if sent_by is not None:
            by = datetime.fromtimestamp(sent_by, UTC)
            try:
                found = await self._resolved(plan.symbol, link, by)
            except TradewrightError:
                # It grows old all the same while nothing can be read
                pulse.note(attempt, sent_by)
                raise
            if found is not None:
                return _entry(found)
        answer: EntryPlaced | EntryRejected | PlacedOrder | None
        try:
            # Late, what is not answered holds up nobody who waits for the entry to end
            answer = _expired(plan) or await self._prepared(plan)
            if answer is None:
                left = (plan.expires_at - datetime.now(UTC)).total_seconds()
                send_by = time.monotonic() + min(SEND_WITHIN, left)
                answer = await self._barred(plan) or await self._send(plan, link, send_by)
        except TradewrightError as e:
            if e.retry is not Retry.ASK_FIRST:
                pulse.note(attempt, sent_by)
            raise
        if isinstance(answer, PlacedOrder):
            return _entry(answer)
        is_in_doubt = sent_by is not None and _age(sent_by) < ABSENCE_BELIEVED_AFTER
        if isinstance(answer, EntryRejected) and is_in_doubt:
            # Of this request; an earlier one may be what takes the margin, and not be shown yet
            pulse.note(attempt, sent_by)
            raise OutcomeUnknown(
                f"place_order {link}", f"no read shows it, and it is not sent again: {answer.code}"
            )
        return answer

    async def _prepared(self, plan: TradePlan) -> EntryRejected | None:
        """Return why nothing is sent, or None when all is as the entry needs it."""
        try:
            await self._set_leverage(plan)
            return await self._refusal(plan)
        except KeyRefused as e:
            return EntryRejected(code="key_refused", reason=str(e))
        except OrderRejected as e:
            return EntryRejected(code=f"bybit_{e.ret_code}", reason=e.ret_msg)

    async def _send(
        self, plan: TradePlan, link: str, send_by: float
    ) -> EntryPlaced | EntryRejected | PlacedOrder:
        """Send an entry of which no read shows anything; return it if one does after all."""
        stop_and_target = {"stopLoss": parse.text(plan.stop_loss), "slTriggerBy": "LastPrice"}
        if plan.take_profit is not None:
            stop_and_target |= {
                "takeProfit": parse.text(plan.take_profit),
                "tpTriggerBy": "LastPrice",
            }
        try:
            answer = await self._client.call_by(
                send_by,
                "place_order",
                category=LINEAR,
                symbol=plan.symbol,
                side=plan.side.value,
                qty=parse.text(plan.qty),
                orderLinkId=link,
                positionIdx=0,
                reduceOnly=False,
                tpslMode="Full",
                **_terms(plan),
                **stop_and_target,
            )
            if isinstance(plan.entry, LimitEntry) and plan.entry.post_only:
                # It is taken first and ended then, if it would have been filled at once
                found = await self._shown(plan.symbol, link)
                if found is not None:
                    return found
        except OrderRejected as e:
            if e.ret_code == DUPLICATE_LINK:
                return await self._duplicate(plan.symbol, link)
            if e.ret_code not in PLAIN_REJECTIONS:
                found = await self._shown(plan.symbol, link)
                if found is not None:
                    return found
            return EntryRejected(code=f"bybit_{e.ret_code}", reason=e.ret_msg)
        except KeyRefused as e:
            return EntryRejected(code="key_refused", reason=str(e))
        return EntryPlaced(order_id=str(answer["result"]["orderId"]))

    async def _refusal(self, plan: TradePlan) -> EntryRejected | None:
        """Return why the market does not want the entry any more."""
        quote = await lookup.fetch_quote(self._client, plan.symbol)
        refusal = _price_refusal(plan, quote)
        if refusal is not None:
            return refusal
        until = plan.rest_until
        if until is not None and await self._pace.market_now() >= until:
            return EntryRejected(code="expired", reason=f"it was to wait until {until}")
        return None

    async def _barred(self, plan: TradePlan) -> EntryRejected | None:
        """Return why nothing may be sent now; the last thing that is asked before it."""
        gate = await self._journal.gate(plan.account)
        if gate is not None and gate.state is not GateState.OPEN:
            reason = f"the gate is {gate.state} by {gate.by or 'nobody'}: {gate.reason}"
            return EntryRejected(code="gate_closed", reason=reason)
        return _expired(plan)

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

    async def _resolved(self, symbol: str, link: str, sent_by: datetime) -> PlacedOrder | None:
        """Return the order that an earlier attempt may have sent; None is conclusive.

        The exchange takes no request whose signature is older than recv_window by its own clock,
        and none was signed after *sent_by*.
        """
        conclusive_at = sent_by + self._client.recv_window + LANDING_MARGIN
        while True:
            # Before the reads, so that what they do not show could have been shown
            by_theirs = await lookup.server_now(self._client)
            is_conclusive = min(by_theirs, datetime.now(UTC)) > conclusive_at
            found = await lookup.fetch_order(self._client, symbol, link)
            if found is not None or is_conclusive:
                return found
            await asyncio.sleep(LOOK_UP_POLL)

    async def _duplicate(self, symbol: str, link: str) -> PlacedOrder:
        """Return the order that the exchange says it has."""
        found = await self._shown(symbol, link)
        if found is None:
            raise OutcomeUnknown(f"place_order {link}", "it exists and no read shows it yet")
        return found

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


def _sent_by() -> float | None:
    """Return until when an earlier attempt may have signed an order; None if surely none has.

    The attempt before this one notes it at its end, unless it does not know itself. None of them
    signed anything after this one was scheduled.
    """
    info = activity.info()
    noted = tuple(info.heartbeat_details)
    if len(noted) == 2 and noted[0] == info.attempt - 1:
        return None if noted[1] is None else float(noted[1])
    return info.current_attempt_scheduled_time.timestamp()


def _age(moment: float) -> timedelta:
    return datetime.now(UTC) - datetime.fromtimestamp(moment, UTC)


def _terms(plan: TradePlan) -> dict[str, str]:
    """Return of which type the entry is."""
    if isinstance(plan.entry, LimitEntry):
        in_force = "PostOnly" if plan.entry.post_only else "GTC"
        return {"orderType": "Limit", "price": parse.text(plan.price), "timeInForce": in_force}
    return {"orderType": "Market"}


def _expired(plan: TradePlan) -> EntryRejected | None:
    late = (datetime.now(UTC) - plan.expires_at).total_seconds()
    if late <= 0:
        return None
    return EntryRejected(code="expired", reason=f"{late:.1f} s after {plan.expires_at}")


def _price_refusal(plan: TradePlan, quote: lookup.Quote) -> EntryRejected | None:
    """Return why the entry must not be sent when the market trades at *quote*.

    Not at the stop or beyond it; and at the market not when the price has moved against the
    plan, higher for a buy, by more than `MOST_MOVED` of the distance to the stop: the size was
    reckoned from the planned price, and so was the risk; nor when what it would pay is worse by
    more than the preset allows. A limit holds its price itself. In a lockstep the market stands
    at the candle's close, which is the planned price.
    """
    sign, last = plan.side.sign, quote.last
    is_limit = isinstance(plan.entry, LimitEntry)
    if (plan.price - plan.stop_loss) * sign <= 0:
        reason = f"the stop {plan.stop_loss} does not protect an entry at {plan.price}"
        return EntryRejected(code="stop_wrong_side", reason=reason)
    worse, most = (last - plan.price) * sign, MOST_MOVED * abs(plan.price - plan.stop_loss)
    if (not is_limit and worse > most) or (last - plan.stop_loss) * sign <= 0:
        reason = f"it trades at {last}, planned was {plan.price} with the stop {plan.stop_loss}"
        return EntryRejected(code="price_moved", reason=reason)
    limit = None if is_limit else plan.max_slippage_bp
    if slipped := slippage_fault(limit, plan.side, plan.price, quote.bid, quote.ask):
        return EntryRejected(code="slippage_too_large", reason=slipped)
    return None


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
        if found.reason == WOULD_TAKE:
            return EntryRejected(code="post_only_would_take", reason=reason)
        return EntryRejected(code=f"bybit_{found.status.lower()}", reason=reason)
    return EntryPlaced(order_id=found.order_id)
