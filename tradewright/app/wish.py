"""How a workflow is asked and told, and what can keep it from answering.

A wish is an update, so that the workflow says whether it understood. Before it is sent, the
workflow is asked a question: an update that nobody answers in time is not gone but may be carried
out when a worker comes back (measured), which must not happen to a wish that loosens. A wish that
tightens is then left as a signal, which Temporal keeps.
"""

from datetime import timedelta
from typing import Final, TypeVar

from temporalio.client import (
    Client,
    RPCError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import FailureError
from temporalio.service import RPCStatusCode

from activities.cancellation import raise_if_cancelled
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Value

V = TypeVar("V", bound=Value)

UNANSWERED: Final = {
    RPCStatusCode.CANCELLED,  # how the client says that its own time is over
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.FAILED_PRECONDITION,  # no worker has asked for tasks for minutes
}


class NoWorkerAnswers(TradewrightError):
    """The workflow is there, and nobody works on it."""

    retry = Retry.SAFE

    def __init__(self, workflow_id: str, outcome: str) -> None:
        super().__init__(
            f"workflow {workflow_id} does not answer: no worker takes its tasks; {outcome}; "
            f"start one with `tradewright worker --queues {worker_of(workflow_id)}`"
        )
        self.workflow_id = workflow_id
        self.outcome = outcome


class WishStored(NoWorkerAnswers):
    """Nobody answers, but Temporal keeps the wish until a worker is back."""

    def __init__(self, workflow_id: str, wish: str) -> None:
        worker = worker_of(workflow_id)
        super().__init__(
            workflow_id, f"{wish} is recorded and will be done when the {worker} worker is back"
        )


class NotRunning(TradewrightError):
    def __init__(self, workflow_id: str, remedy: str) -> None:
        super().__init__(f"workflow {workflow_id} does not run: {remedy}")
        self.workflow_id = workflow_id


class WishRefused(TradewrightError):
    """The workflow understood, and says no."""

    def __init__(self, workflow_id: str, reason: str) -> None:
        super().__init__(f"workflow {workflow_id} refused: {reason}")
        self.workflow_id = workflow_id
        self.reason = reason


class TemporalFailed(TradewrightError):
    """The server answered a request with an error of its own."""

    retry = Retry.SAFE

    def __init__(self, request: str, detail: str) -> None:
        super().__init__(f"temporal failed {request}: {detail}; ask again")


def reason_of(failed: WorkflowUpdateFailedError | WorkflowFailureError) -> str:
    """Return what the workflow said, without the type of its failure."""
    cause = failed.cause
    return cause.message if isinstance(cause, FailureError) else str(cause)


def worker_of(workflow_id: str) -> str:
    """Return which workers answer for *workflow_id*, as ``tradewright worker --queues`` has it.

    Example:
        >>> worker_of("kill-switch/main"), worker_of("trade/BTCUSDT/tw"), worker_of("stream/main")
        ('kill', 'trading', 'stream')
    """
    kind = workflow_id.partition("/")[0]
    return {"kill-switch": "kill", "market": "market", "stream": "stream"}.get(kind, "trading")


def remedy(workflow_id: str) -> str:
    kind, _, rest = workflow_id.partition("/")
    match kind:
        case "strategy":
            return "apply its preset with `tradewright apply`, or see `tradewright strategy list`"
        case "trade" | "shadow":
            return f"it has ended; see `tradewright trade show {rest.rpartition('/')[2]}`"
        case "case":
            return "it has ended, or was never opened; see `tradewright case list`"
        case _:
            return "every worker starts it"


def _absence(workflow_id: str) -> TradewrightError:
    """Return what it means that there is no such workflow."""
    if workflow_id.partition("/")[0] in {"strategy", "trade", "shadow", "case"}:
        return NotRunning(workflow_id, remedy(workflow_id))
    return NoWorkerAnswers(workflow_id, "it was never started, every worker starts it")


async def ask(client: Client, workflow_id: str, query: str, shape: type[V]) -> V:
    """Return the answer of *workflow_id* to *query*.

    Raises:
        NotRunning: There is no such strategy or trade.
        NoWorkerAnswers: It did not answer in time, or no worker ever started it.
    """
    handle = client.get_workflow_handle(workflow_id)
    try:
        answer: V = await handle.query(query, result_type=shape, rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            raise _absence(workflow_id) from None
        if e.status not in UNANSWERED:
            raise TemporalFailed(f"query {query} of {workflow_id}", e.message) from None
        raise NoWorkerAnswers(workflow_id, "how it stands is not known") from None
    except WorkflowQueryFailedError as e:
        raise TemporalFailed(f"query {query} of {workflow_id}", str(e)) from None
    return answer


async def tell(
    client: Client,
    workflow_id: str,
    name: str,
    wish: Value,
    shape: type[V],
    *,
    probe: str | None,
    within: timedelta | None = None,
) -> V:
    """Send an update to a workflow that has just proved to be answered for.

    Args:
        client: Of the venue's namespace.
        workflow_id: Who is told.
        name: Of the update.
        wish: Its argument.
        shape: Of its answer, and of the probe's.
        probe: Query that proves it; None if the caller has just asked.
        within: How long its answer is waited for, where it is worth more than usual.

    Raises:
        NotRunning: There is no such workflow, or it has ended.
        NoWorkerAnswers: Nothing was sent, or it is not known what became of it.
        WishRefused: The workflow says no.
    """
    try:
        if probe is not None:
            await ask(client, workflow_id, probe, shape)
    except NoWorkerAnswers:
        raise NoWorkerAnswers(workflow_id, f"{name} was not sent, nothing was done") from None
    handle = client.get_workflow_handle(workflow_id)
    try:
        answer: V = await handle.execute_update(
            name, wish, result_type=shape, rpc_timeout=within or ANSWER_WITHIN
        )
    except WorkflowUpdateFailedError as e:
        raise WishRefused(workflow_id, reason_of(e)) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise_if_cancelled()
        raise NoWorkerAnswers(
            workflow_id, f"{name} was sent and not answered, look whether it was done"
        ) from None
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            raise _absence(workflow_id) from None
        raise TemporalFailed(f"update {name} of {workflow_id}", e.message) from None
    return answer


async def tell_or_store(
    client: Client, workflow_id: str, name: str, wish: Value, shape: type[V], *, probe: str
) -> V:
    """Send an update that only tightens; when nobody answers, leave it as a signal.

    Raises:
        WishStored: Temporal keeps it.
        NotRunning: There is no such workflow, or it has ended.
        WishRefused: The workflow says no.
    """
    try:
        return await tell(client, workflow_id, name, wish, shape, probe=probe)
    except NoWorkerAnswers:
        await store(client, workflow_id, name, wish)
        raise WishStored(workflow_id, name) from None


async def store(client: Client, workflow_id: str, name: str, wish: Value) -> None:
    """Leave a signal, which Temporal keeps until somebody works on the workflow."""
    try:
        handle = client.get_workflow_handle(workflow_id)
        await handle.signal(name, wish, rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            raise _absence(workflow_id) from None
        raise TemporalFailed(f"signal {name} to {workflow_id}", e.message) from None
