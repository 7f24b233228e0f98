"""Who may open and close the gate."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.gate import BETWEEN_READS, QUIET_TIME, FlatProof, Gate, GateState

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OPEN, EXITS_ONLY, HALTED = GateState
STATES = [OPEN, EXITS_ONLY, HALTED]


def gate(state: GateState, minute: int = 0, trip: int = 0, by: str = "") -> Gate:
    at = NOON + timedelta(minutes=minute)
    return Gate(account="main", state=state, at=at, trip=trip, by=by)


@pytest.mark.parametrize(
    ("before", "wanted", "rearm", "then"),
    [
        (OPEN, OPEN, False, OPEN),
        (OPEN, EXITS_ONLY, False, EXITS_ONLY),
        (OPEN, HALTED, False, HALTED),
        (EXITS_ONLY, OPEN, False, OPEN),
        (EXITS_ONLY, EXITS_ONLY, False, EXITS_ONLY),
        (EXITS_ONLY, HALTED, False, HALTED),
        (HALTED, OPEN, False, HALTED),
        (HALTED, EXITS_ONLY, False, HALTED),
        (HALTED, HALTED, False, HALTED),
        (HALTED, OPEN, True, OPEN),
        (HALTED, EXITS_ONLY, True, EXITS_ONLY),
        (HALTED, HALTED, True, HALTED),
        (EXITS_ONLY, OPEN, True, OPEN),
        (OPEN, HALTED, True, HALTED),
    ],
)
def test_anyone_tightens_and_only_a_rearm_opens_what_is_halted(
    before: GateState, wanted: GateState, rearm: bool, then: GateState
) -> None:
    after = gate(before).after(gate(wanted, minute=1, by="ann"), rearm=rearm)

    assert after.state is then
    assert (after.by == "ann") == (then is wanted)


def test_a_gate_that_stays_keeps_its_reason() -> None:
    halted = gate(HALTED, by="ann")

    assert halted.after(gate(OPEN, minute=1, by="bob")) == halted


@pytest.mark.parametrize("rearm", [True, False])
def test_an_opening_that_comes_late_does_not_undo_what_came_after_it(rearm: bool) -> None:
    for state in (EXITS_ONLY, HALTED):
        tripped = gate(state, minute=5)

        assert tripped.after(gate(OPEN, minute=4), rearm=rearm).state is state


def test_a_tightening_that_comes_late_counts() -> None:
    assert gate(OPEN, minute=5).after(gate(HALTED, minute=4)).state is HALTED


def test_the_trip_number_never_falls() -> None:
    for (before, wanted), rearm in product(product(STATES, STATES), (True, False)):
        after = gate(before, trip=3).after(gate(wanted, minute=1, trip=1), rearm=rearm)

        assert after.trip == 3
    assert gate(OPEN, trip=3).after(gate(HALTED, minute=1, trip=4)).trip == 4


@given(st.lists(st.tuples(st.sampled_from(STATES), st.integers(0, 9)), max_size=20))
def test_without_a_rearm_what_is_halted_stays_halted(wishes: list[tuple[GateState, int]]) -> None:
    now = gate(OPEN)
    for state, minute in wishes:
        before, now = now, now.after(gate(state, minute))
        assert before.state is not HALTED or now.state is HALTED
        assert now.after(gate(state, minute)) == now or now.state is not state


def test_a_proof_is_two_flat_reads_the_last_when_nothing_can_land_any_more() -> None:
    proof = FlatProof(closed_at=NOON)

    once = proof.after(is_flat=True, asked_at=NOON + timedelta(seconds=1))
    too_early = once.after(is_flat=True, asked_at=NOON + QUIET_TIME - timedelta(seconds=1))
    twice = too_early.after(is_flat=True, asked_at=NOON + QUIET_TIME)

    assert [p.is_given for p in (proof, once, too_early, twice)] == [False, False, False, True]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=12))
def test_a_proof_ends_with_two_flat_reads_in_a_row(reads: list[tuple[bool, int]]) -> None:
    proof, seconds = FlatProof(closed_at=NOON), 0
    for is_flat, later in reads:
        seconds += later
        proof = proof.after(is_flat=is_flat, asked_at=NOON + timedelta(seconds=seconds))

    if proof.is_given:
        assert [is_flat for is_flat, _ in reads[-2:]] == [True, True]
        assert seconds >= QUIET_TIME.total_seconds()
    if reads and not reads[-1][0]:
        assert not proof.is_given


def test_the_pause_reaches_to_the_end_of_the_quiet_time_and_is_never_nothing() -> None:
    proof = FlatProof(closed_at=NOON)

    assert proof.pause(NOON) == QUIET_TIME
    assert proof.pause(NOON + timedelta(hours=1)) == BETWEEN_READS


def test_what_safe_mode_does_and_leaves_alone_is_said() -> None:
    """Safety semantics: safe mode says exactly what it does."""
    assert EXITS_ONLY.meaning.startswith(
        "no new entries, and those that wait at the exchange are cancelled; open trades are managed"
    )
    assert {state: "no new entries" in state.meaning for state in STATES} == {
        OPEN: False,
        EXITS_ONLY: True,
        HALTED: True,
    }
