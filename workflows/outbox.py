"""What a workflow has to tell the journal: written beside its work, which never waits for it."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Value
from tradewright.ports import ACTIVITY_TIMEOUT, JournalBatch, JournalPort

RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)
AGAIN_AFTER = timedelta(minutes=1)
"""After a journal that takes nothing: only a person can mend it."""
BATCH = 50
BATCH_BYTES = 500_000
"""Of one write, in events and in JSON: more at once would not fit into a payload."""


class _Noted(NamedTuple):
    event: JournalEvent
    size: int

    @classmethod
    def of(cls, event: JournalEvent) -> "_Noted":
        return cls(event, len(event.model_dump_json()))


def _nobody(fault: str) -> None:
    del fault


class Outbox:
    """Events of one workflow in their order; each gets its id from the workflow and its count."""

    def __init__(
        self,
        account: str,
        *,
        noted: int = 0,
        unwritten: Sequence[JournalEvent] = (),
        tell: Callable[[str], None] = _nobody,
    ) -> None:
        """Begin with what an earlier run left; *tell* hears of a fault, and of its end: ``""``."""
        self._account = account
        self._events = [_Noted.of(event) for event in unwritten]
        self._tell = tell
        self._closed = False
        self.noted = noted
        """How many events were noted, over all runs: to be carried through continue-as-new."""

    @property
    def fits(self) -> bool:
        """Return whether all that is unwritten may be carried through continue-as-new."""
        return len(self._batch()) == len(self._events)

    def _batch(self) -> tuple[JournalEvent, ...]:
        """Return the next events to be written together: at least one."""
        batch: list[JournalEvent] = []
        size = 0
        for noted in self._events[:BATCH]:
            size += noted.size
            if batch and size > BATCH_BYTES:
                break
            batch.append(noted.event)
        return tuple(batch)

    @property
    def unwritten(self) -> tuple[JournalEvent, ...]:
        """Return what is not written yet: to be carried through continue-as-new."""
        return tuple(noted.event for noted in self._events)

    def note(
        self,
        kind: EventKind,
        data: dict[str, Any],
        *,
        trade_id: str = "",
        symbol: str = "",
        preset: str = "",
        market_at: datetime | None = None,
    ) -> None:
        info = workflow.info()
        chain = info.workflow_id
        self.noted += 1
        event = JournalEvent(
            # A workflow that was started again under its id counts from one again, and one that
            # was reset counts what it does anew
            event_id=f"{chain}/{info.run_id}/{self.noted}",
            chain=chain,
            kind=kind,
            account=self._account,
            at=workflow.now(),
            market_at=market_at,
            trade_id=trade_id,
            symbol=symbol,
            preset=preset,
            data=data,
        )
        self._events.append(_Noted.of(event))

    def close(self) -> None:
        """Let `keep_writing` end once everything is written."""
        self._closed = True

    async def keep_writing(self, may_write: Callable[[], bool] = lambda: True) -> None:
        """Write what is noted whenever *may_write*, until closed; tries for ever.

        *may_write* gathers what belongs together into one write; what does not fit into one is
        written at once.
        """
        while True:
            await workflow.wait_condition(
                lambda: self._closed or (bool(self._events) and (not self.fits or may_write()))
            )
            if not self._events:
                return
            await self._write_batch()

    async def flush_within(self, patience: timedelta) -> None:
        """Write all that is noted, but do not wait longer than *patience* for each write."""
        try:
            while batch := self._batch():
                await self._write(batch, patience)
                del self._events[: len(batch)]
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            self._tell(f"the journal takes nothing: {e.cause}; it is not tried again")

    async def _write(self, batch: Sequence[JournalEvent], patience: timedelta | None) -> None:
        await workflow.execute_activity_method(
            JournalPort.record,
            JournalBatch(events=tuple(batch)),
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            schedule_to_close_timeout=patience,
            retry_policy=RETRY,
            summary=f"{len(batch)} event{'s' if len(batch) > 1 else ''}",
        )

    async def _write_batch(self) -> None:
        batch = self._batch()
        is_faulty = False
        while True:
            try:
                await self._write(batch, None)
            except ActivityError as e:
                if is_cancelled_exception(e):
                    raise
                self._tell(f"the journal takes nothing: {e.cause}; it is tried again in a minute")
                is_faulty = True
                await workflow.sleep(AGAIN_AFTER, summary="until it is tried again")
                continue
            del self._events[: len(batch)]
            if is_faulty:
                self._tell("")
            return


def dump(value: Value) -> dict[str, Any]:
    """Return *value* as JSON, the way the journal keeps it."""
    return value.model_dump(mode="json")
