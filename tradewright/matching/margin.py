"""Margin, liquidation and bankruptcy prices of one position.

Cross margin goes by the mark price, isolated margin by the entry, only its maintenance margin
by both. Each sets aside the taker fee of closing at the bankruptcy price.
"""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tradewright.domain.market import Side
from tradewright.matching.market import Market, Tier
from tradewright.matching.order import ZERO
from tradewright.matching.position import Position


def closing_fee(position: Position, value: Decimal, taker: Decimal) -> Decimal:
    """Return the taker fee at the bankruptcy price of an entry worth *value*."""
    return value * (1 - position.side.sign / position.leverage) * taker


def initial_margin(position: Position, value: Decimal, taker: Decimal) -> Decimal:
    """Return the margin of *position* worth *value*: at its entry (isolated) or mark (cross)."""
    return value / position.leverage + closing_fee(position, value, taker)


def maintenance_margin(market: Market, value: Decimal) -> Decimal:
    """Return ``value * rate - deduction`` of the tier of *value*; the fee of closing comes on top.

    The orders do not count: in the tier of a greater value the deduction would be too great.
    """
    tier = market.tier_of(value)
    return value * tier.maintenance_rate - tier.deduction


def isolated_liq_price(position: Position, market: Market) -> Decimal | None:
    """Return the mark price at which the position's own margin falls to its maintenance margin.

    ``(entry (1 - 1 / leverage) - (extra + deduction) / size) / (1 - rate)`` of a long,
    ``(entry (1 + 1 / leverage) + (extra + deduction) / size) / (1 + rate)`` of a short.
    """
    sign, size = position.side.sign, position.size
    own = position.cost * (1 - sign / position.leverage) - sign * position.extra_margin

    def solved(tier: Tier) -> Decimal:
        return (own - sign * tier.deduction) / (size * (1 - sign * tier.maintenance_rate))

    return _in_its_tier(position, market, solved)


def cross_liq_price(
    position: Position,
    market: Market,
    *,
    mark: Decimal,
    equity: Decimal,
    other_maintenance: Decimal,
    taker: Decimal,
) -> Decimal | None:
    """Return the mark price at which *equity* falls to the account's maintenance margin.

    All other symbols stay where they are. None if no price above zero does it.
    """
    sign, size = position.side.sign, position.size
    spare = equity - sign * size * mark - other_maintenance
    least_rate = closing_fee(position, Decimal(1), taker) - sign
    highest = market.ladder[-1]
    if sign < 0 and spare > highest.limit * (highest.maintenance_rate + least_rate):
        # So rich an account is beyond every tier, without looking into each
        return None

    def solved(tier: Tier) -> Decimal:
        return (spare + tier.deduction) / (size * (tier.maintenance_rate + least_rate))

    return _in_its_tier(position, market, solved)


def isolated_bust_price(position: Position, market: Market) -> Decimal:
    """Return the price at which the position has lost its margin, fees aside.

    Rounded in the account's favour, so that it never pays more than its margin.
    """
    sign = position.side.sign
    own = position.cost * (1 - sign / position.leverage) - sign * position.extra_margin
    return _rounded(own / position.size, market, position.side)


def cross_bust_price(
    position: Position, market: Market, *, mark: Decimal, equity: Decimal, taker: Decimal
) -> Decimal:
    """Return the price at which closing the position leaves no equity, its fee included."""
    sign = position.side.sign
    own = mark * position.size - sign * equity
    return _rounded(own / (position.size * (1 - sign * taker)), market, position.side)


def _rounded(price: Decimal, market: Market, side: Side) -> Decimal:
    tick = market.instrument.tick_size
    rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return max((price / tick).to_integral_value(rounding) * tick, tick)


def _in_its_tier(
    position: Position, market: Market, solved: Callable[[Tier], Decimal]
) -> Decimal | None:
    """Return the price that a tier gives and that lies within this tier."""
    lower = ZERO
    for tier in market.ladder:
        price = solved(tier)
        value = position.size * price
        if price <= 0:
            return None
        if lower <= value <= tier.limit:
            return price
        lower = tier.limit
    return None
