"""When a preset is not to trade, and what its data must be like."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from tradewright.domain.protection import DrawdownGuard, Guards, LossGuard, OnBad, Weekday
from tradewright.domain.protection import Session as Times
from tradewright.preset.section import Duration, Section, unique

START = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
END = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"


class LossLimit(Section):
    """Rest after so many trades that lost."""

    losses: int = Field(ge=1, le=100)
    within: Duration = Field(description="Of each other; at most 30d.")
    pause: Duration = Field(description="From the last of them on; at most 30d.")

    def domain(self) -> LossGuard:
        return LossGuard(losses=self.losses, within=self.within, pause=self.pause)


class DrawdownLimit(Section):
    """Rest after the preset has lost a share of equity from its best moment."""

    fraction: Decimal = Field(gt=0, le=Decimal("0.5"), description="Of the account's equity.")
    within: Duration = Field(description="The time that is looked at; at most 30d.")
    pause: Duration = Field(description="From the loss that made it so on; at most 30d.")

    def domain(self) -> DrawdownGuard:
        return DrawdownGuard(fraction=self.fraction, within=self.within, pause=self.pause)


class Session(Section):
    """A time of the week at which entries are made."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)

    days: Annotated[tuple[Weekday, ...], AfterValidator(unique)] = Field(
        default=tuple(Weekday),
        min_length=1,
        max_length=7,
        description="On which it begins.",
        json_schema_extra={"uniqueItems": True},
    )
    since: str = Field(
        default="00:00",
        alias="from",
        pattern=START,
        description="The first minute.",
        examples=["08:00"],
    )
    to: str = Field(
        default="24:00",
        pattern=END,
        description="The minute after the last; not later than `from`: on the next day.",
        examples=["16:30"],
    )
    timezone: str = Field(
        default="UTC",
        pattern=ZONE,
        max_length=64,
        description="Of the IANA database, such as Europe/Berlin; summer time is heeded.",
    )

    def domain(self) -> Times:
        return Times(
            days=self.days,
            begins=_minute(self.since),
            ends=_minute(self.to),
            timezone=self.timezone,
        )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Breaker(Section):
    """Leave a symbol alone that fails again and again."""

    failures: int = Field(default=5, ge=1, le=100, description="In a row, of one symbol.")
    pause: Duration = Field(default=timedelta(minutes=5), description="Then it is tried once.")


class Protections(Section):
    """When not to trade."""

    cooldown_candles: int = Field(
        default=0, ge=0, le=10_000, description="Rest after a trade, per symbol."
    )
    stop_guard: LossLimit | None = Field(
        default=None, description="Rest after so many trades of the preset that lost."
    )
    max_drawdown: DrawdownLimit | None = None
    losing_symbol: LossLimit | None = Field(
        default=None, description="Rest on a symbol after so many trades on it that lost."
    )
    sessions: tuple[Session, ...] = Field(
        default=(), max_length=28, description="Entries are made in one of them; none: always."
    )
    max_spread_bp: Decimal | None = Field(
        default=None, gt=0, le=1000, description="No entry while bid and ask are farther apart."
    )
    max_slippage_bp: Decimal | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="No entry at market when it would cost more than the price decided on by this.",
    )
    breaker: Breaker = Breaker()

    @property
    def guards(self) -> Guards | None:
        """Return what the desk heeds; None if nothing is declared."""
        declared = Guards(
            stop_guard=self.stop_guard and self.stop_guard.domain(),
            max_drawdown=self.max_drawdown and self.max_drawdown.domain(),
            losing_symbol=self.losing_symbol and self.losing_symbol.domain(),
        )
        return None if declared == Guards() else declared


class DataTerms(Section):
    """What the data must be like that is decided on, and what follows when it is not."""

    on_bad: OnBad = Field(
        default=OnBad.SKIP,
        description="skip this candle, decide by the degraded rules, or pause on the symbol.",
    )
    pause: Duration = Field(default=timedelta(hours=1), description="How long, with on_bad: pause.")
    max_age: Duration = Field(
        default=timedelta(minutes=5), description="Of the last candle, since its close."
    )
    max_book_age: Duration = Field(
        default=timedelta(seconds=5), description="Of the order book, since its last update."
    )
    outlier_fraction: Decimal = Field(
        default=Decimal("0.05"),
        gt=0,
        le=1,
        description="Farther from the mark and the index price than this is no price.",
    )
    max_flat_candles: int = Field(
        default=30, ge=1, le=10_000, description="In a row, without any movement."
    )
    max_empty_candles: int = Field(
        default=30, ge=1, le=10_000, description="In a row, without any volume."
    )
