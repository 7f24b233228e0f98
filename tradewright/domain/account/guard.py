"""When a preset rests because of what its own trades have come to."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.market import Symbol, Value
from tradewright.domain.plan import Proposal
from tradewright.domain.protection import DrawdownGuard, Guards, LossGuard

GUARDS: Final = frozenset(
    {RefusalCode.STOP_GUARD, RefusalCode.PRESET_DRAWDOWN, RefusalCode.LOSING_SYMBOL}
)
"""Codes of what a person may lift."""
REMEMBERED_RESULTS: Final = 1000
LONGEST_LOOK: Final = timedelta(days=30)
"""How far back a guard may look, and how long it may rest."""
LONGEST_MEMORY: Final = 2 * LONGEST_LOOK
"""So long a result, and what was lifted, may matter."""
SHORTEST_MEMORY: Final = timedelta(days=1)
"""So long every result is kept, for a guard that is declared after it."""


class Result(Value):
    """What a trade that was open has come to."""

    trade_id: str
    preset: str
    symbol: Symbol
    at: AwareDatetime
    """Market clock, as is `until`."""
    pnl: Decimal
    until: AwareDatetime
    """It is forgotten then."""


class Lift(Value):
    """A person lets a guard begin anew."""

    code: RefusalCode
    preset: str = ""
    """Empty: of every preset."""
    at: AwareDatetime
    """Market clock; results until then do not count any more."""


def memory(guards: Guards | None) -> timedelta:
    """Return how long a result matters to *guards*: while it is looked at, or rested for."""
    declared = (guards.stop_guard, guards.max_drawdown, guards.losing_symbol) if guards else ()
    needed = [guard.within + guard.pause for guard in declared if guard is not None]
    return max(needed, default=SHORTEST_MEMORY)


def remembered(results: Sequence[Result], now: datetime) -> tuple[Result, ...]:
    """Return what still matters at *now* of *results*, oldest first.

    Of too many those are forgotten that are of the preset with the most: one that trades much
    must not end the rest of another.
    """
    kept = sorted((r for r in results if r.until > now), key=lambda r: (r.at, r.trade_id))
    while len(kept) > REMEMBERED_RESULTS:
        ((busiest, _),) = Counter(r.preset for r in kept).most_common(1)
        kept.remove(next(r for r in kept if r.preset == busiest))
    return tuple(kept)


def counted(
    results: Iterable[Result], lifts: Iterable[Lift], code: RefusalCode, preset: str
) -> list[Result]:
    """Return what the guard *code* of *preset* counts, oldest first."""
    since = max(
        (lift.at for lift in lifts if lift.code is code and lift.preset in {"", preset}),
        default=None,
    )
    return [r for r in results if r.preset == preset and (since is None or r.at > since)]


def rests(
    proposal: Proposal, results: Iterable[Result], lifts: Iterable[Lift], equity: Decimal
) -> Iterator[tuple[RefusalCode, str]]:
    """Yield why the preset rests at the moment that *proposal* was made.

    Args:
        proposal: With what its preset declares.
        results: Of any preset, oldest first.
        lifts: What people have lifted.
        equity: Of the account, USDT.
    """
    code, guards, now = RefusalCode, proposal.guards or Guards(), proposal.trigger
    preset, lifts = proposal.preset, tuple(lifts)
    # A trade may have ended after the candle that is decided on late: it has ended all the same
    own = [r for r in results if r.preset == preset]
    here = [r for r in own if r.symbol == proposal.symbol]
    for result in here[-1:] if proposal.cooldown else ():
        if (until := result.at + proposal.cooldown) > now:
            yield code.COOLDOWN, f"{preset} rests on {proposal.symbol} until {_moment(until)}"

    if (guard := guards.stop_guard) is not None:
        losses = [r.at for r in counted(own, lifts, code.STOP_GUARD, preset) if r.pnl < 0]
        if (rest := _rest_after_losses(losses, guard)) and rest > now:
            yield code.STOP_GUARD, f"{preset} {_told(guard)}, it rests until {_moment(rest)}"
    if (drawdown := guards.max_drawdown) is not None:
        among = counted(own, lifts, code.PRESET_DRAWDOWN, preset)
        found = _rest_after_drawdown(among, drawdown, equity, now)
        if found is not None:
            fell, rest = found
            yield (
                code.PRESET_DRAWDOWN,
                f"{preset} fell {fell:.2f} USDT from its best within {_hours(drawdown.within)}, "
                f"{drawdown.fraction:.2%} of equity or more, it rests until {_moment(rest)}",
            )
    if (guard := guards.losing_symbol) is not None:
        losses = [r.at for r in counted(here, lifts, code.LOSING_SYMBOL, preset) if r.pnl < 0]
        if (rest := _rest_after_losses(losses, guard)) and rest > now:
            yield (
                code.LOSING_SYMBOL,
                f"{preset} {_told(guard)} on {proposal.symbol}, it rests until {_moment(rest)}",
            )


def _told(guard: LossGuard) -> str:
    return f"lost {guard.losses} trades within {_hours(guard.within)}"


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):.4g} h"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC (market time)"


def _rest_after_losses(losses: list[datetime], guard: LossGuard) -> datetime | None:
    """Return until when the last loss that was one too many lets rest."""
    first = guard.losses - 1
    too_many = [
        last
        for earliest, last in zip(losses, losses[first:], strict=False)
        if last - earliest <= guard.within
    ]
    return too_many[-1] + guard.pause if too_many else None


def _rest_after_drawdown(
    results: list[Result], guard: DrawdownGuard, equity: Decimal, now: datetime
) -> tuple[Decimal, datetime] | None:
    """Return how far the results had fallen at the last time it was too far, and the rest's end."""
    found, total = None, Decimal(0)
    # Levels before results, falling: the first one is the best of the time that is looked at
    levels = deque[tuple[datetime, Decimal]]()
    for last in results:
        while levels and levels[-1][1] <= total:
            levels.pop()
        levels.append((last.at, total))
        while levels and levels[0][0] <= last.at - guard.within:
            levels.popleft()
        total += last.pnl
        if last.pnl >= 0 or last.at + guard.pause <= now or not levels:
            continue
        fell = levels[0][1] - total
        if fell >= guard.fraction * equity:
            found = fell, last.at + guard.pause
    return found
