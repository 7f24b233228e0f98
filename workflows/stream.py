"""Holds the consumer of an account's private stream: one, for ever, on a queue of its own.

The workflow is no guest of that queue: it has to tell if nobody serves it.
"""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.market import Value
from tradewright.ports import StreamPort
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.channel import fault_of, follow, is_untaken, tell_of_fault
from workflows.message import refused


class StreamStart(Value):
    account: str


@workflow.defn
class StreamWorkflow:
    """Runs the consumer again whenever it ends."""

    @workflow.run
    async def run(self, start: StreamStart) -> None:
        queue = ids.stream_queue(start.account)
        while not workflow.info().is_continue_as_new_suggested():
            show([(ACCOUNT, start.account), (NEEDS_OPERATOR, False)])
            workflow.set_current_details(f"### Follows executions and orders of {start.account}")
            try:
                await follow(StreamPort.consume_stream, start.account, queue, "private stream")
            except ActivityError as e:
                if is_cancelled_exception(e):
                    raise
                show([(NEEDS_OPERATOR, True)])
                fault = fault_of(e, queue)
                workflow.set_current_details(
                    f"### The stream of {start.account} fails\n- {fault}\n- it is tried again"
                )
                await tell_of_fault(start.account, "private", fault)
                if not is_untaken(e):
                    await workflow.sleep(5, summary="until it is tried again")
        workflow.continue_as_new(start)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        show([(NEEDS_OPERATOR, True)])
        workflow.set_current_details(refused(name, "this workflow takes no signals"))
