"""Risk tiers: how much margin positions need, the larger the more."""

from decimal import Decimal
from itertools import pairwise

from tradewright.matching.market import Tier

# The first thirty tiers of BTCUSDT are 2,000,000 USDT wide each, recorded in 2023; then:
_BTC_TOP = """
70000000  0.18 0.3
85000000  0.3  0.5
100000000 0.42 0.7
200000000 0.6  1
"""


def tiers_of(symbol: str, max_leverage: Decimal) -> tuple[Tier, ...]:
    """Return the ladder of *symbol*: the recorded one of BTCUSDT, others by their leverage.

    The deduction keeps the margin continuous where one tier ends:
    ``deduction[i] = deduction[i-1] + limit[i-1] * (rate[i] - rate[i-1])``.
    """
    rows = list(_btc() if symbol == "BTCUSDT" else _by_leverage(max_leverage))
    deductions = [Decimal(0)]
    for (limit, rate, _), (_, rate_above, _) in pairwise(rows):
        deductions.append(deductions[-1] + limit * (rate_above - rate))
    return tuple(
        Tier(
            limit=_plain(limit),
            maintenance_rate=_plain(maintenance),
            initial_rate=_plain(initial),
            max_leverage=_plain(min(max_leverage, round(1 / initial, 2))),
            deduction=_plain(deduction),
        )
        for (limit, maintenance, initial), deduction in zip(rows, deductions, strict=True)
    )


Row = tuple[Decimal, Decimal, Decimal]


def _btc() -> list[Row]:
    ladder = [
        (
            Decimal(2_000_000) * number,
            Decimal("0.005") * number,
            Decimal("0.01") + Decimal("0.0075") * (number - 1),
        )
        for number in range(1, 31)
    ]
    top = [line.split() for line in _BTC_TOP.strip().splitlines()]
    return ladder + [(Decimal(a), Decimal(b), Decimal(c)) for a, b, c in top]


def _by_leverage(max_leverage: Decimal) -> list[Row]:
    """Return twelve tiers, each as wide as the first, down to leverage 1 for what is above."""
    initial = 1 / max_leverage
    first = Decimal(900_000) if max_leverage >= 75 else Decimal(8_000) * max_leverage
    if max_leverage < 50:
        first = Decimal(4_000) * max_leverage
    rows = [
        (
            first * number,
            round(initial / 2 * (1 + (number - 1) * Decimal("0.5")), 6),
            round(initial * (1 + (number - 1) * Decimal("0.5")), 6),
        )
        for number in range(1, 12)
    ]
    return [*rows, (first * 40, max(Decimal("0.5"), rows[-1][1]), Decimal(1))]


def _plain(number: Decimal) -> Decimal:
    return Decimal(f"{number.normalize():f}")
