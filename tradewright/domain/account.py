"""The desk of one account: who holds what risk, and the decision on every proposal."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tradewright.domain.gate import GateState
from tradewright.domain.market import Side, Symbol, Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.size import TooSmall, order_size

SNAPSHOT_MAX_AGE = timedelta(seconds=90)
REMEMBERED_TRADES = 500


class Limits(Value):
    """Account-wide limits that every new trade must respect."""

    max_open_trades: int = Field(default=5, ge=1)
    max_position_notional: Decimal = Field(
        default=Decimal(5_000), gt=0, description="USDT; larger entries are cut down to it."
    )
    max_leverage: Decimal = Field(
        default=Decimal(3), gt=0, description="All open notional over equity."
    )
    max_orders_per_minute: int = Field(default=10, ge=1, description="Entries, market clock.")
    max_daily_loss_fraction: Decimal = Field(
        default=Decimal("0.05"),
        gt=0,
        le=1,
        description="Of the day's first equity (UTC, market clock); trips the kill switch.",
    )


class RefusalCode(StrEnum):
    """Why an entry was not made; stable, and documented one by one."""

    GATE_CLOSED = "gate_closed"
    NOT_RECONCILED = "not_reconciled"
    SNAPSHOT_STALE = "snapshot_stale"
    SYMBOL_BLOCKED = "symbol_blocked"
    SYMBOL_TAKEN = "symbol_taken"
    ALREADY_TRADED = "already_traded"
    COOLDOWN = "cooldown"
    MAX_OPEN_TRADES = "max_open_trades"
    PRESET_MAX_OPEN_TRADES = "preset_max_open_trades"
    MAX_LEVERAGE = "max_leverage"
    MAX_ORDERS_PER_MINUTE = "max_orders_per_minute"
    MAX_DAILY_LOSS = "max_daily_loss"
    BELOW_MINIMUM = "below_minimum"
    STOP_WRONG_SIDE = "stop_wrong_side"


class Approved(Value):
    kind: Literal["approved"] = "approved"
    plan: TradePlan


class Refused(Value):
    kind: Literal["refused"] = "refused"
    code: RefusalCode
    reason: str


Decision = Annotated[Approved | Refused, Field(discriminator="kind")]


class Position(Value):
    """What the exchange says is held in one symbol."""

    symbol: Symbol
    side: Side
    qty: Decimal = Field(gt=0)
    entry_price: Decimal
    mark_price: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    unrealised_pnl: Decimal = Decimal(0)
    leverage: Decimal = Decimal(1)
    created_at: AwareDatetime | None = None

    @property
    def notional(self) -> Decimal:
        return self.qty * self.mark_price


class Snapshot(Value):
    """The account as the exchange shows it at one moment."""

    at: AwareDatetime = Field(description="Wall clock.")
    market_at: AwareDatetime = Field(description="Market clock.")
    equity: Decimal = Field(description="Wallet and unrealised PnL, USDT.")
    wallet: Decimal
    positions: tuple[Position, ...] = ()

    def without(self, symbol: str) -> "Snapshot":
        return self.model_copy(
            update={"positions": tuple(p for p in self.positions if p.symbol != symbol)}
        )


class Reservation(Value):
    """Risk held by one trade, from the decision until it is released."""

    plan: TradePlan
    at: AwareDatetime = Field(description="Wall clock.")


class Cooldown(Value):
    preset: str
    symbol: Symbol
    until: AwareDatetime = Field(description="Market clock.")


class Released(Value):
    """A trade has ended and gives its risk back."""

    trade_id: str
    at: AwareDatetime = Field(description="Market clock.")
    pnl: Decimal = Decimal(0)
    cooldown: timedelta = timedelta(0)


class Block(Value):
    """A symbol on which the books differ: no entries until they agree."""

    symbol: Symbol
    reason: str


class Account(Value):
    """All that the desk carries from one decision to the next."""

    name: str
    started_at: AwareDatetime = Field(description="Wall clock.")
    gate: GateState = GateState.OPEN
    gate_reason: str = ""
    reconciled_at: AwareDatetime | None = None
    blocks: tuple[Block, ...] = ()
    snapshot: Snapshot | None = None
    peak_equity: Decimal = Decimal(0)
    day: str = ""
    day_equity: Decimal = Decimal(0)
    reservations: tuple[Reservation, ...] = ()
    entries: tuple[AwareDatetime, ...] = ()
    """Market times of the entries approved in the last minute."""
    cooldowns: tuple[Cooldown, ...] = ()
    done: tuple[str, ...] = ()
    """Ids of the last released trades: a late repeat must not open a second one."""

    def reservation(self, trade_id: str) -> Reservation | None:
        return next((r for r in self.reservations if r.plan.trade_id == trade_id), None)

    def reserved(self, plan: TradePlan, now: datetime) -> "Account":
        """Return the account with the risk of *plan* held."""
        return self.model_copy(
            update={
                "reservations": (*self.reservations, Reservation(plan=plan, at=now)),
                "entries": (*_last_minute(self.entries, plan.trigger), plan.trigger),
            }
        )

    def released(self, release: Released) -> "Account":
        """Return the account without that trade's risk; a repeat changes nothing."""
        held = self.reservation(release.trade_id)
        if held is None:
            return self
        cooldowns = tuple(c for c in self.cooldowns if c.until > release.at)
        if release.cooldown:
            plan = held.plan
            until = release.at + release.cooldown
            cooldowns += (Cooldown(preset=plan.preset, symbol=plan.symbol, until=until),)
        # The trade has read flat: an older snapshot must not hold its symbol
        snapshot = self.snapshot and self.snapshot.without(held.plan.symbol)
        return self.model_copy(
            update={
                "snapshot": snapshot,
                "reservations": tuple(r for r in self.reservations if r is not held),
                "cooldowns": cooldowns,
                "done": (*self.done, release.trade_id)[-REMEMBERED_TRADES:],
            }
        )

    def observed(self, snapshot: Snapshot) -> "Account":
        """Return the account with *snapshot* as its latest; a new day begins with its equity."""
        day = snapshot.market_at.date().isoformat()
        same_day = day == self.day
        return self.model_copy(
            update={
                "snapshot": snapshot,
                "peak_equity": max(self.peak_equity, snapshot.equity),
                "day": day,
                "day_equity": self.day_equity if same_day else snapshot.equity,
            }
        )

    @property
    def day_loss_fraction(self) -> Decimal:
        """Return what the day has lost, as a share of its first equity; 0 if it gained."""
        if self.snapshot is None or self.day_equity <= 0:
            return Decimal(0)
        return max(Decimal(0), 1 - self.snapshot.equity / self.day_equity)


def _last_minute(entries: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in entries if now - at < timedelta(minutes=1))


def breach(account: Account, limits: Limits) -> str | None:
    """Return why the kill switch must trip, or None.

    The limit is on equity: unrealised losses count.
    """
    loss = account.day_loss_fraction
    if loss < limits.max_daily_loss_fraction:
        return None
    return (
        f"max_daily_loss: equity fell {loss:.2%} since the start of {account.day}, "
        f"the limit is {limits.max_daily_loss_fraction:.2%}"
    )


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
    if len(_last_minute(account.entries, proposal.trigger)) >= limits.max_orders_per_minute:
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
