"""The risk monitor: what the account has come to, against its limits."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from tradewright.domain.account.desk import Account
from tradewright.domain.account.guard import GUARDS, Lift
from tradewright.domain.account.limits import Consequence, Limits
from tradewright.domain.account.past import Fired, Pause
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.market import Value

OF_EQUITY: Final = frozenset(
    {RefusalCode.MAX_DAILY_LOSS, RefusalCode.MAX_DRAWDOWN, RefusalCode.MIN_BALANCE}
)
"""Not judged while the wallet is not explained: it may be a withdrawal."""
COUNTED: Final = frozenset(
    {RefusalCode.LOSS_STREAK, RefusalCode.MAX_UNRESOLVED, RefusalCode.STREAM_DEAD}
)
"""Told by events, not measured: a second sample would say the same."""


class Breach(Value):
    """A limit that the account does not keep."""

    code: RefusalCode
    reason: str
    consequence: Consequence


class Watch(NamedTuple):
    """What a look at the account has led to."""

    account: Account
    fires: tuple[Breach, ...]
    """Whose consequence comes now."""
    look_again: bool
    """Whether another snapshot, at once, has to confirm a breach."""


def breach(account: Account, limits: Limits) -> str | None:
    """Return how the day has lost more than it may, or None; unrealised losses count."""
    loss = account.day_loss_fraction
    if loss < limits.max_daily_loss_fraction:
        return None
    return (
        f"max_daily_loss: equity fell {loss:.2%} since the start of {account.day}, "
        f"the limit is {limits.max_daily_loss_fraction:.2%}"
    )


def breaches(account: Account, limits: Limits, now: datetime) -> tuple[Breach, ...]:
    """Return every limit that the account does not keep, whatever is proposed.

    Args:
        account: The desk as it stands.
        limits: The account's limits.
        now: Wall clock.
    """
    return tuple(
        Breach(code=code, reason=reason, consequence=getattr(limits.consequences, code.value))
        for code, reason in _broken(account, limits, now)
    )


def _broken(account: Account, limits: Limits, now: datetime) -> Iterator[tuple[RefusalCode, str]]:
    code = RefusalCode
    for channel in account.channels:
        silence = now - channel.since
        if channel.name == "private" and silence >= limits.stream_dead_after:
            yield (
                code.STREAM_DEAD,
                f"the private stream has been dead for {silence.total_seconds():.0f} s: "
                f"{channel.fault}",
            )
    doubts = account.doubts(now)
    if len(doubts) >= limits.max_unresolved:
        links = ", ".join(doubt.order_link_id for doubt in doubts)
        yield code.MAX_UNRESOLVED, f"{len(doubts)} orders of unknown outcome in an hour: {links}"
    if reason := breach(account, limits):
        yield code.MAX_DAILY_LOSS, reason
    if (drawdown := account.drawdown_fraction) >= limits.max_drawdown_fraction:
        yield (
            code.MAX_DRAWDOWN,
            f"max_drawdown: equity is {drawdown:.2%} below its peak of {account.peak_equity:.2f}, "
            f"the limit is {limits.max_drawdown_fraction:.2%}",
        )
    if account.losses >= limits.loss_streak:
        yield code.LOSS_STREAK, f"{account.losses} trades in a row have lost"
    snapshot = account.snapshot
    if snapshot is None:
        return
    if snapshot.equity < limits.min_balance:
        yield (
            code.MIN_BALANCE,
            f"equity is {snapshot.equity:.2f}, below the minimum of {limits.min_balance}",
        )
    if nearest := snapshot.liquidation_distance:
        symbol, distance = nearest
        if distance < limits.min_liquidation_distance_fraction:
            yield (
                code.LIQUIDATION_DISTANCE,
                f"{symbol} is {distance:.2%} from its liquidation, the limit is "
                f"{limits.min_liquidation_distance_fraction:.2%}",
            )
    skew = snapshot.clock_skew
    if skew is not None and abs(skew) > limits.max_clock_skew:
        yield (
            code.CLOCK_SKEW,
            f"this machine's clock differs from the exchange's by {skew.total_seconds():+.3f} s",
        )


def watch(account: Account, limits: Limits, now: datetime, *, is_new: bool = True) -> Watch:
    """Return what the latest snapshot of *account* leads to.

    A breach that is measured fires when two snapshots in a row show it, and then not again
    while it lasts; that of the day not again on the same day.

    Args:
        account: With the snapshot observed.
        limits: The account's limits.
        now: Wall clock.
        is_new: Whether the snapshot is; one that could not be taken confirms nothing.
    """
    unjudged = _unjudged(account, is_new=is_new)
    current = tuple(b for b in breaches(account, limits, now) if b.code not in unjudged)
    codes = {b.code for b in current}
    fired = {f.code: f for f in account.fired if f.code in unjudged or _lasts(f, account, codes)}
    ripe = {*account.suspected, *COUNTED}
    due = [b for b in current if b.consequence is not Consequence.REFUSE and b.code not in fired]
    fires = tuple(b for b in due if b.code in ripe)
    suspected = codes | (unjudged & set(account.suspected))
    new = (Fired(code=b.code, day=account.day) for b in fires)
    account = account.model_copy(
        update={"suspected": tuple(sorted(suspected)), "fired": (*fired.values(), *new)}
    )
    for fire in fires:
        if fire.consequence is Consequence.PAUSE:
            account = _paused(account, fire, limits)
            if fire.code is RefusalCode.LOSS_STREAK:
                account = account.streak_ended()
    return Watch(account, fires, len(fires) < len(due))


def _unjudged(account: Account, *, is_new: bool) -> frozenset[RefusalCode]:
    """Return the codes of what is neither confirmed nor cleared now."""
    if not is_new:
        return frozenset(RefusalCode) - COUNTED
    return OF_EQUITY if account.awaits_log else frozenset()


def unfired(account: Account, code: RefusalCode) -> Account:
    """Return the account as if the breach had not fired: its consequence could not be brought."""
    return account.model_copy(
        update={"fired": tuple(f for f in account.fired if f.code is not code)}
    )


def lifted(account: Account, code: RefusalCode | None, preset: str = "") -> Account:
    """Return the account after a person has lifted what *code* holds; None lifts every pause.

    A guard of presets is lifted for *preset* alone, if one is named.

    The drawdown's peak begins anew with the equity, and so do the count of losses and what a
    guard of the presets counts.
    """
    pauses = tuple(p for p in account.pauses if code is not None and p.code is not code)
    update: dict[str, object] = {"pauses": pauses}
    if code is RefusalCode.MAX_DRAWDOWN and account.snapshot is not None:
        update["peak_equity"] = account.snapshot.equity
    if code is RefusalCode.MAX_UNRESOLVED:
        update["unresolved"] = tuple(
            u for u in account.unresolved if not u.over and account.reservation(u.trade_id)
        )
    if code in GUARDS and account.snapshot is not None:
        lift = Lift(code=code, preset=preset, at=account.snapshot.market_at)
        others = tuple(e for e in account.lifts if (e.code, e.preset) != (code, preset))
        update["lifts"] = (*others, lift)
    account = account.model_copy(update=update)
    return account.streak_ended() if code is RefusalCode.LOSS_STREAK else account


def _lasts(fired: Fired, account: Account, codes: set[RefusalCode]) -> bool:
    if fired.code is RefusalCode.MAX_DAILY_LOSS and fired.day == account.day:
        return True
    return fired.code in codes and fired.code is not RefusalCode.MAX_DAILY_LOSS


def _paused(account: Account, fire: Breach, limits: Limits) -> Account:
    if account.snapshot is None:
        return account
    streak = fire.code is RefusalCode.LOSS_STREAK
    length = limits.loss_streak_pause if streak else limits.pause
    pause = Pause(code=fire.code, reason=fire.reason, until=account.snapshot.market_at + length)
    others = tuple(p for p in account.pauses if p.code is not fire.code)
    return account.model_copy(update={"pauses": (*others, pause)})


def limit_changes(before: Limits, after: Limits) -> tuple[str, ...]:
    """Return what differs between two sets of limits, one line each.

    Example:
        >>> limit_changes(Limits(), Limits(max_open_trades=2))
        ('max_open_trades 5 -> 2',)
    """
    old, new = _flat(before), _flat(after)
    return tuple(f"{name} {old[name]} -> {new[name]}" for name in new if old[name] != new[name])


def _flat(limits: Limits) -> dict[str, str]:
    told = limits.model_dump(mode="json")
    told |= {f"consequences.{name}": value for name, value in told.pop("consequences").items()}
    return {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in told.items()
    }
