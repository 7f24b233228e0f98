"""What keeps a preset from trading: terms that it declares, and what they say at a moment."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from tradewright.domain.market import Value


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
