"""What keeps a preset from trading: terms that it declares, and what they say at a moment."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import Field

from tradewright.domain.market import Side, Value

BASIS_POINTS: Final = 10_000
MINUTES_OF_DAY: Final = 24 * 60


class OnBad(StrEnum):
    """What follows when the data to decide on is bad."""

    SKIP = "skip"
    """Nothing is decided on this candle."""
    DEGRADE = "degrade"
    """The rules that were declared for it decide."""
    PAUSE = "pause"
    """The preset rests on the symbol."""


class Weekday(StrEnum):
    """A day of the week, Monday first."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Session(Value):
    """A time of the week at which entries are made, by the clocks of a place."""

    days: tuple[Weekday, ...] = Field(description="On which it begins.")
    begins: int = Field(ge=0, lt=MINUTES_OF_DAY, description="Minute of the day.")
    ends: int = Field(
        ge=0, le=MINUTES_OF_DAY, description="The minute after; on the next day if it is earlier."
    )
    timezone: str = "UTC"

    def is_on(self, at: datetime) -> bool:
        """Return whether it is on at *at*, an aware time.

        Where clocks are put back, an hour is on twice; where they are put forward, none of it.
        """
        local = at.astimezone(ZoneInfo(self.timezone))
        week = tuple(Weekday)
        today, yesterday = week[local.weekday()], week[local.weekday() - 1]
        minute = local.hour * 60 + local.minute
        if self.begins < self.ends:
            return today in self.days and self.begins <= minute < self.ends
        return (today in self.days and minute >= self.begins) or (
            yesterday in self.days and minute < self.ends
        )


class LossGuard(Value):
    """Rest for a while after so many losing trades within a time."""

    losses: int = Field(ge=1)
    within: timedelta
    pause: timedelta


class DrawdownGuard(Value):
    """Rest for a while after what a preset earned fell so far, within a time."""

    fraction: Decimal = Field(gt=0, description="Of the account's equity.")
    within: timedelta
    pause: timedelta


class Guards(Value):
    """What the desk heeds of a preset's own trades."""

    stop_guard: LossGuard | None = None
    max_drawdown: DrawdownGuard | None = None
    losing_symbol: LossGuard | None = None


def session_fault(sessions: Sequence[Session], at: datetime) -> str:
    """Return that no session is on at *at*; nothing if one is, or if none are declared."""
    if not sessions or any(session.is_on(at) for session in sessions):
        return ""
    return f"none of its sessions is on at {at:%a %H:%M} UTC"


def spread_fault(max_spread_bp: Decimal | None, bid: Decimal | None, ask: Decimal | None) -> str:
    """Return how bid and ask are too far apart, in basis points of their middle."""
    if max_spread_bp is None:
        return ""
    if bid is None or ask is None or bid <= 0 or ask <= 0:
        return "bid and ask are unknown"
    spread = (ask - bid) * 2 / (ask + bid) * BASIS_POINTS
    if spread <= max_spread_bp:
        return ""
    return f"bid {bid} and ask {ask} are {spread:.1f} bp apart, more than {max_spread_bp:f}"


def slippage_fault(
    max_slippage_bp: Decimal | None,
    side: Side,
    price: Decimal,
    bid: Decimal | None,
    ask: Decimal | None,
) -> str:
    """Return how much worse than *price* an entry at market would be; nothing if it is not.

    Reckoned against the best price of the other side: what a large order eats beyond it is not
    part of it.
    """
    if max_slippage_bp is None:
        return ""
    paid = ask if side is Side.BUY else bid
    if paid is None or paid <= 0:
        return f"the {'ask' if side is Side.BUY else 'bid'} is unknown"
    slippage = (paid - price) * side.sign / price * BASIS_POINTS
    if slippage <= max_slippage_bp:
        return ""
    return (
        f"a {side} at {paid} is {slippage:.1f} bp worse than {price}, more than {max_slippage_bp:f}"
    )
