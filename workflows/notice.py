"""How a workflow tells a person: a signal to the notifier, and no waiting for anybody."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.notice import Notice


async def tell(notice: Notice) -> None:
    """Hand *notice* to the account's notifier; one that is not there is only logged."""
    notifier = workflow.get_external_workflow_handle(ids.notifier_workflow(notice.account))
    try:
        await notifier.signal("tell", notice)
    except ApplicationError as e:
        workflow.logger.warning("notifier_not_told", extra={"error": str(e)})
