"""What is told when: quiet repeats, bundles, escalation, and what becomes of each message.

Pure: a `Book` takes in notices, acknowledgements and outcomes, and says which message is to be
sent next and when to look again. All times are of the wall clock.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value
from tradewright.domain.notice import LONGEST_TEXT, LONGEST_TITLE, Notice, Priority, shortened

QUIET: Final = timedelta(minutes=1)
"""What has changed or is over is told after so long; what has become more urgent, at once."""
GATHER: Final = timedelta(seconds=3)
"""So long a routine notice waits for others to be told with."""
SPACING: Final = MappingProxyType(
    {
        Priority.ROUTINE: timedelta(seconds=10),
        Priority.WARNING: timedelta(seconds=10),
        Priority.URGENT: timedelta(0),
    }
)
"""Between two messages of a priority: what comes meanwhile is told together."""
GATE: Final = re.compile(r"kill-switch/[^/]+/(trip|safe_mode|rearm)")
"""Keys that say how the gate stands: told at once and alone, and only the newest is true."""
ESCALATION: Final = (timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
"""After the first message, while nobody answers; then every hour."""
HOURLY: Final = timedelta(hours=1)
RETRY_AFTER: Final = (
    *(timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2)),
    *(timedelta(minutes=10), timedelta(minutes=30)),
)
"""Of a message that not everybody took; after the last one it is given up, and shown."""
KEPT: Final = MappingProxyType(
    {
        Priority.ROUTINE: timedelta(hours=1),
        Priority.WARNING: timedelta(days=1),
        Priority.URGENT: timedelta(days=7),
    }
)
"""How long it is remembered that something was told, since it was last heard of."""
MOST_MATTERS: Final = 200
MOST_MESSAGES: Final = 50
MOST_LINES: Final = 12


class Message(Value):
    """What receivers get."""

    number: int
    account: str
    priority: Priority
    title: str
    text: str = ""
    workflow_id: str = ""
    at: AwareDatetime
    over: bool = Field(default=False, description="Whether it only says that all is well again.")
    receivers: tuple[str, ...] = Field(
        default=(), description="Names of those to tell; none is everybody of that priority."
    )


class Failure(Value):
    """A receiver that did not take a message."""

    receiver: str
    reason: str = Field(description="Without anything of the receiver's URL.")


class Delivery(Value):
    """What became of one attempt to send a message."""

    delivered: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


class Sending(Value):
    """A message on its way, or the memory of it."""

    message: Message
    attempts: int = 0
    delivered: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    again_at: AwareDatetime | None = Field(description="None: nothing more is tried.")
    gate: bool = Field(default=False, description="Whether it says how the gate stands.")


class Matter(Value):
    """What one key is about, and what was told of it."""

    notice: Notice
    since: AwareDatetime
    heard_at: AwareDatetime = Field(description="When it last changed.")
    first_told_at: AwareDatetime | None = Field(default=None, description="With this priority.")
    told_at: AwareDatetime | None = None
    told: int = 0
    repeats: int = 0
    told_as: str = Field(default="", description="Digest of the words that were told.")
    told_priority: Priority = Priority.ROUTINE
    """The highest that it was told with."""
    acknowledged_by: str = ""

    @property
    def gate(self) -> bool:
        """Return whether it is about the gate."""
        return GATE.fullmatch(self.notice.key) is not None

    @property
    def news(self) -> bool:
        """Return whether nobody has to do anything about it: a rearm, which is told and done."""
        return self.gate and self.notice.key.endswith("/rearm")

    @property
    def quiet(self) -> timedelta:
        return timedelta(0) if self.gate else QUIET

    @property
    def spacing(self) -> timedelta:
        return timedelta(0) if self.gate else SPACING[self.priority]

    @property
    def priority(self) -> Priority:
        """Return whom its next message is for: that it is over hears who heard that it began."""
        return max(self.notice.priority, self.told_priority)

    @property
    def due_at(self) -> datetime | None:
        """Return when it is to be told, the first time or again; None if all is said."""
        notice = self.notice
        if self.told_at is None or self.first_told_at is None:
            return self.heard_at + (GATHER if notice.priority is Priority.ROUTINE else timedelta(0))
        if notice.resolved:
            return max(self.heard_at, self.told_at + self.quiet)
        if notice.priority > self.told_priority:
            return self.heard_at
        times: list[datetime] = []
        if _digest(notice) != self.told_as:
            times.append(max(self.heard_at, self.told_at + self.quiet))
        if notice.priority is Priority.URGENT and not self.acknowledged_by:
            times.append(self.first_told_at + _patience(self.repeats))
        return min(times, default=None)

    def is_same(self, notice: Notice) -> bool:
        """Return whether *notice* says nothing new."""
        return _digest(notice) == _digest(self.notice) and notice.resolved == self.notice.resolved

    def heard(self, notice: Notice, now: datetime) -> "Matter":
        worse = notice.priority > self.priority
        return self.model_copy(
            update={
                "notice": notice,
                "heard_at": self.heard_at if self.is_same(notice) and not worse else now,
                "acknowledged_by": "" if worse else self.acknowledged_by,
            }
        )

    def told_now(self, now: datetime) -> "Matter":
        rises = self.notice.priority > self.told_priority
        is_repeat = _digest(self.notice) == self.told_as
        return self.model_copy(
            update={
                "first_told_at": now if rises else self.first_told_at or now,
                "told_at": now,
                "told": self.told + 1,
                "repeats": 0 if rises else self.repeats + is_repeat,
                "told_as": _digest(self.notice),
                "told_priority": self.priority,
            }
        )

    @property
    def title(self) -> str:
        """Return what its next message is called."""
        title = self.notice.title
        if self.notice.resolved:
            title = f"over: {title}"
        elif self.told and _digest(self.notice) == self.told_as:
            title = f"again, {ordinal(self.told + 1)} time: {title}"
        return shortened(title, LONGEST_TITLE)


class Book(Value):
    """All that the notifier carries from one notice to the next; bounded."""

    matters: tuple[Matter, ...] = ()
    messages: tuple[Sending, ...] = ()
    faults: tuple[Failure, ...] = Field(default=(), description="Receivers that take nothing now.")
    number: int = 0
    lost: int = Field(default=0, description="Notices that were too many to be kept.")

    def matter(self, key: str) -> Matter | None:
        return next((m for m in self.matters if m.notice.key == key), None)

    def heard(self, notice: Notice, now: datetime) -> "Book":
        """Return the book with *notice* in it; a repeat that says nothing new changes nothing."""
        known = self.matter(notice.key)
        if GATE.fullmatch(notice.key) and (known is None or not known.is_same(notice)):
            return self._without_stale(notice, now)._with_notice(notice, now)
        return self._with_notice(notice, now)

    def _with_notice(self, notice: Notice, now: datetime) -> "Book":
        known = self.matter(notice.key)
        others = tuple(m for m in self.matters if m is not known and not _is_forgotten(m, now))
        if known is None and notice.resolved:
            return self.model_copy(update={"matters": others})
        if known is not None and notice.resolved and not known.told:
            # Nobody knew of it, so nobody needs to know that it is over
            return self.model_copy(update={"matters": others})
        if known is None:
            matter = Matter(notice=notice, since=now, heard_at=now)
        else:
            matter = known.heard(notice, now)
        return self._bounded((*others, matter))

    def _without_stale(self, notice: Notice, now: datetime) -> "Book":
        """Return the book without what was not told yet of a gate that *notice* has changed.

        What is more urgent stays, and goes first anyway.
        """
        matters = (
            m
            for m in self.matters
            if not (
                m.gate
                and m.notice.key != notice.key
                and m.priority <= notice.priority
                and m.due_at is not None
                and m.due_at <= now
            )
        )
        messages = (
            s
            for s in self.messages
            if not (s.gate and s.again_at is not None and s.message.priority <= notice.priority)
        )
        return self.model_copy(update={"matters": tuple(matters), "messages": tuple(messages)})

    def _bounded(self, matters: Sequence[Matter]) -> "Book":
        lost = self.lost
        while len(matters) > MOST_MATTERS:
            # What was told is remembered only to be quiet; of the rest the least urgent goes
            least = min(matters, key=lambda m: (m.priority, not m.told, m.heard_at))
            lost += not least.told
            matters = [m for m in matters if m is not least]
        return self.model_copy(update={"matters": tuple(matters), "lost": lost})

    def acknowledged(self, key: str, by: str) -> "Book":
        """Return the book in which *by* has answered for *key*: it is not repeated any more."""
        return self._changed(
            key, lambda matter: matter.model_copy(update={"acknowledged_by": by or "somebody"})
        )

    def _changed(self, key: str, change: Callable[[Matter], Matter]) -> "Book":
        matters = (change(m) if m.notice.key == key else m for m in self.matters)
        return self.model_copy(update={"matters": tuple(matters)})

    @property
    def open(self) -> tuple[Matter, ...]:
        """Return what is not over and more than routine, the most urgent first."""
        found = [
            m
            for m in self.matters
            if m.notice.priority > Priority.ROUTINE and not m.notice.resolved and not m.news
        ]
        return tuple(sorted(found, key=lambda m: (-m.notice.priority, m.since)))

    def next_at(self) -> datetime | None:
        """Return when something is to be done; None if nothing is until something happens."""
        matters = (self._due_at(m) for m in self.matters)
        sendings = (s.again_at for s in self.messages)
        return min((at for at in (*matters, *sendings) if at is not None), default=None)

    def _due_at(self, matter: Matter) -> datetime | None:
        due_at = matter.due_at
        if due_at is None:
            return None
        before = [s.message.at for s in self.messages if s.message.priority is matter.priority]
        return max([due_at, *(at + matter.spacing for at in before)])

    def composed(self, now: datetime) -> "Book":
        """Return the book with messages of all that is due at *now*.

        One for each priority, and one of its own for the gate.
        """
        book = self
        for priority in sorted(Priority, reverse=True):
            due = [
                m
                for m in book.matters
                if m.priority is priority and (at := book._due_at(m)) is not None and at <= now
            ]
            for together in ([m for m in due if m.gate], [m for m in due if not m.gate]):
                if together:
                    book = book._with_message(together, priority, now)
        return book

    def _with_message(self, due: Sequence[Matter], priority: Priority, now: datetime) -> "Book":
        message = Message(
            number=self.number + 1,
            account=due[0].notice.account,
            priority=priority,
            title=due[0].title if len(due) == 1 else _bundle_title(due),
            text=due[0].notice.text if len(due) == 1 else _bundle_text(due),
            workflow_id=due[0].notice.workflow_id if len(due) == 1 else "",
            at=now,
            over=all(m.notice.resolved for m in due),
        )
        lost = self.lost
        if lost and priority is Priority.ROUTINE:
            text = f"{message.text}\nand {lost} more, which were too many to be kept"
            message = message.model_copy(update={"text": text[-LONGEST_TEXT:]})
            lost = 0
        keys = {m.notice.key for m in due}
        matters = (
            m.told_now(now) if m.notice.key in keys else m
            for m in self.matters
            if not (m.notice.key in keys and m.notice.resolved)
        )
        messages = _recent(
            (*self.messages, Sending(message=message, again_at=now, gate=due[0].gate))
        )
        return self.model_copy(
            update={
                "matters": tuple(matters),
                "messages": messages,
                "number": message.number,
                "lost": lost,
            }
        )

    def to_send(self, now: datetime) -> Message | None:
        """Return the message whose turn it is, the most urgent first."""
        waiting = [s for s in self.messages if s.again_at is not None and s.again_at <= now]
        first = min(
            waiting, key=lambda s: (-s.message.priority, s.attempts, s.message.number), default=None
        )
        if first is None:
            return None
        missing = tuple(f.receiver for f in first.failed if f.receiver)
        return first.message.model_copy(update={"receivers": missing})

    def after(self, number: int, delivery: Delivery, now: datetime) -> "Book":
        """Return the book after an attempt to send message *number*."""
        messages = (
            _after(s, delivery, now) if s.message.number == number else s for s in self.messages
        )
        return self.model_copy(
            update={"messages": tuple(messages), "faults": _faults(self.faults, delivery)}
        )

    @property
    def undelivered(self) -> tuple[Sending, ...]:
        """Return the messages that were given up, those of receivers that work again aside."""
        silent = {f.receiver for f in self.faults}
        return tuple(
            s
            for s in self.messages
            if s.again_at is None and any(f.receiver in silent for f in s.failed)
        )


def ordinal(number: int) -> str:
    """Return the number as one counts times.

    Example:
        >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 102)]
        ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st', '102nd']
    """
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _digest(notice: Notice) -> str:
    return hashlib.sha256(f"{notice.title}\x1f{notice.text}".encode()).hexdigest()[:16]


def _patience(repeats: int) -> timedelta:
    """Return how long after the first message the next repeat is due."""
    if repeats < len(ESCALATION):
        return ESCALATION[repeats]
    return ESCALATION[-1] + HOURLY * (repeats + 1 - len(ESCALATION))


def _is_forgotten(matter: Matter, now: datetime) -> bool:
    if matter.told_at is None or matter.due_at is not None:
        return False
    return now - max(matter.heard_at, matter.told_at) > KEPT[matter.priority]


def _bundle_title(due: Sequence[Matter]) -> str:
    words = "all over" if all(m.notice.resolved for m in due) else due[0].title
    return shortened(f"{len(due)} notices: {words}, …", LONGEST_TITLE)


def _bundle_text(due: Sequence[Matter]) -> str:
    room = LONGEST_TEXT // MOST_LINES - 5
    lines = [
        shortened(f"- {m.title}: {m.notice.text}".replace("\n", "; ").removesuffix(": "), room)
        for m in due[:MOST_LINES]
    ]
    if len(due) > MOST_LINES:
        lines.append(f"- and {len(due) - MOST_LINES} more")
    return shortened("\n".join(lines), LONGEST_TEXT)


def _recent(sendings: Sequence[Sending]) -> tuple[Sending, ...]:
    if len(sendings) <= MOST_MESSAGES:
        return tuple(sendings)
    # What is over goes before what is still tried
    oldest = min(sendings, key=lambda s: (s.again_at is not None, s.message.number))
    return tuple(s for s in sendings if s is not oldest)


def _after(sending: Sending, delivery: Delivery, now: datetime) -> Sending:
    attempts = sending.attempts + 1
    tried_again = delivery.failed and attempts <= len(RETRY_AFTER)
    return sending.model_copy(
        update={
            "attempts": attempts,
            "delivered": (*sending.delivered, *delivery.delivered),
            "failed": delivery.failed,
            "again_at": now + RETRY_AFTER[attempts - 1] if tried_again else None,
        }
    )


def _faults(faults: Sequence[Failure], delivery: Delivery) -> tuple[Failure, ...]:
    heard_of = {*delivery.delivered, *(f.receiver for f in delivery.failed)}
    kept = (f for f in faults if f.receiver not in heard_of and f.receiver)
    return (*kept, *delivery.failed)
