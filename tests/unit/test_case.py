"""A case, from its opening to its verified end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.case import (
    ESCALATE_AFTER,
    Case,
    CaseOpening,
    CaseState,
    Choice,
    Decision,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FIX, IGNORE = (Decision(choice=choice, by="ann") for choice in (Choice.FIX, Choice.IGNORE))


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def opening(fingerprint: str = "f1", **changes: Any) -> CaseOpening:
    fields = {
        "account": "main",
        "symbol": "BTCUSDT",
        "kind": "foreign_order",
        "detail": "not ours",
        "fingerprint": fingerprint,
        "choices": (Choice.FIX, Choice.IGNORE),
    }
    return CaseOpening.model_validate(fields | changes)


def case(**changes: Any) -> Case:
    return Case.model_validate({"opening": opening(), "since": NOW, "asked_at": NOW} | changes)


def test_a_decision_counts_when_a_later_comparison_does_not_see_the_difference() -> None:
    decided = case().decided(FIX, at(1))
    acted = decided.acted("order cancelled", at(2))

    assert decided.not_seen(at(3)) == decided
    assert acted.not_seen(at(1.5)) == acted
    assert acted.not_seen(at(3)).outcome == "fix by ann, verified"


def test_a_case_that_is_over_stays_what_it_came_to() -> None:
    over = case().decided(FIX, at(1)).acted("order cancelled", at(2)).not_seen(at(3))

    again = over.not_seen(at(4)).not_seen(at(5))

    assert again == over


def test_a_difference_that_stays_after_the_decision_is_asked_about_again() -> None:
    acted = case().decided(FIX, at(1)).acted("order cancelled", at(2))

    once = acted.seen(opening(at=at(3)), at(3))
    twice = once.seen(opening(at=at(4)), at(4))

    assert (once.state, twice.state) == (CaseState.DECIDED, CaseState.OPEN)
    assert (twice.decision, twice.asked_at, twice.escalations) == (None, at(4), 0)
    assert twice.remark == "fix by ann did not mend it (order cancelled)"


def test_a_difference_that_is_gone_twice_closes_its_case() -> None:
    once = case().not_seen(at(1))
    back = once.seen(opening(), at(2))

    assert (once.state, once.not_seen(at(2)).outcome) == (CaseState.OPEN, "gone")
    assert back.not_seen(at(3)).state is CaseState.OPEN


def test_what_was_ignored_is_accepted_until_it_changes() -> None:
    ignored = case().decided(IGNORE, at(1))

    same = ignored.seen(opening(), at(2))
    changed = ignored.seen(opening("f2"), at(2))

    assert (ignored.accepts("f1"), ignored.accepts("f2"), case().accepts("f1")) == (
        True,
        False,
        False,
    )
    assert (same.state, same.blocks) == (CaseState.IGNORED, False)
    assert (changed.state, changed.blocks, changed.decision) == (CaseState.OPEN, True, None)


def test_what_a_trade_asks_itself_ends_when_it_is_ignored() -> None:
    """No comparison would ever see it, nor that it is gone."""
    asked = case(opening=opening(kind="unknown_event", choices=(Choice.IGNORE,)))

    ended = asked.decided(IGNORE, at(1))

    assert (ended.state, ended.outcome) == (CaseState.CLOSED, "ignore by ann")


def test_people_are_asked_ever_less_often_and_never_not_at_all() -> None:
    asked, waits = case(), []
    for _ in range(6):
        waits.append(asked.escalates_after)
        asked = asked.escalated()

    assert tuple(waits[:4]) == ESCALATE_AFTER
    assert waits[-1] == ESCALATE_AFTER[-1]


@pytest.mark.parametrize(
    ("decision", "state", "fault"),
    [
        (FIX, CaseState.OPEN, ""),
        (IGNORE, CaseState.DECIDED, ""),
        (Decision(choice=Choice.ADOPT, by="ann"), CaseState.OPEN, "adopt is no choice here"),
        (FIX, CaseState.CLOSED, "the case is closed"),
    ],
)
def test_only_what_the_case_offers_can_be_decided(
    decision: Decision, state: CaseState, fault: str
) -> None:
    told = case(state=state).fault_of(decision)

    assert told.startswith(fault)
    assert bool(told) == bool(fault)


steps = st.lists(
    st.one_of(
        st.sampled_from([FIX, IGNORE, "act", "gone"]),
        st.sampled_from(["f1", "f2"]).map(opening),
    ),
    max_size=20,
)


@given(steps)
def test_no_order_of_events_ends_a_case_that_still_waits_for_its_verification(
    events: list[Any],
) -> None:
    told = case()
    for minute, event in enumerate(events, start=1):
        before = told
        match event:
            case CaseOpening():
                told = told.seen(event, at(minute))
            case Decision():
                told = told if told.fault_of(event) else told.decided(event, at(minute))
            case "act":
                is_due = told.state is CaseState.DECIDED and told.acted_at is None
                told = told.acted("done", at(minute)) if is_due else told
            case _:
                told = told.not_seen(at(minute))
        if told.is_over and not before.is_over:
            assert event == "gone"
            assert before.acted_at is not None or before.state is CaseState.OPEN
        assert (told.decision is None) == (told.state is CaseState.OPEN) or told.is_over
