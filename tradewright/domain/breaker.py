"""A preset rests on a symbol that it fails on: counted in a row, tried once after a pause. Pure."""

from collections.abc import Collection
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Symbol, Value


class SymbolBreaker(Value):
    """When a preset rests on a symbol that it fails on."""

    failures: int = Field(default=5, ge=1, description="In a row.")
    pause: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))


class BrokenSymbol(Value):
    """A symbol that a preset failed on last time."""

    symbol: Symbol
    failures: int = Field(ge=1, description="In a row.")
    until: AwareDatetime | None = Field(
        default=None, description="Market clock; unset while the failures are too few to rest."
    )
    reason: str = ""

    def rests(self, at: datetime) -> bool:
        """Return whether nothing is tried on it at *at*; what rested before is tried once."""
        return self.until is not None and at < self.until


def failed(
    broken: Collection[BrokenSymbol],
    symbol: str,
    reason: str,
    at: datetime,
    terms: SymbolBreaker,
    rest: timedelta | None = None,
) -> tuple[BrokenSymbol, ...]:
    """Return what is broken after one more failure on *symbol*.

    Args:
        broken: What was before.
        symbol: Where it failed.
        reason: Of this failure.
        at: Market clock.
        terms: How many failures are too many, and how long it rests then.
        rest: It rests so long at once, however few they are.
    """
    before = next((one for one in broken if one.symbol == symbol), None)
    failures = before.failures + 1 if before else 1
    # One that rested already has failed its only try
    pause = terms.pause if failures >= terms.failures or (before and before.until) else None
    pauses = [found for found in (pause, rest) if found is not None]
    until = at + max(pauses) if pauses else None
    now = BrokenSymbol(symbol=symbol, failures=failures, until=until, reason=reason)
    return tuple(sorted((*worked(broken, symbol), now), key=lambda one: one.symbol))


def worked(broken: Collection[BrokenSymbol], symbol: str) -> tuple[BrokenSymbol, ...]:
    """Return what is broken once *symbol* has worked again."""
    return tuple(one for one in broken if one.symbol != symbol)


def resting(broken: Collection[BrokenSymbol], at: datetime) -> tuple[Symbol, ...]:
    """Return the symbols that nothing is tried on at *at*, market clock."""
    return tuple(one.symbol for one in broken if one.rests(at))
