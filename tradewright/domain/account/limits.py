"""What an account may do, as its settings declare."""

from decimal import Decimal

from pydantic import Field

from tradewright.domain.market import Value


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
