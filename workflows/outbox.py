"""What a workflow has to tell the journal: written beside its work, which never waits for it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Value
from tradewright.ports import ACTIVITY_TIMEOUT, JournalBatch, JournalPort

RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)


class Outbox:
    """Events of one workflow in their order; each gets its id from the workflow and its count."""

    def __init__(self, account: str, *, noted: int = 0) -> None:
        self._account = account
        self._events: list[JournalEvent] = []
        self._closed = False
        self.noted = noted
        """How many events were noted, over all runs: to be carried through continue-as-new."""

    @property
    def pending(self) -> bool:
        return bool(self._events)

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
        chain = workflow.info().workflow_id
        self.noted += 1
        self._events.append(
            JournalEvent(
                event_id=f"{chain}/{self.noted}",
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
        )

    def close(self) -> None:
        """Let `keep_writing` end once everything is written."""
        self._closed = True

    async def keep_writing(self, may_write: Callable[[], bool] = lambda: True) -> None:
        """Write what is noted whenever *may_write*, until closed; tries for ever.

        *may_write* gathers what belongs together into one write.
        """
        while True:
            await workflow.wait_condition(
                lambda: self._closed or (bool(self._events) and may_write())
            )
            if not self._events:
                return
            await self.flush()

    async def flush(self) -> None:
        """Write all that is noted now."""
        batch = tuple(self._events)
        if not batch:
            return
        await workflow.execute_activity_method(
            JournalPort.record,
            JournalBatch(events=batch),
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            retry_policy=RETRY,
        )
        del self._events[: len(batch)]


def dump(value: Value) -> dict[str, Any]:
    """Return *value* as JSON, the way the journal keeps it."""
    return value.model_dump(mode="json")
