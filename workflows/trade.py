"""One trade, from approved plan to flat position: the durable shell around `Trade`."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from tradewright.domain.errors import IllegalTransition
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.domain.notice import (
    target_reached,
    trade_closed,
    trade_needs_operator,
    trade_opened,
)
from tradewright.domain.trade import (
    Command,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    RecheckRequested,
    Started,
    StopKept,
    StopMoved,
    Trade,
    TradeEvent,
    TradeState,
    due,
)
from tradewright.ports import Choice, TradeView
from workflows.attributes import show
from workflows.case import open_case, unknown_event
from workflows.errand import Errands
from workflows.message import Unreadable, read, refused
from workflows.notice import tell
from workflows.outbox import Outbox, dump
from workflows.trade_call import JOURNAL, SIGNAL, Calls
from workflows.trade_command import TradeCommands
from workflows.trade_desk import Desk
from workflows.trade_market import migration, view_at_close
from workflows.trade_message import (
    ExitWish,
    MigrateWish,
    ResolveWish,
    StopWish,
    TradeCarried,
    TradeStart,
)
from workflows.trade_page import standing_attributes, trade_details

__all__ = ["ExitWish", "MigrateWish", "ResolveWish", "StopWish", "TradeStart", "TradeWorkflow"]

FILL_DEADLINE = timedelta(seconds=5)
"""How long the stream may be silent about an entry before the exchange is asked."""
FILL_DEADLINE_MAX = timedelta(seconds=60)
RESTING_DEADLINE_MAX = timedelta(minutes=10)
"""Of an entry that waits for its price, where silence is no news."""
STOP_WITHIN = timedelta(seconds=3)
"""How long whoever moves the stop waits for the exchange's word; below a caller's own patience."""
KNOWN = (EntryPlaced, EntryEnded, EntryRejected, Executed)
"""What tells what has become of the entry."""
SILENT = frozenset({TradeState.ENTERING, TradeState.SETTLING})
"""States that the exchange alone can end: it is asked when nobody tells."""


@workflow.defn
class TradeWorkflow:
    """Carries events in and commands out; every rule is in the domain."""

    @workflow.init
    def __init__(self, start: TradeStart) -> None:
        self._start = start
        carried = start.carried
        self._trade = carried.trade if carried else Trade(plan=start.plan)
        self.inbox: deque[TradeEvent] = deque(carried.inbox if carried else ())
        if carried is None:
            self.inbox.append(start.adopted or Started())
        self._commands = TradeCommands(self, carried.commands if carried else ())
        self._journal = Outbox(
            start.plan.account,
            noted=carried.noted if carried else 0,
            unwritten=carried.unwritten if carried else (),
            tell=self._hear_of_journal,
        )
        self._errands = Errands()
        self._calls = Calls(
            self._tell_operator,
            carried.faults if carried else {},
            carried.choices if carried else (),
        )
        self._desk = Desk(
            start.plan, self._errands, in_doubt=carried.in_doubt if carried else False
        )
        self._stop_fault = ""
        self._silences = 0
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
                # Also one that comes when the run is over: the next one is handed it
                self.inbox.append(
                    ExitRequested(
                        reason=ExitReason.CANCELLED,
                        note=workflow.cancellation_reason() or "",
                        by="temporal",
                    )
                )
                if life.done():
                    break
        life.result()
        if not self._trade.is_final:
            workflow.continue_as_new(
                start.model_copy(
                    update={
                        "carried": TradeCarried(
                            trade=self._trade,
                            inbox=tuple(self.inbox),
                            noted=self._journal.noted,
                            faults=self._calls.faults,
                            choices=self._calls.choices,
                            in_doubt=self._desk.in_doubt,
                            unwritten=self._journal.unwritten,
                            commands=self._commands.pending,
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
            self._call_operator(SIGNAL, refused("report", e))
            # It may have been a fill: the exchange knows
            self.inbox.append(RecheckRequested(reason="an event could not be read"))
            return
        self._heard("report", remark)
        # One question answers all that wait, and an end is never put off by asking again
        if not (isinstance(event, RecheckRequested) and self._is_to_ask):
            self.inbox.append(event)

    @workflow.signal(name="exit", description='Leave the market: {"note": "why", "by": "ann"}')
    def exit_by_signal(self, *args: RawValue) -> None:
        try:
            wish, remark = read(ExitWish, args)
        except Unreadable as e:
            self._call_operator(SIGNAL, refused("exit", e))
            return
        self._wish_exit(wish)
        self._heard("exit", remark)

    @workflow.update(name="exit", description="Leave the market, and say that it was understood")
    def exit_by_update(self, wish: ExitWish) -> TradeView:
        self._wish_exit(wish)
        return self.trade()

    @exit_by_update.validator
    def _exit_possible(self, wish: ExitWish) -> None:
        if self._trade.is_final:
            raise ApplicationError(f"the trade is {self._trade.state} already", type="TradeEnded")

    @workflow.update(description="Tighten the stop, and say whether the exchange took it")
    async def move_stop(self, wish: StopWish) -> TradeView:
        self._stop_fault = ""
        self.inbox.append(StopMoved(price=wish.price, reason="operator", by=wish.by))
        try:
            await workflow.wait_condition(
                lambda: not self._is_busy or self._trade.is_final, timeout=STOP_WITHIN
            )
        except TimeoutError:
            return self.trade()
        trade = self._trade
        if trade.state is TradeState.OPEN and trade.tightens(wish.price):
            raise ApplicationError(
                f"stop {wish.price} is not taken, {trade.wanted_stop} stands: {self._stop_fault}",
                type="StopNotTaken",
            )
        return self.trade()

    @move_stop.validator
    def _stop_possible(self, wish: StopWish) -> None:
        trade, tick = self._trade, self._trade.plan.instrument.tick_size
        if trade.state is not TradeState.OPEN:
            raise ApplicationError(f"the trade is {trade.state}, not open", type="TradeNotOpen")
        if wish.price % tick or not trade.tightens(wish.price):
            raise ApplicationError(
                f"stop {wish.price} is not taken: it must be a multiple of {tick} and tighter "
                f"than {trade.wanted_stop}",
                type="StopNotTaken",
            )

    @workflow.update(description="Have the exits of the version of its preset that runs now")
    async def migrate(self, wish: MigrateWish) -> TradeView:
        event = await migration(self._trade.plan, wish)
        try:
            # What is under way was begun by the exits that it has
            await workflow.wait_condition(lambda: not self._is_busy, timeout=STOP_WITHIN)
        except TimeoutError:
            self._insist_on("it is busy with something else; ask again")
        self._insist_on(self._trade.migration_fault(event))
        self.inbox.append(event)
        # A trade that ends takes no more events, and waits for this answer
        await workflow.wait_condition(lambda: event not in self.inbox or self._trade.is_final)
        if self._trade.plan.preset_hash != event.preset_hash:
            self._insist_on("it was left before it could be moved")
        return self.trade()

    @migrate.validator
    def _may_migrate(self, wish: MigrateWish) -> None:
        self._insist_on(self._trade.standing_fault)

    @staticmethod
    def _insist_on(fault: str) -> None:
        if fault:
            raise ApplicationError(fault, type="NotMigrated")

    @workflow.signal(name="resolve", description='{"choice": "retry", "by": "ann", "reason": "…"}')
    def resolve_by_signal(self, *args: RawValue) -> None:
        try:
            wish: ResolveWish
            wish, remark = read(ResolveWish, args)
        except Unreadable as e:
            self._call_operator(SIGNAL, refused("resolve", e))
            return
        if fault := self._calls.fault_of(wish):
            self._call_operator(SIGNAL, refused("resolve", fault))
            return
        self._resolve(wish)
        self._heard("resolve", remark)

    @workflow.update(name="resolve", description="Say how a trade goes on that cannot by itself")
    def resolve_by_update(self, wish: ResolveWish) -> TradeView:
        self._resolve(wish)
        return self.trade()

    @resolve_by_update.validator
    def _resolve_possible(self, wish: ResolveWish) -> None:
        if fault := self._calls.fault_of(wish):
            raise ApplicationError(fault, type="NothingToResolve")

    def _resolve(self, wish: ResolveWish) -> None:
        self._note(EventKind.TRADE_RESOLVED, {"wish": dump(wish), "why": self._calls.gravest})
        self._commands.resolve(wish)
        self._calls.choices = ()

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        self._call_operator(
            SIGNAL,
            refused(name, "there is no such signal; this workflow takes report, exit and resolve"),
        )

    @workflow.query(description="The trade as it stands")
    def trade(self) -> TradeView:
        return TradeView(
            trade=self._trade,
            busy=self._is_busy,
            needs_operator=self._calls.gravest,
            choices=self._calls.choices,
        )

    @property
    def _is_to_ask(self) -> bool:
        return any(isinstance(event, RecheckRequested) for event in self.inbox)

    @property
    def _is_busy(self) -> bool:
        return bool(self.inbox or self._commands.pending)

    def _wish_exit(self, wish: ExitWish) -> None:
        self._call_operator(SIGNAL, "")
        self.inbox.append(ExitRequested(reason=ExitReason.OPERATOR, note=wish.note, by=wish.by))

    async def _life(self) -> None:
        beside = asyncio.gather(
            self._journal.keep_writing(self._is_idle), self._errands.keep_sending()
        )
        # A cancel that came before the first task is heard before the entry is sent
        await asyncio.sleep(0)
        await self._commands.perform_all()
        while not self._trade.is_final:
            if self.may_continue_as_new():
                return
            self._take(await self._next_event())
            await self._commands.perform_all()
        await self._desk.release(self._trade)
        if self._trade.was_open:
            self._errands.send(partial(tell, trade_closed(self._trade)))
        await self._note_the_end()
        self._calls.over()
        self._show()
        self._journal.close()
        self._errands.close()
        await beside
        await workflow.wait_condition(workflow.all_handlers_finished)

    def may_continue_as_new(self) -> bool:
        """Return whether this run should end, and all that it holds can be handed over."""
        return (
            workflow.info().is_continue_as_new_suggested()
            and self._journal.fits
            and self._errands.are_done
            and workflow.all_handlers_finished()
        )

    async def _next_event(self) -> TradeEvent:
        """Return the next event; where the exchange has the word, silence becomes one."""
        if self.inbox:
            return self.inbox.popleft()
        trade = self._trade
        longest = RESTING_DEADLINE_MAX if trade.is_resting else FILL_DEADLINE_MAX
        deadline = FILL_DEADLINE
        for _ in range(self._silences):
            deadline = min(2 * deadline, longest)
        try:
            await workflow.wait_condition(
                lambda: bool(self.inbox),
                timeout=deadline if trade.state in SILENT else None,
                timeout_summary="the stream is silent",
            )
        except TimeoutError:
            self._silences += 1
            return RecheckRequested(reason="nothing was heard of")
        return self.inbox.popleft()

    def _take(self, event: TradeEvent) -> None:
        before = self._trade
        try:
            self._trade = before.after(event)
        except IllegalTransition as e:
            self._report_fault(event, e)
            return
        trade = self._trade
        if isinstance(event, StopKept):
            self._stop_fault = event.reason
        if isinstance(event, KNOWN):
            self.doubt(False)
        if trade.state is not before.state:
            self._silences = 0
        if trade is not before and not (before.is_final or trade.is_final):
            self._note(EventKind.TRADE_CHANGED, self._change(event, before))
        elif trade.is_final and not before.is_final:
            self._last_event = event
        if trade.migrations != before.migrations:
            self._desk.moved(trade.plan)
        if trade.state is TradeState.OPEN and before.state is TradeState.ENTERING:
            self._errands.send(partial(tell, trade_opened(trade)))
        if trade.targets_reached > before.targets_reached:
            self._errands.send(partial(tell, target_reached(trade)))
        self._show()
        self._commands.add(due(before, trade))

    def _report_fault(self, event: TradeEvent, fault: IllegalTransition) -> None:
        """Open a case for an event that the table does not know; the trade goes on as it was."""
        self._note(EventKind.MESSAGE_REFUSED, {"message": dump(event), "fault": str(fault)})
        self._errands.send(partial(open_case, unknown_event(self._trade.plan, fault)))

    # --- what the commands tell -----------------------------------------------------------------

    @property
    def standing(self) -> Trade:
        return self._trade

    def command_hindered(
        self, command: Command, how: str, choices: tuple[Choice, ...] = ()
    ) -> None:
        self._calls.hindered(command, how, choices)
        self._show()

    def command_ended(self, command: Command) -> None:
        self._calls.ended(command)
        self._show()

    def doubt(self, in_doubt: bool) -> None:
        self._desk.doubt(in_doubt)

    async def _note_the_end(self) -> None:
        change = self._change(self._last_event, None)
        if self._trade.was_open and (view := await view_at_close(self._trade.plan)) is not None:
            change["view"] = view
        self._note(EventKind.TRADE_CHANGED, change)

    def _change(self, event: TradeEvent, before: Trade | None) -> dict[str, Any]:
        """Return what to note of *event*; of a burst of fills only the last brings the trade."""
        stays = before is not None and before.state is self._trade.state
        if isinstance(event, Executed) and stays and self._another_fill_waits():
            return {"event": dump(event)}
        return {"event": dump(event), "trade": dump(self._trade)}

    def _another_fill_waits(self) -> bool:
        if not (self.inbox and isinstance(self.inbox[0], Executed)):
            return False
        waiting = self.inbox[0].execution.exec_id
        return all(known.exec_id != waiting for known in self._trade.executions)

    def _note(self, kind: EventKind, data: dict[str, Any]) -> None:
        plan = self._trade.plan
        self._journal.note(
            kind, data, trade_id=plan.trade_id, symbol=plan.symbol, preset=plan.preset
        )

    def _is_idle(self) -> bool:
        # One write for all that a command brings; but a command that hangs is not waited for
        return not self._is_busy or bool(self._calls.gravest)

    def _hear_of_journal(self, fault: str) -> None:
        self._call_operator(JOURNAL, fault)

    def _call_operator(self, source: str, why: str) -> None:
        self._calls.call(source, why)
        self._show()

    def _tell_operator(self, why: str) -> None:
        self._errands.send(partial(tell, trade_needs_operator(self._trade, why)))

    def _heard(self, name: str, remark: str) -> None:
        """Take a signal as understood; what was ignored in it is shown until the next one."""
        if remark:
            workflow.logger.warning("message_remark", extra={"message_name": name, "fault": remark})
            remark = f"signal {name} was taken, but {remark}"
        self._call_operator(SIGNAL, remark)

    def _show(self) -> None:
        why = self._calls.gravest
        show(standing_attributes(self._trade, bool(why)))
        details = trade_details(self._trade, why, self._calls.choices)
        workflow.set_current_details(details)
