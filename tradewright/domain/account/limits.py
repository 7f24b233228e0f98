"""What an account may do, as its settings declare, and what follows when it does more."""

import re
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from tradewright.domain.market import Value

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _length(value: Any) -> Any:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", value) if isinstance(value, str) else None
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else value


Length = Annotated[timedelta, BeforeValidator(_length)]
"""A time as presets spell it (90s, 15m, 4h), or in full (PT4H, 04:00:00)."""


class Consequence(StrEnum):
    """What a breach brings about; entries are refused as long as it lasts in any case."""

    REFUSE = "refuse"
    PAUSE = "pause"
    """No entries for a time, also if the breach ends sooner."""
    TRIP = "trip"
    """The kill switch: the account is halted and flattened."""


class MarginMode(StrEnum):
    """How Bybit margins the account."""

    ISOLATED = "ISOLATED_MARGIN"
    CROSS = "REGULAR_MARGIN"
    PORTFOLIO = "PORTFOLIO_MARGIN"


class PositionMode(StrEnum):
    """Whether a symbol holds one position, or one for each side."""

    ONE_WAY = "one_way"
    HEDGE = "hedge"


class Consequences(Value):
    """What each breach brings about; named like the codes of the refusals."""

    max_daily_loss: Consequence = Consequence.TRIP
    max_drawdown: Consequence = Consequence.TRIP
    loss_streak: Consequence = Consequence.PAUSE
    min_balance: Consequence = Consequence.REFUSE
    liquidation_distance: Consequence = Consequence.REFUSE
    clock_skew: Consequence = Consequence.REFUSE
    max_unresolved: Consequence = Consequence.TRIP
    stream_dead: Consequence = Consequence.TRIP


class Limits(Value):
    """Account-wide limits that every new trade must respect."""

    max_open_trades: int = Field(default=5, ge=1, description="Trades that run at once.")
    max_position_notional: Decimal = Field(
        default=Decimal(5_000), gt=0, description="USDT; larger entries are cut down to it."
    )
    max_total_exposure: Decimal = Field(
        default=Decimal(10_000), gt=0, description="USDT; all open notional, the entry's included."
    )
    max_leverage: Decimal = Field(
        default=Decimal(3), gt=0, description="All open notional over equity."
    )
    max_heat_fraction: Decimal = Field(
        default=Decimal("0.06"),
        gt=0,
        le=1,
        description="Portfolio heat: what all stops together may lose, as a share of equity.",
    )
    max_orders_per_minute: int = Field(default=10, ge=1, description="Entries, market clock.")
    min_order_notional: Decimal = Field(
        default=Decimal(5), ge=0, description="USDT; smaller entries are not worth their fees."
    )
    max_daily_loss_fraction: Decimal = Field(
        default=Decimal("0.05"),
        gt=0,
        le=1,
        description="Of the day's first equity (UTC, market clock), unrealised losses included.",
    )
    max_drawdown_fraction: Decimal = Field(
        default=Decimal("0.2"),
        gt=0,
        le=1,
        description="Below the highest equity ever; deposits and withdrawals do not count.",
    )
    loss_streak: int = Field(default=10, ge=1, description="Losing trades in a row.")
    loss_streak_pause: Length = Field(
        default=timedelta(hours=4),
        gt=timedelta(0),
        description="How long a loss streak pauses entries; market clock.",
    )
    pause: Length = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        description="How long any other breach pauses entries that is declared to; market clock.",
    )
    min_balance: Decimal = Field(default=Decimal(10), ge=0, description="USDT of equity.")
    min_liquidation_distance_fraction: Decimal = Field(
        default=Decimal("0.05"),
        ge=0,
        lt=1,
        description="Between the mark and the liquidation price of every position.",
    )
    max_clock_skew: Length = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        description="Between this machine's clock and the exchange's.",
    )
    max_snapshot_age: Length = Field(
        default=timedelta(seconds=90), gt=timedelta(0), description="Of the account; wall clock."
    )
    max_reconciliation_age: Length = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="Since exchange and trades were last compared; wall clock.",
    )
    max_unresolved: int = Field(
        default=3, ge=1, description="Orders of unknown outcome, at once or within an hour."
    )
    stream_dead_after: Length = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="Silence of the private stream that counts as its death.",
    )
    safe_mode_after: int = Field(
        default=5,
        ge=0,
        description="Symbols that presets rest on for failures, all presets together and each "
        "symbol once for each of them: so many at once, and safe mode is switched on; 0: never.",
    )
    margin_modes: tuple[MarginMode, ...] = Field(
        default=(MarginMode.CROSS, MarginMode.ISOLATED),
        min_length=1,
        description="Those in which entries are made; in portfolio margin, leverage is not ours.",
    )
    consequences: Consequences = Field(
        default=Consequences(), description="Of each breach: refuse, pause or trip."
    )
