"""How a workflow holds the consumer of a stream, and tells of one that cannot tell itself."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    TimeoutError,
    TimeoutType,
    is_cancelled_exception,
)

from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.channel import channel_notice
from workflows.notice import tell

SHIFT = timedelta(hours=6)
"""How long one activity follows before it is relieved."""
HEARTBEAT = timedelta(seconds=5)
"""A consumer that is silent for so long is dead; another goes on from its cursor."""
TAKEN_WITHIN = timedelta(seconds=30)
"""A worker that is started again takes the consumer sooner than this."""
WORN_OUT_AFTER = timedelta(minutes=1)
"""Deaths of its worker add up over a shift; a consumer that lasts so long is not at fault."""
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    maximum_interval=timedelta(seconds=5),
    # Tried for ever it would fail for ever, and nobody would hear of it
    maximum_attempts=5,
)


async def follow(consume: Callable[..., Any], argument: Any, queue: str, summary: str) -> None:
    """Have a worker of *queue* follow a stream until its shift is over, or it is worn out.

    Raises:
        ActivityError: It fails again and again, nobody takes it, or it was cancelled.
    """
    began = workflow.now()
    try:
        await workflow.execute_activity_method(
            consume,
            argument,
            task_queue=ids.sibling_queue(workflow.info().task_queue, queue),
            schedule_to_start_timeout=TAKEN_WITHIN,
            start_to_close_timeout=SHIFT,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
    except ActivityError as e:
        is_lasting = workflow.now() - began >= WORN_OUT_AFTER
        if not is_lasting or is_untaken(e) or is_cancelled_exception(e):
            raise


def is_untaken(error: ActivityError) -> bool:
    """Return whether no worker was there to take the consumer; that alone took its time."""
    cause = error.cause
    return isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START


def fault_of(error: ActivityError, queue: str) -> str:
    """Return why there is no consumer."""
    return f"no worker serves the queue {queue}" if is_untaken(error) else str(error.cause)


async def tell_of_fault(account: str, name: Literal["private", "public"], fault: str) -> None:
    """Tell the desk and a person; the next consumer tells of the end of it."""
    channel = Channel(name=name, fault=f"its consumer fails: {fault}", since=workflow.now())
    desk = workflow.get_external_workflow_handle(ids.account_workflow(account))
    try:
        await desk.signal("channel", channel)
    except ApplicationError as e:
        workflow.logger.warning("desk_not_told", extra={"error": str(e)})
    await tell(channel_notice(account, channel, workflow.now()))
