"""The kill switch: works until it has read flat twice; only a named person rearms it."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from tradewright import ids
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Value
from tradewright.ports import Exposure, GateWish, KillPort, KillSwitchState, TripOrder
from workflows.attributes import ACCOUNT, NEEDS_OPERATOR, show
from workflows.message import Unreadable, read, refused
from workflows.outbox import Outbox
from workflows.page import gate_page

QUIET_TIME = timedelta(seconds=16)
"""recv_window + 1 s + the HTTP time-out: no request sent before the gate closed can land later."""
READ_WITHIN = timedelta(seconds=3)
WRITE_WITHIN = timedelta(seconds=10)
REWRITE_EVERY = timedelta(seconds=10)
ROW_FIRST = timedelta(seconds=1)
"""How long a trip waits for the gate's row before it goes on beside it."""
CANCEL_WITHIN = timedelta(seconds=10)
"""Orders that cannot be cancelled one by one do not keep positions from being closed."""
PATIENT_ROUNDS = 5
AGAIN_AFTER = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(seconds=10)
"""Between rounds of a flatten that does not get flat."""
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5)
)


class TripWish(Value):
    """Signal and update `trip`."""

    reason: str = "no reason given"
    by: str = "operator"


class SafeModeWish(Value):
    """Signal and update `safe_mode`: no entries; everything else is still managed."""

    on: bool
    reason: str = ""
    by: str = "operator"


class RearmWish(Value):
    """Signal and update `rearm`: a named person takes the responsibility."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class GateStep(Value):
    """What is to be done next: the gate wanted, and whether it was a rearm."""

    state: GateState
    reason: str
    by: str
    rearm: bool = False


class KillSwitchCarried(Value):
    gate: Gate
    steps: tuple[GateStep, ...] = ()
    is_unwritten: bool = False
    rearmed: bool = False
    is_flattening: bool = False
    needs_operator: str = ""
    noted: int = 0
    unwritten: tuple[JournalEvent, ...] = ()


class KillSwitchStart(Value):
    """Input of `KillSwitchWorkflow`; `carried` is what an earlier run of it hands over."""

    account: str
    carried: KillSwitchCarried | None = None


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
        self._wishes = list(carried.steps)
        self._is_unwritten = carried.is_unwritten
        self._rearmed = carried.rearmed
        """The row that is to be written opens a halted gate."""
        self._is_flattening = carried.is_flattening
        self._closed_at = now
        """Since when no entry can have been sent."""
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
        # Nothing here waits for what it writes, and what is not written yet is carried over
        self._writing = asyncio.create_task(self._journal.keep_writing())
        if start.carried is None:
            await self._adopt_gate()
        if self._is_flattening:
            await self._flatten()
        while not workflow.info().is_continue_as_new_suggested():
            self._step = ""
            self._show()
            await self._wait_for_work()
            if self._wishes:
                await self._follow(self._next_wish())
            else:
                await self._write_gate()
        workflow.continue_as_new(
            KillSwitchStart(
                account=self._account,
                carried=KillSwitchCarried(
                    gate=self._gate,
                    steps=tuple(self._wishes),
                    is_unwritten=self._is_unwritten,
                    rearmed=self._rearmed,
                    is_flattening=self._is_flattening,
                    needs_operator=self._needs_operator,
                    noted=self._journal.noted,
                    unwritten=self._journal.unwritten,
                ),
            )
        )

    async def _adopt_gate(self) -> None:
        """Take over the row as it stands: a trip that was cut short is finished."""
        self._step = "reading the gate"
        reading = asyncio.ensure_future(self._ask(KillPort.read_gate, self._account))
        await workflow.wait_condition(lambda: reading.done() or self._trip_waits())
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(reading.done, timeout=READ_WITHIN)
        if not reading.done():
            # A trip does not wait for the row. Its number must be above all that were used
            await _give_up(reading)
            self._gate = self._gate.model_copy(update={"trip": int(workflow.now().timestamp())})
            return
        self._gate = await reading
        await self._tell_desk()
        self._is_flattening = self._gate.state is GateState.HALTED

    def _trip_waits(self) -> bool:
        return any(wish.state is GateState.HALTED for wish in self._wishes)

    async def _wait_for_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._wishes),
                timeout=REWRITE_EVERY if self._is_unwritten else None,
                timeout_summary="until the gate is written again",
            )

    def _next_wish(self) -> GateStep:
        trip = next((w for w in self._wishes if w.state is GateState.HALTED), None)
        if trip is None:
            return self._wishes.pop(0)
        at = self._wishes.index(trip)
        # A wish to open the gate that is older than the trip knew nothing of it
        kept = [wish for wish in self._wishes[:at] if wish.state is not GateState.OPEN]
        self._wishes[: at + 1] = kept
        return trip

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
        self._rearmed = wish.rearm or (self._rearmed and not halt)
        self._is_flattening = self._is_flattening or halt
        await self._tell_desk()
        self._is_unwritten = True
        writing = asyncio.ensure_future(self._write_gate())
        if not halt:
            await writing
            return
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
            lambda: writing.done() or (self._trip_waits() and not is_halted)
        )
        if not writing.done():
            await _give_up(writing)
            return
        try:
            self._gate = await writing
        except ActivityError as e:
            self._call_operator(f"the gate could not be written: {e.cause}; it is tried again")
            return
        self._is_unwritten = self._rearmed = False
        self._closed_at = workflow.now()
        if self._needs_operator.startswith("the gate"):
            self._call_operator("")
        await self._tell_desk()

    async def _flatten(self, writing: asyncio.Future[None] | None = None) -> None:
        """Close and cancel until flat was read twice, or until the next run has to go on.

        Reads count from when the gate's row is closed: until then somebody may still enter.
        *writing* is the row's, if it is still under way.
        """
        order = TripOrder(account=self._account, trip=self._gate.trip)
        self._step = "cancelling entries"
        self._show()
        await self._cancel_entries(order)
        flat_reads = rounds = 0
        while flat_reads < 2:
            if workflow.info().is_continue_as_new_suggested():
                return
            self._step = f"flattening, round {rounds + 1}"
            self._show()
            exposure: Exposure
            exposure, _ = await asyncio.gather(
                self._ask(KillPort.flatten_all, order),
                self._write_gate() if writing is None or writing.done() else writing,
            )
            is_flat = exposure.is_flat and not self._is_unwritten
            flat_reads = flat_reads + 1 if is_flat else 0
            rounds += 1
            if flat_reads == 1:
                self._step = "flat; reading again when nothing can land any more"
                self._show()
                quiet = self._closed_at + QUIET_TIME - workflow.now()
                await workflow.sleep(
                    max(quiet, timedelta(seconds=1)), summary="until nothing sent can land any more"
                )
            elif not is_flat:
                if not exposure.is_flat and rounds % PATIENT_ROUNDS == 0:
                    self._call_operator(
                        f"the flatten is not done after {rounds} rounds: "
                        f"{len(exposure.positions)} positions and {exposure.orders} orders are "
                        f"left{_unreadable(exposure)}; it goes on trying"
                    )
                await workflow.sleep(
                    min(timedelta(seconds=rounds), LONGEST_PAUSE), summary="until the next round"
                )
        self._is_flattening = False
        if self._needs_operator.startswith("the flatten"):
            self._call_operator("")
        self._note("flat", f"read twice, {rounds} rounds")

    async def _cancel_entries(self, order: TripOrder) -> None:
        try:
            cancelled = await workflow.execute_activity_method(
                KillPort.cancel_entries,
                order,
                start_to_close_timeout=CANCEL_WITHIN,
                schedule_to_close_timeout=CANCEL_WITHIN,
                retry_policy=RETRY,
            )
        except ActivityError as e:
            # Cancel-all comes for them once the account is flat
            self._note("entries_not_cancelled", str(e.cause))
        else:
            self._note("entries_cancelled", str(cancelled))

    async def _ask(self, activity: Any, argument: Any) -> Any:
        """Perform an activity to its end, however long it takes."""
        while True:
            try:
                return await workflow.execute_activity_method(
                    activity,
                    argument,
                    start_to_close_timeout=timedelta(minutes=5),
                    heartbeat_timeout=timedelta(seconds=10),
                    retry_policy=RETRY,
                )
            except ActivityError as e:
                if is_cancelled_exception(e):
                    raise
                self._call_operator(f"the flatten failed, {self._step}: {e.cause}; tried again")
                await workflow.sleep(AGAIN_AFTER, summary="until it is tried again")

    async def _tell_desk(self) -> None:
        desk = workflow.get_external_workflow_handle(ids.account_workflow(self._account))
        try:
            await desk.signal("gate", self._gate)
        except ApplicationError as e:
            # No desk, no entries; and place_entry reads the row anyway
            workflow.logger.warning("desk_not_told", extra={"error": str(e)})

    @workflow.signal(name="trip", description='{"reason": "…", "by": "ann"}: halt and flatten')
    def trip_by_signal(self, *args: RawValue) -> None:
        self._hear("trip", TripWish, args, self._wish_trip)

    @workflow.update(name="trip", description="Halt and flatten; answers when understood")
    def trip_by_update(self, wish: TripWish) -> KillSwitchState:
        self._wish_trip(wish)
        return self.state()

    @workflow.signal(name="safe_mode", description='{"on": true, "reason": "…", "by": "ann"}')
    def safe_mode_by_signal(self, *args: RawValue) -> None:
        self._hear("safe_mode", SafeModeWish, args, self._wish_safe_mode)

    @workflow.update(name="safe_mode", description="No entries; all else is still managed")
    def safe_mode_by_update(self, wish: SafeModeWish) -> KillSwitchState:
        self._wish_safe_mode(wish)
        return self.state()

    @workflow.signal(name="rearm", description='{"by": "ann", "reason": "…"}: open the gate')
    def rearm_by_signal(self, *args: RawValue) -> None:
        self._hear("rearm", RearmWish, args, self._wish_rearm)

    @workflow.update(name="rearm", description="Open the gate again, by name and reason")
    def rearm_by_update(self, wish: RearmWish) -> KillSwitchState:
        self._wish_rearm(wish)
        return self.state()

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
        )

    def _hear(self, name: str, shape: Any, args: Sequence[RawValue], take: Any) -> None:
        try:
            wish, remark = read(shape, args)
        except Unreadable as e:
            self._call_operator(refused(name, e))
            return
        take(wish)
        if remark:
            self._call_operator(f"signal {name} was taken, but {remark}")

    def _understood(self) -> None:
        # Whoever was misunderstood has found the words
        if self._needs_operator.startswith("signal "):
            self._call_operator("")

    def _wish_trip(self, wish: TripWish) -> None:
        self._understood()
        self._wishes.append(GateStep(state=GateState.HALTED, reason=wish.reason, by=wish.by))

    def _wish_safe_mode(self, wish: SafeModeWish) -> None:
        self._understood()
        state = GateState.EXITS_ONLY if wish.on else GateState.OPEN
        self._wishes.append(GateStep(state=state, reason=wish.reason, by=wish.by))

    def _wish_rearm(self, wish: RearmWish) -> None:
        self._understood()
        self._wishes.append(
            GateStep(state=GateState.OPEN, reason=wish.reason, by=wish.by, rearm=True)
        )

    def _note(self, step: str, detail: str) -> None:
        self._journal.note(EventKind.KILL_SWITCH, {"step": step, "detail": detail})

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _show(self) -> None:
        show([(ACCOUNT, self._account), (NEEDS_OPERATOR, bool(self._needs_operator))])
        workflow.set_current_details(gate_page(self._gate, self._step, self._needs_operator))


def _unreadable(exposure: Exposure) -> str:
    if not exposure.unreadable:
        return ""
    return f", and {exposure.unreadable} rows of the exchange cannot be read: look there yourself"
