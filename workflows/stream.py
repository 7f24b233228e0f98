"""Holds the consumer of an account's private stream: one, for ever, on a queue of its own."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from tradewright.domain.market import Value
from tradewright.ports import StreamPort
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.channel import tell_of_fault
from workflows.message import refused

SHIFT = timedelta(hours=6)
"""How long one activity follows before it is relieved."""
HEARTBEAT = timedelta(seconds=5)
"""A consumer that is silent for so long is dead; another goes on from its cursor."""
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
)


class StreamStart(Value):
    account: str


@workflow.defn
class StreamWorkflow:
    """Runs the consumer again whenever it ends."""

    @workflow.run
    async def run(self, start: StreamStart) -> None:
        while not workflow.info().is_continue_as_new_suggested():
            show([(ACCOUNT, start.account), (NEEDS_OPERATOR, False)])
            workflow.set_current_details(f"### Follows executions and orders of {start.account}")
            try:
                await workflow.execute_activity_method(
                    StreamPort.consume_stream,
                    start.account,
                    start_to_close_timeout=SHIFT,
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=RETRY,
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    summary="private stream",
                )
            except ActivityError as e:
                if is_cancelled_exception(e):
                    raise
                show([(NEEDS_OPERATOR, True)])
                workflow.set_current_details(
                    f"### The stream of {start.account} fails\n- {e.cause}\n- it is tried again"
                )
                await tell_of_fault(start.account, "private", f"its consumer fails: {e.cause}")
                await workflow.sleep(5, summary="until it is tried again")
        workflow.continue_as_new(start)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        show([(NEEDS_OPERATOR, True)])
        workflow.set_current_details(refused(name, "this workflow takes no signals"))
