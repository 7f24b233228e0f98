"""One trade, from approved plan to flat position: the durable shell around `Trade`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence, Set
from datetime import timedelta
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.account import Released
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Price, Value
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    Adopted,
    Command,
    EntryRejected,
    ExitRequested,
    RecheckRequested,
    Started,
    StopMoved,
    Trade,
    TradeEvent,
    TradeState,
    due,
)
from tradewright.ports import (
    ACTIVITY_TIMEOUT,
    ExchangePort,
    MarketPort,
    TradeEvents,
    TradeOrder,
    TradeView,
)
from workflows.attributes import show
from workflows.message import Unreadable, read, refused
from workflows.outbox import Outbox, dump
from workflows.trade_page import command_summary, standing_attributes, trade_details

FILL_DEADLINE = timedelta(seconds=5)
"""How long the stream may be silent about an entry before the exchange is asked."""
FILL_DEADLINE_MAX = timedelta(seconds=60)
PATIENCE = timedelta(seconds=30)
"""How long a command may be under way before a person is told."""
AGAIN_AFTER = timedelta(minutes=1)
"""After a failure that a repeat alone does not mend."""
HEARTBEAT = timedelta(seconds=10)
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)
)
EXIT_FIRST, ENTRY_LATER = Priority(priority_key=1), Priority(priority_key=3)
SILENT = frozenset({TradeState.ENTERING, TradeState.SETTLING})
"""States that the exchange alone can end: it is asked when nobody tells."""
READS = frozenset({Command.VERIFY_STOP, Command.LOOK_UP})
EXITS = frozenset({Command.FLATTEN, Command.SETTLE})


class TradeStart(Value):
    """Input of `TradeWorkflow`; `carried` is what an earlier run of it hands over."""

    plan: TradePlan
    adopted: Adopted | None = None
    carried: "TradeCarried | None" = None


class TradeCarried(Value):
    trade: Trade
    inbox: tuple[TradeEvent, ...]
    noted: int
    needs_operator: str
    unwritten: tuple[JournalEvent, ...] = ()
    commands: tuple[Command, ...] = ()


class _Later(Exception):
    """The command is performed by the next run."""


class ExitWish(Value):
    """Signal and update `exit`: leave the market."""

    note: str = ""
    by: str = Field(default="operator")


class StopWish(Value):
    """Update `move_stop`: the stop is to stand here."""

    price: Price
    by: str = "operator"


@workflow.defn
class TradeWorkflow:
    """Carries events in and commands out; every rule is in the domain."""

    @workflow.init
    def __init__(self, start: TradeStart) -> None:
        self._start = start
        carried = start.carried
        self._trade = carried.trade if carried else Trade(plan=start.plan)
        self._inbox: deque[TradeEvent] = deque(carried.inbox if carried else ())
        if carried is None:
            self._inbox.append(start.adopted or Started())
        self._journal = Outbox(
            start.plan.account,
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
            tell=self._hear_of_journal,
        )
        self._needs_operator = carried.needs_operator if carried else ""
        self._commands = deque(carried.commands if carried else ())
        self._last_event: TradeEvent = Started()

    @workflow.run
    async def run(self, start: TradeStart) -> Trade:
        self._show()
        # The life runs in a task of its own: a cancel interrupts only this wait for it
        life = asyncio.create_task(self._life())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                if life.done():
                    break
                self._inbox.append(
                    ExitRequested(
                        reason=ExitReason.CANCELLED,
                        note=workflow.cancellation_reason() or "",
                        by="temporal",
                    )
                )
        life.result()
        if not self._trade.is_final:
            workflow.continue_as_new(
                start.model_copy(
                    update={
                        "carried": TradeCarried(
                            trade=self._trade,
                            inbox=tuple(self._inbox),
                            noted=self._journal.noted,
                            needs_operator=self._needs_operator,
                            unwritten=self._journal.unwritten,
                            commands=tuple(self._commands),
                        )
                    }
                )
            )
        # A cancel does not reach the run after this one: that one ends as completed
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError("flattened and journaled after a cancel")
        return self._trade

    @workflow.signal(description="An event of the exchange, the market, or a reconciliation")
    def report(self, *args: RawValue) -> None:
        try:
            event, remark = read(TradeEvent, args)
        except Unreadable as e:
            self._call_operator(refused("report", e))
            # It may have been a fill: the exchange knows
            self._inbox.append(RecheckRequested(reason="an event could not be read"))
            return
        self._remark("report", remark)
        self._inbox.append(event)

    @workflow.signal(name="exit", description='Leave the market: {"note": "why", "by": "ann"}')
    def exit_by_signal(self, *args: RawValue) -> None:
        try:
            wish, remark = read(ExitWish, args)
        except Unreadable as e:
            self._call_operator(refused("exit", e))
            return
        self._wish_exit(wish)
        self._remark("exit", remark)

    @workflow.update(name="exit", description="Leave the market, and say that it was understood")
    def exit_by_update(self, wish: ExitWish) -> TradeView:
        self._wish_exit(wish)
        return self.trade()

    @exit_by_update.validator
    def _exit_possible(self, wish: ExitWish) -> None:
        if self._trade.is_final:
            raise ApplicationError(f"the trade is {self._trade.state} already", type="TradeEnded")

    @workflow.update(description="Tighten the stop, and say that it was understood")
    def move_stop(self, wish: StopWish) -> TradeView:
        self._inbox.append(StopMoved(price=wish.price, reason="operator", by=wish.by))
        return self.trade()

    @move_stop.validator
    def _stop_possible(self, wish: StopWish) -> None:
        trade, tick = self._trade, self._trade.plan.instrument.tick_size
        if trade.state is not TradeState.OPEN:
            raise ApplicationError(f"the trade is {trade.state}, not open", type="TradeNotOpen")
        if wish.price % tick or trade.after(StopMoved(price=wish.price, reason="")) == trade:
            raise ApplicationError(
                f"stop {wish.price} is not taken: it must be a multiple of {tick} and tighter "
                f"than {trade.wanted_stop}",
                type="StopNotTaken",
            )

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            refused(name, "there is no such signal; this workflow takes report and exit")
        )

    @workflow.query(description="The trade as it stands")
    def trade(self) -> TradeView:
        busy = bool(self._inbox or self._commands)
        return TradeView(trade=self._trade, busy=busy, needs_operator=self._needs_operator)

    def _wish_exit(self, wish: ExitWish) -> None:
        if self._needs_operator.startswith("signal "):
            self._call_operator("")
        self._inbox.append(ExitRequested(reason=ExitReason.OPERATOR, note=wish.note, by=wish.by))

    async def _life(self) -> None:
        writing = asyncio.create_task(self._journal.keep_writing(self._is_idle))
        # A cancel that came before the first task is heard before the entry is sent
        await asyncio.sleep(0)
        await self._do_commands()
        while not self._trade.is_final:
            if self._may_continue_as_new():
                return
            self._take(await self._next_event())
            await self._do_commands()
        await self._release()
        await self._note_the_end()
        self._journal.close()
        await writing

    def _may_continue_as_new(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() and self._journal.fits

    async def _next_event(self) -> TradeEvent:
        """Return the next event; where the exchange has the word, silence becomes one."""
        if self._inbox:
            return self._inbox.popleft()
        deadline = FILL_DEADLINE
        for _ in range(self._trade.rechecks):
            deadline = min(2 * deadline, FILL_DEADLINE_MAX)
        try:
            await workflow.wait_condition(
                lambda: bool(self._inbox),
                timeout=deadline if self._trade.state in SILENT else None,
                timeout_summary="the stream is silent",
            )
        except TimeoutError:
            return RecheckRequested(reason="nothing was heard of")
        return self._inbox.popleft()

    def _take(self, event: TradeEvent) -> None:
        before = self._trade
        try:
            self._trade = before.after(event)
        except IllegalTransition as e:
            self._call_operator(f"{e}; nothing was done about it")
            self._note(EventKind.MESSAGE_REFUSED, {"message": dump(event), "fault": str(e)})
            return
        if self._trade is not before and not (before.is_final or self._trade.is_final):
            self._note(EventKind.TRADE_CHANGED, self._change(event))
        elif self._trade.is_final and not before.is_final:
            self._last_event = event
        self._show()
        self._commands.extend(due(before, self._trade))

    async def _do_commands(self) -> None:
        with contextlib.suppress(_Later):
            while self._commands:
                self._inbox.extend(await self._perform(self._commands[0]))
                self._commands.popleft()

    @property
    def _command(self) -> Command | None:
        """Return what is being done at the exchange."""
        return self._commands[0] if self._commands else None

    async def _perform(self, command: Command) -> Sequence[TradeEvent]:
        trade = self._trade
        order = TradeOrder(
            plan=trade.plan,
            since=trade.opened_at if trade.plan.origin is Origin.ADOPTED else None,
            number=trade.next_leg,
            price=trade.wanted_stop,
            wished_by=trade.stop_wished_by,
        )
        port = ExchangePort
        match command:
            case Command.PLACE_ENTRY if self._leave_waits():
                # Nothing was sent yet, so there is nothing to leave
                refusal = EntryRejected(code="exit_requested", reason="before the entry was sent")
                self._inbox.appendleft(refusal)
                return ()
            case Command.PLACE_ENTRY:
                return await self._ask(port.place_entry, order, ENTRY_LATER)
            case Command.SET_TRAILING | Command.PLACE_TARGETS if self._leave_waits():
                return ()
            case Command.VERIFY_STOP:
                return await self._ask(port.verify_stop, order, EXIT_FIRST)
            case Command.SET_STOP:
                return await self._ask(port.set_stop, order, EXIT_FIRST)
            case Command.SET_TRAILING:
                order = order.model_copy(update={"price": trade.trailing_from})
                return await self._ask(port.set_trailing, order, EXIT_FIRST)
            case Command.PLACE_TARGETS:
                targets = trade.target_orders(trade.next_leg)
                order = order.model_copy(update={"targets": targets})
                return await self._ask(port.place_targets, order, EXIT_FIRST)
            case Command.CANCEL_ENTRY:
                return await self._ask(port.cancel_entry, order, EXIT_FIRST)
            case Command.FLATTEN:
                return await self._ask(port.flatten, order, EXIT_FIRST)
            case Command.LOOK_UP:
                return await self._ask(port.look_up, order, EXIT_FIRST)
            case Command.SETTLE:
                return await self._ask(port.settle, order, EXIT_FIRST)

    async def _ask(
        self, activity: Any, order: TradeOrder, priority: Priority
    ) -> Sequence[TradeEvent]:
        """Perform an activity to its end, however long; a person is told when it takes long.

        A wish to leave does not wait for what only reads, nor for a stop that cannot be set;
        for an entry it does, unless that has failed: an order that is still under way could
        land after the flatten.
        """
        while True:
            task = asyncio.ensure_future(
                workflow.execute_activity_method(
                    activity,
                    order,
                    start_to_close_timeout=ACTIVITY_TIMEOUT,
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=RETRY,
                    priority=priority,
                    summary=command_summary(self._command, order),
                )
            )
            try:
                await self._done_or_leaving(task, READS, PATIENCE)
            except TimeoutError:
                self._call_operator(
                    f"{self._command} has been tried for {PATIENCE.seconds} s; the pending "
                    "activity shows its last error, and it goes on trying"
                )
                await self._done_or_leaving(task, READS | {Command.SET_STOP})
            if not task.done():
                task.cancel()
                with contextlib.suppress(ActivityError, asyncio.CancelledError):
                    await task
                self._command_ended()
                return ()
            try:
                answer = await task
            except ActivityError as e:
                self._call_operator(
                    f"{self._command} failed: {e.cause}; it is tried again in a minute"
                )
                if self._may_continue_as_new():
                    raise _Later from None
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._leave_waits(frozenset(Command) - EXITS),
                        timeout=AGAIN_AFTER,
                        timeout_summary="until it is tried again",
                    )
                    self._command_ended()
                    return ()
                continue
            self._command_ended()
            return answer.events if isinstance(answer, TradeEvents) else (answer,)

    def _command_ended(self) -> None:
        if self._needs_operator.startswith(f"{self._command} "):
            self._call_operator("")

    async def _done_or_leaving(
        self, task: asyncio.Future[Any], hurried: Set[Command], timeout: timedelta | None = None
    ) -> None:
        await workflow.wait_condition(
            lambda: task.done() or self._leave_waits(hurried),
            timeout=timeout,
            timeout_summary="until a person is told",
        )

    def _leave_waits(self, commands: Set[Command] = frozenset(Command)) -> bool:
        """Return whether one of *commands* keeps a wish to leave waiting."""
        return self._command in commands and any(
            isinstance(event, ExitRequested) for event in self._inbox
        )

    async def _release(self) -> None:
        """Give the risk back to the desk."""
        trade = self._trade
        desk = workflow.get_external_workflow_handle(ids.account_workflow(trade.plan.account))
        release = Released(
            trade_id=trade.plan.trade_id,
            at=trade.closed_at or trade.plan.trigger,
            pnl=trade.pnl,
            cooldown=trade.plan.cooldown if trade.was_open else timedelta(0),
        )
        try:
            await desk.signal("release", release)
        except ApplicationError as e:
            # The desk is not there: the next reconciliation gives the risk back
            workflow.logger.warning("release_failed", extra={"error": str(e)})

    async def _note_the_end(self) -> None:
        change = self._change(self._last_event)
        if self._trade.was_open:
            try:
                view = await workflow.execute_activity_method(
                    MarketPort.observe,
                    self._trade.plan,
                    task_queue=ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET),
                    start_to_close_timeout=timedelta(seconds=10),
                    schedule_to_close_timeout=timedelta(seconds=20),
                    retry_policy=RetryPolicy(maximum_attempts=2),
                    summary="the market at the close",
                )
                change["view"] = dump(view)
            except ActivityError as e:
                workflow.logger.warning("market_not_observed", extra={"error": str(e.cause)})
        self._note(EventKind.TRADE_CHANGED, change)

    def _change(self, event: TradeEvent) -> dict[str, Any]:
        return {"event": dump(event), "trade": dump(self._trade)}

    def _note(self, kind: EventKind, data: dict[str, Any]) -> None:
        plan = self._trade.plan
        self._journal.note(
            kind, data, trade_id=plan.trade_id, symbol=plan.symbol, preset=plan.preset
        )

    def _is_idle(self) -> bool:
        # One write for all that a command brings; but a command that hangs is not waited for
        return (self._command is None and not self._inbox) or bool(self._needs_operator)

    def _hear_of_journal(self, fault: str) -> None:
        if fault or self._needs_operator.startswith("the journal "):
            self._call_operator(fault)

    def _call_operator(self, why: str) -> None:
        self._needs_operator = why
        self._show()

    def _remark(self, name: str, remark: str) -> None:
        if remark:
            workflow.logger.warning("message_remark", extra={"message_name": name, "fault": remark})
            self._call_operator(f"signal {name} was taken, but {remark}")

    def _show(self) -> None:
        show(standing_attributes(self._trade, bool(self._needs_operator)))
        workflow.set_current_details(trade_details(self._trade, self._needs_operator))
