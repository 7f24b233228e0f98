"""The notifier: keeps what people are to know, and tells them until somebody answers."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Value
from tradewright.domain.notice import Notice, Priority
from tradewright.domain.notification import Book, Delivery, Failure, Matter, Message, Sending
from tradewright.ports import Notices, NotifyPort, OpenNotice, SentNotice
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.message import Unreadable, read, refused
from workflows.notifier_page import notifier_page
from workflows.outbox import Outbox

SEND_WITHIN = timedelta(seconds=30)
"""Above the activity's own limit for all receivers, who are told side by side."""
GIVEN_UP_AFTER = timedelta(minutes=2)
"""Without any worker that sends; the message is then tried again like one that failed."""
RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))


class AcknowledgeWish(Value):
    """Signal and update `acknowledge`: *by* looks after it, nobody else has to be called."""

    key: str = Field(min_length=1)
    by: str = "operator"


class TrialWish(Value):
    """Update `test`: one message to every receiver."""

    by: str = "operator"


class NotifierCarried(Value):
    book: Book
    needs_operator: str = ""
    noted: int = 0
    unwritten: tuple[JournalEvent, ...] = ()


class NotifierStart(Value):
    """Input of `NotifierWorkflow`; `carried` is what an earlier run of it hands over."""

    account: str
    carried: NotifierCarried | None = None


@workflow.defn
class NotifierWorkflow:
    """Handlers change the book and return; the loop sends what is due, the most urgent first."""

    @workflow.init
    def __init__(self, start: NotifierStart) -> None:
        carried = start.carried or NotifierCarried(book=Book())
        self._account = start.account
        self._book = carried.book
        self._needs_operator = carried.needs_operator
        self._is_changed = False
        self._journal = Outbox(
            start.account,
            noted=carried.noted,
            unwritten=carried.unwritten,
            tell=self._hear_of_journal,
        )

    @workflow.run
    async def run(self, start: NotifierStart) -> None:
        # A cancel interrupts only this wait: who is to be told of trouble is told on
        work = asyncio.create_task(self._work())
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._call_operator("a cancel was ignored: the notifier never ends")
        work.result()

    async def _work(self) -> None:
        self._writing = asyncio.create_task(self._journal.keep_writing())
        while not workflow.info().is_continue_as_new_suggested():
            now = workflow.now()
            self._is_changed = False
            self._book = self._book.composed(now)
            self._show()
            if message := self._book.to_send(now):
                await self._send(message)
                continue
            next_at = self._book.next_at()
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._is_changed,
                    timeout=None if next_at is None else max(next_at - now, timedelta(0)),
                    timeout_summary="until somebody is told again",
                )
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            NotifierStart(
                account=self._account,
                carried=NotifierCarried(
                    book=self._book,
                    needs_operator=self._needs_operator,
                    noted=self._journal.noted,
                    unwritten=self._journal.unwritten,
                ),
            )
        )

    async def _send(self, message: Message) -> None:
        delivery = await self._delivery(message)
        self._book = self._book.after(message.number, delivery, workflow.now())

    async def _delivery(self, message: Message) -> Delivery:
        try:
            return await workflow.execute_activity_method(
                NotifyPort.send,
                message,
                start_to_close_timeout=SEND_WITHIN,
                schedule_to_close_timeout=GIVEN_UP_AFTER,
                retry_policy=RETRY,
                summary=message.title,
            )
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            failed = message.receivers or ("",)
            return Delivery(failed=tuple(Failure(receiver=r, reason=str(e.cause)) for r in failed))

    @workflow.signal(description="Something that a person should know")
    def tell(self, *args: RawValue) -> None:
        try:
            notice: Notice
            notice, remark = read(Notice, args)
        except Unreadable as e:
            self._call_operator(refused("tell", e))
            return
        if remark:
            self._call_operator(f"signal tell was taken, but {remark}")
        self._book = self._book.heard(notice, workflow.now())
        self._is_changed = True

    @workflow.signal(name="acknowledge", description='{"key": "…", "by": "ann"}: no more repeats')
    def acknowledge_by_signal(self, *args: RawValue) -> None:
        try:
            wish: AcknowledgeWish
            wish, remark = read(AcknowledgeWish, args)
        except Unreadable as e:
            self._call_operator(refused("acknowledge", e))
            return
        if self._book.matter(wish.key) is None:
            self._call_operator(f"signal acknowledge was not understood: {_unknown(wish.key)}")
            return
        self._acknowledge(wish)
        if remark:
            self._call_operator(f"signal acknowledge was taken, but {remark}")

    @workflow.update(name="acknowledge", description="No more repeats: somebody looks after it")
    def acknowledge_by_update(self, wish: AcknowledgeWish) -> Notices:
        self._acknowledge(wish)
        return self.notices()

    @acknowledge_by_update.validator
    def _may_acknowledge(self, wish: AcknowledgeWish) -> None:
        if self._book.matter(wish.key) is None:
            raise ApplicationError(_unknown(wish.key), type="NoticeUnknown")

    @workflow.update(description="Send one message to every receiver, and say who got it")
    async def test(self, wish: TrialWish) -> Delivery:
        return await self._delivery(
            Message(
                number=0,
                account=self._account,
                priority=Priority.URGENT,
                title=f"test, asked for by {wish.by}",
                text="Notices of tradewright arrive here.",
                workflow_id=ids.notifier_workflow(self._account),
                at=workflow.now(),
            )
        )

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; this workflow takes tell and acknowledge")
        )

    @workflow.query(description="What is open, what was sent, what failed")
    def notices(self) -> Notices:
        book = self._book
        return Notices(
            account=self._account,
            open=tuple(_open(matter) for matter in book.open),
            sent=tuple(_sent(sending) for sending in reversed(book.messages)),
            faults=book.faults,
            needs_operator=self._complaint(),
        )

    def _acknowledge(self, wish: AcknowledgeWish) -> None:
        matter = self._book.matter(wish.key)
        title = matter.notice.title if matter else ""
        self._journal.note(
            EventKind.NOTICE_ACKNOWLEDGED, {"key": wish.key, "title": title, "by": wish.by}
        )
        self._book = self._book.acknowledged(wish.key, wish.by)
        if self._needs_operator.startswith("signal "):
            self._needs_operator = ""
        self._is_changed = True

    def _complaint(self) -> str:
        if self._needs_operator or not (given_up := self._book.undelivered):
            return self._needs_operator
        last = given_up[-1]
        who = ", ".join(f.receiver or "the worker" for f in last.failed)
        return (
            f"message {last.message.number} was given up: {who} took it in none of "
            f"{last.attempts} attempts: {last.failed[0].reason}"
        )

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        notices = self.notices()
        show([(ACCOUNT, self._account), (NEEDS_OPERATOR, bool(notices.needs_operator))])
        workflow.set_current_details(notifier_page(notices, workflow.info().namespace))


def _unknown(key: str) -> str:
    return f"there is no open notice {key!r}; `tradewright notice list` shows them"


def _open(matter: Matter) -> OpenNotice:
    notice = matter.notice
    return OpenNotice(
        key=notice.key,
        priority=notice.priority.name.lower(),
        title=notice.title,
        text=notice.text,
        workflow_id=notice.workflow_id,
        since=matter.since,
        told=matter.told,
        told_at=matter.told_at,
        acknowledged_by=matter.acknowledged_by,
        next_at=matter.due_at,
    )


def _sent(sending: Sending) -> SentNotice:
    message = sending.message
    return SentNotice(
        number=message.number,
        at=message.at,
        priority=message.priority.name.lower(),
        title=message.title,
        attempts=sending.attempts,
        delivered=sending.delivered,
        failed=sending.failed,
        again_at=sending.again_at,
    )
