"""The funding rate that comes of the premiums of an interval."""

from decimal import Decimal

import numpy as np

from tradewright.paper.market.noise import Floats

_DAILY_INTEREST = 3e-4
_LEASH = 5e-4
_DAY = 1440


def funding_rate(premiums: Floats, length: int, cap: Decimal) -> Decimal:
    """Return ``P + clamp(I - P, -0.05 %, 0.05 %)``, at most *cap* either way.

    P is the mean of the premiums so far, a later minute weighing more (1, 2, 3 ...); I is the
    interest of 0.03 % a day, for an interval of *length* minutes.

    Example:
        >>> funding_rate(np.zeros(480), 480, Decimal("0.00375"))
        Decimal('0.0001')
    """
    weights = np.arange(1, len(premiums) + 1)
    premium = float(premiums @ weights / weights.sum())
    interest = _DAILY_INTEREST * length / _DAY
    rate = premium + min(_LEASH, max(-_LEASH, interest - premium))
    exact = round(Decimal(rate), 8).normalize()
    return min(cap, max(-cap, exact)) + 0
