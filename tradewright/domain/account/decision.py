"""The decision on a proposal: a plan, or the first reason why not."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from math import prod
from typing import Annotated, Final, Literal

from pydantic import Field

from tradewright.domain.account.desk import Account
from tradewright.domain.account.guard import rests
from tradewright.domain.account.limits import Limits, PositionMode
from tradewright.domain.account.monitor import breaches
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.gate import GateState
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.size import TooSmall, order_size

SNAPSHOT_MAX_AGE: Final = Limits().max_snapshot_age
"""Unless the settings say otherwise."""


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
    alike = tuple(_moving_alike(proposal, account))
    # No power: zero to the zeroth is not one to a Decimal
    share = prod((each for _, each in alike), start=Decimal(1))
    size = order_size(
        sizing=proposal.sizing,
        equity=snapshot.equity,
        price=proposal.price,
        stop_loss=proposal.stop_loss,
        confidence=proposal.signal.confidence if proposal.scale_by_confidence else Decimal(1),
        share=share,
        max_notional=limits.max_position_notional,
        min_notional=limits.min_order_notional,
        instrument=proposal.instrument,
    )
    if isinstance(size, TooSmall) and alike:
        return Refused(code=RefusalCode.CORRELATED, reason=_told(size.reason, share, alike))
    if isinstance(size, TooSmall):
        return Refused(code=RefusalCode.BELOW_MINIMUM, reason=size.reason)
    risk = abs(proposal.price - proposal.stop_loss) * size
    refusal = _portfolio_refusal(account, limits, size * proposal.price, risk)
    if refusal is not None:
        return refusal
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
            entry=proposal.entry,
            targets=proposal.targets,
            exits=proposal.exits,
            leverage=min(proposal.leverage, proposal.instrument.max_leverage),
            instrument=proposal.instrument,
            reason=_told(proposal.signal.reason, share, alike),
            factors=proposal.signal.factors,
            market=proposal.market,
            trigger=proposal.trigger,
            decided_at=now,
            expires_at=now + proposal.expires_after,
            cooldown=proposal.cooldown,
            guards=proposal.guards,
            max_slippage_bp=proposal.max_slippage_bp,
            mode=proposal.mode,
        )
    )


def _told(reason: str, share: Decimal, alike: Sequence[tuple[str, Decimal]]) -> str:
    """Return *reason*, and what of the size is left where others move alike."""
    if not alike:
        return reason
    others = ", ".join(symbol for symbol, _ in alike)
    return f"{reason} (it moves as {others}: of the size {share:f} is left)"


def _moving_alike(proposal: Proposal, account: Account) -> Iterator[tuple[str, Decimal]]:
    """Yield the open trades that gain and lose when the proposed one would, and what each leaves.

    One whose correlation is unknown counts: what cannot be measured is not diversified.
    """
    cap = proposal.correlation
    if cap is None:
        return
    for held in account.reservations:
        known = proposal.correlations.get(held.plan.symbol)
        same_way = proposal.signal.side.sign * held.plan.side.sign
        if known is None or Decimal(repr(known)) * same_way > cap.max:
            yield held.plan.symbol, cap.share


def _portfolio_refusal(
    account: Account, limits: Limits, notional: Decimal, risk: Decimal
) -> Refused | None:
    """Return why an entry of that size does not fit beside what is open."""
    snapshot = account.snapshot
    assert snapshot is not None  # noqa: S101 - as above
    exposure, heat, equity = account.exposure + notional, account.heat + risk, snapshot.equity
    if exposure > limits.max_leverage * equity:
        return Refused(
            code=RefusalCode.MAX_LEVERAGE,
            reason=f"open notional would be {exposure:.2f}, more than {limits.max_leverage} times "
            f"the equity of {equity:.2f}",
        )
    if exposure > limits.max_total_exposure:
        return Refused(
            code=RefusalCode.MAX_TOTAL_EXPOSURE,
            reason=f"open notional would be {exposure:.2f}, more than {limits.max_total_exposure}",
        )
    if heat > limits.max_heat_fraction * equity:
        return Refused(
            code=RefusalCode.MAX_HEAT,
            reason=f"all stops together would lose {heat:.2f}, more than "
            f"{limits.max_heat_fraction:.2%} of the equity of {equity:.2f}",
        )
    return None


def _standing_refusal(
    proposal: Proposal, account: Account, limits: Limits, now: datetime
) -> Refused | None:
    """Return the refusal that follows from the desk alone, whatever the size would be."""
    found = next(_standing(proposal, account, limits, now), None)
    return None if found is None else Refused(code=found[0], reason=found[1])


def _standing(
    proposal: Proposal, account: Account, limits: Limits, now: datetime
) -> Iterator[tuple[RefusalCode, str]]:
    """Yield all that speaks against an entry, the gravest first."""
    code = RefusalCode
    if account.gate is not GateState.OPEN:
        yield code.GATE_CLOSED, f"the gate is {account.gate}: {account.gate_reason}"
    if proposal.trade_id in account.done:
        yield code.ALREADY_TRADED, f"trade {proposal.trade_id} has ended already"
    yield from _unready(account, limits, now)
    yield from _symbol_held(proposal.symbol, account)
    if pause := account.paused(proposal.trigger):
        yield code.PAUSED, f"until {pause.until} (market time): {pause.reason}"
    for rest in account.cooldowns:
        ours = (rest.preset, rest.symbol) == (proposal.preset, proposal.symbol)
        if ours and rest.until > proposal.trigger:
            yield code.COOLDOWN, f"{proposal.preset} rests on {rest.symbol} until {rest.until}"
    equity = account.snapshot.equity if account.snapshot else Decimal(0)
    yield from rests(proposal, account.results_of(proposal.preset), account.lifts, equity)
    if len(account.reservations) >= limits.max_open_trades:
        yield (
            code.MAX_OPEN_TRADES,
            f"{len(account.reservations)} trades are open, as many as allowed",
        )
    own = len(account.held_of(proposal.preset))
    if own >= proposal.max_open_trades:
        yield code.PRESET_MAX_OPEN_TRADES, f"{own} trades of {proposal.preset} are open, its limit"
    if account.orders_last_minute(proposal.trigger) >= limits.max_orders_per_minute:
        yield (
            code.MAX_ORDERS_PER_MINUTE,
            f"{limits.max_orders_per_minute} entries in the last minute, as many as allowed",
        )
    for found in breaches(account, limits, now):
        yield found.code, found.reason
    if (proposal.price - proposal.stop_loss) * proposal.signal.side.sign <= 0:
        yield (
            code.STOP_WRONG_SIDE,
            f"a stop at {proposal.stop_loss} does not protect a {proposal.signal.side} at "
            f"{proposal.price}",
        )


def _unready(account: Account, limits: Limits, now: datetime) -> Iterator[tuple[RefusalCode, str]]:
    """Yield what keeps the desk from knowing what it does."""
    code, snapshot = RefusalCode, account.snapshot
    if account.reconciled_at is None or account.reconciled_at < account.started_at:
        yield code.NOT_RECONCILED, "no reconciliation has finished since the desk started"
    elif (age := now - account.reconciled_at) > limits.max_reconciliation_age:
        yield code.NOT_RECONCILED, f"the last reconciliation is {age.total_seconds():.0f} s old"
    if snapshot is None:
        yield code.SNAPSHOT_STALE, "the account snapshot is none"
        return
    if (age := now - snapshot.at) > limits.max_snapshot_age:
        yield code.SNAPSHOT_STALE, f"the account snapshot is {age.total_seconds():.0f} s old"
    if snapshot.past_fault and not account.is_rebuilt:
        yield code.HISTORY_UNREAD, f"the journal was not read yet: {snapshot.past_fault}"
    for channel in account.channels:
        is_dead = channel.name == "private" and now - channel.since >= limits.stream_dead_after
        found = code.STREAM_DEAD if is_dead else code.STALE_DATA
        yield found, f"the {channel.name} stream is degraded: {channel.fault}"
    if account.position_mode is PositionMode.HEDGE:
        yield code.POSITION_MODE, "the account is in hedge mode; switch it to one-way mode at Bybit"
    if not account.is_margin_allowed(limits):
        allowed = ", ".join(limits.margin_modes)
        yield code.MARGIN_MODE, f"the margin mode is {account.margin_mode}, allowed is {allowed}"


def _symbol_held(symbol: str, account: Account) -> Iterator[tuple[RefusalCode, str]]:
    code, snapshot = RefusalCode, account.snapshot
    for block in account.blocks:
        if block.symbol == symbol:
            yield code.SYMBOL_BLOCKED, block.reason
    for holder in account.reservations:
        if holder.plan.symbol == symbol:
            yield code.SYMBOL_TAKEN, f"trade {holder.plan.trade_id} holds {symbol}"
    for position in snapshot.positions if snapshot else ():
        if position.symbol == symbol:
            yield (
                code.SYMBOL_TAKEN,
                f"a position of {position.qty} {symbol} is held by no trade of ours",
            )
    for doubt in account.unresolved:
        if doubt.symbol == symbol and not doubt.over:
            yield (
                code.SYMBOL_UNRESOLVED,
                f"the outcome of order {doubt.order_link_id} is unknown since {doubt.since}",
            )
