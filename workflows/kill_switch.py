"""The kill switch: works until it has read flat twice; only a named person rearms it."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.gate import QUIET_TIME, Gate, GateState
from tradewright.ports import GateWish, KillPort, KillSwitchState, TripOrder
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.clearing import RETRY, Clearing, perform
from workflows.kill_notice import Notices
from workflows.kill_wish import (
    GateStep,
    KillSwitchCarried,
    KillSwitchStart,
    RearmWish,
    SafeModeWish,
    TripWish,
    WishQueue,
)
from workflows.message import hear, refused
from workflows.outbox import Outbox
from workflows.page import gate_page

__all__ = ["KillSwitchStart", "KillSwitchWorkflow", "RearmWish", "SafeModeWish", "TripWish"]

READ_WITHIN = timedelta(seconds=3)
WRITE_WITHIN = timedelta(seconds=10)
REWRITE_EVERY = timedelta(seconds=10)
ROW_FIRST = timedelta(seconds=1)
"""How long a trip waits for the gate's row before it goes on beside it."""
MOST_SHOWN = 20
"""Of further trips while one is under way; the journal has all."""


async def _give_up(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(ActivityError, asyncio.CancelledError):
        await task


@workflow.defn
class KillSwitchWorkflow:
    """Handlers record a wish and return; the loop does the work, trips before all else."""

    @workflow.init
    def __init__(self, start: KillSwitchStart) -> None:
        now = workflow.now()
        carried = start.carried or KillSwitchCarried(gate=Gate(account=start.account, at=now))
        self._account = start.account
        self._gate = carried.gate
        self._wishes = WishQueue(carried.steps)
        self._is_unwritten = carried.is_unwritten
        self._rearmed = carried.rearmed
        """The row that is to be written opens a halted gate."""
        self._is_flattening = carried.is_flattening
        self._closed_at = now
        """Since when no entry can have been sent."""
        self._may_land = carried.may_land
        """In safe mode: an entry that was sent before may still come to rest."""
        self._adopted: Gate | None = None
        self._also = list(carried.also)
        self._next_link = carried.next_link
        self._notices = Notices(start.account, carried.untold)
        self._step = ""
        self._needs_operator = carried.needs_operator
        self._journal = Outbox(
            start.account,
            noted=carried.noted,
            unwritten=carried.unwritten,
            tell=self._hear_of_journal,
        )

    @workflow.run
    async def run(self, start: KillSwitchStart) -> None:
        # A cancel interrupts only this wait: what may hold positions open does not end
        work = asyncio.create_task(self._work(start))
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._call_operator("a cancel was ignored: the kill switch never ends")
        work.result()

    async def _work(self, start: KillSwitchStart) -> None:
        # Nothing here waits for what it writes and tells; what is left is carried over
        self._beside = (
            asyncio.create_task(self._journal.keep_writing()),
            asyncio.create_task(self._notices.keep_telling()),
        )
        if start.carried is None:
            await self._adopt_gate()
        if self._is_flattening and not self._wishes.hold_trip:
            await self._flatten()
        while not workflow.info().is_continue_as_new_suggested():
            self._set_step("")
            await self._wait_for_work()
            if self._wishes:
                await self._follow(self._next_wish())
            elif self._is_unwritten:
                await self._write_gate()
            else:
                self._may_land = False
                await self._cancel_entries()
        workflow.continue_as_new(
            KillSwitchStart(
                account=self._account,
                carried=KillSwitchCarried(
                    gate=self._gate,
                    steps=self._wishes.steps,
                    is_unwritten=self._is_unwritten,
                    rearmed=self._rearmed,
                    is_flattening=self._is_flattening,
                    needs_operator=self._needs_operator,
                    noted=self._journal.noted,
                    unwritten=self._journal.unwritten,
                    also=tuple(self._also),
                    next_link=self._next_link,
                    may_land=self._may_land,
                    untold=self._notices.untold,
                ),
            )
        )

    # --- the gate -----------------------------------------------------------------------------

    async def _adopt_gate(self) -> None:
        """Take over the row as it stands: a trip that was cut short is finished."""
        self._step = "reading the gate"
        reading = asyncio.ensure_future(
            perform(KillPort.read_gate, self._account, self._complain_of_gate)
        )
        await workflow.wait_condition(lambda: reading.done() or self._wishes.hold_trip)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(reading.done, timeout=READ_WITHIN)
        if not reading.done():
            # A trip does not wait for the row. Its number must be above all that were used
            await _give_up(reading)
            self._gate = self._gate.model_copy(update={"trip": int(workflow.now().timestamp())})
            return
        self._gate = await reading
        if self._gate.at > workflow.now():
            # Of a clock that is ahead: nothing could be loosened before its time
            self._gate = self._gate.model_copy(update={"at": workflow.now()})
            self._is_unwritten = True
        await self._tell_desk()
        self._is_flattening = self._gate.state is GateState.HALTED

    def _complain_of_gate(self, fault: str) -> None:
        self._call_operator(f"the gate could not be read: {fault}; it is tried again")

    async def _wait_for_work(self) -> None:
        pause, why = None, None
        if self._is_unwritten:
            pause, why = REWRITE_EVERY, "until the gate is written again"
        elif self._may_land:
            pause = max(self._closed_at + QUIET_TIME - workflow.now(), timedelta(0))
            why = "until nothing sent can land any more"
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._wishes), timeout=pause, timeout_summary=why
            )

    def _next_wish(self) -> GateStep:
        wish, *further = self._wishes.take()
        if wish.state is GateState.HALTED:
            self._also = []
        for other in further:
            self._join(other)
        return wish

    async def _follow(self, wish: GateStep) -> None:
        self._step = "closing the gate" if wish.state is not GateState.OPEN else "opening the gate"
        halt = wish.state is GateState.HALTED
        gate = Gate(
            account=self._account,
            state=wish.state,
            reason=wish.reason,
            by=wish.by,
            at=workflow.now(),
            trip=self._gate.trip + halt,
        )
        self._note("asked", f"{wish.state} by {wish.by}: {wish.reason}")
        # Known here at once, whatever becomes of the row: the desk refuses from now on
        self._gate = self._gate.after(gate, rearm=wish.rearm)
        if self._gate.state is not GateState.HALTED:
            self._also = []
        self._rearmed = wish.rearm or (self._rearmed and not halt)
        self._is_flattening = self._is_flattening or halt
        self._notices.tell_gate(wish, self._gate)
        await self._tell_desk()
        self._is_unwritten, self._may_land = True, False
        writing = asyncio.ensure_future(self._write_gate())
        if not halt:
            await writing
            if self._gate.state is GateState.EXITS_ONLY:
                await self._cancel_entries()
            return
        self._next_link = 1
        # The row comes first, but no trip waits for a journal that is away
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                writing.done, timeout=ROW_FIRST, timeout_summary="until the trip goes on without it"
            )
        await self._flatten(writing)

    async def _write_gate(self) -> None:
        """Write the row; one that cannot be written is tried again, and holds no trip up."""
        if not self._is_unwritten:
            return
        writing = asyncio.ensure_future(
            workflow.execute_activity_method(
                KillPort.write_gate,
                GateWish(gate=self._gate, rearm=self._rearmed),
                start_to_close_timeout=WRITE_WITHIN,
                schedule_to_close_timeout=WRITE_WITHIN,
                retry_policy=RETRY,
            )
        )
        is_halted = self._gate.state is GateState.HALTED
        await workflow.wait_condition(
            lambda: writing.done() or (self._wishes.hold_trip and not is_halted)
        )
        if not writing.done():
            await _give_up(writing)
            return
        wanted = self._gate
        try:
            self._gate = await writing
        except ActivityError as e:
            self._call_operator(f"the gate could not be written: {e.cause}; it is tried again")
            return
        if self._gate.is_tighter_than(wanted):
            self._obey(self._gate)
        self._is_unwritten = self._rearmed = False
        self._closed_at = workflow.now()
        self._may_land = self._gate.state is GateState.EXITS_ONLY
        if self._needs_operator.startswith("the gate"):
            self._call_operator("")
        await self._tell_desk()

    async def _cancel_entries(self) -> None:
        """Cancel what waits at the exchange, unless something else is wished meanwhile."""
        self._set_step("cancelling entries")
        order = TripOrder(account=self._account, trip=self._gate.trip)
        cancelling = asyncio.ensure_future(
            perform(KillPort.cancel_entries, order, self._complain_of_entries)
        )
        await workflow.wait_condition(lambda: cancelling.done() or bool(self._wishes))
        if not cancelling.done():
            await _give_up(cancelling)
            return
        self._note("entries_cancelled", str(await cancelling))
        if self._needs_operator.startswith("the entries"):
            self._call_operator("")

    def _complain_of_entries(self, fault: str) -> None:
        self._call_operator(f"the entries could not be cancelled: {fault}; it is tried again")

    # --- the way to flat ----------------------------------------------------------------------

    async def _flatten(self, writing: asyncio.Future[None] | None = None) -> None:
        """Get flat; *writing* is the row's write, if it is still under way."""

        async def keep_gate() -> None:
            await (self._write_gate() if writing is None or writing.done() else writing)

        def closed_at() -> datetime | None:
            return None if self._is_unwritten else self._closed_at

        order = TripOrder(account=self._account, trip=self._gate.trip, first_link=self._next_link)
        clearing = Clearing(
            order,
            keep_gate=keep_gate,
            closed_at=closed_at,
            step=self._set_step,
            complain=self._call_operator,
            note=self._note,
        )
        is_done = await clearing.run()
        self._next_link = clearing.next_link
        if not is_done:
            return
        self._is_flattening = False
        if self._needs_operator.startswith("the flatten"):
            self._call_operator("")
        self._notices.tell_flat()

    async def _tell_desk(self) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(self._account))
        try:
            await desk.signal("gate", self._gate)
        except ApplicationError as e:
            # No desk, no entries; and place_entry reads the row anyway
            workflow.logger.warning("desk_not_told", extra={"error": str(e)})

    # --- messages -----------------------------------------------------------------------------

    @workflow.signal(name="trip", description='{"reason": "…", "by": "ann"}: halt and flatten')
    def trip_by_signal(self, *args: RawValue) -> None:
        hear("trip", TripWish, args, self._wish_trip, self._call_operator)

    @workflow.update(name="trip", description="Halt and flatten; answers when understood")
    def trip_by_update(self, wish: TripWish) -> KillSwitchState:
        self._wish_trip(wish)
        return self.state()

    @workflow.signal(name="safe_mode", description='{"on": true, "reason": "…", "by": "ann"}')
    def safe_mode_by_signal(self, *args: RawValue) -> None:
        hear("safe_mode", SafeModeWish, args, self._wish_safe_mode, self._call_operator)

    @workflow.update(name="safe_mode", description="No entries; all else is still managed")
    def safe_mode_by_update(self, wish: SafeModeWish) -> KillSwitchState:
        self._wish_safe_mode(wish)
        return self.state()

    @workflow.signal(name="rearm", description='{"by": "ann", "reason": "…"}: open the gate')
    def rearm_by_signal(self, *args: RawValue) -> None:
        hear("rearm", RearmWish, args, self._wish_rearm, self._call_operator)

    @workflow.update(name="rearm", description="Open the gate again, by name and reason")
    def rearm_by_update(self, wish: RearmWish) -> KillSwitchState:
        self._wish_rearm(wish)
        return self.state()

    @workflow.signal(name="adopt", description="The gate's row, where others have closed it")
    def adopt(self, *args: RawValue) -> None:
        hear("adopt", Gate, args, self._wish_adopt, self._call_operator)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; this workflow takes trip, safe_mode and rearm")
        )

    @workflow.query(description="The gate, and what is being done")
    def state(self) -> KillSwitchState:
        return KillSwitchState(
            gate=self._gate,
            flattening=self._is_flattening,
            step=self._step or ("waiting" if not self._wishes else "about to begin"),
            needs_operator=self._needs_operator,
            also=tuple(self._also),
            meaning=self._meaning,
        )

    def _understood(self) -> None:
        # Whoever was misunderstood has found the words
        if self._needs_operator.startswith("signal "):
            self._call_operator("")

    def _wish_trip(self, wish: TripWish) -> None:
        self._understood()
        step = GateStep(state=GateState.HALTED, reason=wish.reason, by=wish.by)
        if not self._is_flattening:
            self._wishes.append(step)
            return
        # The gate is closed and what is held is being closed: nothing is to be done twice
        self._wishes.forget_openings()
        self._join(step)

    def _join(self, wish: GateStep) -> None:
        """Let a trip be done by the one that is under way; its reason is kept."""
        line = f"{wish.by}: {wish.reason}"
        if line in self._also or (wish.by, wish.reason) == (self._gate.by, self._gate.reason):
            return
        self._also = [*self._also, line][-MOST_SHOWN:]
        self._note("asked", f"{wish.state} by {line}; the trip under way does it")
        self._notices.tell_gate(wish, self._gate)
        self._show()

    def _wish_safe_mode(self, wish: SafeModeWish) -> None:
        self._understood()
        state = GateState.EXITS_ONLY if wish.on else GateState.OPEN
        self._wishes.append(GateStep(state=state, reason=wish.reason, by=wish.by))

    def _wish_rearm(self, wish: RearmWish) -> None:
        self._understood()
        self._wishes.append(
            GateStep(state=GateState.OPEN, reason=wish.reason, by=wish.by, rearm=True)
        )

    def _wish_adopt(self, row: Gate) -> None:
        """Do what somebody has begun past this workflow; a row that it knows says nothing new."""
        is_news = row.at > self._gate.at and row != self._adopted
        is_tighter = row.state is GateState.HALTED or (
            row.state is GateState.EXITS_ONLY and self._gate.state is GateState.OPEN
        )
        if is_news and is_tighter:
            self._obey(row)

    def _obey(self, row: Gate) -> None:
        self._adopted = row
        self._wishes.append(GateStep(state=row.state, reason=row.reason, by=row.by))

    # --- what is shown ------------------------------------------------------------------------

    @property
    def _meaning(self) -> str:
        rearm = self._wishes.rearm
        if rearm is None or self._gate.state is not GateState.HALTED:
            return self._gate.state.meaning
        return (
            f"no new entries, and every position is closed; {rearm.by} has rearmed it: the gate "
            f"opens by itself as soon as that is done"
        )

    def _note(self, step: str, detail: str) -> None:
        self._journal.note(EventKind.KILL_SWITCH, {"step": step, "detail": detail})

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        if why != self._needs_operator:
            self._notices.tell_need(why)
        self._needs_operator = why
        self._show()

    def _set_step(self, step: str) -> None:
        self._step = step
        self._show()

    def _show(self) -> None:
        show([(ACCOUNT, self._account), (NEEDS_OPERATOR, bool(self._needs_operator))])
        lines = [gate_page(self._gate, self._step, self._needs_operator), ""]
        lines += [f"- also asked for while it was under way: {line}" for line in self._also]
        lines.append(f"*{self._meaning}*")
        workflow.set_current_details("\n".join(lines))
