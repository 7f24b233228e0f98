"""When a lockstep may go on: every trade has counted what happened and has nothing left to do."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from activities.messenger import Messenger
from activities.pace import Pace
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import TradewrightError
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import TradeState
from tradewright.ports import TradeView

DEADLINE = timedelta(seconds=60)
SNAPSHOT_EVERY = 20.0
"""Seconds; well below the age at which the desk refuses by its snapshot."""
FIRST_WAIT = 0.002
LONGEST_WAIT = 0.1


class NotSettled(TradewrightError):
    def __init__(self, account: str, waited: timedelta, pending: list[str]) -> None:
        super().__init__(
            f"account {account} did not settle within {waited.total_seconds():g} s: "
            f"{'; '.join(pending)}; look at these workflows in the Web UI"
        )
        self.pending = pending


class Settlement:
    """Waits until the account's trades agree with the market's ledger, then shows it the equity."""

    def __init__(
        self, messenger: Messenger, pace: Pace, account: str, deadline: timedelta = DEADLINE
    ) -> None:
        self._messenger = messenger
        self._pace = pace
        self._account = account
        self._deadline = deadline
        self._shown: tuple[tuple[str, ...], ...] = ()
        self._shown_at = float("-inf")

    async def settle(self) -> None:
        """Return when nothing is under way; the desk's snapshot is then of this moment.

        Raises:
            NotSettled: Something hangs, and says what.
        """
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + self._deadline.total_seconds(), FIRST_WAIT
        while True:
            desk, pending = await self._pending()
            if not pending:
                break
            if loop.time() > until:
                raise NotSettled(self._account, self._deadline, pending)
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 1.5 * wait)
        await self._show(desk)

    async def _pending(self) -> tuple[Account | None, list[str]]:
        desk = await self._messenger.ask(ids.account_workflow(self._account), "account", Account)
        if desk is None or not desk.reservations:
            return desk, []
        if desk.leaving:
            return desk, [f"trade {trade_id} is being told to leave" for trade_id in desk.leaving]
        held = await self._pace.holdings()
        plans = [reservation.plan for reservation in desk.reservations]
        found = await asyncio.gather(*(self._why_not(plan, held) for plan in plans))
        return desk, [reason for reason in found if reason]

    async def _why_not(self, plan: TradePlan, held: Mapping[str, Decimal]) -> str:
        workflow_id = ids.trade_workflow(plan.symbol, plan.trade_id)
        view = await self._messenger.ask(workflow_id, "trade", TradeView)
        if view is None:
            return f"{workflow_id} is reserved and does not run"
        trade = view.trade
        if trade.is_final:
            return f"{workflow_id} is {trade.state} and not released"
        # An entry may wait for its price as long as its plan lets it
        waits = trade.state is TradeState.ENTERING and plan.rest_until is not None
        if view.busy or not (waits or trade.state is TradeState.OPEN):
            detail = view.needs_operator or ("busy" if view.busy else "waiting")
            return f"{workflow_id} is {trade.state}, {detail}"
        counted = trade.open_qty * plan.side.sign
        actual = held.get(plan.symbol, Decimal(0))
        if counted != actual:
            return f"{workflow_id} counts {counted:f}, the exchange holds {actual:f}"
        return ""

    async def _show(self, desk: Account | None) -> None:
        """Let the desk look at the exchange if what it saw last may have changed."""
        if desk is None:
            return
        now = asyncio.get_running_loop().time()
        trades = (tuple(r.plan.trade_id for r in desk.reservations), desk.done)
        due = bool(desk.reservations) or trades != self._shown
        if due or now - self._shown_at > SNAPSHOT_EVERY:
            await self._messenger.update(ids.account_workflow(self._account), "refresh")
            self._shown, self._shown_at = trades, now
