"""Whose an execution is: finds the trade, and tells it, however long it takes."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from activities.messenger import Messenger
from activities.parse import Payment
from tradewright import ids
from tradewright.domain.account import Account, Filled
from tradewright.domain.errors import DeskUnreachable
from tradewright.domain.execution import Execution
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    Executed,
    Funded,
    RecheckRequested,
    TradeEvent,
    TradeState,
)
from tradewright.ports import TradeView

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 5.0
"""Seconds that a trade may hold up the executions of all others."""
WORKING = frozenset({TradeState.ENTERING, TradeState.OPEN})


class Post:
    """By the order's link; else by its parent's; else the one trade that holds the symbol."""

    def __init__(self, messenger: Messenger, account: str) -> None:
        self._messenger = messenger
        self._account = account
        self._known: Account | None = None
        self.fault = ""
        """Why the desk's last answer stands for the one that it does not give."""

    async def deliver(self, execution: Execution, parent_link: str = "") -> None:
        """Tell the owner of *execution*; *parent_link* is of the entry whose stop traded."""
        symbol = execution.symbol
        named = ids.parse_link(execution.order_link_id) or ids.parse_link(parent_link)
        event: TradeEvent = Executed(execution=execution)
        if named is not None:
            owner: str | None = ids.trade_workflow(symbol, named.trade)
        else:
            owner = await self._holder(symbol, execution.at)
            if owner is not None and not await self._came_after(owner, execution):
                # The exchange's list, read in order, tells whose it is
                event = RecheckRequested(reason=f"execution {execution.exec_id} names no trade")
        await self.report(owner, event, exec_id=execution.exec_id, symbol=symbol)
        desk = ids.account_workflow(self._account)
        await self._messenger.tell(desk, "filled", Filled(symbol=symbol))

    async def deliver_payment(self, payment: Payment) -> None:
        """Tell of funding whoever held the symbol then."""
        event = Funded(exec_id=payment.exec_id, amount=payment.amount, at=payment.at)
        owner = await self._holder(payment.symbol, payment.at)
        if owner is not None and not await self._came_after(owner, payment, unless_told=True):
            owner = None
        await self.report(owner, event, exec_id=payment.exec_id, symbol=payment.symbol)

    async def recheck(self, row: Mapping[str, Any], reason: str) -> None:
        """Let the trade ask for an execution that could not be read."""
        symbol, link = str(row.get("symbol", "")), str(row.get("orderLinkId") or "")
        named = ids.parse_link(link)
        owner = (
            ids.trade_workflow(symbol, named.trade)
            if named is not None
            else await self._holder(symbol, None)
        )
        await self.report(owner, RecheckRequested(reason=reason), symbol=symbol)

    async def recheck_entries(self, reason: str) -> None:
        """Let the trades ask whose entry may have ended while nobody listened."""
        account = await self._desk()
        if account is not None:
            plans = [reservation.plan for reservation in account.reservations]
            await asyncio.gather(*(self._recheck_entry(plan, reason) for plan in plans))

    async def report(self, owner: str | None, event: TradeEvent, **facts: str) -> None:
        if owner is None or not await self._messenger.tell(owner, "report", event):
            # A reconciliation sees what is held, and gives it an owner
            log.warning("event_without_trade", trade=owner, kind=event.kind, **facts)

    async def first_trigger(self) -> datetime | None:
        """Return since when the oldest of the running trades may have executions."""
        account = await self._desk()
        if account is None or not account.reservations:
            return None
        return min(reservation.plan.trigger for reservation in account.reservations)

    async def _recheck_entry(self, plan: TradePlan, reason: str) -> None:
        workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
        view = await self._messenger.ask_in_time(workflow_id, "trade", TradeView, ANSWER_WITHIN)
        # One that is open may have a part of its entry at work
        if view is None or view.trade.state not in WORKING or view.trade.entry_ended:
            return
        await self.report(workflow_id, RecheckRequested(reason=reason), symbol=plan.symbol)

    async def _came_after(
        self, owner: str, happening: Execution | Payment, *, unless_told: bool = False
    ) -> bool:
        """Return whether *happening* is known to have come after the owner's first fill.

        What closes a position without a link (its stop, a person) does. What does not may be
        the end of the trade that held the symbol before, told late. *unless_told* stands for a
        trade that does not answer.
        """
        try:
            view = await self._messenger.ask(owner, "trade", TradeView, ANSWER_WITHIN)
        except TimeoutError:
            return unless_told
        if view is None or view.trade.opened_at is None:
            return False
        if view.trade.plan.origin is Origin.ADOPTED or not view.trade.entries:
            return happening.at >= view.trade.opened_at
        first = min((e.at, e.seq) for e in view.trade.entries)
        return (happening.at, happening.seq) > first

    async def _holder(self, symbol: str, at: datetime | None) -> str | None:
        """Return the trade that held *symbol* at *at*; at None, the one that holds it now."""
        # An old answer only of a desk that is stuck: elsewhere symbols change hands
        account = await self._desk()
        for reservation in account.reservations if account else ():
            plan = reservation.plan
            # One trade per symbol; what happened before it was another's
            if plan.symbol == symbol and (at is None or at >= plan.trigger):
                return ids.trade_workflow(plan.symbol, plan.trade_id)
        return None

    async def _desk(self) -> Account | None:
        # One that is stuck holds up one execution, not each of them
        if not self.fault:
            await self.ask_desk()
        return self._known

    async def ask_desk(self) -> None:
        """Ask the desk what is held, and find out whether it answers."""
        desk = ids.account_workflow(self._account)
        try:
            self._known = await self._messenger.ask(desk, "account", Account, ANSWER_WITHIN)
        except TimeoutError:
            log.error("workflow_does_not_answer", workflow_id=desk, query="account")
            self.fault = str(DeskUnreachable(desk, f"no answer within {ANSWER_WITHIN:.0f} s"))
        else:
            self.fault = ""
