"""Pricing of signals: what a plugin wishes becomes what the account can decide on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from tradewright import ids
from tradewright.domain.account import LeaveWish
from tradewright.domain.market import Instrument, Side
from tradewright.domain.plan import (
    EntryTerms,
    ExitRules,
    LimitEntry,
    MarketEntry,
    Proposal,
    Sizing,
    Target,
    TradePlan,
    Trailing,
)
from tradewright.plugin import Evaluation
from tradewright.preset import Preset
from tradewright.preset.model import (
    BreakEvenAfterGain,
    BreakEvenAfterTarget,
    ByFraction,
    ByIndicator,
    EntryByLimit,
)

MIN_STOP_TICKS = 2


class _NoProposal(Exception):
    """The preset's rules make nothing of the signal; says why."""


def leave_wishes(
    preset: str, preset_hash: str, symbol: str, evaluation: Evaluation
) -> tuple[LeaveWish, ...]:
    """Return which of its own trades on *symbol* a version of the preset wants left."""
    return tuple(
        LeaveWish(
            preset=preset,
            preset_hash=preset_hash,
            symbol=symbol,
            side=wish.side,
            reason=wish.reason,
        )
        for wish in evaluation.exits
    )


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

    The stop is rounded towards the entry, the targets towards it too, a limit away from the
    market; the trailing distance to the nearest tick. All are reckoned from the candle's close,
    or from the limit where there is one.

    Args:
        preset: Whose rules apply.
        preset_hash: Of that preset.
        symbol: What was looked at.
        evaluation: The plugin's answer; without a signal there is no proposal and no reason.
        price: Close of the candle, the expected entry at market.
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
    pricing = _Pricing(preset, factors, signal.side, instrument, close_time)
    try:
        price = pricing.entry(price)
        stop_loss = pricing.stop(price)
        exits, targets, take_profit = pricing.exits(price, stop_loss)
        sizing = pricing.sizing(price)
    except _NoProposal as e:
        return f"{symbol}: {e}"
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
        entry=_terms(preset, close_time),
        targets=targets,
        exits=exits,
        sizing=sizing,
        leverage=preset.risk.leverage,
        max_open_trades=preset.risk.max_open_trades,
        mode=preset.mode,
        scale_by_confidence=preset.risk.scale_by_confidence,
        correlation=preset.risk.correlation and preset.risk.correlation.domain(),
        guards=preset.protections.guards,
        max_slippage_bp=preset.protections.max_slippage_bp,
        cooldown=preset.cooldown,
        expires_after=preset.entry.expires_after,
        instrument=instrument,
        window=window,
    )


def reckon_exits(
    preset: Preset, plan: TradePlan, factors: Mapping[str, float]
) -> tuple[ExitRules, tuple[Target, ...], Decimal | None] | str:
    """Return the exits that *preset* would have given the trade of *plan*, or why it has none.

    They are reckoned from the trade's own entry and stop, as `propose` does for a new one.

    Args:
        preset: Whose rules apply.
        plan: Of the trade.
        factors: Of the preset, at the candle that the trade was decided on.
    """
    known = {name: value for name, value in factors.items() if math.isfinite(value)}
    pricing = _Pricing(preset, known, plan.side, plan.instrument, plan.trigger)
    try:
        return pricing.exits(plan.price, plan.stop_loss)
    except _NoProposal as e:
        return str(e)


def _terms(preset: Preset, close_time: datetime) -> EntryTerms:
    entry = preset.entry
    if not isinstance(entry, EntryByLimit):
        return MarketEntry()
    until = close_time + entry.rest_candles * preset.trigger.timeframe.length
    return LimitEntry(post_only=entry.post_only, rest_until=until)


@dataclass(frozen=True)
class _Pricing:
    """Turns distances that a preset declares into prices of one signal."""

    preset: Preset
    factors: Mapping[str, float]
    side: Side
    instrument: Instrument
    close_time: datetime

    def entry(self, close: Decimal) -> Decimal:
        """Return where the entry is expected: at the close, or at the limit."""
        entry = self.preset.entry
        if not isinstance(entry, EntryByLimit):
            return close
        offset = self._distance(entry.offset, close, "limit") if entry.offset else Decimal(0)
        if offset < 0:
            raise _NoProposal(f"the limit would be {offset} from the close, on its wrong side")
        limit = self.instrument.distant_price(close - self.side.sign * offset, self.side)
        if limit <= 0:
            raise _NoProposal(f"the limit would be at {limit}")
        return limit

    def stop(self, price: Decimal) -> Decimal:
        distance = self._distance(self.preset.exits.stop, price, "stop")
        stop = self.instrument.protective_price(price - self.side.sign * distance, self.side)
        risk = (price - stop) * self.side.sign
        if risk < MIN_STOP_TICKS * self.instrument.tick_size:
            raise _NoProposal(
                f"the stop would be {risk} from {price}, less than {MIN_STOP_TICKS} ticks"
            )
        if stop <= 0:
            raise _NoProposal(f"the stop would be at {stop}")
        return stop

    def exits(
        self, price: Decimal, stop: Decimal
    ) -> tuple[ExitRules, tuple[Target, ...], Decimal | None]:
        """Return the exit rules, the targets before the last, and the take profit."""
        declared, goals = self.preset.exits, self.goals(price, stop)
        milestone = declared.break_even
        rules = ExitRules(
            break_even_after_r=(
                milestone.after_r if isinstance(milestone, BreakEvenAfterGain) else None
            ),
            break_even_after_target=(
                milestone.after_target if isinstance(milestone, BreakEvenAfterTarget) else None
            ),
            trailing=self.trailing(price),
            max_candles=declared.max_candles,
            timeframe=self.preset.trigger.timeframe,
        )
        targets = tuple(
            Target(price=goal, fraction=target.close_fraction)
            for goal, target in zip(goals, declared.ladder, strict=True)
            if target.close_fraction is not None
        )
        return rules, targets, goals[-1] if goals else None

    def goals(self, price: Decimal, stop: Decimal) -> list[Decimal]:
        """Return where the targets are, nearest first."""
        risk = price - stop
        nearer = (
            self.instrument.floor_price if self.side is Side.BUY else self.instrument.ceil_price
        )
        found = [nearer(price + target.r * risk) for target in self.preset.exits.ladder]
        if found and found[-1] <= 0:
            raise _NoProposal(f"the target would be at {found[-1]}")
        return found

    def trailing(self, price: Decimal) -> Trailing | None:
        declared, tick = self.preset.exits.trailing, self.instrument.tick_size
        if declared is None:
            return None
        follow = self._distance(declared, price, "trailing distance")
        ticks = (follow / tick).to_integral_value(ROUND_HALF_UP)
        if ticks < 1:
            raise _NoProposal(f"the trailing distance would be {follow}, less than a tick")
        return Trailing(after_r=declared.after_r, distance=ticks * tick, by=declared.by)

    def sizing(self, price: Decimal) -> Sizing:
        risk = self.preset.risk
        found = risk.measured(price, self.factors, self.preset.trigger.timeframe)
        if found is None:
            raise _NoProposal(f"no size: its factor is unknown at {self.close_time}")
        return found

    def _distance(self, declared: ByIndicator | ByFraction, price: Decimal, what: str) -> Decimal:
        found = declared.distance(price, self.factors)
        if found is None:
            raise _NoProposal(f"no {what}: its factor is unknown at {self.close_time}")
        return found
