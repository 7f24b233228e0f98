"""The desk of one account: the single writer of its risk, and its monitor."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import (
    Account,
    Approved,
    Channel,
    Decision,
    Filled,
    LeaveWish,
    Limits,
    Released,
    Snapshot,
    Unresolved,
    breach,
    decide,
)
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import Gate
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal
from tradewright.domain.trade import ExitRequested
from tradewright.ports import AccountPort, Reconciled
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.kill_switch import TripWish
from workflows.message import Unreadable, read, refused
from workflows.page import desk_page

MONITOR = Priority(priority_key=2)
BURST = timedelta(seconds=1)
"""Fills come in bursts; one look at the account is enough for all of one."""


class AccountStart(Value):
    """Input of `AccountWorkflow`."""

    account: str
    limits: Limits = Limits()
    declared: Limits | None = None
    snapshot_every: timedelta = timedelta(seconds=30)
    carried: Account | None = None
    tripped_day: str = ""
    needs_operator: str = ""


class LimitsWish(Value):
    """Signal and update `limits`: replace the limits of the desk."""

    limits: Limits
    declared: bool = Field(
        default=False, description="By the settings: taken only when these have changed."
    )
    by: str = Field(min_length=1)


@workflow.defn
class AccountWorkflow:
    """Reserves and releases risk; takes snapshots; trips the kill switch at a breach."""

    @workflow.init
    def __init__(self, start: AccountStart) -> None:
        self._start = start
        self._limits = start.limits
        self._declared = start.declared or start.limits
        self._account = start.carried or Account(name=start.account, started_at=workflow.now())
        self._wanted = 1
        """Snapshots asked for, and taken: whoever asks waits for the next full one."""
        self._taken = 0
        self._filled = False
        self._tripped_day = start.tripped_day
        self._suspects_breach = False
        self._needs_operator = start.needs_operator

    @workflow.run
    async def run(self, start: AccountStart) -> None:
        self._show()
        while not self._may_continue_as_new():
            await self._observe()
            try:
                await workflow.wait_condition(
                    lambda: self._is_wanted or self._filled or self._may_continue_as_new(),
                    timeout=start.snapshot_every,
                    timeout_summary="until the next snapshot",
                )
                if self._filled and not self._is_wanted:
                    await workflow.wait_condition(
                        lambda: self._is_wanted,
                        timeout=BURST,
                        timeout_summary="until a burst of fills is over",
                    )
            except TimeoutError:
                self._wanted += 1
        workflow.continue_as_new(
            start.model_copy(
                update={
                    "carried": self._account,
                    "limits": self._limits,
                    "declared": self._declared,
                    "tripped_day": self._tripped_day,
                    "needs_operator": self._needs_operator,
                }
            )
        )

    @property
    def _is_wanted(self) -> bool:
        return self._wanted > self._taken

    def _may_continue_as_new(self) -> bool:
        # Whoever waits for a snapshot gets it first
        return workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished()

    async def _observe(self) -> None:
        """Take a snapshot; one that fails leaves the old one to grow stale, which refuses."""
        wanted, self._filled = self._wanted, False
        try:
            snapshot: Snapshot = await workflow.execute_activity_method(
                AccountPort.read_snapshot,
                self._start.account,
                start_to_close_timeout=timedelta(seconds=15),
                # Whoever asks for the status is told within it, even of a key that is refused
                schedule_to_close_timeout=timedelta(seconds=20),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(milliseconds=500), maximum_attempts=4
                ),
                priority=MONITOR,
                summary="equity and positions",
            )
        except ActivityError as e:
            self._needs_operator = f"no snapshot of the account: {e.cause}"
        else:
            self._account = self._account.observed(snapshot)
            if self._needs_operator.startswith("no snapshot"):
                self._needs_operator = ""
            await self._watch_limits()
        self._taken = wanted
        self._show()

    async def _watch_limits(self) -> None:
        reason = breach(self._account, self._limits)
        # Once a day: after a rearm on the same day the desk refuses, but does not trip again
        if reason is None or self._tripped_day == self._account.day:
            self._suspects_breach = False
            return
        if not self._suspects_breach:
            # One odd sample closes no positions: a second look, at once, decides
            self._suspects_breach = True
            self._wanted += 1
            return
        self._tripped_day = self._account.day
        switch = workflow.get_external_workflow_handle(
            ids.kill_switch_workflow(self._start.account)
        )
        try:
            await switch.signal("trip", TripWish(reason=reason, by="risk monitor"))
        except ApplicationError as e:
            self._tripped_day = ""
            self._needs_operator = f"the kill switch could not be tripped: {e}"
        else:
            if self._needs_operator.startswith("the kill switch"):
                self._needs_operator = ""

    @workflow.update(description="Ask for the risk of one trade; the same trade, the same answer")
    def reserve(self, proposal: Proposal) -> Decision:
        decision = decide(proposal, self._account, self._limits, workflow.now())
        if isinstance(decision, Approved):
            held = self._account.reservation(decision.plan.trade_id)
            if held is None:
                self._account = self._account.reserved(decision.plan, workflow.now())
        self._show()
        return decision

    @workflow.update(description="Take a snapshot now, and answer when it is there")
    async def refresh(self) -> None:
        self._wanted += 1
        wanted = self._wanted
        await workflow.wait_condition(lambda: self._taken >= wanted)
        if self._needs_operator.startswith("no snapshot"):
            raise ApplicationError(self._needs_operator, type="NoSnapshot")

    @workflow.signal(name="limits", description="Replace the limits of the desk")
    def change_limits_by_signal(self, *args: RawValue) -> None:
        wish: LimitsWish | None = self._read("limits", LimitsWish, args)
        if wish is not None:
            self._set_limits(wish)

    @workflow.update(name="limits", description="Replace the limits of the desk")
    def change_limits_by_update(self, wish: LimitsWish) -> Limits:
        self._set_limits(wish)
        return self._limits

    def _set_limits(self, wish: LimitsWish) -> None:
        if wish.declared:
            # A worker that merely starts again must not undo what an operator has set since
            if wish.limits == self._declared:
                return
            self._declared = wish.limits
        self._limits = wish.limits
        workflow.logger.info("limits_changed", extra={"by": wish.by})
        self._show()

    @workflow.signal(description="A trade has ended and gives its risk back")
    def release(self, *args: RawValue) -> None:
        released: Released | None = self._read("release", Released, args)
        if released is None:
            return
        self._account = self._account.released(released)
        self._wanted += 1

    @workflow.signal(description="A reconciliation has finished")
    def reconciled(self, *args: RawValue) -> None:
        found: Reconciled | None = self._read("reconciled", Reconciled, args)
        if found is None:
            return
        account = self._account.model_copy(
            update={"reconciled_at": found.at, "blocks": found.blocks}
        )
        for plan in found.unreserved:
            # One that ended after the pass had seen it is not held again
            if account.reservation(plan.trade_id) is None and plan.trade_id not in account.done:
                account = account.reserved(plan, workflow.now())
        for trade_id in found.released:
            if held := account.reservation(trade_id):
                account = account.released(Released(trade_id=trade_id, at=held.plan.trigger))
        self._account = account
        self._show()

    @workflow.signal(description="The gate has changed")
    def gate(self, *args: RawValue) -> None:
        gate: Gate | None = self._read("gate", Gate, args)
        if gate is None:
            return
        self._account = self._account.model_copy(
            update={"gate": gate.state, "gate_reason": gate.reason}
        )
        self._show()

    @workflow.signal(description="An order was filled: a snapshot is due now")
    def filled(self, *args: RawValue) -> None:
        if self._read("filled", Filled, args) is not None:
            self._filled = True

    @workflow.signal(description="The outcome of an order is unknown, or known again")
    def unresolved(self, *args: RawValue) -> None:
        told: Unresolved | None = self._read("unresolved", Unresolved, args)
        if told is None:
            return
        self._account = self._account.with_unresolved(told, workflow.now())
        self._show()

    @workflow.signal(description="A stream has failed, or works again")
    def channel(self, *args: RawValue) -> None:
        told: Channel | None = self._read("channel", Channel, args)
        if told is None:
            return
        self._account = self._account.with_channel(told)
        self._show()

    @workflow.signal(description="A strategy wants its trade on a symbol left")
    async def leave(self, *args: RawValue) -> None:
        wish: LeaveWish | None = self._read("leave", LeaveWish, args)
        if wish is None:
            return
        exit_ = ExitRequested(reason=ExitReason.SIGNAL, note=wish.reason, by=wish.preset)
        for plan in self._account.held_by(wish):
            trade = ids.trade_workflow(plan.symbol, plan.trade_id)
            try:
                await workflow.get_external_workflow_handle(trade).signal("report", exit_)
            except ApplicationError as e:
                # Its end is on the way to us, or the next reconciliation finds what became of it
                workflow.logger.warning("trade_not_told", extra={"id": trade, "error": str(e)})

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; of people, this workflow takes limits")
        )

    @workflow.query(description="The desk: reservations, snapshot, gate, blocks")
    def account(self) -> Account:
        return self._account

    @workflow.query(name="limits", description="The limits in force")
    def shown_limits(self) -> Limits:
        return self._limits

    def _read(self, name: str, shape: Any, args: Sequence[RawValue]) -> Any:
        """Return the message, or None when it cannot be read."""
        try:
            message, remark = read(shape, args)
        except Unreadable as e:
            self._call_operator(refused(name, e))
            return None
        if remark:
            self._call_operator(f"signal {name} was taken, but {remark}")
        return message

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        show([(ACCOUNT, self._start.account), (NEEDS_OPERATOR, bool(self._needs_operator))])
        namespace = workflow.info().namespace
        page = desk_page(self._account, self._limits, self._needs_operator, namespace)
        workflow.set_current_details(page)
