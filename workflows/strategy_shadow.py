"""The virtual trades of one strategy: decided by a desk of their own, started, heard of, left."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError

from tradewright import ids
from tradewright.domain.account import Account, Approved, LeaveWish, Released
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.trade import Trade
from tradewright.ports import AccountPort, Rehearsal, ShadowCandles, ShadowExit
from workflows.attributes import attributes
from workflows.shadow import ShadowStart, ShadowWorkflow
from workflows.strategy_record import StrategyRecord
from workflows.trade_page import plan_attributes, plan_details, plan_summary

DECISION_TIME = timedelta(seconds=30)


class StrategyShadows:
    """Keeps the desk of the virtual trades: their cooldowns, losses and places."""

    def __init__(self, record: StrategyRecord, desk: Account | None) -> None:
        self._record = record
        status = record.status
        self.desk = desk or Account(name=status.account, started_at=workflow.now())

    async def take(self, proposal: Proposal) -> None:
        """Decide on *proposal* as the desk would, and follow what comes of it."""
        record = self._record
        try:
            decision = await workflow.execute_activity_method(
                AccountPort.rehearse,
                Rehearsal(proposal=proposal, desk=self.desk),
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=DECISION_TIME,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500)),
                priority=Priority(priority_key=3),
                summary=f"as if: {proposal.signal.side} {proposal.symbol}",
            )
        except ActivityError as e:
            record.remark(f"{proposal.symbol}: the desk did not decide: {e.cause}")
            return
        if not isinstance(decision, Approved):
            record.remark(f"{proposal.symbol} refused, {decision.code}: {decision.reason}")
            record.change(refused=record.status.refused + 1)
            return
        plan = decision.plan
        if self.desk.reservation(plan.trade_id) is None:
            self.desk = self.desk.reserved(plan, workflow.now())
        if not await _start(plan):
            # One that has ended before will not say so again
            await self._tell(plan, "candles", ShadowCandles(closed=()), plan.trigger)
        record.approved(plan.preset_hash)
        self._show()

    def ended(self, release: Released) -> None:
        """Take back what an ended virtual trade held; a repeat changes nothing."""
        self.desk = self.desk.released(release)
        self._show()

    async def leave(self, wish: LeaveWish, at: datetime) -> None:
        """Tell the virtual trades that *wish* is about; *at* is of the market clock."""
        for plan in self.desk.held_by(wish):
            told = ShadowExit(reason=ExitReason.SIGNAL, note=wish.reason, by=wish.preset, at=at)
            await self._tell(plan, "exit", told, at)

    async def _tell(self, plan: TradePlan, signal: str, message: Value, at: datetime) -> None:
        workflow_id = ids.shadow_workflow(plan.symbol, plan.trade_id)
        try:
            await workflow.get_external_workflow_handle(workflow_id).signal(signal, message)
        except ApplicationError:
            # It was ended from outside, and has told nobody
            self.ended(Released(trade_id=plan.trade_id, at=at))

    def _show(self) -> None:
        plans = sorted((held.plan for held in self.desk.reservations), key=lambda p: p.trade_id)
        shadows = tuple(ids.shadow_workflow(plan.symbol, plan.trade_id) for plan in plans)
        self._record.change(shadows=shadows)


async def _start(plan: TradePlan) -> bool:
    """Start the virtual trade as a child that outlives its parent; False if it ran before."""
    try:
        child = await workflow.start_child_workflow(
            ShadowWorkflow.run,
            ShadowStart(plan=plan),
            id=ids.shadow_workflow(plan.symbol, plan.trade_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=f"virtual: {plan_summary(plan)}",
            static_details=plan_details(plan),
            search_attributes=attributes(*plan_attributes(plan)),
        )
    except WorkflowAlreadyStartedError:
        return False
    # Nobody here waits for its end, and one that was cancelled would be logged as a fault
    child.add_done_callback(_heard)
    return True


def _heard(child: workflow.ChildWorkflowHandle[ShadowWorkflow, Trade]) -> None:
    if not child.cancelled():
        child.exception()
