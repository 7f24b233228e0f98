"""The desk of one account: what it carries from one decision to the next."""

from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import AwareDatetime, Field

from tradewright.domain.account.message import Channel, LeaveWish, Released, Unresolved
from tradewright.domain.account.snapshot import Snapshot
from tradewright.domain.gate import GateState
from tradewright.domain.market import Symbol, Value
from tradewright.domain.plan import TradePlan

REMEMBERED_TRADES = 500
UNRESOLVED_COUNT = timedelta(hours=1)
"""How long an order whose outcome was unknown counts towards the limit."""


class Reservation(Value):
    """Risk held by one trade, from the decision until it is released."""

    plan: TradePlan
    at: AwareDatetime = Field(description="Wall clock.")


class Cooldown(Value):
    preset: str
    symbol: Symbol
    until: AwareDatetime = Field(description="Market clock.")


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

    unresolved: tuple[Unresolved, ...] = ()
    """Of the last hour, and those that still are."""
    channels: tuple[Channel, ...] = ()
    """The degraded ones."""

    def reservation(self, trade_id: str) -> Reservation | None:
        return next((r for r in self.reservations if r.plan.trade_id == trade_id), None)

    def reserved(self, plan: TradePlan, now: datetime) -> "Account":
        """Return the account with the risk of *plan* held."""
        return self.model_copy(
            update={
                "reservations": (*self.reservations, Reservation(plan=plan, at=now)),
                "entries": (*last_minute(self.entries, plan.trigger), plan.trigger),
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

    def with_unresolved(self, told: Unresolved, now: datetime) -> "Account":
        """Return the account that knows of an order in doubt; *now* is the wall clock."""
        others = tuple(
            u
            for u in self.unresolved
            if u.order_link_id != told.order_link_id
            and not (u.over and now - u.since > UNRESOLVED_COUNT)
        )
        known = any(u.order_link_id == told.order_link_id for u in self.unresolved)
        if told.over and not known:
            return self
        return self.model_copy(update={"unresolved": (*others, told)})

    def with_channel(self, told: Channel) -> "Account":
        """Return the account that knows what the channel is worth now."""
        before = next((c for c in self.channels if c.name == told.name), None)
        others = tuple(c for c in self.channels if c.name != told.name)
        if not told.fault:
            return self.model_copy(update={"channels": others})
        # Degraded since the first word of it, whatever else is wrong by now
        since = min(before.since, told.since) if before else told.since
        degraded = told.model_copy(update={"since": since})
        return self.model_copy(update={"channels": (*others, degraded)})

    def held_by(self, wish: LeaveWish) -> tuple[TradePlan, ...]:
        """Return the trades that the strategy's wish is about."""
        return tuple(
            r.plan
            for r in self.reservations
            if (r.plan.preset, r.plan.symbol) == (wish.preset, wish.symbol)
            and wish.side in {None, r.plan.side}
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


def last_minute(entries: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in entries if now - at < timedelta(minutes=1))
