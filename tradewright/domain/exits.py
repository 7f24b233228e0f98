"""Management of an open trade, from one closed candle: break-even, trailing, time stop.

Stateless on purpose: a stop only ever tightens, so that the best price since the entry need not
be remembered, and whoever holds the trade and the candle comes to the same wish.
"""

from datetime import datetime
from decimal import Decimal

from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Candle, Side
from tradewright.domain.trade import ExitRequested, StopMoved, Trade, TradeState

MIN_STOP_STEP_R = Decimal("0.05")
"""A stop moves only by at least this share of R, so that it is not amended at every tick."""


def manage(trade: Trade, candle: Candle, now: datetime) -> StopMoved | ExitRequested | None:
    """Return what is due for *trade* after *candle* has closed, if anything.

    Args:
        trade: The trade, with its fills and its stop.
        candle: The last closed candle of its symbol.
        now: Market clock: the candle's close time.
    """
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
    return _better_stop(trade, entry, candle)


def _better_stop(trade: Trade, entry: Decimal, candle: Candle) -> StopMoved | ExitRequested | None:
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
    if rules.trailing is not None and gain >= rules.trailing.after_r * unit:
        wishes.append((best - sign * rules.trailing.distance, "trailing"))
    if not wishes:
        return None
    price, reason = max(wishes, key=lambda wish: wish[0] * sign)
    # Away from the price, so that rounding does not bring the stop nearer than asked
    price = (
        plan.instrument.floor_price(price)
        if plan.side is Side.BUY
        else plan.instrument.ceil_price(price)
    )
    current = trade.wanted_stop if trade.wanted_stop is not None else plan.stop_loss
    if (price - current) * sign < MIN_STOP_STEP_R * unit:
        return None
    # The price fell back through it within the candle, where the exchange takes no stop any more
    if (candle.close - price) * sign <= 0:
        return ExitRequested(
            reason=ExitReason.STOP_PASSED, note=f"{reason} stop at {price}", by="manage"
        )
    return StopMoved(price=price, reason=reason)
