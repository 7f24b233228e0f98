"""Pricing of signals: what a plugin wishes becomes what the account can decide on."""

import math
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from tradewright import ids
from tradewright.domain.market import Instrument, Side
from tradewright.domain.plan import ExitRules, Proposal, Trailing
from tradewright.plugin import Evaluation
from tradewright.preset import Preset

MIN_STOP_TICKS = 2


def propose(
    preset: Preset,
    *,
    preset_hash: str,
    symbol: str,
    evaluation: Evaluation,
    price: Decimal,
    window: str,
    instrument: Instrument,
    close_time: datetime,
) -> Proposal | str:
    """Return the proposal that the preset's rules make of a signal, or why they make none.

    The stop is rounded towards the entry, the target towards it too; the trailing distance to
    the nearest tick. All are reckoned from the candle's close.

    Args:
        preset: Whose rules apply.
        preset_hash: Of that preset.
        symbol: What was looked at.
        evaluation: The plugin's answer; without a signal there is no proposal and no reason.
        price: Close of the candle, the expected entry.
        window: Key of the candles.
        instrument: Of the symbol.
        close_time: Of the candle; market clock.
    """
    signal = evaluation.signal
    if signal is None:
        return ""
    # A factor that is not finite has no JSON and says nothing
    factors = {
        name: value
        for name, value in (evaluation.factors | signal.factors).items()
        if math.isfinite(value)
    }
    sign, tick, exits = signal.side.sign, instrument.tick_size, preset.exits

    distance = exits.stop.distance(price, factors)
    if distance is None:
        return f"{symbol}: no stop: its factor is unknown at {close_time}"
    stop_loss = instrument.protective_price(price - sign * distance, signal.side)
    risk = (price - stop_loss) * sign
    if risk < MIN_STOP_TICKS * tick:
        return f"{symbol}: the stop would be {risk} from {price}, less than {MIN_STOP_TICKS} ticks"
    if stop_loss <= 0:
        return f"{symbol}: the stop would be at {stop_loss}"

    take_profit = None
    if exits.target is not None:
        wished = price + sign * exits.target.r * risk
        nearer = instrument.floor_price if signal.side is Side.BUY else instrument.ceil_price
        take_profit = nearer(wished)
        if take_profit <= 0:
            return f"{symbol}: the target would be at {take_profit}"

    trailing = None
    if exits.trailing is not None:
        follow = exits.trailing.distance(price, factors)
        if follow is None:
            return f"{symbol}: no trailing distance: its factor is unknown at {close_time}"
        ticks = (follow / tick).to_integral_value(ROUND_HALF_UP)
        if ticks < 1:
            return f"{symbol}: the trailing distance would be {follow}, less than a tick"
        trailing = Trailing(after_r=exits.trailing.after_r, distance=ticks * tick)

    return Proposal(
        trade_id=ids.trade_id(preset.account, preset.name, symbol, close_time),
        account=preset.account,
        preset=preset.name,
        preset_hash=preset_hash,
        symbol=symbol,
        signal=signal.model_copy(update={"factors": factors}),
        trigger=close_time,
        price=price,
        stop_loss=stop_loss,
        take_profit=take_profit,
        exits=ExitRules(
            break_even_after_r=exits.break_even.after_r if exits.break_even else None,
            trailing=trailing,
            max_candles=exits.max_candles,
            timeframe=preset.trigger.timeframe,
        ),
        sizing=preset.risk.domain(),
        leverage=preset.risk.leverage,
        max_open_trades=preset.risk.max_open_trades,
        cooldown=preset.cooldown,
        expires_after=preset.entry.expires_after,
        instrument=instrument,
        window=window,
    )
