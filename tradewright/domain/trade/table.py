"""The life of a trade as a table: state and trigger give the next state."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class TradeState(StrEnum):
    """Where a trade stands; CLOSED, CANCELLED and REJECTED are final."""

    PENDING = "pending"
    ENTERING = "entering"
    OPEN = "open"
    EXITING = "exiting"
    SETTLING = "settling"
    """Nothing should be held any more; the exchange is asked until it says so."""
    CLOSED = "closed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Trigger(StrEnum):
    """What an event means to a trade; the columns of the table."""

    STARTED = "started"
    ADOPTED = "adopted"
    ENTRY_PLACED = "entry_placed"
    ENTRY_REJECTED = "entry_rejected"
    ENTRY_ENDED = "entry_ended"
    ENTRY_EXPIRED = "entry_expired"
    TARGETS_PLACED = "targets_placed"
    ENTRY_FILLED = "entry_filled"
    EXIT_FILLED = "exit_filled"
    CLOSED_BY_FILL = "closed_by_fill"
    """The fill brings what is held to zero, or is of an order that does so to its end."""
    FUNDED = "funded"
    STOP_CONFIRMED = "stop_confirmed"
    STOP_MISSING = "stop_missing"
    STOP_LOST = "stop_lost"
    STOP_REFUSED = "stop_refused"
    STOP_KEPT = "stop_kept"
    STOP_MOVED = "stop_moved"
    MIGRATED = "migrated"
    TRAILING_SET = "trailing_set"
    TRAILING_REFUSED = "trailing_refused"
    EXIT_REQUESTED = "exit_requested"
    ABANDONED = "abandoned"
    EXIT_SENT = "exit_sent"
    POSITION_FLAT = "position_flat"
    SETTLED = "settled"
    """Flat, nothing of the trade's works, and its executions are told: it may end."""
    POSITION_HELD = "position_held"
    POSITION_KEPT = "position_kept"
    """Held, and nobody wants to leave: what looked like the end was none."""
    RECHECK_REQUESTED = "recheck_requested"


S, T = TradeState, Trigger
FINAL: Final = frozenset({S.CLOSED, S.CANCELLED, S.REJECTED})

TRANSITIONS: Final[Mapping[tuple[TradeState, Trigger], TradeState]] = MappingProxyType(
    {
        (S.PENDING, T.STARTED): S.ENTERING,
        (S.PENDING, T.ADOPTED): S.OPEN,
        (S.ENTERING, T.ENTRY_PLACED): S.ENTERING,
        (S.ENTERING, T.ENTRY_REJECTED): S.REJECTED,
        (S.ENTERING, T.ENTRY_ENDED): S.SETTLING,  # a fill may still be on its way: ask
        (S.ENTERING, T.ENTRY_EXPIRED): S.ENTERING,  # until its cancel is through
        (S.ENTERING, T.ENTRY_FILLED): S.OPEN,
        (S.ENTERING, T.EXIT_FILLED): S.ENTERING,  # the stop's fill overtook the entry's
        (S.ENTERING, T.CLOSED_BY_FILL): S.SETTLING,
        (S.ENTERING, T.FUNDED): S.ENTERING,  # told before the fill that it was paid for
        (S.ENTERING, T.STOP_LOST): S.ENTERING,  # its fill comes first
        (S.ENTERING, T.STOP_MOVED): S.ENTERING,
        (S.ENTERING, T.EXIT_REQUESTED): S.EXITING,
        (S.ENTERING, T.ABANDONED): S.SETTLING,
        (S.ENTERING, T.POSITION_FLAT): S.ENTERING,
        (S.ENTERING, T.SETTLED): S.ENTERING,
        (S.ENTERING, T.POSITION_HELD): S.ENTERING,
        (S.ENTERING, T.POSITION_KEPT): S.ENTERING,
        (S.ENTERING, T.RECHECK_REQUESTED): S.ENTERING,
        (S.OPEN, T.ENTRY_PLACED): S.OPEN,  # the fill overtook the answer
        (S.OPEN, T.ENTRY_REJECTED): S.OPEN,  # the rest of a partly filled entry
        (S.OPEN, T.ENTRY_ENDED): S.OPEN,
        (S.OPEN, T.ENTRY_EXPIRED): S.OPEN,
        (S.OPEN, T.TARGETS_PLACED): S.OPEN,
        (S.OPEN, T.ENTRY_FILLED): S.OPEN,
        (S.OPEN, T.EXIT_FILLED): S.OPEN,
        (S.OPEN, T.CLOSED_BY_FILL): S.SETTLING,
        (S.OPEN, T.FUNDED): S.OPEN,
        (S.OPEN, T.STOP_CONFIRMED): S.OPEN,
        (S.OPEN, T.STOP_MISSING): S.EXITING,
        (S.OPEN, T.STOP_LOST): S.OPEN,
        (S.OPEN, T.STOP_REFUSED): S.EXITING,
        (S.OPEN, T.STOP_KEPT): S.OPEN,
        (S.OPEN, T.STOP_MOVED): S.OPEN,
        (S.OPEN, T.MIGRATED): S.OPEN,
        (S.OPEN, T.TRAILING_SET): S.OPEN,
        (S.OPEN, T.TRAILING_REFUSED): S.OPEN,
        (S.OPEN, T.EXIT_REQUESTED): S.EXITING,
        (S.OPEN, T.ABANDONED): S.SETTLING,
        (S.OPEN, T.POSITION_FLAT): S.SETTLING,  # closed while nobody told us
        (S.OPEN, T.SETTLED): S.SETTLING,
        (S.OPEN, T.POSITION_HELD): S.EXITING,
        (S.OPEN, T.POSITION_KEPT): S.OPEN,
        (S.OPEN, T.RECHECK_REQUESTED): S.OPEN,
        (S.EXITING, T.ENTRY_PLACED): S.EXITING,
        (S.EXITING, T.ENTRY_REJECTED): S.EXITING,
        (S.EXITING, T.ENTRY_ENDED): S.EXITING,
        (S.EXITING, T.ENTRY_EXPIRED): S.EXITING,
        (S.EXITING, T.TARGETS_PLACED): S.EXITING,
        (S.EXITING, T.ENTRY_FILLED): S.EXITING,  # the fill overtook our cancel
        (S.EXITING, T.EXIT_FILLED): S.EXITING,
        (S.EXITING, T.CLOSED_BY_FILL): S.EXITING,  # the flatten under way will say so
        (S.EXITING, T.FUNDED): S.EXITING,
        (S.EXITING, T.STOP_CONFIRMED): S.EXITING,
        (S.EXITING, T.STOP_MISSING): S.EXITING,
        (S.EXITING, T.STOP_LOST): S.EXITING,
        (S.EXITING, T.STOP_REFUSED): S.EXITING,
        (S.EXITING, T.STOP_KEPT): S.EXITING,
        (S.EXITING, T.STOP_MOVED): S.EXITING,
        (S.EXITING, T.MIGRATED): S.EXITING,  # too late: it changes nothing any more
        (S.EXITING, T.TRAILING_SET): S.EXITING,
        (S.EXITING, T.TRAILING_REFUSED): S.EXITING,
        (S.EXITING, T.ABANDONED): S.SETTLING,
        (S.EXITING, T.EXIT_REQUESTED): S.EXITING,  # the kill switch may ask twice
        (S.EXITING, T.EXIT_SENT): S.SETTLING,
        (S.EXITING, T.POSITION_FLAT): S.EXITING,
        (S.EXITING, T.SETTLED): S.EXITING,
        (S.EXITING, T.POSITION_HELD): S.EXITING,
        (S.EXITING, T.RECHECK_REQUESTED): S.EXITING,
        (S.SETTLING, T.ENTRY_PLACED): S.SETTLING,
        (S.SETTLING, T.ENTRY_REJECTED): S.SETTLING,
        (S.SETTLING, T.ENTRY_ENDED): S.SETTLING,
        (S.SETTLING, T.ENTRY_EXPIRED): S.SETTLING,
        (S.SETTLING, T.TARGETS_PLACED): S.SETTLING,
        (S.SETTLING, T.ENTRY_FILLED): S.SETTLING,
        (S.SETTLING, T.EXIT_FILLED): S.SETTLING,
        (S.SETTLING, T.CLOSED_BY_FILL): S.SETTLING,
        (S.SETTLING, T.FUNDED): S.SETTLING,
        (S.SETTLING, T.STOP_CONFIRMED): S.SETTLING,
        (S.SETTLING, T.STOP_MISSING): S.SETTLING,
        (S.SETTLING, T.STOP_LOST): S.SETTLING,
        (S.SETTLING, T.STOP_REFUSED): S.SETTLING,
        (S.SETTLING, T.STOP_KEPT): S.SETTLING,
        (S.SETTLING, T.STOP_MOVED): S.SETTLING,
        (S.SETTLING, T.MIGRATED): S.SETTLING,
        (S.SETTLING, T.TRAILING_SET): S.SETTLING,
        (S.SETTLING, T.TRAILING_REFUSED): S.SETTLING,
        (S.SETTLING, T.ABANDONED): S.SETTLING,
        (S.SETTLING, T.EXIT_REQUESTED): S.SETTLING,
        (S.SETTLING, T.EXIT_SENT): S.SETTLING,  # given up while it was under way
        (S.SETTLING, T.POSITION_FLAT): S.SETTLING,  # perhaps older than what it settles
        (S.SETTLING, T.SETTLED): S.CLOSED,
        (S.SETTLING, T.POSITION_HELD): S.EXITING,
        (S.SETTLING, T.POSITION_KEPT): S.OPEN,  # the entry's end overtook its fill; a read lagged
        (S.SETTLING, T.RECHECK_REQUESTED): S.SETTLING,
    }
    | {(final, trigger): final for final in FINAL for trigger in T}  # late news changes nothing
)

IMPOSSIBLE: Final = frozenset(
    {
        *((S.PENDING, trigger) for trigger in T if trigger not in {T.STARTED, T.ADOPTED}),
        *(
            (state, trigger)
            for state in (S.ENTERING, S.OPEN, S.EXITING, S.SETTLING)
            for trigger in (T.STARTED, T.ADOPTED)
        ),
        # Only the answers to commands that these states do not give
        (S.ENTERING, T.STOP_CONFIRMED),
        (S.ENTERING, T.STOP_MISSING),
        (S.ENTERING, T.STOP_REFUSED),
        (S.ENTERING, T.STOP_KEPT),
        (S.ENTERING, T.TRAILING_SET),
        (S.ENTERING, T.TRAILING_REFUSED),
        (S.ENTERING, T.TARGETS_PLACED),
        (S.ENTERING, T.EXIT_SENT),
        (S.ENTERING, T.MIGRATED),  # only what is open is moved
        (S.OPEN, T.EXIT_SENT),
        (S.EXITING, T.POSITION_KEPT),  # somebody wants to leave
    }
)
