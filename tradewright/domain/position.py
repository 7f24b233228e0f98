"""The life of one symbol's position as a table, told by what the exchange shows of it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tradewright.domain.account import Position
from tradewright.domain.errors import IllegalTransition


class PositionState(StrEnum):
    """Where a position stands."""

    FLAT = "flat"
    NAKED = "naked"
    """Held without a stop."""
    PROTECTED = "protected"


class PositionTrigger(StrEnum):
    """What differs between two looks at a position; the columns of the table."""

    OPENED = "opened"
    INCREASED = "increased"
    REDUCED = "reduced"
    TURNED = "turned"
    """Closed and opened on the other side between the looks."""
    CLOSED = "closed"
    STOP_SET = "stop_set"
    STOP_MOVED = "stop_moved"
    STOP_LOST = "stop_lost"


S, T = PositionState, PositionTrigger

TRANSITIONS: Final[Mapping[tuple[PositionState, PositionTrigger], PositionState]] = (
    MappingProxyType(
        {
            (S.FLAT, T.OPENED): S.NAKED,  # until its stop is seen, too
            (S.NAKED, T.INCREASED): S.NAKED,
            (S.NAKED, T.REDUCED): S.NAKED,
            (S.NAKED, T.TURNED): S.NAKED,
            (S.NAKED, T.CLOSED): S.FLAT,
            (S.NAKED, T.STOP_SET): S.PROTECTED,
            (S.PROTECTED, T.INCREASED): S.PROTECTED,  # its stop is one of the whole position
            (S.PROTECTED, T.REDUCED): S.PROTECTED,
            (S.PROTECTED, T.TURNED): S.NAKED,  # the stop went with the side that it was for
            (S.PROTECTED, T.CLOSED): S.FLAT,
            (S.PROTECTED, T.STOP_MOVED): S.PROTECTED,
            (S.PROTECTED, T.STOP_LOST): S.NAKED,
        }
    )
)

IMPOSSIBLE: Final = frozenset(
    {
        *((S.FLAT, trigger) for trigger in T if trigger is not T.OPENED),
        # One symbol holds one position: a second belongs to an account in hedge mode
        (S.NAKED, T.OPENED),
        (S.PROTECTED, T.OPENED),
        # What is not there is neither moved nor lost, and what is there is not set anew
        (S.NAKED, T.STOP_MOVED),
        (S.NAKED, T.STOP_LOST),
        (S.PROTECTED, T.STOP_SET),
    }
)


def next_state(state: PositionState, trigger: PositionTrigger) -> PositionState:
    """Return where a position stands after *trigger*.

    Raises:
        IllegalTransition: The table has no row for this state and trigger.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(state, trigger, "position") from None


def changes(before: Position | None, after: Position | None) -> tuple[PositionTrigger, ...]:
    """Return what happened between two looks at the position of one symbol; None is flat."""
    if after is None:
        return () if before is None else (T.CLOSED,)
    found: list[PositionTrigger] = []
    if before is None or before.side is not after.side:
        found.append(T.OPENED if before is None else T.TURNED)
        # The stop that was there belonged to something else
        return (*found, T.STOP_SET) if after.stop_loss is not None else tuple(found)
    if before.qty != after.qty:
        found.append(T.INCREASED if after.qty > before.qty else T.REDUCED)
    if before.stop_loss != after.stop_loss:
        if before.stop_loss is None:
            found.append(T.STOP_SET)
        else:
            found.append(T.STOP_MOVED if after.stop_loss is not None else T.STOP_LOST)
    return tuple(found)
