"""Messages to workflows: repeated until they are heard, but never past a cancel."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.messenger import Messenger


@workflow.defn
class SlowDesk:
    """Takes an update and never answers it."""

    def __init__(self) -> None:
        self._asked = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def refresh(self) -> None:
        self._asked += 1
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def asked(self) -> int:
        return self._asked


@pytest.fixture
async def desk(temporal_env: WorkflowEnvironment) -> AsyncIterator[str]:
    client, queue = temporal_env.client, f"slow-{uuid.uuid4().hex}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[SlowDesk],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        handle = await client.start_workflow(SlowDesk.run, id=queue, task_queue=queue)
        yield handle.id
        await handle.terminate()


async def test_a_cancel_during_an_update_is_not_swallowed(temporal: Client, desk: str) -> None:
    asking = asyncio.create_task(Messenger(temporal).update(desk, "refresh"))
    async with asyncio.timeout(20):
        while not await temporal.get_workflow_handle(desk).query(SlowDesk.asked):  # noqa: ASYNC110 it tells nobody
            await asyncio.sleep(0.01)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(asking), 20)
