"""What is told when, and what becomes of a message."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.notice import (
    LONGEST_TEXT,
    LONGEST_TITLE,
    Notice,
    Priority,
)
from tradewright.domain.notification import (
    ESCALATION,
    GATHER,
    HOURLY,
    MOST_MATTERS,
    MOST_MESSAGES,
    QUIET,
    RETRY_AFTER,
    SPACING,
    Book,
    Delivery,
    Failure,
    Message,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
S, M, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def notice(key: str = "a", **changes: Any) -> Notice:
    fields = {"key": key, "account": "main", "priority": Priority.WARNING, "title": f"{key} fails"}
    return Notice.model_validate(fields | changes)


class Told:
    """A book, and the messages that came of it, all of them taken by everybody."""

    def __init__(self) -> None:
        self.book = Book()
        self.messages: list[tuple[timedelta, Message]] = []

    def tell(self, at: timedelta, *notices: Notice) -> None:
        self.until(at)
        for told in notices:
            self.book = self.book.heard(told, NOON + at)
        self.until(at)

    def until(self, at: timedelta) -> list[str]:
        """Let time go on to *at*, and return the titles of what was told so far."""
        while (due := self.book.next_at()) is not None and due <= NOON + at:
            self.book = self.book.composed(due)
            while message := self.book.to_send(due):
                self.messages.append((due - NOON, message))
                self.book = self.book.after(message.number, Delivery(delivered=("log",)), due)
        return [message.title for _, message in self.messages]

    @property
    def times(self) -> list[timedelta]:
        return [at for at, _ in self.messages]


@pytest.fixture
def told() -> Told:
    return Told()


# --- quiet ------------------------------------------------------------------------------------


def test_what_is_said_again_in_the_same_words_is_told_once(told: Told) -> None:
    for minutes in range(0, 600, 7):
        told.tell(M * minutes, notice())

    assert told.until(24 * H) == ["a fails"]
    assert told.book.next_at() is None


def test_new_words_are_told_but_not_more_often_than_once_a_minute(told: Told) -> None:
    for second in range(100):
        told.tell(S * second, notice(text=f"{second} rounds"))

    told.until(H)

    assert told.times == [timedelta(0), QUIET, 2 * QUIET]
    assert [message.text for _, message in told.messages] == ["0 rounds", "59 rounds", "99 rounds"]


def test_what_becomes_urgent_is_told_at_once(told: Told) -> None:
    told.tell(0 * S, notice())
    told.tell(2 * S, notice(priority=Priority.URGENT))

    assert told.times == [0 * S, 2 * S]


def test_what_becomes_less_urgent_is_not_told_again(told: Told) -> None:
    told.tell(0 * S, notice(priority=Priority.URGENT))
    told.tell(2 * S, notice())

    assert told.until(24 * H) == ["a fails"]


def test_a_burst_of_routine_notices_is_one_message(told: Told) -> None:
    fills = [notice(f"fill {n}", priority=Priority.ROUTINE, text="1 at 2") for n in range(30)]
    told.tell(0 * S, *fills)

    assert told.until(H) == ["30 notices: fill 0 fails, …"]
    [(at, message)] = told.messages
    assert at == GATHER
    assert message.text.splitlines()[0] == "- fill 0 fails: 1 at 2"
    assert message.text.splitlines()[-1] == "- and 18 more"
    assert len(message.text) <= LONGEST_TEXT


def test_many_warnings_are_told_together_at_intervals(told: Told) -> None:
    for number in range(60):
        told.tell(number * S, notice(f"symbol {number}"))

    told.until(H)

    spacing = SPACING[Priority.WARNING]
    assert all(b - a >= spacing for a, b in zip(told.times, told.times[1:], strict=False))
    assert len(told.messages) == 7


def test_urgent_notices_wait_for_nobody(told: Told) -> None:
    for number in range(5):
        told.tell(number * S, notice(f"trip {number}", priority=Priority.URGENT))

    assert told.times == [n * S for n in range(5)]


# --- the gate ---------------------------------------------------------------------------------


SAFE_MODE, TRIP, REARM = (f"kill-switch/main/{name}" for name in ("safe_mode", "trip", "rearm"))


def test_a_change_of_the_gate_is_told_at_once_however_lately_the_last_was(told: Told) -> None:
    told.tell(0 * S, notice(SAFE_MODE, title="safe mode on"))
    told.tell(1 * S, notice(SAFE_MODE, title="safe mode left", resolved=True))
    told.tell(2 * S, notice(REARM, title="rearmed"))

    assert told.until(H) == ["safe mode on", "over: safe mode left", "rearmed"]
    assert told.times == [0 * S, 1 * S, 2 * S]


def test_that_safe_mode_is_over_is_never_told_after_a_trip() -> None:
    book = Book().heard(notice(SAFE_MODE), NOON).composed(NOON)
    book = book.after(1, Delivery(delivered=("log",)), NOON)
    left = book.heard(notice(SAFE_MODE, resolved=True), NOON + S)

    # Before the notifier has composed it, and while a receiver is tried again
    untold = left.heard(notice(TRIP, priority=Priority.URGENT), NOON + 2 * S)
    failed = Delivery(failed=(Failure(receiver="phone", reason="away"),))
    retried = left.composed(NOON + S).after(2, failed, NOON + S)
    retried = retried.heard(notice(TRIP, priority=Priority.URGENT), NOON + 2 * S)

    for tripped in (untold, retried):
        [message] = [
            s.message for s in tripped.composed(NOON + M).messages if s.again_at is not None
        ]
        assert message.title == f"{TRIP} fails"


def test_a_trip_that_is_told_again_in_the_same_words_keeps_its_message() -> None:
    trip = notice(TRIP, priority=Priority.URGENT)
    book = Book().heard(trip, NOON).composed(NOON)

    assert book.heard(trip, NOON + S).to_send(NOON + S) == book.to_send(NOON + S)


def test_the_gate_is_told_apart_from_what_else_is_due(told: Told) -> None:
    told.tell(0 * S, notice("a"), notice(SAFE_MODE), notice("b"))

    assert told.until(H) == [f"{SAFE_MODE} fails", "2 notices: a fails, …"]


# --- escalation -------------------------------------------------------------------------------


def test_what_is_urgent_is_told_until_somebody_answers(told: Told) -> None:
    told.tell(0 * S, notice(priority=Priority.URGENT))
    told.until(4 * H)

    assert told.times == [0 * S, *ESCALATION, *(ESCALATION[-1] + n * HOURLY for n in (1, 2, 3))]
    assert [m.title for _, m in told.messages][:3] == [
        *("a fails", "again, 2nd time: a fails", "again, 3rd time: a fails"),
    ]

    told.book = told.book.acknowledged("a", "ann")

    assert told.book.next_at() is None
    [matter] = told.book.open
    assert matter.acknowledged_by == "ann"


def test_a_repeat_of_the_same_news_does_not_put_the_escalation_off(told: Told) -> None:
    for minute in range(16):
        told.tell(minute * M, notice(priority=Priority.URGENT))

    assert told.times == [0 * M, 5 * M, 15 * M]


def test_who_answered_for_a_warning_is_called_when_it_becomes_urgent(told: Told) -> None:
    told.tell(0 * S, notice())
    told.book = told.book.acknowledged("a", "ann")
    told.tell(M, notice(priority=Priority.URGENT))
    told.until(10 * M)

    assert told.times == [0 * M, 1 * M, 6 * M]


def test_that_it_is_over_is_told_once_to_those_who_heard_of_it(told: Told) -> None:
    told.tell(0 * S, notice(priority=Priority.URGENT))
    told.tell(2 * M, notice(priority=Priority.ROUTINE, resolved=True))
    told.tell(3 * M, notice(resolved=True))

    assert told.until(24 * H) == ["a fails", "over: a fails"]
    [_, (_, over)] = told.messages
    assert (over.priority, over.over) == (Priority.URGENT, True)
    assert told.book.open == ()


def test_what_was_over_before_anybody_heard_of_it_is_not_told(told: Told) -> None:
    told.tell(0 * S, notice("before"), notice())
    told.tell(1 * S, notice("flash"))
    told.tell(2 * S, notice("flash", resolved=True))

    assert told.until(H) == ["2 notices: before fails, …"]


def test_what_comes_and_goes_is_not_told_more_often_than_twice_a_minute(told: Told) -> None:
    for second in range(0, 600, 5):
        told.tell(second * S, notice(resolved=bool(second % 2)))

    assert len(told.until(11 * M)) <= 22


# --- delivery ---------------------------------------------------------------------------------


def failing(book: Book, *receivers: str) -> Callable[[datetime], Book]:
    failed = tuple(Failure(receiver=r, reason="away") for r in receivers)

    def attempt(at: datetime) -> Book:
        message = book.to_send(at)
        assert message is not None
        return book.after(message.number, Delivery(delivered=("log",), failed=failed), at)

    return attempt


def test_who_did_not_take_it_is_tried_again_and_nobody_else(told: Told) -> None:
    book = Book().heard(notice(), NOON).composed(NOON)
    assert [m.receivers for m in [book.to_send(NOON)] if m] == [()]

    book = failing(book, "mail")(NOON)

    assert book.to_send(NOON) is None
    assert book.next_at() == NOON + RETRY_AFTER[0]
    again = book.to_send(NOON + RETRY_AFTER[0])
    assert again is not None
    assert again.receivers == ("mail",)
    assert book.faults == (Failure(receiver="mail", reason="away"),)
    book = book.after(again.number, Delivery(delivered=("mail",)), NOON + RETRY_AFTER[0])
    assert (book.next_at(), book.faults, book.undelivered) == (None, (), ())
    assert book.messages[0].delivered == ("log", "mail")


def test_after_its_budget_a_message_is_given_up_and_shown_until_the_receiver_works() -> None:
    book, at = Book().heard(notice(), NOON).composed(NOON), NOON
    attempts = 0
    while (due := book.next_at()) is not None:
        book, at, attempts = failing(book, "mail")(due), due, attempts + 1

    assert attempts == len(RETRY_AFTER) + 1
    [sending] = book.undelivered
    assert sending.failed == (Failure(receiver="mail", reason="away"),)

    book = book.heard(notice("b"), at + H).composed(at + H)
    book = book.after(2, Delivery(delivered=("mail",)), at + H)

    assert book.undelivered == ()


def test_the_most_urgent_message_goes_first() -> None:
    book = Book().heard(notice("a"), NOON).heard(notice("b", priority=Priority.URGENT), NOON)
    book = book.composed(NOON)

    first = book.to_send(NOON)

    assert first is not None
    assert first.title == "b fails"


notices = st.builds(
    lambda key, priority, text, resolved: notice(
        f"k{key}", priority=priority, text=text, resolved=resolved
    ),
    st.integers(0, 400),
    st.sampled_from(Priority),
    st.sampled_from(["", "x", "y" * 3000]),
    st.booleans(),
)


@given(st.lists(st.tuples(st.integers(0, 120), notices), max_size=60))
def test_whatever_is_told_no_key_is_said_twice_within_a_minute_unless_it_rises(
    news: list[tuple[int, Notice]],
) -> None:
    told, at = Told(), 0
    for pause, heard in news:
        at += pause
        told.tell(at * S, heard)
        told.until((at + 1) * S)

    told.until((at + 120) * S)

    assert all(len(m.title) <= LONGEST_TITLE for _, m in told.messages)
    assert all(len(m.text) <= LONGEST_TEXT for _, m in told.messages)
    for matter in told.book.matters:
        assert matter.told or matter.notice.resolved or matter.due_at is not None


def test_a_flood_is_bounded_and_nothing_urgent_is_lost() -> None:
    book = Book()
    urgent = [notice(f"urgent {n}", priority=Priority.URGENT) for n in range(20)]
    for number in range(1000):
        book = book.heard(notice(f"fill {number}", priority=Priority.ROUTINE), NOON)
        if number < len(urgent):
            book = book.heard(urgent[number], NOON)

    assert len(book.matters) == MOST_MATTERS
    assert len(book.open) == len(urgent)
    assert book.lost == 1000 + len(urgent) - MOST_MATTERS
    book = book.composed(NOON + GATHER)
    texts = [s.message.text for s in book.messages]
    lost = 1000 + len(urgent) - MOST_MATTERS
    assert any(f"and {lost} more, which were too many" in text for text in texts)
    assert book.lost == 0


def test_the_memory_of_messages_is_bounded_and_keeps_what_is_still_tried() -> None:
    book = Book().heard(notice("first", priority=Priority.URGENT), NOON).composed(NOON)
    book = failing(book, "mail")(NOON)
    for number in range(2 * MOST_MESSAGES):
        at = NOON + number * S / 1000
        book = book.heard(notice(f"{number}", priority=Priority.URGENT), at).composed(at)
        book = book.after(book.number, Delivery(), at)

    assert len(book.messages) == MOST_MESSAGES
    assert book.messages[0].message.title == "first fails"
    assert len(Book.model_validate_json(book.model_dump_json()).model_dump_json()) < 500_000


def test_a_carried_book_goes_on_as_it_was(told: Told) -> None:
    told.tell(0 * S, notice(priority=Priority.URGENT), notice("b"))
    told.tell(1 * S, notice("c", priority=Priority.ROUTINE))

    carried = Book.model_validate_json(told.book.model_dump_json())

    assert carried == told.book
    assert carried.next_at() == told.book.next_at()
