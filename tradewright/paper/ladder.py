"""The difference between two books, as a stream tells it."""

from collections.abc import Sequence
from decimal import Decimal

from tradewright.domain.market import Side
from tradewright.paper.scale import Scale

Level = tuple[Decimal, Decimal]
Row = tuple[str, str]


def rows(levels: Sequence[Level], scale: Scale) -> list[Row]:
    return [scale.row(level) for level in levels]


def difference(
    before: Sequence[Level], after: Sequence[Level], side: Side, scale: Scale
) -> list[Row]:
    """Return the rows that turn *before* into *after*, best first; quantity 0 takes a price away.

    Both hold each price once, best first: falling for bids, rising for asks. Every price taken
    away is one that *before* holds.
    """
    found: list[Row] = []
    old, new = 0, 0
    while old < len(before) and new < len(after):
        known, level = before[old], after[new]
        if known[0] == level[0]:
            if known[1] != level[1]:
                found.append(scale.row(level))
            old, new = old + 1, new + 1
        elif (known[0] > level[0]) is (side is Side.BUY):
            found.append((scale.shown_price(known[0]), "0"))
            old += 1
        else:
            found.append(scale.row(level))
            new += 1
    found += [(scale.shown_price(price), "0") for price, _ in before[old:]]
    found += rows(after[new:], scale)
    return found
