"""What is done about a difference: by a reconciliation's policy, or by a person's decision."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Choice, Discrepancy, Kind
from tradewright.domain.trade import (
    ExitRequested,
    RecheckRequested,
    StopConfirmed,
    StopLost,
    TradeEvent,
)
from tradewright.ports import ACTIVITY_TIMEOUT, ReconciliationPort
from workflows.trade_start import start_trade

REMEDY = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_attempts=3)
"""What cannot be mended now is seen again by the next run; the others do not wait for it."""
ORDERS = frozenset({Kind.UNKNOWN_ORDER, Kind.FOREIGN_ORDER})
STOPS = frozenset({Kind.MISSING_STOP, Kind.WRONG_STOP})


class Remedy(Value):
    """What was done, and the trade that came of it."""

    told: str
    adopted: TradePlan | None = None


async def remedy(choice: Choice, about: Discrepancy, *, by: str, reason: str = "") -> Remedy:
    """Do what *choice* means for a difference; what fails is told, never raised."""
    try:
        if choice is Choice.IGNORE:
            return Remedy(told="left as it is")
        if about.kind is Kind.ORPHAN_POSITION:
            return await _adopt(about, by=by, reason=reason, leave=choice is Choice.CLOSE)
        if about.kind in ORDERS:
            return await _cancel(about)
        if choice is Choice.CLOSE:
            return await leave(about.workflow_id, by=by, reason=reason or about.detail)
        if about.tighter and about.position and (stands := about.position.stop_loss) is not None:
            # Whoever has put it there wanted less at risk: it is the trade's own from now on
            return await _tell(about.workflow_id, StopConfirmed(price=stands), "tighter stop kept")
        if about.kind in STOPS:
            return await _tell(about.workflow_id, StopLost(), "stop set again")
        return await recheck(about.workflow_id, about.detail)
    except ActivityError as e:
        if is_cancelled_exception(e):
            raise
        return Remedy(told=f"it could not be mended: {e.cause}")


async def recheck(workflow_id: str, reason: str) -> Remedy:
    """Have the trade ask the exchange."""
    return await _tell(workflow_id, RecheckRequested(reason=reason), "trade asks the exchange")


async def leave(workflow_id: str, *, by: str, reason: str) -> Remedy:
    """Have the trade leave the market: the one way out."""
    event = ExitRequested(reason=ExitReason.OPERATOR, note=reason, by=by)
    return await _tell(workflow_id, event, "trade leaves the market")


async def _adopt(orphan: Discrepancy, *, by: str, reason: str, leave: bool) -> Remedy:
    adoption = await workflow.execute_activity_method(
        ReconciliationPort.plan_adoption,
        orphan,
        start_to_close_timeout=ACTIVITY_TIMEOUT,
        retry_policy=REMEDY,
    )
    if adoption is None:
        return Remedy(told="the position is gone")
    plan = adoption.plan
    await start_trade(plan, adoption.adopted)
    if not leave:
        return Remedy(told=f"adopted by trade {plan.trade_id}", adopted=plan)
    told = await _tell(
        ids.trade_workflow(plan.symbol, plan.trade_id),
        ExitRequested(reason=ExitReason.OPERATOR, note=reason or orphan.detail, by=by),
        f"trade {plan.trade_id} has adopted it and leaves the market",
    )
    return told.model_copy(update={"adopted": plan})


async def _cancel(order: Discrepancy) -> Remedy:
    await workflow.execute_activity_method(
        ReconciliationPort.cancel_unknown,
        order,
        start_to_close_timeout=ACTIVITY_TIMEOUT,
        retry_policy=REMEDY,
    )
    return Remedy(told="order cancelled")


async def _tell(workflow_id: str, event: TradeEvent, told: str) -> Remedy:
    if not workflow_id:
        return Remedy(told="no trade runs that could be told")
    trade = workflow.get_external_workflow_handle(workflow_id)
    try:
        await trade.signal("report", event)
    except ApplicationError as e:
        return Remedy(told=f"the trade could not be told: {e}")
    return Remedy(told=told)


def summed(done: Sequence[Remedy]) -> str:
    return "; ".join(dict.fromkeys(remedy.told for remedy in done))
