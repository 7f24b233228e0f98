"""A virtual trade: what the exchange would have done, told from the prices alone. Pure.

The same reducer as every trade's; only who answers its commands differs. What the prices do not
say is counted against the trade: of a stop and a target within one candle the stop comes first,
a waiting entry fills only when the price has gone through it, and takers pay the spread.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, assert_never

from pydantic import AwareDatetime, Field

from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.exits import manage
from tradewright.domain.gate import GateState
from tradewright.domain.market import Candle, Price, Side, Value
from tradewright.domain.plan import FeeRates, LimitEntry, TradePlan
from tradewright.domain.trade import (
    Command,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    Funded,
    PositionRead,
    StopConfirmed,
    StopRefused,
    TargetsPlaced,
    Trade,
    TradeEvent,
    TradeState,
    TrailingRefused,
    due,
)

UNTIERED: Final = FeeRates()
PROMPT: Final = timedelta(seconds=15)
"""So late into a candle an entry may come for all of it to count as after the entry."""


class Quote(Value):
    """What one may buy and sell at, at one moment."""

    bid: Price
    ask: Price
    at: AwareDatetime = Field(description="Market clock.")

    def taken(self, side: Side) -> Decimal:
        """Return what an order on *side* pays at once."""
        return self.ask if side is Side.BUY else self.bid


class FundingRate(Value):
    """What was due for holding a symbol at one moment."""

    at: AwareDatetime = Field(description="Market clock.")
    rate: Decimal = Field(description="Of the position's value; above zero, who is long pays.")
    price: Price = Field(description="The mark price, which the position is valued at.")


class Change(NamedTuple):
    """One event of a virtual trade, and what it made of it."""

    event: TradeEvent
    before: Trade
    after: Trade


def lived(trade: Trade, events: Iterable[TradeEvent], quote: Quote) -> tuple[Change, ...]:
    """Return all that *events* bring about: each command that falls due is answered at once.

    Args:
        trade: As it stands.
        events: In their order; what the trade cannot take is passed over.
        quote: What orders are answered by.
    """
    inbox = deque(events)
    changes: list[Change] = []
    while inbox:
        event = inbox.popleft()
        try:
            after = trade.after(event)
        except IllegalTransition:
            continue
        if after is trade:
            continue
        changes.append(Change(event, trade, after))
        commands, trade = due(trade, after), after
        for command in commands:
            inbox.extend(_performed(command, trade, quote))
    return tuple(changes)


def too_late(plan: TradePlan, now: datetime, market_now: datetime) -> EntryRejected | None:
    """Return that the entry of *plan* is not made any more, as none would be sent; None if it is.

    Args:
        plan: Of the trade that has not begun.
        now: Wall clock.
        market_now: Market clock.
    """
    if now > plan.expires_at:
        return EntryRejected(code="expired", reason=f"it is after {plan.expires_at}")
    if plan.rest_until is not None and market_now >= plan.rest_until:
        return EntryRejected(code="expired", reason=f"it was to wait until {plan.rest_until}")
    return None


def followed(trade: Trade, candle: Candle, close: datetime) -> tuple[Change, ...]:
    """Return what one more candle makes of the trade: fills first, then its management.

    Args:
        trade: As it stands.
        candle: Of its symbol.
        close: When the candle closed; market clock.
    """
    changes: list[Change] = []
    quote = Quote(bid=candle.close, ask=candle.close, at=close)

    def take(event: TradeEvent | None) -> bool:
        found = lived(changes[-1].after if changes else trade, [event] if event else [], quote)
        changes.extend(found)
        return bool(found)

    take(_entry_filled(trade, candle, close))
    # One that is moved within the candle is not met by what came before
    stop = trade.stop if trade.stop is not None else trade.plan.stop_loss
    while take(_left(changes[-1].after if changes else trade, candle, close, stop)):
        continue
    take(manage(changes[-1].after if changes else trade, candle, close))
    return tuple(changes)


def funding_since(trade: Trade, paid: datetime | None, until: datetime) -> datetime | None:
    """Return since when funding may have been due to the trade; None if it cannot have been.

    Args:
        trade: As it stands.
        paid: When it was counted last.
        until: Market clock. Funding is due at whole hours, not necessarily at each.
    """
    last = paid or trade.opened_at
    if last is None or trade.state is not TradeState.OPEN:
        return None
    is_due = until.replace(minute=0, second=0, microsecond=0) > last
    return last + timedelta(seconds=1) if is_due else None


def funded(trade: Trade, due_then: FundingRate) -> Funded | None:
    """Return what the trade pays or receives for what it holds; None if it held nothing then."""
    opened, plan = trade.opened_at, trade.plan
    if trade.state is not TradeState.OPEN or opened is None or due_then.at <= opened:
        return None
    value = trade.open_qty * due_then.price
    return Funded(
        exec_id=f"{plan.trade_id}-f{int(due_then.at.timestamp())}",
        amount=-plan.side.sign * value * due_then.rate,
        at=due_then.at,
    )


def rehearsed_desk(own: Account, real: Account, now: datetime) -> Account:
    """Return the desk that decides on a virtual trade: the account's equity, and no other trades.

    What keeps the real desk from knowing the market keeps this one, too, and what was lifted of a
    preset's guards is lifted here; its gate, its pauses, the streak that leads to them and what it
    holds do not matter.

    Args:
        own: What the preset's virtual trades have come to.
        real: The desk of the account.
        now: Wall clock.
    """
    snapshot = real.snapshot
    return own.model_copy(
        update={
            "gate": GateState.OPEN,
            "reconciled_at": max(now, own.started_at),
            "is_rebuilt": True,
            # Nobody here would pause for a streak, and begin to count anew
            "losses": 0,
            "lifts": real.lifts,
            "snapshot": snapshot.model_copy(update={"positions": ()}) if snapshot else None,
            "channels": real.channels,
            "position_mode": real.position_mode,
            "margin_mode": real.margin_mode,
        }
    )


def _performed(command: Command, trade: Trade, quote: Quote) -> Sequence[TradeEvent]:
    """Return what the exchange would answer, by the price alone."""
    match command:
        case Command.PLACE_ENTRY:
            return _entered(trade, quote)
        case Command.CANCEL_ENTRY:
            return [EntryEnded(order_id=trade.entry_order_id, reason="cancelled")]
        case Command.VERIFY_STOP:
            stop = trade.wanted_stop if trade.wanted_stop is not None else trade.plan.stop_loss
            return [StopConfirmed(price=stop, asked=trade.stops_set)]
        case Command.SET_STOP:
            return [_stop_set(trade, quote)]
        case Command.SET_TRAILING:
            return [TrailingRefused(reason="a virtual stop is moved at closed candles")]
        case Command.PLACE_TARGETS:
            return [TargetsPlaced(orders=trade.target_orders(trade.next_leg))]
        case Command.FLATTEN:
            return _flattened(trade, quote)
        case Command.LOOK_UP:
            return [PositionRead(qty=max(trade.open_qty, Decimal(0)), at=quote.at)]
        case Command.SETTLE:
            held = max(trade.open_qty, Decimal(0))
            return [PositionRead(qty=held, at=quote.at, settled=True)]
        case _:
            assert_never(command)


def _entered(trade: Trade, quote: Quote) -> Sequence[TradeEvent]:
    plan = trade.plan
    link = ids.order_link(plan.trade_id, "e", 1)
    price = quote.taken(plan.side)
    if isinstance(plan.entry, LimitEntry):
        if (plan.price - price) * plan.side.sign < 0:
            return [EntryPlaced(order_id=link)]
        if plan.entry.post_only:
            return [EntryRejected(code="post_only", reason=f"{plan.price} would take from {price}")]
    if (price - plan.stop_loss) * plan.side.sign <= 0:
        return [EntryRejected(code="stop_passed", reason=f"the price is {price} already")]
    return [
        EntryPlaced(order_id=link),
        _fill(trade, plan.side, price, plan.qty, quote.at, link=link),
    ]


def _stop_set(trade: Trade, quote: Quote) -> StopConfirmed | StopRefused:
    stop = trade.wanted_stop if trade.wanted_stop is not None else trade.plan.stop_loss
    price = quote.taken(trade.plan.side.opposite)
    if (price - stop) * trade.plan.side.sign <= 0:
        return StopRefused(reason=f"the price is {price}, beyond a stop at {stop}")
    return StopConfirmed(price=stop, asked=trade.stops_set)


def _flattened(trade: Trade, quote: Quote) -> Sequence[TradeEvent]:
    out, held = trade.plan.side.opposite, trade.open_qty
    ended = () if trade.entry_ended else (EntryEnded(order_id=trade.entry_order_id),)
    if held <= 0:
        return [*ended, ExitSent(), PositionRead(qty=Decimal(0), at=quote.at)]
    link = ids.order_link(trade.plan.trade_id, "x", trade.next_leg)
    fill = _fill(trade, out, quote.taken(out), held, quote.at, link=link)
    return [*ended, ExitSent(order_link_id=link, order_id=link, qty=held), fill]


def _entry_filled(trade: Trade, candle: Candle, close: datetime) -> TradeEvent | None:
    """Return the fill of an entry that waits, if the price has gone through it."""
    plan = trade.plan
    if not trade.is_resting or candle.open_time < plan.trigger:
        return None
    worst = candle.low if plan.side is Side.BUY else candle.high
    if (plan.price - worst) * plan.side.sign <= 0:
        return None
    link = ids.order_link(plan.trade_id, "e", 1)
    return _fill(trade, plan.side, plan.price, plan.qty, close, link=link, is_maker=True)


def _left(trade: Trade, candle: Candle, close: datetime, stop: Decimal) -> TradeEvent | None:
    """Return the next thing by which the position would be reduced within the candle."""
    plan = trade.plan
    if trade.state is not TradeState.OPEN or trade.open_qty <= 0 or trade.opened_at is None:
        return None
    out, sign = plan.side.opposite, plan.side.sign
    # An entry that filled within the candle: its low came after, whatever its high did
    entered_within = trade.opened_at == close
    if not entered_within and trade.opened_at > candle.open_time + PROMPT:
        best = worst = candle.close
    else:
        best, worst = (
            (candle.high, candle.low) if plan.side is Side.BUY else (candle.low, candle.high)
        )
    if entered_within:
        best = candle.close
    if (worst - stop) * sign <= 0:
        # The price may have leapt over it between two candles
        has_leapt = not entered_within and (candle.open - stop) * sign < 0
        price = candle.open if has_leapt else stop
        return _fill(trade, out, price, trade.open_qty, close, cause=ExitReason.STOP)
    for target in trade.targets:
        left = min(target.qty - trade.filled(target.order_link_id), trade.open_qty)
        if left > 0 and (best - target.price) * sign >= 0:
            link = target.order_link_id
            return _fill(trade, out, target.price, left, close, link=link, is_maker=True)
    goal = plan.take_profit
    if goal is not None and (best - goal) * sign >= 0:
        return _fill(trade, out, goal, trade.open_qty, close, cause=ExitReason.TARGET)
    return None


def _fill(
    trade: Trade,
    side: Side,
    price: Decimal,
    qty: Decimal,
    at: datetime,
    *,
    is_maker: bool = False,
    link: str = "",
    cause: ExitReason | None = None,
) -> Executed:
    number = len(trade.executions) + 1
    plan = trade.plan
    fees = plan.fees or UNTIERED
    return Executed(
        execution=Execution(
            exec_id=f"{plan.trade_id}-s{number}",
            seq=number,
            order_id=link or f"{plan.trade_id}-position",
            order_link_id=link,
            symbol=plan.symbol,
            side=side,
            price=price,
            qty=qty,
            fee=price * qty * (fees.maker if is_maker else fees.taker),
            at=at,
            is_maker=is_maker,
            cause=cause,
        )
    )
