"""The journal's activity, and how its errors reach Temporal."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, DefaultPayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.interceptor import DomainErrors
from activities.journal import JournalActivities
from tradewright.domain.errors import OutcomeUnknown, TradewrightError
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.journal import Journal, JournalConflict, JournalUnavailable
from tradewright.ports import JournalBatch, activities_of

SHOWN = 4096
"""Of a larger failure Temporal shows nothing, not even its message."""


def event(step: str = "tripped") -> JournalEvent:
    return JournalEvent(
        event_id="kill-switch/main/1",
        chain="kill-switch/main",
        kind=EventKind.KILL_SWITCH,
        account="main",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        data={"step": step, "detail": ""},
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = await Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", venue="paper")
    yield opened
    await opened.close()


async def test_a_batch_recorded_twice_is_written_once(journal: Journal) -> None:
    (record,) = activities_of(JournalActivities(journal))
    batch = JournalBatch(events=(event(),))

    await ActivityEnvironment().run(record, batch)
    await ActivityEnvironment().run(record, batch)

    assert [row.event for row in await journal.events()] == [event()]


class Failing(ActivityInboundInterceptor):
    """The end of a chain of interceptors: an activity that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        raise self._error


@activity.defn
async def nothing() -> None:
    """Do nothing; only its definition is needed."""


async def fail(error: Exception) -> None:
    """Let Temporal be told of *error*."""
    chain = DomainErrors().intercept_activity(Failing(error))
    await chain.execute_activity(ExecuteActivityInput(nothing, [], None, {}))


@pytest.mark.parametrize(
    ("error", "non_retryable"),
    [
        (JournalConflict("event x", "with other content"), True),
        (JournalUnavailable("sqlite:///journal.db", "disk full"), False),
        (OutcomeUnknown("tw-e1"), False),
    ],
)
async def test_an_error_is_retried_as_it_says_of_itself(
    error: TradewrightError, non_retryable: bool
) -> None:
    with pytest.raises(ApplicationError) as told:
        await fail(error)

    assert told.value.type == type(error).__name__
    assert told.value.non_retryable is non_retryable
    assert told.value.message == str(error)


async def test_a_failure_is_small_enough_to_be_shown_whatever_has_caused_it() -> None:
    error = JournalUnavailable("sqlite:///journal.db", "disk full")
    error.__cause__ = OSError("INSERT " * 1000)

    with pytest.raises(ApplicationError) as told:
        await fail(error)

    failure = Failure()
    DefaultFailureConverter().to_failure(told.value, DefaultPayloadConverter(), failure)
    assert failure.message == str(error)
    assert failure.ByteSize() < SHOWN


async def test_an_error_of_programming_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        await fail(ZeroDivisionError("a bug"))


async def test_another_event_of_the_same_id_is_refused(journal: Journal) -> None:
    record = JournalActivities(journal).record
    await record(JournalBatch(events=(event(),)))

    with pytest.raises(JournalConflict, match="kill-switch/main/1"):
        await record(JournalBatch(events=(event("other"),)))
