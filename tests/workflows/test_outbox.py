"""When what a workflow notes is written."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.workflows.script import ScriptedJournal
from tradewright.domain.event import EventKind
from tradewright.ports import activities_of
from workflows.outbox import BATCH, BATCH_BYTES, Outbox

Until = Callable[..., Any]


@workflow.defn(sandboxed=False)
class Busy:
    """Notes so many events of so many characters, and is never idle until it is told to end."""

    def __init__(self) -> None:
        self._outbox = Outbox("main")
        self._ended = False

    @workflow.run
    async def run(self, count: int, length: int) -> None:
        writing = asyncio.create_task(self._outbox.keep_writing(lambda: False))
        for _ in range(count):
            self._outbox.note(EventKind.DESK, {"detail": "x" * length})
        await workflow.wait_condition(lambda: self._ended)
        self._outbox.close()
        await writing

    @workflow.signal
    def end(self) -> None:
        self._ended = True

    @workflow.query
    def state(self) -> dict[str, int | bool]:
        return {"unwritten": len(self._outbox.unwritten), "fits": self._outbox.fits}


async def left_while_busy(
    env: WorkflowEnvironment, until: Until, count: int, length: int
) -> tuple[int, list[int]]:
    """Return how many events wait while the workflow is busy, and the sizes of all writes."""
    journal, queue = ScriptedJournal(), uuid.uuid4().hex
    async with Worker(
        env.client, task_queue=queue, workflows=[Busy], activities=activities_of(journal)
    ):
        handle = await env.client.start_workflow(
            Busy.run, args=[count, length], id=queue, task_queue=queue
        )
        view = await until(handle, "state", lambda view: view["fits"])
        await handle.signal("end")
        await handle.result()
    return view["unwritten"], [len(batch.events) for batch in journal.batches]


async def test_who_is_busy_writes_what_would_not_fit_into_one_write(
    temporal_env: WorkflowEnvironment, until: Until
) -> None:
    left, writes = await left_while_busy(temporal_env, until, 2 * BATCH + 7, 10)

    assert (left, writes) == (7, [BATCH, BATCH, 7])


async def test_who_is_busy_with_much_to_tell_writes_it_before_it_is_too_much(
    temporal_env: WorkflowEnvironment, until: Until
) -> None:
    left, writes = await left_while_busy(temporal_env, until, 5, BATCH_BYTES // 2 - 1_000)

    assert (left, writes) == (1, [2, 2, 1])


async def test_who_is_busy_with_little_to_tell_writes_it_later_and_at_once(
    temporal_env: WorkflowEnvironment, until: Until
) -> None:
    left, writes = await left_while_busy(temporal_env, until, BATCH, 10)

    assert (left, writes) == (BATCH, [BATCH])
