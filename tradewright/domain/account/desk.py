"""The desk of one account: what it carries from one decision to the next."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import AwareDatetime, Field

from tradewright.domain.account.guard import LONGEST_MEMORY, Lift, Result, memory, remembered
from tradewright.domain.account.limits import Limits, MarginMode, PositionMode
from tradewright.domain.account.message import (
    Channel,
    LeaveWish,
    Released,
    Renaming,
    Resting,
    Unresolved,
)
from tradewright.domain.account.name import Renamed, name_now
from tradewright.domain.account.past import Baseline, Fired, Past, Pause
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.account.snapshot import Snapshot
from tradewright.domain.account.tally import CashMark
from tradewright.domain.gate import GateState
from tradewright.domain.market import Symbol, Value
from tradewright.domain.plan import TradePlan

REMEMBERED_TRADES = 500
UNRESOLVED_COUNT = timedelta(hours=1)
"""How long an order whose outcome was unknown counts towards the limit."""
UNEXPLAINED_PATIENCE = timedelta(minutes=2)
"""How long the transaction log may lag behind the wallet before the difference counts as a loss."""
MODES_AGE = timedelta(minutes=10)
PRECISION = Decimal("1e-8")


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
    realised_today: Decimal = Decimal(0)
    """Of executions, after fees; funding is beside it."""
    fees_today: Decimal = Decimal(0)
    funding_today: Decimal = Decimal(0)
    cash: CashMark | None = None
    losses: int = 0
    """Trades that lost in a row."""
    streak_since: AwareDatetime | None = None
    """Market time after which they count."""
    pauses: tuple[Pause, ...] = ()
    fired: tuple[Fired, ...] = ()
    suspected: tuple[RefusalCode, ...] = ()
    """Breaches of the last snapshot: one odd sample fires nothing."""
    unexplained_since: AwareDatetime | None = None
    """Since when the wallet is not what the transaction log leads to; wall clock."""
    is_rebuilt: bool = False
    """Whether the journal has told what was before this desk."""
    position_mode: PositionMode | None = None
    margin_mode: MarginMode | None = None
    modes_at: AwareDatetime | None = None
    reservations: tuple[Reservation, ...] = ()
    entries: tuple[AwareDatetime, ...] = ()
    """Market times of the entries approved in the last minute."""
    cooldowns: tuple[Cooldown, ...] = ()
    results: tuple[Result, ...] = ()
    """What trades have come to of late, oldest first."""
    lifts: tuple[Lift, ...] = ()
    """Since when they count again, by what people have lifted."""
    renames: tuple[Renamed, ...] = ()
    """Of presets, oldest first."""
    done: tuple[str, ...] = ()
    """Ids of the last released trades: a late repeat must not open a second one."""
    returned: tuple[str, ...] = ()
    """Of those, what the last reconciliation saw running."""
    leaving: tuple[str, ...] = ()
    """Trades that are being told to leave."""

    unresolved: tuple[Unresolved, ...] = ()
    """Of the last hour, and those that still are."""
    channels: tuple[Channel, ...] = ()
    """The degraded ones."""
    resting: tuple[Resting, ...] = ()
    """Where presets fail, one for each preset."""
    safe_mode_wished: bool = False
    """They are too many."""

    @property
    def compared_at(self) -> datetime:
        """Return when the books were last compared; before the first time, the desk's start."""
        return max(self.reconciled_at or self.started_at, self.started_at)

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

    def migrated(self, plan: TradePlan) -> "Account":
        """Return the account that knows *plan* as its trade has it now."""
        return self.model_copy(
            update={
                "reservations": tuple(
                    r.model_copy(update={"plan": plan}) if r.plan.trade_id == plan.trade_id else r
                    for r in self.reservations
                )
            }
        )

    def renamed(self, told: Renaming, now: datetime) -> "Account":
        """Return the account that knows the preset by its new name; *now* is the wall clock."""
        last = self.renames[-1] if self.renames else None
        if last and (last.preset, last.formerly) == (told.preset, told.formerly):
            return self
        ended = [r.at for r in self.results if r.preset == told.formerly]
        at = max([self.snapshot.market_at if self.snapshot else now, *ended])
        renamed = Renamed(
            preset=told.preset,
            formerly=told.formerly,
            at=at,
            trades=tuple(plan.trade_id for plan in self.held_of(told.formerly)),
        )
        known = (r for r in self.renames if r.at > at - LONGEST_MEMORY)
        lifts = tuple(
            lift.model_copy(update={"preset": told.preset})
            for lift in self.lifts
            if lift.preset == told.formerly
        )
        return self.model_copy(
            update={"renames": (*known, renamed), "lifts": (*self.lifts, *lifts)}
        )

    def held_of(self, preset: str) -> tuple[TradePlan, ...]:
        """Return the running trades of *preset*, whatever it was called when they began."""
        plans = (r.plan for r in self.reservations)
        return tuple(
            p for p in plans if name_now(self.renames, p.preset, p.trade_id, None) == preset
        )

    def results_of(self, preset: str) -> tuple[Result, ...]:
        """Return what trades of *preset* have come to, whatever it was called then."""
        return tuple(
            r.model_copy(update={"preset": preset})
            for r in self.results
            if name_now(self.renames, r.preset, r.trade_id, r.at) == preset
        )

    def held_again(self, running: Sequence[TradePlan], now: datetime) -> "Account":
        """Return the account with the risk held of trades that run without a reservation.

        One that was released may have ended after it was seen: it is held when seen once more.
        """
        account, returned = self, []
        for plan in running:
            if account.reservation(plan.trade_id) is not None:
                continue
            if plan.trade_id in self.done and plan.trade_id not in self.returned:
                returned.append(plan.trade_id)
                continue
            account = account.reserved(plan, now)
        return account.model_copy(update={"returned": tuple(returned)})

    def released(self, release: Released) -> "Account":
        """Return the account without that trade's risk; a repeat changes nothing."""
        held = self.reservation(release.trade_id)
        # Nobody will tell any more what became of its orders
        unresolved = tuple(
            u.model_copy(update={"over": True}) if u.trade_id == release.trade_id else u
            for u in self.unresolved
        )
        if held is None:
            return self.model_copy(update={"unresolved": unresolved})
        cooldowns = tuple(c for c in self.cooldowns if c.until > release.at)
        if release.cooldown:
            plan = held.plan
            until = release.at + release.cooldown
            cooldowns += (Cooldown(preset=plan.preset, symbol=plan.symbol, until=until),)
        losses = self.losses + 1 if release.pnl < 0 else self.losses
        # The trade has read flat: an older snapshot must not hold its symbol
        snapshot = self.snapshot and self.snapshot.without(held.plan.symbol)
        return self.model_copy(
            update={
                "snapshot": snapshot,
                "reservations": tuple(r for r in self.reservations if r is not held),
                "cooldowns": cooldowns,
                "losses": 0 if release.pnl > 0 else losses,
                "results": self._with_result(held.plan, release),
                "lifts": tuple(e for e in self.lifts if e.at > release.at - LONGEST_MEMORY),
                "unresolved": unresolved,
                "done": (*self.done, release.trade_id)[-REMEMBERED_TRADES:],
            }
        )

    def _with_result(self, plan: TradePlan, release: Released) -> tuple[Result, ...]:
        results = self.results
        # What never opened has come to nothing
        if release.pnl:
            until = release.at + memory(plan.guards)
            told = Result(
                trade_id=plan.trade_id,
                preset=plan.preset,
                symbol=plan.symbol,
                at=release.at,
                pnl=release.pnl,
                until=until,
            )
            results = (*results, told)
        return remembered(results, release.at)

    def with_unresolved(self, told: Unresolved, now: datetime) -> "Account":
        """Return the account that knows of an order in doubt; *now* is the wall clock."""
        others = tuple(
            u
            for u in self.unresolved
            if u.order_link_id != told.order_link_id
            and (not u.over or now - u.since <= UNRESOLVED_COUNT)
        )
        known = any(u.order_link_id == told.order_link_id for u in self.unresolved)
        if told.over and not known:
            return self
        return self.model_copy(update={"unresolved": (*others, told)})

    def doubts(self, now: datetime) -> tuple[Unresolved, ...]:
        """Return the orders in doubt that count towards the limit; *now* is the wall clock."""
        return tuple(u for u in self.unresolved if not u.over or now - u.since <= UNRESOLVED_COUNT)

    def streak_ended(self) -> "Account":
        """Return the account whose losing trades are counted from now on."""
        since = self.snapshot.market_at if self.snapshot else self.streak_since
        fired = tuple(f for f in self.fired if f.code is not RefusalCode.LOSS_STREAK)
        return self.model_copy(update={"losses": 0, "streak_since": since, "fired": fired})

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

    def with_resting(self, told: Resting) -> "Account":
        """Return the account that knows where the preset rests; what rests no more is forgotten."""
        known = (*(r for r in self.resting if r.preset != told.preset), told)
        resting = (
            r.model_copy(update={"symbols": tuple(s for s in r.symbols if s.rests(told.at))})
            for r in sorted(known, key=lambda r: r.preset)
        )
        return self.model_copy(update={"resting": tuple(r for r in resting if r.symbols)})

    def too_many_rest(self, limits: Limits) -> str:
        """Return where presets fail, if that is too much to be their own fault; else nothing."""
        count = sum(len(r.symbols) for r in self.resting)
        if not limits.safe_mode_after or count < limits.safe_mode_after:
            return ""
        told = ", ".join(f"{r.preset} on {s.symbol}" for r in self.resting for s in r.symbols)
        return f"presets fail in {count} places, the limit is {limits.safe_mode_after}: {told}"

    def held_by(self, wish: LeaveWish) -> tuple[TradePlan, ...]:
        """Return the trades that the strategy's wish is about."""
        return tuple(
            r.plan
            for r in self.reservations
            if (r.plan.preset, r.plan.symbol) == (wish.preset, wish.symbol)
            and wish.side in {None, r.plan.side}
            and wish.preset_hash in {"", r.plan.preset_hash}
        )

    @property
    def baseline(self) -> Baseline:
        """Return what a desk after this one must know."""
        return Baseline(**{name: getattr(self, name) for name in Baseline.model_fields})

    def rebuilt(self, past: Past) -> "Account":
        """Return the account with what the journal knows of it."""
        known = {name: getattr(past.baseline, name) for name in Baseline.model_fields}
        told = {r.trade_id: r for r in (*past.results, *self.results)}
        results = sorted(told.values(), key=lambda r: (r.at, r.trade_id))
        of_trades = {"losses": past.losses, "results": tuple(results), "is_rebuilt": True}
        return self.model_copy(update=known | of_trades)

    def observed(self, snapshot: Snapshot) -> "Account":
        """Return the account with *snapshot* as its latest; a new day begins with its equity.

        Money that was moved in or out scales peak and day, so that their distance to the equity
        stays the same share. A snapshot whose wallet is not explained yet moves neither.
        """
        account = self if snapshot.past is None else self.rebuilt(snapshot.past)
        update: dict[str, object] = {"snapshot": snapshot.model_copy(update={"past": None})}
        if snapshot.position_mode is not None:
            update["position_mode"] = snapshot.position_mode
        if snapshot.margin_mode is not None:
            update |= {"margin_mode": snapshot.margin_mode, "modes_at": snapshot.at}
        if not snapshot.is_explained:
            update["unexplained_since"] = account.unexplained_since or snapshot.at
            account = account.model_copy(update=update)
            if account.awaits_log:
                return account
        return account.model_copy(update=update | account._measured(snapshot))

    @property
    def awaits_log(self) -> bool:
        """Return whether the transaction log may yet tell what moved the wallet."""
        if self.unexplained_since is None or self.snapshot is None:
            return False
        return self.snapshot.at - self.unexplained_since < UNEXPLAINED_PATIENCE

    def _measured(self, snapshot: Snapshot) -> dict[str, object]:
        day = snapshot.market_at.date().isoformat()
        same_day = day == self.day
        tally, equity = snapshot.cash, snapshot.equity
        nothing = Decimal(0)
        moved = tally.moved if tally else nothing

        def counted(before: Decimal, now: Decimal) -> Decimal:
            return before + now if same_day else now

        return {
            "peak_equity": max(scaled(self.peak_equity, equity, moved), equity),
            "day": day,
            "day_equity": scaled(self.day_equity, equity, moved) if same_day else equity,
            "realised_today": counted(self.realised_today, tally.realised if tally else nothing),
            "fees_today": counted(self.fees_today, tally.fees if tally else nothing),
            "funding_today": counted(self.funding_today, tally.funding if tally else nothing),
            "cash": tally.mark if tally else self.cash,
            "pauses": tuple(p for p in self.pauses if p.until > snapshot.market_at),
            "unexplained_since": None if snapshot.is_explained else self.unexplained_since,
        }

    def wants_modes(self, limits: Limits, now: datetime) -> bool:
        """Return whether position and margin mode are to be read: they are seldom changed."""
        if self.modes_at is None or now - self.modes_at > MODES_AGE:
            return True
        # A person who mends them is not to wait
        return self.position_mode is PositionMode.HEDGE or not self.is_margin_allowed(limits)

    def is_margin_allowed(self, limits: Limits) -> bool:
        return self.margin_mode is None or self.margin_mode in limits.margin_modes

    def paused(self, at: datetime) -> Pause | None:
        """Return the pause that lasts longest at *at*, market clock."""
        running = [pause for pause in self.pauses if pause.until > at]
        return max(running, key=lambda pause: pause.until, default=None)

    def orders_last_minute(self, at: datetime) -> int:
        return len(last_minute(self.entries, at))

    @property
    def exposure(self) -> Decimal:
        """Return all open notional: what trades reserve or hold, and what others hold."""
        held = {p.symbol: p.notional for p in self.snapshot.positions} if self.snapshot else {}
        for reservation in self.reservations:
            plan = reservation.plan
            held[plan.symbol] = max(plan.notional, held.get(plan.symbol, Decimal(0)))
        return sum(held.values(), Decimal(0))

    @property
    def heat(self) -> Decimal:
        """Return what all trades together lose if every stop is hit."""
        return sum((r.plan.risk for r in self.reservations), Decimal(0))

    @property
    def drawdown_fraction(self) -> Decimal:
        """Return how far equity is below its peak, as a share of it."""
        if self.snapshot is None or self.peak_equity <= 0:
            return Decimal(0)
        return max(Decimal(0), 1 - self.snapshot.equity / self.peak_equity)

    @property
    def day_loss_fraction(self) -> Decimal:
        """Return what the day has lost, as a share of its first equity; 0 if it gained."""
        if self.snapshot is None or self.day_equity <= 0:
            return Decimal(0)
        return max(Decimal(0), 1 - self.snapshot.equity / self.day_equity)


def last_minute(entries: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in entries if now - at < timedelta(minutes=1))


def scaled(baseline: Decimal, equity: Decimal, moved: Decimal) -> Decimal:
    """Return *baseline* after *moved* came into the account, which left it with *equity*.

    In proportion, as the price of a fund's share is reckoned: what was lost before stays the
    same share. An account that was empty, or is, begins anew.

    Example:
        >>> scaled(Decimal(10_000), Decimal(4_500), Decimal(-4_500))
        Decimal('5000.00000000')
    """
    if not moved:
        return baseline
    before = equity - moved
    if before <= 0 or equity <= 0:
        return max(equity, Decimal(0))
    return (baseline * equity / before).quantize(PRECISION)
