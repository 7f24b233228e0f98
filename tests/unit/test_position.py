"""The transition table of a position, and what two looks at it say."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.account import Position
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.market import Side
from tradewright.domain.position import (
    IMPOSSIBLE,
    TRANSITIONS,
    PositionState,
    PositionTrigger,
    changes,
    next_state,
)

S, T = PositionState, PositionTrigger


def held(qty: str = "0.1", stop: str | None = "49000", side: Side = Side.BUY) -> Position:
    return Position(
        symbol="BTCUSDT",
        side=side,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
        stop_loss=Decimal(stop) if stop else None,
    )


def test_every_trigger_in_every_state_is_decided() -> None:
    assert TRANSITIONS.keys() | IMPOSSIBLE == set(product(S, T))
    assert not TRANSITIONS.keys() & IMPOSSIBLE


@pytest.mark.parametrize(("state", "trigger"), sorted(IMPOSSIBLE))
def test_what_cannot_be_is_named(state: PositionState, trigger: PositionTrigger) -> None:
    told = f"position in state {state} cannot take event {trigger}"
    with pytest.raises(IllegalTransition, match=told):
        next_state(state, trigger)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, None, ()),
        (None, held(), (T.OPENED, T.STOP_SET)),
        (None, held(stop=None), (T.OPENED,)),
        (held(), held(), ()),
        (held(), held("0.2"), (T.INCREASED,)),
        (held(), held("0.05", stop=None), (T.REDUCED, T.STOP_LOST)),
        (held(), held(stop="49500"), (T.STOP_MOVED,)),
        (held(stop=None), held(), (T.STOP_SET,)),
        (held(), None, (T.CLOSED,)),
        (held(), held(side=Side.SELL, stop="51000"), (T.TURNED, T.STOP_SET)),
        (held(), held(side=Side.SELL, stop=None), (T.TURNED,)),
    ],
)
def test_two_looks_tell_what_happened(
    before: Position | None, after: Position | None, told: tuple[PositionTrigger, ...]
) -> None:
    assert changes(before, after) == told


looks = st.none() | st.builds(
    held,
    st.sampled_from(["0.1", "0.2"]),
    st.sampled_from([None, "49000", "49500"]),
    st.sampled_from(Side),
)


@given(st.lists(looks, max_size=8))
def test_whatever_is_seen_the_state_is_what_is_shown(seen: list[Position | None]) -> None:
    state, before = S.FLAT, None
    for look in seen:
        for trigger in changes(before, look):
            state = next_state(state, trigger)
        shown = S.FLAT if look is None else S.PROTECTED if look.stop_loss else S.NAKED
        assert state is shown
        before = look
