"""How near an account is to each of its limits."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from pydantic import Field

from tradewright.domain.account.desk import Account
from tradewright.domain.account.limits import Limits
from tradewright.domain.market import Value

OF_ENTRIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("loss_streak_pause", "pause"), ""),
        "max_position_notional": "cut",
        "safe_mode_after": "safe_mode",
    }
)
"""What limits bring about that no breach of the account has a consequence for; else: refuse."""
BREACHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_daily_loss_fraction": "max_daily_loss",
        "max_drawdown_fraction": "max_drawdown",
        "loss_streak": "loss_streak",
        "min_balance": "min_balance",
        "min_liquidation_distance_fraction": "liquidation_distance",
        "max_clock_skew": "clock_skew",
        "max_unresolved": "max_unresolved",
        "stream_dead_after": "stream_dead",
    }
)
"""The code of the breach by the limit's name; it names the consequence in the settings, too."""


class Usage(Value):
    """One limit, and where the account stands."""

    limit: str
    value: str
    default: str
    consequence: str
    now: str = Field(default="", description="Empty where there is nothing to measure.")
    share: Decimal | None = Field(default=None, description="Of the limit that is used; 1 is all.")


def usage(account: Account, limits: Limits, now: datetime) -> tuple[Usage, ...]:
    """Return each limit with its value, its default, and how near the account is to it."""
    defaults, measured = Limits(), _measured(account, limits, now)
    found = []
    for name in Limits.model_fields:
        if name == "consequences":
            continue
        value, share = measured.get(name, ("", None))
        found.append(
            Usage(
                limit=name,
                value=shown(getattr(limits, name)),
                default=shown(getattr(defaults, name)),
                consequence=consequence(name, limits),
                now=value,
                share=share,
            )
        )
    return tuple(found)


def consequence(limit: str, limits: Limits) -> str:
    """Return what a breach of *limit* brings about."""
    if limit in BREACHES:
        return str(getattr(limits.consequences, BREACHES[limit]))
    return OF_ENTRIES.get(limit, "refuse")


def shown(value: Any) -> str:
    """Return a limit as it may be written in the settings.

    Example:
        >>> shown(timedelta(minutes=90)), shown(Decimal("0.20")), shown(("a", "b"))
        ('90m', '0.2', 'a, b')
    """
    match value:
        case timedelta():
            seconds = int(value.total_seconds())
            if value != timedelta(seconds=seconds) or not seconds:
                return f"{value.total_seconds():g}s"
            for unit, length in (("h", 3600), ("m", 60)):
                if seconds % length == 0:
                    return f"{seconds // length}{unit}"
            return f"{seconds}s"
        case tuple():
            return ", ".join(map(str, value))
        case Decimal():
            return f"{value.normalize():f}"
    return str(value)


def _measured(
    account: Account, limits: Limits, now: datetime
) -> dict[str, tuple[str, Decimal | None]]:
    def part(used: Decimal | int, limit: Decimal | int, told: str) -> tuple[str, Decimal | None]:
        return told, Decimal(used) / Decimal(limit) if limit else None

    def length(used: timedelta, limit: timedelta, digits: int) -> tuple[str, Decimal | None]:
        seconds = Decimal(str(abs(used).total_seconds()))
        told = f"{seconds:.{digits}f} s"
        return told, seconds / Decimal(str(limit.total_seconds()))

    trades, doubts = len(account.reservations), len(account.doubts(now))
    resting = sum(len(r.symbols) for r in account.resting)
    largest = max((r.plan.notional for r in account.reservations), default=Decimal(0))
    found = {
        "max_open_trades": part(trades, limits.max_open_trades, str(trades)),
        "max_position_notional": part(largest, limits.max_position_notional, f"{largest:.2f}"),
        "max_total_exposure": part(
            account.exposure, limits.max_total_exposure, f"{account.exposure:.2f}"
        ),
        "loss_streak": part(account.losses, limits.loss_streak, str(account.losses)),
        "safe_mode_after": part(resting, limits.safe_mode_after, str(resting)),
        "max_unresolved": part(doubts, limits.max_unresolved, str(doubts)),
    }
    dead = [now - channel.since for channel in account.channels if channel.name == "private"]
    if dead:
        found["stream_dead_after"] = length(dead[0], limits.stream_dead_after, 0)
    if account.reconciled_at is not None:
        found["max_reconciliation_age"] = length(
            now - account.compared_at, limits.max_reconciliation_age, 0
        )
    if account.margin_mode is not None:
        found["margin_modes"] = (str(account.margin_mode), None)
    snapshot = account.snapshot
    if snapshot is None:
        return found
    equity = snapshot.equity
    orders = account.orders_last_minute(snapshot.market_at)
    day, drawdown = account.day_loss_fraction, account.drawdown_fraction
    found |= {
        "max_orders_per_minute": part(orders, limits.max_orders_per_minute, str(orders)),
        "max_daily_loss_fraction": part(day, limits.max_daily_loss_fraction, f"{day:.4f}"),
        "max_drawdown_fraction": part(drawdown, limits.max_drawdown_fraction, f"{drawdown:.4f}"),
        "max_snapshot_age": length(now - snapshot.at, limits.max_snapshot_age, 0),
    }
    if equity > 0:
        leverage, heat = account.exposure / equity, account.heat / equity
        found |= {
            "max_leverage": part(leverage, limits.max_leverage, f"{leverage:.2f}"),
            "max_heat_fraction": part(heat, limits.max_heat_fraction, f"{heat:.4f}"),
            "min_balance": part(limits.min_balance, equity, f"{equity:.2f}"),
        }
    if nearest := snapshot.liquidation_distance:
        symbol, distance = nearest
        told = f"{distance:.4f} ({symbol})"
        limit = limits.min_liquidation_distance_fraction
        found["min_liquidation_distance_fraction"] = part(limit, distance, told)
    if snapshot.clock_skew is not None:
        found["max_clock_skew"] = length(snapshot.clock_skew, limits.max_clock_skew, 3)
    return found
