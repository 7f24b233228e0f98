"""The desk of one account: the single writer of its risk, and its monitor."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self

from pydantic import Field, model_validator
from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import (
    GUARDS,
    Account,
    Approved,
    Breach,
    Channel,
    Consequence,
    Decision,
    Filled,
    Fired,
    LeaveWish,
    Limits,
    RefusalCode,
    Released,
    Renaming,
    Resting,
    Snapshot,
    Unresolved,
    decide,
    lifted,
    limit_changes,
    unfired,
    watch,
)
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import Gate
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.trade import ExitRequested
from tradewright.ports import AccountPort, Reconciled, SnapshotWish
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.desk_notice import DeskNotices
from workflows.kill_switch import SafeModeWish, TripWish
from workflows.message import Unreadable, read, refused
from workflows.outbox import Outbox
from workflows.page import desk_page

MONITOR = Priority(priority_key=2)
BURST = timedelta(seconds=1)
"""Fills come in bursts; one look at the account is enough for all of one."""


class AccountStart(Value):
    """Input of `AccountWorkflow`; what is carried, an earlier run of it hands over."""

    account: str
    limits: Limits = Limits()
    declared: Limits | None = None
    snapshot_every: timedelta = timedelta(seconds=30)
    carried: Account | None = None
    tripped_day: str = ""
    needs_operator: str = ""
    noted: int = 0
    unwritten: tuple[JournalEvent, ...] = ()
    told: tuple[str, ...] = ()


class LimitsWish(Value):
    """Signal and update `limits`: replace the limits of the desk."""

    limits: Limits
    declared: bool = Field(
        default=False, description="By the settings: taken only when these have changed."
    )
    anew: bool = Field(default=False, description="Taken although they have not.")
    by: str = Field(min_length=1)


class LiftWish(Value):
    """Signal and update `lift`: a named person lets entries be made again."""

    code: RefusalCode | None = Field(
        default=None, description="Whose pause or count is lifted; unset: every pause."
    )
    preset: str = Field(default="", description="Whose guard is lifted; unset: of every preset.")
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _means_one_preset(self) -> Self:
        if self.preset and self.code not in GUARDS:
            raise ValueError(f"only {', '.join(sorted(GUARDS))} are lifted of one preset")
        return self


@workflow.defn
class AccountWorkflow:
    """Reserves and releases risk; takes snapshots; brings about what a breach declares."""

    @workflow.init
    def __init__(self, start: AccountStart) -> None:
        self._start = start
        self._limits = start.limits
        self._declared = start.declared or start.limits
        self._account = start.carried or Account(name=start.account, started_at=workflow.now())
        if start.tripped_day:
            # As earlier versions carried it
            trip = Fired(code=RefusalCode.MAX_DAILY_LOSS, day=start.tripped_day)
            self._account = self._account.model_copy(update={"fired": (trip,)})
        self._wanted = 1
        """Snapshots asked for, and taken: whoever asks waits for the next full one."""
        self._taken = 0
        self._filled = False
        self._needs_operator = start.needs_operator
        self._notices = DeskNotices(start.account, start.told)
        self._journal = Outbox(start.account, noted=start.noted, unwritten=start.unwritten)

    @workflow.run
    async def run(self, start: AccountStart) -> None:
        # A cancel interrupts only this wait: the risk that is held here does not end with it
        work = asyncio.create_task(self._work(start))
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._call_operator("a cancel was ignored: the desk never ends")
        work.result()

    async def _work(self, start: AccountStart) -> None:
        self._writing = asyncio.create_task(self._journal.keep_writing())
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
                    "tripped_day": "",
                    "needs_operator": self._needs_operator,
                    "noted": self._journal.noted,
                    "unwritten": self._journal.unwritten,
                    "told": self._notices.told,
                }
            )
        )

    @property
    def _is_wanted(self) -> bool:
        return self._wanted > self._taken

    def _may_continue_as_new(self) -> bool:
        # Whoever waits for a snapshot gets it first
        return (
            workflow.info().is_continue_as_new_suggested()
            and workflow.all_handlers_finished()
            and self._journal.fits
        )

    async def _observe(self) -> None:
        """Take a snapshot; one that fails leaves the old one to grow stale, which refuses."""
        wanted, self._filled = self._wanted, False
        account = self._account
        wish = SnapshotWish(
            account=self._start.account,
            baseline=account.baseline if account.is_rebuilt else None,
            modes=account.wants_modes(self._limits, workflow.now()),
        )
        try:
            snapshot: Snapshot = await workflow.execute_activity_method(
                AccountPort.read_snapshot,
                wish,
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
            # A stream that is dead long enough needs no snapshot
            await self._watch_limits(is_new=False)
        else:
            self._account = self._account.observed(snapshot)
            if self._needs_operator.startswith("no snapshot"):
                self._needs_operator = ""
            await self._watch_limits(is_new=True)
        self._taken = wanted
        self._show()

    async def _watch_limits(self, *, is_new: bool) -> None:
        found = watch(self._account, self._limits, workflow.now(), is_new=is_new)
        self._account = found.account
        if found.look_again:
            # One odd sample closes no positions: a second look, at once, decides
            self._wanted += 1
        for fire in found.fires:
            await self._bring_about(fire)
        await self._notices.standing(self._account, self._limits, self._needs_operator)

    async def _bring_about(self, fire: Breach) -> None:
        """Let the consequence come that the breach was declared to have."""
        self._note("fired", f"{fire.consequence}: {fire.reason}", fire.code)
        if fire.consequence is Consequence.TRIP:
            switch = workflow.get_external_workflow_handle(
                ids.kill_switch_workflow(self._start.account)
            )
            try:
                await switch.signal("trip", TripWish(reason=fire.reason, by="risk monitor"))
            except ApplicationError as e:
                self._account = unfired(self._account, fire.code)
                self._needs_operator = f"the kill switch could not be tripped: {e}"
                await self._notices.untripped(f"{fire.reason} ({e})")
                return
            if self._needs_operator.startswith("the kill switch"):
                self._needs_operator = ""
            await self._notices.untripped("")
        await self._notices.fired(fire)

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
            if wish.limits == self._declared and not wish.anew:
                return
            self._declared = wish.limits
        before, self._limits = self._limits, wish.limits
        if changed := limit_changes(before, wish.limits):
            self._note("limits_changed", f"by {wish.by}: {'; '.join(changed)}")
        workflow.logger.info("limits_changed", extra={"by": wish.by})
        self._show()

    @workflow.signal(name="lift", description='{"by": "ann", "reason": "…"}: end every pause')
    def lift_by_signal(self, *args: RawValue) -> None:
        wish: LiftWish | None = self._read("lift", LiftWish, args)
        if wish is not None:
            self._lift(wish)

    @workflow.update(name="lift", description="End pauses, or a count, by name and reason")
    def lift_by_update(self, wish: LiftWish) -> Account:
        self._lift(wish)
        return self._account

    def _lift(self, wish: LiftWish) -> None:
        self._account = lifted(self._account, wish.code, wish.preset)
        of = f"of {wish.preset} " if wish.preset else ""
        self._note("lifted", f"{of}by {wish.by}: {wish.reason}", wish.code)
        self._wanted += 1
        self._show()

    @workflow.signal(description="A trade has ended and gives its risk back")
    def release(self, *args: RawValue) -> None:
        released: Released | None = self._read("release", Released, args)
        if released is None:
            return
        self._account = self._account.released(released)
        self._wanted += 1

    @workflow.signal(description="A trade has the exits of another version of its preset")
    def migrated(self, *args: RawValue) -> None:
        plan: TradePlan | None = self._read("migrated", TradePlan, args)
        if plan is not None:
            self._account = self._account.migrated(plan)

    @workflow.signal(description="A preset is called otherwise from now on")
    def renamed(self, *args: RawValue) -> None:
        told: Renaming | None = self._read("renamed", Renaming, args)
        if told is not None:
            self._account = self._account.renamed(told, workflow.now())
            self._note("renamed", f"{told.formerly} is called {told.preset} from now on")

    @workflow.signal(description="A reconciliation has finished")
    def reconciled(self, *args: RawValue) -> None:
        found: Reconciled | None = self._read("reconciled", Reconciled, args)
        if found is None:
            return
        account = self._account.model_copy(
            update={"reconciled_at": found.at, "blocks": found.blocks}
        )
        account = account.held_again(found.unreserved, workflow.now())
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
        self._wanted += 1
        self._show()

    @workflow.signal(description="A stream has failed, or works again")
    def channel(self, *args: RawValue) -> None:
        told: Channel | None = self._read("channel", Channel, args)
        if told is None:
            return
        self._account = self._account.with_channel(told)
        self._wanted += 1
        self._show()

    @workflow.signal(description="A preset rests on symbols that it fails on")
    async def resting(self, *args: RawValue) -> None:
        told: Resting | None = self._read("resting", Resting, args)
        if told is None:
            return
        before = self._account
        self._account = before.with_resting(told)
        reason = self._account.too_many_rest(self._limits)
        self._account = self._account.model_copy(update={"safe_mode_wished": bool(reason)})
        self._show()
        if not reason or before.safe_mode_wished:
            return
        self._note("safe_mode_wished", reason)
        switch = workflow.get_external_workflow_handle(ids.kill_switch_workflow(before.name))
        try:
            await switch.signal("safe_mode", SafeModeWish(on=True, reason=reason, by="desk"))
        except ApplicationError as e:
            # The next word of a preset tries it again
            self._account = self._account.model_copy(update={"safe_mode_wished": False})
            self._call_operator(f"safe mode could not be asked for: {e}")

    @workflow.signal(description="A strategy wants its trade on a symbol left")
    async def leave(self, *args: RawValue) -> None:
        wish: LeaveWish | None = self._read("leave", LeaveWish, args)
        if wish is None:
            return
        exit_ = ExitRequested(reason=ExitReason.SIGNAL, note=wish.reason, by=wish.preset)
        plans = self._account.held_by(wish)
        self._tell_leaving(*self._account.leaving, *(plan.trade_id for plan in plans))
        for plan in plans:
            trade = ids.trade_workflow(plan.symbol, plan.trade_id)
            try:
                await workflow.get_external_workflow_handle(trade).signal("report", exit_)
            except ApplicationError as e:
                # Its end is on the way to us, or the next reconciliation finds what became of it
                workflow.logger.warning("trade_not_told", extra={"id": trade, "error": str(e)})
            finally:
                leaving = list(self._account.leaving)
                leaving.remove(plan.trade_id)
                self._tell_leaving(*leaving)

    def _tell_leaving(self, *trade_ids: str) -> None:
        self._account = self._account.model_copy(update={"leaving": trade_ids})

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; of people, this workflow takes limits and lift")
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

    def _note(self, step: str, detail: str, code: RefusalCode | None = None) -> None:
        self._journal.note(
            EventKind.DESK, {"step": step, "detail": detail, "code": code.value if code else ""}
        )

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        show([(ACCOUNT, self._start.account), (NEEDS_OPERATOR, bool(self._needs_operator))])
        namespace = workflow.info().namespace
        page = desk_page(self._account, self._limits, self._needs_operator, namespace)
        workflow.set_current_details(page)
