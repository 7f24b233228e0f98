"""What is traded: instruments with the width and depth of their books, and risk tiers."""

from decimal import Decimal

import msgspec

from tradewright.domain.market import Instrument


class Tier(msgspec.Struct, frozen=True):
    """Margin rates of positions worth up to *limit*, from Bybit's `risk-limit`."""

    limit: Decimal
    maintenance_rate: Decimal
    initial_rate: Decimal
    max_leverage: Decimal
    deduction: Decimal = Decimal(0)


class Market(msgspec.Struct, frozen=True):
    """One symbol: its trading rules, its book around candles, its risk."""

    instrument: Instrument
    spread_ticks: int = 1
    depth: Decimal | None = None
    """USDT per price level around candles; None is without limit, at the best price."""
    tiers: tuple[Tier, ...] = ()
    funding_minutes: int = 480
    limit_ratio_x: Decimal = Decimal("0.01")
    limit_ratio_y: Decimal = Decimal("0.02")
