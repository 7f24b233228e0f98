"""Compare the exchange with the trades, twice, and mend what both passes saw."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.account import Block
from tradewright.domain.event import EventKind
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Discrepancy, Kind, agreed
from tradewright.domain.trade import RecheckRequested, StopLost, TradeEvent
from tradewright.ports import ACTIVITY_TIMEOUT, Comparison, Reconciled, ReconciliationPort
from workflows.attributes import ACCOUNT, show
from workflows.message import refused
from workflows.outbox import Outbox, dump
from workflows.page import reconciliation_page
from workflows.trade_start import start_trade

SECOND_LOOK = timedelta(seconds=10)
"""Between two passes, so that what is merely on its way has arrived."""
RECORD_WITHIN = timedelta(seconds=30)
"""A journal that is away must not keep the next run from looking."""
READS_LATER = Priority(priority_key=4)
REMEDY = RetryPolicy(maximum_attempts=3)
"""What cannot be mended now is seen again by the next run; the others do not wait for it."""


class ReconciliationStart(Value):
    account: str
    second_look: timedelta = SECOND_LOOK


class ReconciliationReport(Value):
    """What a run found and did."""

    found: int
    mended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@workflow.defn
class ReconciliationWorkflow:
    """Short: one pass when the books agree, two and the remedies when they do not."""

    @workflow.run
    async def run(self, start: ReconciliationStart) -> ReconciliationReport:
        show([(ACCOUNT, start.account)])
        self._journal = Outbox(start.account, tell=workflow.logger.warning)
        first = await self._compare(start.account)
        last = first
        adopted: list[TradePlan] = []
        acted_on: dict[str, str] = {}
        if first.discrepancies:
            await workflow.sleep(start.second_look, summary="until the second look")
            last = await self._compare(start.account)
            for discrepancy in agreed(first.discrepancies, last.discrepancies):
                remedy = await self._mend(discrepancy, adopted)
                acted_on[discrepancy.fingerprint] = f"{discrepancy.detail}: {remedy}"
        await self._tell_desk(start.account, first, last, adopted)
        await self._journal.flush_within(RECORD_WITHIN)
        report = ReconciliationReport(
            found=len(last.discrepancies),
            mended=tuple(acted_on.values()),
            left=tuple(d.detail for d in last.discrepancies if d.fingerprint not in acted_on),
        )
        workflow.set_current_details(reconciliation_page(last, report.mended, report.left))
        return report

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        workflow.set_current_details(refused(name, "this workflow takes no signals"))

    async def _compare(self, account: str) -> Comparison:
        return await workflow.execute_activity_method(
            ReconciliationPort.compare,
            account,
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            priority=READS_LATER,
        )

    async def _mend(self, discrepancy: Discrepancy, adopted: list[TradePlan]) -> str:
        """Do what the kind calls for, and return what was done."""
        try:
            remedy = await self._remedy(discrepancy, adopted)
        except ActivityError as e:
            if is_cancelled_exception(e):
                raise
            remedy = f"it could not be mended: {e.cause}"
        self._journal.note(
            EventKind.DISCREPANCY,
            {"discrepancy": dump(discrepancy), "remedy": remedy},
            trade_id=discrepancy.trade_id,
            symbol=discrepancy.symbol,
        )
        return remedy

    async def _remedy(self, discrepancy: Discrepancy, adopted: list[TradePlan]) -> str:
        match discrepancy.kind:
            case Kind.ORPHAN_POSITION:
                return await self._adopt(discrepancy, adopted)
            case Kind.MISSING_STOP:
                return await self._tell_trade(discrepancy, StopLost(), "stop set again")
            case Kind.UNKNOWN_ORDER:
                await workflow.execute_activity_method(
                    ReconciliationPort.cancel_unknown,
                    discrepancy,
                    start_to_close_timeout=ACTIVITY_TIMEOUT,
                    retry_policy=REMEDY,
                )
                return "order cancelled"
            case Kind.GHOST_TRADE | Kind.SIZE_MISMATCH | Kind.SIDE_MISMATCH:
                recheck = RecheckRequested(reason=discrepancy.detail)
                return await self._tell_trade(discrepancy, recheck, "trade asks the exchange")

    async def _adopt(self, orphan: Discrepancy, adopted: list[TradePlan]) -> str:
        adoption = await workflow.execute_activity_method(
            ReconciliationPort.plan_adoption,
            orphan,
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            retry_policy=REMEDY,
        )
        if adoption is None:
            return "the position is gone"
        await start_trade(adoption.plan, adoption.adopted)
        adopted.append(adoption.plan)
        return f"adopted by trade {adoption.plan.trade_id}"

    async def _tell_trade(self, about: Discrepancy, event: TradeEvent, remedy: str) -> str:
        trade = workflow.get_external_workflow_handle(about.workflow_id)
        try:
            await trade.signal("report", event)
        except ApplicationError as e:
            return f"the trade could not be told: {e}"
        return remedy

    async def _tell_desk(
        self, account: str, first: Comparison, last: Comparison, adopted: list[TradePlan]
    ) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(account))
        mended = {plan.symbol for plan in adopted}
        found = Reconciled(
            at=first.at,
            blocks=tuple(
                Block(symbol=d.symbol, reason=f"{d.kind}: {d.detail}")
                for d in last.discrepancies
                if d.symbol not in mended
            ),
            unreserved=(*last.unreserved, *adopted),
            released=last.released,
        )
        try:
            await desk.signal("reconciled", found)
        except ApplicationError as e:
            workflow.logger.warning("desk_not_told", extra={"error": str(e)})
