"""What is traded: instruments with the width and depth of their books, and risk tiers."""

from decimal import Decimal
from functools import cache

import msgspec

from tradewright.domain.market import Instrument

_NO_LIMIT = Decimal("1E+18")
_LOWEST_MAINTENANCE = Decimal("0.005")


class Tier(msgspec.Struct, frozen=True):
    """Margin rates of positions worth up to *limit*, from Bybit's `risk-limit`."""

    limit: Decimal
    maintenance_rate: Decimal
    initial_rate: Decimal
    max_leverage: Decimal
    deduction: Decimal = Decimal(0)
    """Makes the maintenance margin continuous where one tier ends and the next begins."""


@cache
def _endless(max_leverage: Decimal) -> tuple[Tier, ...]:
    return (Tier(_NO_LIMIT, _LOWEST_MAINTENANCE, 1 / max_leverage, max_leverage),)


class Market(msgspec.Struct, frozen=True):
    """One symbol: its trading rules, its book around candles, its risk."""

    instrument: Instrument
    spread_ticks: int = 1
    depth: Decimal | None = None
    """USDT per price level around candles; None is without limit, at the best price."""
    lean: Decimal = Decimal(0)
    """By how much of its size one side of the book around candles may outweigh the other."""
    tiers: tuple[Tier, ...] = ()
    """Ascending; none means one without limit, at half a per cent."""
    funding_minutes: int = 480
    limit_ratio_x: Decimal = Decimal("0.01")
    limit_ratio_y: Decimal = Decimal("0.02")

    @property
    def ladder(self) -> tuple[Tier, ...]:
        return self.tiers or _endless(self.instrument.max_leverage)

    def tier_of(self, value: Decimal) -> Tier:
        """Return the tier of a position worth *value*; the last one of what exceeds them all."""
        ladder = self.ladder
        return next((t for t in ladder if value <= t.limit), ladder[-1])
