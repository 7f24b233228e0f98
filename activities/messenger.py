"""Messages to workflows from long-running activities: nothing is dropped while Temporal is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.cancellation import raise_if_cancelled
from activities.wire import BackOff

log = structlog.get_logger(__name__)

M = TypeVar("M")

HEARTBEAT_EVERY = 1.0
ANSWER_WITHIN = timedelta(seconds=10)
HOPELESS = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT})
"""No repetition makes these succeed."""


class Messenger:
    """Tells and asks workflows, again and again until they hear."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tell(self, workflow_id: str, signal: str, message: Any) -> bool:
        """Signal the workflow; False if it does not run, or cannot take it."""
        back_off = BackOff()
        while True:
            try:
                handle = self._client.get_workflow_handle(workflow_id)
                await handle.signal(signal, message, rpc_timeout=ANSWER_WITHIN)
            except RPCError as e:
                if e.status in HOPELESS:
                    return False
                self._delayed(workflow_id, signal, e)
                await back_off.pause()
            else:
                return True

    async def ask(
        self, workflow_id: str, query: str, answer: type[M], within: float | None = None
    ) -> M | None:
        """Return the workflow's answer; None if there is no such workflow.

        Args:
            workflow_id: Who is asked.
            query: What is asked.
            answer: Of this type.
            within: Seconds to ask for; a workflow that fails at every task never answers. None
                asks for ever.

        Raises:
            TimeoutError: There was no answer in time.
        """
        async with asyncio.timeout(within):
            return await self._ask(workflow_id, query, answer)

    async def ask_in_time(
        self, workflow_id: str, query: str, answer: type[M], within: float | None
    ) -> M | None:
        """Return the workflow's answer; None if there is none, or not in time."""
        try:
            return await self.ask(workflow_id, query, answer, within)
        except TimeoutError:
            log.error("workflow_does_not_answer", workflow_id=workflow_id, query=query)
            return None

    async def _ask(self, workflow_id: str, query: str, answer: type[M]) -> M | None:
        back_off = BackOff()
        while True:
            try:
                handle = self._client.get_workflow_handle(workflow_id)
                told: M = await handle.query(query, result_type=answer, rpc_timeout=ANSWER_WITHIN)
            except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as e:
                if isinstance(e, RPCError) and e.status is RPCStatusCode.NOT_FOUND:
                    return None
                self._delayed(workflow_id, query, e)
                await back_off.pause()
            else:
                return told

    async def update(self, workflow_id: str, update: str) -> bool:
        """Have the workflow carry out *update*; False if it does not run."""
        back_off = BackOff()
        while True:
            try:
                await self._client.get_workflow_handle(workflow_id).execute_update(
                    update, rpc_timeout=ANSWER_WITHIN
                )
            except (
                RPCError,
                WorkflowUpdateFailedError,
                WorkflowUpdateRPCTimeoutOrCancelledError,
            ) as e:
                if isinstance(e, WorkflowUpdateRPCTimeoutOrCancelledError):
                    raise_if_cancelled()
                if isinstance(e, RPCError) and e.status is RPCStatusCode.NOT_FOUND:
                    return False
                self._delayed(workflow_id, update, e)
                await back_off.pause()
            else:
                return True

    @staticmethod
    def _delayed(workflow_id: str, message: str, error: Exception) -> None:
        log.warning("message_delayed", workflow_id=workflow_id, message=message, detail=str(error))


@asynccontextmanager
async def heartbeats(cursor: Callable[[], Any]) -> AsyncIterator[None]:
    """Heartbeat with what *cursor* returns for as long as the block runs."""

    async def beat() -> None:
        while True:
            activity.heartbeat(cursor())
            await asyncio.sleep(HEARTBEAT_EVERY)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
