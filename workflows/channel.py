"""How a workflow tells of a stream whose consumer cannot tell itself."""

from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.account import Channel
from tradewright.domain.channel import channel_notice
from workflows.notice import tell


async def tell_of_fault(account: str, name: Literal["private", "public"], fault: str) -> None:
    """Tell the desk and a person; the next consumer tells of the end of it."""
    channel = Channel(name=name, fault=fault, since=workflow.now())
    desk = workflow.get_external_workflow_handle(ids.account_workflow(account))
    try:
        await desk.signal("channel", channel)
    except ApplicationError as e:
        workflow.logger.warning("desk_not_told", extra={"error": str(e)})
    await tell(channel_notice(account, channel, workflow.now()))
