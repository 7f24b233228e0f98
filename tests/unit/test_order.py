"""The transition table of an order."""

from itertools import product

import pytest

from activities.parse import WORKING, OrderStatus
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.order import (
    IMPOSSIBLE,
    TRANSITIONS,
    TRIGGER_OF_STATUS,
    OrderState,
    OrderTrigger,
    next_state,
    state_of_status,
)

S, T = OrderState, OrderTrigger


def test_every_trigger_in_every_state_is_decided() -> None:
    assert TRANSITIONS.keys() | IMPOSSIBLE == set(product(S, T))
    assert not TRANSITIONS.keys() & IMPOSSIBLE


@pytest.mark.parametrize(("state", "trigger"), sorted(IMPOSSIBLE))
def test_what_cannot_be_is_named(state: OrderState, trigger: OrderTrigger) -> None:
    with pytest.raises(
        IllegalTransition, match=f"order in state {state} cannot take event {trigger}"
    ):
        next_state(state, trigger)


def test_every_status_of_the_exchange_says_where_an_order_stands() -> None:
    assert TRIGGER_OF_STATUS.keys() == {status.value for status in OrderStatus}
    working = {status for status in OrderStatus if state_of_status(status) is S.PLACED}
    assert working == WORKING


def test_money_that_moved_is_never_forgotten() -> None:
    assert {TRANSITIONS[state, T.FILLED] for state in S} == {S.FILLED}
    left = {then for (state, _), then in TRANSITIONS.items() if state is S.FILLED}
    # Only its true size, once known, says that it still works
    assert left == {S.FILLED, TRANSITIONS[S.FILLED, T.MEASURED]} == {S.FILLED, S.PLACED}


def test_what_has_ended_never_works_again() -> None:
    later = {then for (state, _), then in TRANSITIONS.items() if state in {S.ENDED, S.REJECTED}}

    assert S.PLACED not in later
    assert S.INTENDED not in set(TRANSITIONS.values())
