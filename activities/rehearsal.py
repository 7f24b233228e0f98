"""The desk's decision on a virtual trade: the same rules, and nothing is reserved."""

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from activities.cancellation import raise_if_cancelled
from tradewright import ids
from tradewright.domain.account import Account, Approved, Decision, Limits, decide
from tradewright.domain.errors import DeskUnreachable
from tradewright.domain.plan import FeeRates, Mode
from tradewright.domain.shadow import rehearsed_desk
from tradewright.ports import Rehearsal

ANSWER_WITHIN: Final = timedelta(seconds=10)


async def rehearsed(temporal: Client, rehearsal: Rehearsal, fees: FeeRates) -> Decision:
    """Return what the desk would decide if the preset's virtual trades were all there is.

    Args:
        temporal: Where the desk is asked.
        rehearsal: What to decide on.
        fees: What the virtual trade pays of what it trades.

    Raises:
        DeskUnreachable: The desk, whose equity and limits apply, does not answer.
    """
    proposal = rehearsal.proposal.model_copy(update={"mode": Mode.SHADOW})
    name = ids.account_workflow(proposal.account)
    desk = temporal.get_workflow_handle(name)
    try:
        real = await desk.query("account", result_type=Account, rpc_timeout=ANSWER_WITHIN)
        limits = await desk.query("limits", result_type=Limits, rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as e:
        raise_if_cancelled()
        raise DeskUnreachable(name, str(e) or type(e).__name__) from e
    now = datetime.now(UTC)
    decision = decide(proposal, rehearsed_desk(rehearsal.desk, real, now), limits, now)
    if not isinstance(decision, Approved):
        return decision
    return Approved(plan=decision.plan.model_copy(update={"fees": fees}))
