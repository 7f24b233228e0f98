"""How a trade begins: as the child of a strategy or of a reconciliation, and outlives it."""

import contextlib

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from tradewright import ids
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Adopted, Trade
from workflows.attributes import attributes
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes, plan_details, plan_summary


async def start_trade(plan: TradePlan, adopted: Adopted | None = None) -> None:
    """Start the trade of *plan* as a child that outlives its parent; once started, a no-op."""
    # A signal's trade is never run again; a position may need an owner a second time
    again = WorkflowIDReusePolicy.ALLOW_DUPLICATE if adopted else None
    with contextlib.suppress(WorkflowAlreadyStartedError):
        child = await workflow.start_child_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan, adopted=adopted),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_TRADING),
            id_reuse_policy=again or WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=plan_summary(plan),
            static_details=plan_details(plan),
            search_attributes=attributes(*plan_attributes(plan)),
        )
        # Nobody here waits for its end, and one that was cancelled would be logged as a fault
        child.add_done_callback(_heard)


def _heard(child: workflow.ChildWorkflowHandle[TradeWorkflow, Trade]) -> None:
    if not child.cancelled():
        child.exception()
