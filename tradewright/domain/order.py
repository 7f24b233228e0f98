"""The life of one order as a table, whoever tells of it: its trade, its executions, a read."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tradewright.domain.errors import IllegalTransition


class OrderState(StrEnum):
    """Where an order stands."""

    INTENDED = "intended"
    """Written down, perhaps never sent."""
    PLACED = "placed"
    """At the exchange, where it works or waits for its trigger."""
    FILLED = "filled"
    ENDED = "ended"
    REJECTED = "rejected"


class OrderTrigger(StrEnum):
    """What is told of an order; the columns of the table."""

    ACCEPTED = "accepted"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    ENDED = "ended"
    """It will not fill any further."""
    REJECTED = "rejected"
    MEASURED = "measured"
    """Its size is known at last, and not all of it was filled."""


S, T = OrderState, OrderTrigger

TRANSITIONS: Final[Mapping[tuple[OrderState, OrderTrigger], OrderState]] = MappingProxyType(
    {
        (S.INTENDED, T.ACCEPTED): S.PLACED,
        (S.INTENDED, T.PARTLY_FILLED): S.PLACED,  # the fill overtook the answer
        (S.INTENDED, T.FILLED): S.FILLED,
        (S.INTENDED, T.ENDED): S.ENDED,
        (S.INTENDED, T.REJECTED): S.REJECTED,
        (S.PLACED, T.ACCEPTED): S.PLACED,
        (S.PLACED, T.PARTLY_FILLED): S.PLACED,
        (S.PLACED, T.FILLED): S.FILLED,
        (S.PLACED, T.ENDED): S.ENDED,
        (S.PLACED, T.REJECTED): S.REJECTED,  # taken first, and refused by the matching later
        (S.PLACED, T.MEASURED): S.PLACED,
        # Late news of an order that is filled
        (S.FILLED, T.ACCEPTED): S.FILLED,
        (S.FILLED, T.PARTLY_FILLED): S.FILLED,
        (S.FILLED, T.FILLED): S.FILLED,
        (S.FILLED, T.ENDED): S.FILLED,
        (S.FILLED, T.MEASURED): S.PLACED,  # it was thought whole while its size was unknown
        (S.ENDED, T.ACCEPTED): S.ENDED,
        (S.ENDED, T.PARTLY_FILLED): S.ENDED,  # the end overtook the fill
        (S.ENDED, T.FILLED): S.FILLED,
        (S.ENDED, T.ENDED): S.ENDED,
        (S.ENDED, T.REJECTED): S.REJECTED,  # the stream told of its end before its answer
        (S.ENDED, T.MEASURED): S.ENDED,
        # Money that moved is believed before any word about the order
        (S.REJECTED, T.PARTLY_FILLED): S.ENDED,
        (S.REJECTED, T.FILLED): S.FILLED,
        (S.REJECTED, T.ENDED): S.REJECTED,
        (S.REJECTED, T.REJECTED): S.REJECTED,
    }
)

IMPOSSIBLE: Final = frozenset(
    {
        (S.FILLED, T.REJECTED),  # what was traded was not refused
        (S.REJECTED, T.ACCEPTED),  # a link is refused or taken once
        # Only what was told of by its executions is measured later
        (S.INTENDED, T.MEASURED),
        (S.REJECTED, T.MEASURED),
    }
)

TRIGGER_OF_STATUS: Final[Mapping[str, OrderTrigger]] = MappingProxyType(
    {
        "New": T.ACCEPTED,
        "Untriggered": T.ACCEPTED,
        "Triggered": T.ACCEPTED,
        "PartiallyFilled": T.PARTLY_FILLED,
        "Filled": T.FILLED,
        "Cancelled": T.ENDED,
        "PartiallyFilledCanceled": T.ENDED,
        "Deactivated": T.ENDED,
        "Rejected": T.REJECTED,
    }
)
"""What each of Bybit's order statuses tells."""


def next_state(state: OrderState, trigger: OrderTrigger) -> OrderState:
    """Return where an order stands after *trigger*.

    Raises:
        IllegalTransition: The table has no row for this state and trigger.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(state, trigger, "order") from None


def state_of_status(status: str) -> OrderState:
    """Return where an order stands of which the exchange says *status*.

    Example:
        >>> str(state_of_status("Untriggered")), str(state_of_status("Deactivated"))
        ('placed', 'ended')
    """
    return next_state(OrderState.INTENDED, TRIGGER_OF_STATUS[status])
