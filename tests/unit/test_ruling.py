"""What a reconciliation does about each difference."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tradewright.domain.case import Case, CaseState, Choice, Decision
from tradewright.domain.reconciliation import Discrepancy, Kind, Policies, Policy, choices_of
from tradewright.domain.ruling import (
    Key,
    Memory,
    Ruling,
    barring,
    opening_of,
    openings,
    remembered,
    ruling,
    standing,
    told,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def order(number: int = 1, kind: Kind = Kind.UNKNOWN_ORDER, symbol: str = "BTCUSDT") -> Discrepancy:
    return Discrepancy(kind=kind, symbol=symbol, detail=f"d{number}", order_id=f"o{number}")


def case(*subjects: Discrepancy, state: CaseState = CaseState.OPEN) -> Case:
    return Case(
        opening=opening_of("main", subjects or (order(),), NOW),
        state=state,
        since=NOW,
        asked_at=NOW,
        decision=None if state is CaseState.OPEN else Decision(choice=Choice.IGNORE, by="ann"),
        acted_at=None if state is CaseState.OPEN else NOW,
    )


def ruled(policies: Policies | None = None, **changes: Any) -> Policy:
    fields: dict[str, Any] = {"case": None, "memory": Memory(), "halted": False} | changes
    return ruling(opening_of("main", [order()], NOW), policies or Policies(), **fields).policy


def test_differences_of_one_kind_on_one_symbol_are_one_case() -> None:
    found = openings("main", [order(2), order(1), order(3, symbol="ETHUSDT")], NOW)

    assert list(found) == [Key("BTCUSDT", "unknown_order"), Key("ETHUSDT", "unknown_order")]
    assert [d.order_id for d in found[Key("BTCUSDT", "unknown_order")].subjects] == ["o2", "o1"]
    again = openings("main", [order(1), order(2)], NOW)
    (one, other) = (f[Key("BTCUSDT", "unknown_order")].fingerprint for f in (found, again))
    assert one == other


@pytest.mark.parametrize(
    ("attempts", "policy"), [(0, Policy.FIX), (2, Policy.FIX), (3, Policy.ASK), (9, Policy.ASK)]
)
def test_attempts_are_bounded(attempts: int, policy: Policy) -> None:
    """B4: no loop of remedies goes on for ever."""
    assert ruled(memory=Memory(attempts={"BTCUSDT/unknown_order": attempts})) is policy


def test_what_is_not_mended_trips_where_the_settings_say_so() -> None:
    memory = Memory(attempts={"BTCUSDT/unknown_order": 3})
    policies = Policies(unmended="trip")

    assert ruled(policies, memory=memory) is Policy.TRIP
    assert ruled(policies, memory=memory, halted=True) is Policy.ASK
    tripped = memory.model_copy(update={"tripped": (order().fingerprint,)})
    assert ruled(policies, memory=tripped) is Policy.ASK


def test_a_case_that_is_open_has_the_word() -> None:
    assert ruled(Policies(unknown_order="trip"), case=case()) is Policy.ASK


def test_remedies_count_for_as_long_as_the_difference_is_seen() -> None:
    made = Ruling(opening=opening_of("main", [order()], NOW), policy=Policy.FIX)
    key = Key("BTCUSDT", "unknown_order")
    before = Memory(attempts={"BTCUSDT/unknown_order": 1, "ETHUSDT/wrong_stop": 2})

    after = remembered(before, [made], [key], ())
    blind = remembered(before, [], [], ["ETHUSDT"])
    gone = remembered(after, [], [], ())

    assert after.attempts == {"BTCUSDT/unknown_order": 2}
    assert blind.attempts == {"ETHUSDT/wrong_stop": 2}
    assert gone.attempts == {}


def test_what_the_settings_or_a_person_let_be_does_not_stand() -> None:
    found = openings("main", [order(), order(2, Kind.FOREIGN_ORDER)], NOW)
    key = Key("BTCUSDT", "unknown_order")

    assert list(standing(found, Policies(foreign_order="ignore"), {})) == [key]
    ignored = {key: case(state=CaseState.IGNORED)}
    assert list(standing(found, Policies(foreign_order="ignore"), ignored)) == []
    changed = openings("main", [order(), order(3)], NOW)
    assert list(standing(changed, Policies(), ignored)) == [key]


def test_a_position_that_is_let_be_still_bars_its_symbol() -> None:
    """No trade may become one with a position that it does not know."""
    orphan = order(1, Kind.ORPHAN_POSITION)
    found = openings("main", [orphan, order(2, Kind.FOREIGN_ORDER, "ETHUSDT")], NOW)
    policies = Policies(orphan_position="ignore", foreign_order="ignore")
    key = Key("BTCUSDT", "orphan_position")
    ignored = {key: case(orphan, state=CaseState.IGNORED)}

    assert standing(found, policies, {}) == {}
    assert list(barring(found, policies, {})) == [key]
    assert list(barring(found, Policies(foreign_order="ignore"), ignored)) == [key]


KEY = Key("BTCUSDT", "unknown_order")


@pytest.mark.parametrize(
    ("state", "found", "seen", "hears"),
    [
        (CaseState.OPEN, [order()], [order()], None),
        (CaseState.OPEN, [order(2)], [order(2)], True),
        (CaseState.OPEN, [], [order(2)], None),
        (CaseState.OPEN, [], [], False),
        (CaseState.DECIDED, [order()], [order()], True),
        (CaseState.DECIDED, [], [], False),
        (CaseState.IGNORED, [order()], [order()], None),
        (CaseState.IGNORED, [order(2)], [order(2)], True),
        (CaseState.IGNORED, [], [order(2)], None),
        (CaseState.IGNORED, [], [], False),
    ],
)
def test_a_case_hears_what_is_news_to_it(
    state: CaseState, found: list[Discrepancy], seen: list[Discrepancy], hears: bool | None
) -> None:
    both, all_of_it = (openings("main", some, NOW) for some in (found, seen))

    heard = told(NOW, {KEY: case(state=state)}, both, all_of_it, (), (), ())

    assert [h.sighting.opening is not None for h in heard] == ([] if hears is None else [hears])


@pytest.mark.parametrize(
    ("uncompared", "unlooked", "hears"),
    [
        (["BTCUSDT"], [], ["unknown_order"]),
        ([], [Kind.UNKNOWN_ORDER, Kind.WRONG_STOP], []),
        (["ETHUSDT"], [], ["unknown_order", "wrong_stop"]),
    ],
)
def test_what_was_not_compared_is_no_news(
    uncompared: list[str], unlooked: list[Kind], hears: list[str]
) -> None:
    stop = Key("BTCUSDT", "wrong_stop")
    cases = {KEY: case(), stop: case(order(kind=Kind.WRONG_STOP))}

    heard = told(NOW, cases, {}, {}, uncompared, unlooked, ())

    assert [h.case.opening.kind for h in heard] == hears


def test_what_a_trade_asks_itself_ends_with_its_answer_or_with_the_trade() -> None:
    name = "trade/BTCUSDT/tw"
    changes = {"kind": "unknown_event", "subjects": (), "workflow_id": name}
    opening = case().opening.model_copy(update=changes)
    asked, decided, ignored = (
        case(state=state).model_copy(update={"opening": opening})
        for state in (CaseState.OPEN, CaseState.DECIDED, CaseState.IGNORED)
    )
    key = Key("BTCUSDT", "unknown_event")

    def hears(one: Case, seen: Any = (), ended: tuple[str, ...] = ()) -> bool:
        return bool(told(NOW, {key: one}, {}, seen, (), (), ended))

    assert [hears(one) for one in (asked, decided, ignored)] == [False, True, False]
    assert not hears(decided, seen={KEY: opening})
    assert [hears(one, ended=(name,)) for one in (asked, decided, ignored)] == [True] * 3


def test_every_kind_has_a_policy_and_a_person_a_choice() -> None:
    for kind in Kind:
        assert Policies().of(kind) in set(Policy)
        assert choices_of(kind)
    assert set(Policies.model_fields) == {*Kind, "attempts", "unmended"}
