"""What of a preset does not go together, beyond what its types can say."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from tradewright import plugin
from tradewright.domain.protection import OnBad
from tradewright.preset.document import Node
from tradewright.preset.model import BreakEvenAfterTarget, Exits, Preset
from tradewright.preset.protection import Protections
from tradewright.preset.wording import Mistake

LONGEST_LOOK: Final = timedelta(days=30)
"""How far back a guard may look, and how long it may rest: the desk remembers no longer."""
SOONEST_REFRESH: Final = timedelta(minutes=1)


def contradictions(preset: Preset) -> Iterator[Mistake]:
    """Yield every mistake in a preset whose keys and values are each valid."""
    yield from _ladder(preset.exits)
    yield from _guards(preset.protections)
    yield from _sessions(preset.protections)
    universe = preset.market.universe
    if universe is not None and universe.refresh < SOONEST_REFRESH:
        path = ("market", "universe", "refresh")
        yield Mistake(path, "is too often for the exchange's lists; write 1m or more")


def unanswered(preset: Preset, strategy: plugin.Strategy) -> Iterator[Mistake]:
    """Yield what a preset asks of its strategy that the strategy has no answer to."""
    is_known = getattr(strategy, "knows_degraded", False) or "degraded" in preset.strategy.params
    if preset.data.on_bad is OnBad.DEGRADE and not is_known:
        path = ("data", "on_bad")
        if preset.strategy.plugin == "rules":
            remedy = "declare strategy.params.degraded, or write skip"
            yield Mistake(path, f"there are no degraded rules; {remedy}")
        else:
            yield Mistake(path, "the strategy has no answer to bad data; write skip or pause")
    trigger = preset.trigger.timeframe
    for name in sorted(getattr(strategy, "looks_back", ())):
        timeframe = strategy.needs.others[name].timeframe or trigger
        if timeframe.length < trigger.length:
            # So many candles of the trigger are many more of these than are fetched
            message = f"{name} has candles of {timeframe}, shorter than the trigger's {trigger}"
            remedy = "look back at them by an indicator on them, not with brackets or averages here"
            yield Mistake(("strategy", "params"), f"{message}; {remedy}")


def unknown_factors(root: Node, offered: Collection[str]) -> Iterator[Mistake]:
    """Yield the distances that the strategy does not offer."""
    for where in (("exits", "stop"), ("exits", "trailing"), ("entry", "offset"), ("risk",)):
        path = (*where, "indicator")
        name = root.at(path).data
        inner = root.at(path[:-1]).inner
        if "indicator" in inner and isinstance(name, str) and name not in offered:
            advice = plugin.suggestion(name, offered)
            yield Mistake(
                path, f"{name!r} is no distance in price that the strategy offers; {advice}"
            )


def _guards(protections: Protections) -> Iterator[Mistake]:
    for name in ("stop_guard", "max_drawdown", "losing_symbol"):
        guard = getattr(protections, name)
        for key in ("within", "pause"):
            if guard is not None and getattr(guard, key) > LONGEST_LOOK:
                path = ("protections", name, key)
                yield Mistake(path, "is longer than results are remembered; write 30d or less")


def _sessions(protections: Protections) -> Iterator[Mistake]:
    for number, session in enumerate(protections.sessions):
        path = ("protections", "sessions", number)
        if session.since == session.to:
            yield Mistake((*path, "to"), "is when it begins; write a later or an earlier time")
        if not _is_place(session.timezone):
            near = plugin.suggestion(session.timezone, available_timezones())
            message = f"unknown time zone {session.timezone!r}; {near}"
            yield Mistake((*path, "timezone"), message)


def _is_place(timezone: str) -> bool:
    try:
        ZoneInfo(timezone)
    # A folder of zones, such as Europe, is opened as a file
    except (LookupError, ValueError, OSError):
        return False
    return True


def _ladder(exits: Exits) -> Iterator[Mistake]:
    """Yield the targets that do not go together."""
    path, ladder = ("exits", "targets"), exits.targets or ()
    taken = Decimal(0)
    for number, target in enumerate(ladder):
        is_last, fraction = number == len(ladder) - 1, target.close_fraction
        if is_last and fraction is not None:
            message = "the last target takes all that is left; remove close_fraction"
            yield Mistake((*path, number, "close_fraction"), message, at_key=True)
        elif not is_last and fraction is None:
            message = "close_fraction is missing; only the last target takes all that is left"
            yield Mistake((*path, number), message)
        elif not is_last:
            taken += fraction or 0
            if taken >= 1:
                message = f"with those before it takes {taken}; leave something to the last target"
                yield Mistake((*path, number, "close_fraction"), message)
        if number and target.r <= ladder[number - 1].r:
            message = f"{target.r} is not beyond the target before it; write the nearest first"
            yield Mistake((*path, number, "r"), message)
    awaited = exits.break_even
    if isinstance(awaited, BreakEvenAfterTarget) and awaited.after_target >= max(1, len(ladder)):
        before = max(0, len(ladder) - 1)
        message = f"only {before} targets come before the last one; write targets, or after_r"
        yield Mistake(("exits", "break_even", "after_target"), message)
