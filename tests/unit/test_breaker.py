"""A preset rests on a symbol that it fails on, and tries it once when the pause is over."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.breaker import BrokenSymbol, SymbolBreaker, failed, resting, worked

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TERMS = SymbolBreaker(failures=3, pause=5 * MINUTE)


def after(*outcomes: bool) -> tuple[BrokenSymbol, ...]:
    """Return what is broken after a minute for each outcome; True is a failure."""
    broken: tuple[BrokenSymbol, ...] = ()
    for minute, failure in enumerate(outcomes):
        at = NOON + minute * MINUTE
        broken = (
            failed(broken, "BTCUSDT", "no data", at, TERMS)
            if failure
            else worked(broken, "BTCUSDT")
        )
    return broken


def test_so_many_failures_in_a_row_let_it_rest() -> None:
    assert resting(after(True, True), NOON + 2 * MINUTE) == ()
    assert resting(after(True, True, True), NOON + 3 * MINUTE) == ("BTCUSDT",)


def test_one_that_works_between_begins_the_count_anew() -> None:
    assert resting(after(True, True, False, True, True), NOON + 4 * MINUTE) == ()


def test_it_is_tried_once_when_the_pause_is_over_and_rests_again_if_it_fails() -> None:
    broken = after(True, True, True)
    over = NOON + 2 * MINUTE + TERMS.pause

    again = failed(broken, "BTCUSDT", "no data", over, TERMS)

    assert resting(broken, over) == ()
    assert resting(again, over + 4 * MINUTE) == ("BTCUSDT",)
    assert worked(broken, "BTCUSDT") == ()


def test_what_is_to_rest_at_once_does_and_is_then_tried_once() -> None:
    broken = failed((), "BTCUSDT", "crossed", NOON, TERMS, rest=MINUTE)

    again = failed(broken, "BTCUSDT", "crossed", NOON + MINUTE, TERMS)

    assert resting(broken, NOON) == ("BTCUSDT",)
    assert resting(broken, NOON + MINUTE) == ()
    assert resting(again, NOON + 2 * MINUTE) == ("BTCUSDT",)


def test_symbols_rest_apart() -> None:
    broken = failed(after(True, True, True), "ETHUSDT", "no data", NOON, TERMS)

    assert resting(broken, NOON + 3 * MINUTE) == ("BTCUSDT",)
    assert [one.failures for one in broken] == [3, 1]


@given(st.lists(st.booleans(), max_size=30))
def test_it_rests_exactly_when_the_last_failures_were_enough(outcomes: list[bool]) -> None:
    in_a_row = 0
    for failure in outcomes:
        in_a_row = in_a_row + 1 if failure else 0

    broken = after(*outcomes)

    at = NOON + max(0, len(outcomes) - 1) * MINUTE
    assert bool(resting(broken, at)) is (in_a_row >= TERMS.failures)
