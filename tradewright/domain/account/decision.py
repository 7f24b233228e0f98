"""The decision on a proposal: a plan, or the first reason why not."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from tradewright.domain.account.desk import Account, last_minute
from tradewright.domain.account.limits import Limits
from tradewright.domain.account.monitor import breach
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.gate import GateState
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.size import TooSmall, order_size

SNAPSHOT_MAX_AGE = timedelta(seconds=90)


class Approved(Value):
    kind: Literal["approved"] = "approved"
    plan: TradePlan


class Refused(Value):
    kind: Literal["refused"] = "refused"
    code: RefusalCode
    reason: str


Decision = Annotated[Approved | Refused, Field(discriminator="kind")]


def decide(proposal: Proposal, account: Account, limits: Limits, now: datetime) -> Decision:
    """Return the plan that *proposal* may become, or the first reason why not.

    Pure. A proposal that was approved before gets the same plan again.

    Args:
        proposal: The wish, with prices and rules.
        account: The desk as it stands.
        limits: The account's limits.
        now: Wall clock.
    """
    held = account.reservation(proposal.trade_id)
    if held is not None:
        return Approved(plan=held.plan)
    refusal = _standing_refusal(proposal, account, limits, now)
    if refusal is not None:
        return refusal
    snapshot = account.snapshot
    assert snapshot is not None  # noqa: S101 - SNAPSHOT_STALE has returned otherwise
    size = order_size(
        sizing=proposal.sizing,
        equity=snapshot.equity,
        price=proposal.price,
        stop_loss=proposal.stop_loss,
        confidence=proposal.signal.confidence,
        max_notional=limits.max_position_notional,
        instrument=proposal.instrument,
    )
    if isinstance(size, TooSmall):
        return Refused(code=RefusalCode.BELOW_MINIMUM, reason=size.reason)
    reserved = {r.plan.symbol for r in account.reservations}
    exposure = sum((r.plan.notional for r in account.reservations), size * proposal.price)
    exposure += sum(p.notional for p in snapshot.positions if p.symbol not in reserved)
    if exposure > limits.max_leverage * snapshot.equity:
        return Refused(
            code=RefusalCode.MAX_LEVERAGE,
            reason=f"open notional would be {exposure:.2f}, more than {limits.max_leverage} times "
            f"the equity of {snapshot.equity:.2f}",
        )
    return Approved(
        plan=TradePlan(
            trade_id=proposal.trade_id,
            account=proposal.account,
            preset=proposal.preset,
            preset_hash=proposal.preset_hash,
            symbol=proposal.symbol,
            side=proposal.signal.side,
            qty=size,
            price=proposal.price,
            stop_loss=proposal.stop_loss,
            take_profit=proposal.take_profit,
            exits=proposal.exits,
            leverage=min(proposal.leverage, proposal.instrument.max_leverage),
            instrument=proposal.instrument,
            reason=proposal.signal.reason,
            factors=proposal.signal.factors,
            market=proposal.market,
            trigger=proposal.trigger,
            decided_at=now,
            expires_at=now + proposal.expires_after,
            cooldown=proposal.cooldown,
        )
    )


def _standing_refusal(
    proposal: Proposal, account: Account, limits: Limits, now: datetime
) -> Refused | None:
    """Return the refusal that follows from the desk alone, whatever the size would be."""

    def refused(code: RefusalCode, reason: str) -> Refused:
        return Refused(code=code, reason=reason)

    code, snapshot, symbol = RefusalCode, account.snapshot, proposal.symbol
    if account.gate is not GateState.OPEN:
        return refused(code.GATE_CLOSED, f"the gate is {account.gate}: {account.gate_reason}")
    if proposal.trade_id in account.done:
        return refused(code.ALREADY_TRADED, f"trade {proposal.trade_id} has ended already")
    if account.reconciled_at is None or account.reconciled_at < account.started_at:
        return refused(code.NOT_RECONCILED, "no reconciliation has finished since the desk started")
    if snapshot is None or now - snapshot.at > SNAPSHOT_MAX_AGE:
        age = "none" if snapshot is None else f"{(now - snapshot.at).total_seconds():.0f} s old"
        return refused(code.SNAPSHOT_STALE, f"the account snapshot is {age}")
    if block := next((b for b in account.blocks if b.symbol == symbol), None):
        return refused(code.SYMBOL_BLOCKED, block.reason)
    if holder := next((r for r in account.reservations if r.plan.symbol == symbol), None):
        return refused(code.SYMBOL_TAKEN, f"trade {holder.plan.trade_id} holds {symbol}")
    if foreign := next((p for p in snapshot.positions if p.symbol == symbol), None):
        return refused(
            code.SYMBOL_TAKEN, f"a position of {foreign.qty} {symbol} is held by no trade of ours"
        )
    for rest in account.cooldowns:
        if (rest.preset, rest.symbol) == (
            proposal.preset,
            symbol,
        ) and rest.until > proposal.trigger:
            return refused(code.COOLDOWN, f"{proposal.preset} rests on {symbol} until {rest.until}")
    if len(account.reservations) >= limits.max_open_trades:
        return refused(
            code.MAX_OPEN_TRADES, f"{len(account.reservations)} trades are open, as many as allowed"
        )
    own = sum(r.plan.preset == proposal.preset for r in account.reservations)
    if own >= proposal.max_open_trades:
        return refused(
            code.PRESET_MAX_OPEN_TRADES, f"{own} trades of {proposal.preset} are open, its limit"
        )
    if len(last_minute(account.entries, proposal.trigger)) >= limits.max_orders_per_minute:
        return refused(
            code.MAX_ORDERS_PER_MINUTE,
            f"{limits.max_orders_per_minute} entries in the last minute, as many as allowed",
        )
    if reason := breach(account, limits):
        return refused(code.MAX_DAILY_LOSS, reason)
    gain_side = (proposal.price - proposal.stop_loss) * proposal.signal.side.sign
    if gain_side <= 0:
        return refused(
            code.STOP_WRONG_SIDE,
            f"a stop at {proposal.stop_loss} does not protect a {proposal.signal.side} at "
            f"{proposal.price}",
        )
    return None
