"""What one trade tells the desk: that its entry is in doubt, and that its risk is free again."""

from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from tradewright import ids
from tradewright.domain.account import Released, Unresolved
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Trade
from workflows.errand import Errands


class Desk:
    def __init__(self, plan: TradePlan, errands: Errands, *, in_doubt: bool) -> None:
        self._plan = plan
        self._errands = errands
        self.in_doubt = in_doubt
        """The desk believes that what has become of the entry is unknown."""

    def doubt(self, in_doubt: bool) -> None:
        """Let the desk know that what has become of the entry is unknown, or known again."""
        if in_doubt is self.in_doubt:
            return
        self.in_doubt = in_doubt
        doubt = Unresolved(
            trade_id=self._plan.trade_id,
            symbol=self._plan.symbol,
            order_link_id=ids.order_link(self._plan.trade_id, "e", 1),
            since=workflow.now(),
            over=not in_doubt,
        )
        self._errands.send(partial(self._tell, "unresolved", doubt))

    def moved(self, plan: TradePlan) -> None:
        """Let the desk know the exits that the trade has from now on, and whose they are."""
        self._errands.send(partial(self._tell, "migrated", plan))

    async def release(self, trade: Trade) -> None:
        """Give the risk of *trade*, which has ended, back to the desk."""
        self.doubt(False)
        release = Released(
            trade_id=trade.plan.trade_id,
            at=trade.closed_at or trade.plan.trigger,
            pnl=trade.pnl,
            cooldown=trade.plan.cooldown if trade.was_open else timedelta(0),
        )
        await self._tell("release", release)

    async def _tell(self, name: str, message: Any) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(self._plan.account))
        try:
            await desk.signal(name, message)
        except ApplicationError as e:
            # The desk is not there: the next reconciliation gives the risk back
            workflow.logger.warning("desk_not_told", extra={"about": name, "error": str(e)})
