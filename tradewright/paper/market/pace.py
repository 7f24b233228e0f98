"""How a candle is spread over time when the market goes by the clock."""

from decimal import Decimal

from tradewright.domain.market import Instrument
from tradewright.paper.market.candle import Bar

TICKS = 12
"""Prices that a candle is spread over."""
TURNS = 4
"""Prices of a candle that is caught up with: those where its path turns."""
_SLOW_TICKS, _SLOWEST_TICKS = 24, 120
IDLE_TICKS = {
    count: frozenset((0, count // 3, 2 * count // 3, count - 1))
    for count in (TURNS, TICKS, _SLOW_TICKS, _SLOWEST_TICKS)
}
"""Where the path turns: its four prices."""


def ticks_at(speed: float) -> int:
    """Return over how many prices a generated candle is spread, about two in a second."""
    if speed <= 2:
        return _SLOWEST_TICKS
    return _SLOW_TICKS if speed <= 20 else TICKS


def ticks(bar: Bar, instrument: Instrument, count: int = TICKS) -> list[Decimal]:
    """Return the candle's path as *count* prices, evenly in time, in whole ticks of price."""
    path = bar.path()
    prices = [path[0]]
    third = count // 3
    legs = ((path[0], path[1], third), (path[1], path[2], third))
    for start, end, steps in (*legs, (path[2], path[3], count - 2 * third - 1)):
        between = [start + (end - start) * i / steps for i in range(1, steps)]
        prices += [instrument.floor_price(p) for p in between] + [end]
    return prices
