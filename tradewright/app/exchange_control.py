"""Asking every process how its way to the exchange stands: found by who polls, asked one by one."""

import asyncio
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import ActivityFailureError, Client, RPCError
from temporalio.common import RetryPolicy

from tradewright import ids
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.wish import TemporalFailed
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Value
from tradewright.ports import ExchangeStatus, ResetWish

GONE_AFTER: Final = timedelta(seconds=75)
"""Who is alive asks for tasks at least once a minute; the server remembers the dead for longer."""


class NoWorkerProcess(TradewrightError):
    """Nobody has asked for tasks lately."""

    retry = Retry.SAFE

    def __init__(self, account: str) -> None:
        super().__init__(
            f"account {account} has no worker process: nobody asks temporal for its tasks; start "
            f"the system with `tradewright up`"
        )


class ProcessLine(Value):
    process: str
    """Number and machine: ``4711@host``."""
    queues: tuple[str, ...]
    seen_at: AwareDatetime
    status: ExchangeStatus | None = None
    fault: str = ""
    """Why there is no status."""


async def exchange_status(client: Client, account: str, *, now: datetime) -> list[ProcessLine]:
    """Return how every worker process of *account* stands with the exchange.

    Raises:
        NoWorkerProcess: There is none.
        TemporalFailed: The server does not tell who there is.
    """
    lines = await _processes(client, account, now)
    return list(await asyncio.gather(*(_asked(client, line, None) for line in lines)))


async def reset_exchange(
    client: Client, account: str, *, name: str, by: str, now: datetime
) -> list[ProcessLine]:
    """Reset breakers and buckets called *name*, or all, in every process of *account*.

    Raises:
        NoWorkerProcess: There is none.
        TemporalFailed: The server does not tell who there is.
    """
    wish = ResetWish(name=name, by=by)
    lines = await _processes(client, account, now)
    return list(await asyncio.gather(*(_asked(client, line, wish) for line in lines)))


async def _processes(client: Client, account: str, now: datetime) -> list[ProcessLine]:
    queues = (ids.QUEUE_TRADING, ids.QUEUE_MARKET, ids.stream_queue(account), ids.QUEUE_KILL)
    polled = await asyncio.gather(*(_pollers(client, queue) for queue in queues))
    serves: defaultdict[str, list[str]] = defaultdict(list)
    seen: dict[str, datetime] = {}
    for queue, pollers in zip(queues, polled, strict=True):
        for process, at in pollers.items():
            if now - at < GONE_AFTER:
                serves[process].append(queue)
                seen[process] = max(at, seen.get(process, at))
    if not serves:
        raise NoWorkerProcess(account)
    return [
        ProcessLine(process=process, queues=tuple(found), seen_at=seen[process])
        for process, found in serves.items()
    ]


async def _pollers(client: Client, queue: str) -> dict[str, datetime]:
    """Return who has asked for activities of *queue*, and when last."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    try:
        found = await client.workflow_service.describe_task_queue(request, timeout=ANSWER_WITHIN)
    except RPCError as e:
        raise TemporalFailed(f"the description of queue {queue}", e.message) from None
    return {poller.identity: poller.last_access_time.ToDatetime(UTC) for poller in found.pollers}


async def _asked(client: Client, line: ProcessLine, wish: ResetWish | None) -> ProcessLine:
    """Return *line* with the process's answer, or with why there is none."""
    name = "exchange_status" if wish is None else "reset_exchange"
    try:
        async with asyncio.timeout(2 * ANSWER_WITHIN.total_seconds()):
            status = await client.execute_activity(
                name,
                args=() if wish is None else (wish,),
                id=f"{name}/{line.process}/{uuid.uuid4().hex[:8]}",
                task_queue=ids.control_queue(line.process),
                result_type=ExchangeStatus,
                schedule_to_close_timeout=ANSWER_WITHIN,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
    except (ActivityFailureError, TimeoutError):
        seconds = ANSWER_WITHIN.total_seconds()
        return line.model_copy(update={"fault": f"no answer within {seconds:g} s"})
    except RPCError as e:
        return line.model_copy(update={"fault": f"temporal refused the request: {e.message}"})
    return line.model_copy(update={"status": status})
