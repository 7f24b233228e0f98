"""Management of a trade, from one closed candle: expiry, break-even, trailing, time stop.

Stateless on purpose: a stop only ever tightens, so that the best price since the entry need not
be remembered, and whoever holds the trade and the candle comes to the same wish.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Candle, Side
from tradewright.domain.plan import TrailedBy
from tradewright.domain.trade import (
    EntryExpired,
    ExitRequested,
    RecheckRequested,
    StopMoved,
    Trade,
    TradeState,
)

MIN_STOP_STEP_R = Decimal("0.05")
"""A stop moves only by at least this share of R, so that it is not amended at every tick."""
MIN_STOP_REST = timedelta(minutes=1)
"""A stop that was moved stands for so long, however often and by whomever candles are told of."""

Due = StopMoved | ExitRequested | EntryExpired | RecheckRequested


def manage(trade: Trade, candle: Candle, now: datetime) -> Due | None:
    """Return what is due for *trade* after *candle* has closed, if anything.

    A stop that the exchange trails is left to it.

    Args:
        trade: The trade, with its fills and its stop.
        candle: The last closed candle of its symbol.
        now: Market clock: the candle's close time.
    """
    if due := _due_of_entry(trade, candle, now):
        return due
    entry, opened_at, rules = trade.entry_price, trade.opened_at, trade.plan.exits
    if trade.state is not TradeState.OPEN or entry is None or opened_at is None:
        return None
    if now <= opened_at:
        return None
    if rules.max_candles is not None:
        held = (now - opened_at) / rules.timeframe.length
        if held >= rules.max_candles:
            return ExitRequested(
                reason=ExitReason.TIME_STOP, note=f"{rules.max_candles} candles", by="manage"
            )
    return _better_stop(trade, entry, candle, now)


def _due_of_entry(
    trade: Trade, candle: Candle, now: datetime
) -> EntryExpired | RecheckRequested | None:
    """Return that what is left of the entry is to be cancelled, or None."""
    plan, until = trade.plan, trade.plan.rest_until
    is_placed = trade.state in {TradeState.ENTERING, TradeState.OPEN} and trade.entry_order_id
    if until is None or not is_placed or trade.entry_ended:
        return None
    if trade.entry_expired:
        return RecheckRequested(reason="nothing was heard of the entry's end")
    if now >= until:
        return EntryExpired(reason=f"not filled until {until:%H:%M} UTC")
    goal = plan.targets[0].price if plan.targets else plan.take_profit
    best = candle.high if plan.side is Side.BUY else candle.low
    is_new = candle.open_time >= plan.trigger
    if goal is not None and is_new and (best - goal) * plan.side.sign >= 0:
        return EntryExpired(reason=f"the market went to {goal} without it")
    return None


def _better_stop(
    trade: Trade, entry: Decimal, candle: Candle, now: datetime
) -> StopMoved | ExitRequested | None:
    plan, rules = trade.plan, trade.plan.exits
    unit = abs(plan.price - plan.stop_loss)
    sign = plan.side.sign
    best = candle.high if plan.side is Side.BUY else candle.low
    if trade.opened_at is not None and candle.open_time < trade.opened_at:
        # Its extremes may be older than the trade
        best = candle.close
    gain = (best - entry) * sign
    wishes: list[tuple[Decimal, str]] = []
    if rules.break_even_after_r is not None and gain >= rules.break_even_after_r * unit:
        wishes.append((entry, "break_even"))
    is_ours = trade.trailed_by is not TrailedBy.EXCHANGE
    if rules.trailing is not None and is_ours and gain >= rules.trailing.after_r * unit:
        wishes.append((best - sign * rules.trailing.distance, "trailing"))
    if not wishes:
        return None
    price, reason = max(wishes, key=lambda wish: wish[0] * sign)
    # Away from the price, so that rounding does not bring the stop nearer than asked
    price = plan.instrument.distant_price(price, plan.side)
    current = trade.wanted_stop if trade.wanted_stop is not None else plan.stop_loss
    if (price - current) * sign < MIN_STOP_STEP_R * unit:
        return None
    if trade.stop_moved_at is not None and now < trade.stop_moved_at + MIN_STOP_REST:
        return None
    # The price fell back through it within the candle, where the exchange takes no stop any more
    if (candle.close - price) * sign <= 0:
        return ExitRequested(
            reason=ExitReason.STOP_PASSED, note=f"{reason} stop at {price}", by="manage"
        )
    return StopMoved(price=price, reason=reason, at=now)
