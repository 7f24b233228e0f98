"""Which symbols a filter chooses, and why one that is in stays in a little longer."""

from collections.abc import Collection, Iterable
from decimal import Decimal

from pydantic import Field

from tradewright.domain.market import Symbol, Value

SLACK = Decimal("0.25")
"""A symbol that is in may be so much worse than a newcomer: else it would come and go daily."""


class Listed(Value):
    """A contract as the exchange's list of tickers shows it."""

    symbol: Symbol
    turnover: Decimal = Field(ge=0, description="Quote currency, of the last 24 hours.")
    bid: Decimal = Field(ge=0, description="0 if there is none; so is `ask`.")
    ask: Decimal = Field(ge=0)

    @property
    def spread_bp(self) -> Decimal | None:
        """Return ask over bid in basis points of their middle; None if a side is empty."""
        if not (self.bid and self.ask):
            return None
        return (self.ask - self.bid) / (self.ask + self.bid) * 20_000


class Filter(Value):
    """What a preset asks of its symbols."""

    top: int = Field(ge=1)
    max_spread_bp: Decimal | None = None
    min_turnover: Decimal | None = None
    exclude: tuple[Symbol, ...] = ()

    def passes(self, listed: Listed, slack: Decimal) -> bool:
        """Return whether the symbol is good enough, if a limit may be missed by *slack* of it."""
        spread = listed.spread_bp
        if listed.symbol in self.exclude or spread is None:
            return False
        if self.max_spread_bp is not None and spread > self.max_spread_bp * (1 + slack):
            return False
        return self.min_turnover is None or listed.turnover >= self.min_turnover * (1 - slack)


def chosen(
    wanted: Filter, listed: Iterable[Listed], current: Collection[Symbol]
) -> tuple[Symbol, ...]:
    """Return the symbols that *wanted* chooses, those of the most turnover first.

    Newcomers are the best `top` that pass. One of *current* stays while it misses a limit, or the
    rank, by no more than `SLACK`; a newcomer takes only a place that has become free.

    Args:
        wanted: What is asked of them.
        listed: All contracts that may be traded.
        current: What was chosen last time; empty the first time.
    """
    # The name decides between equals, so that the same lists give the same symbols
    ranked = sorted(listed, key=lambda one: (-one.turnover, one.symbol))
    passing = [one for one in ranked if wanted.passes(one, Decimal(0))]
    within = wanted.top + int(wanted.top * SLACK)
    lenient = [one for one in ranked if wanted.passes(one, SLACK)][:within]
    staying = [one.symbol for one in lenient if one.symbol in current][: wanted.top]
    coming = [one.symbol for one in passing[: wanted.top] if one.symbol not in staying]
    found = {*staying, *coming[: wanted.top - len(staying)]}
    return tuple(one.symbol for one in ranked if one.symbol in found)
