"""How a case is opened: by whoever finds what a person must decide on, and outlives it.

Kept apart from the case's own workflow, which starts trades: a trade opens cases, too.
"""

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from tradewright import ids
from tradewright.domain.case import Case, CaseOpening, Choice
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, SYMBOL, attributes


class CaseCarried(Value):
    case: Case
    noted: int
    unwritten: tuple[JournalEvent, ...] = ()
    needs_operator: str = ""


class CaseStart(Value):
    """Input of `CaseWorkflow`; `carried` is what an earlier run of it hands over."""

    opening: CaseOpening
    carried: CaseCarried | None = None


def case_id(opening: CaseOpening) -> str:
    return ids.case_workflow(opening.account, opening.symbol or "-", opening.kind)


def unknown_event(plan: TradePlan, fault: IllegalTransition) -> CaseOpening:
    """Return the case of an event that the table of trades does not know."""
    return CaseOpening(
        account=plan.account,
        symbol=plan.symbol,
        kind="unknown_event",
        detail=f"{fault}; nothing was done about it",
        fingerprint=f"{plan.trade_id}/{fault.state}/{fault.event}",
        trade_id=plan.trade_id,
        workflow_id=workflow.info().workflow_id,
        choices=(Choice.IGNORE,),
        at=workflow.now(),
    )


async def open_case(opening: CaseOpening) -> None:
    """Start the case as a child that outlives its parent; one that runs is told instead."""
    name = case_id(opening)
    symbol = ((SYMBOL, opening.symbol),) if opening.symbol else ()
    try:
        child = await workflow.start_child_workflow(
            "CaseWorkflow",
            CaseStart(opening=opening),
            id=name,
            task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_TRADING),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=f"{opening.kind.replace('_', ' ')} · {opening.symbol or 'account'}",
            search_attributes=attributes(
                (ACCOUNT, opening.account), *symbol, (NEEDS_OPERATOR, True)
            ),
        )
    except WorkflowAlreadyStartedError:
        try:
            await workflow.get_external_workflow_handle(name).signal("seen", opening)
        except ApplicationError as e:
            # It has ended just now: who sees the difference again opens another
            workflow.logger.warning("case_not_told", extra={"case": name, "error": str(e)})
        return
    # Nobody here waits for its end, and one that was cancelled would be logged as a fault
    child.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
