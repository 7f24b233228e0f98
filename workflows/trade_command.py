"""What a trade has to do at the exchange: one thing after another, each to its end."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Protocol

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright.domain.plan import Origin
from tradewright.domain.trade import (
    Abandoned,
    Command,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    PositionRead,
    StopConfirmed,
    Trade,
    TradeEvent,
)
from tradewright.ports import ACTIVITY_TIMEOUT, Choice, ExchangePort, TradeEvents, TradeOrder
from workflows.trade_message import ResolveWish
from workflows.trade_page import command_summary

PATIENCE = timedelta(seconds=30)
"""How long a command may be under way before a person is told."""
AGAIN_AFTER = timedelta(minutes=1)
"""After a failure that a repeat alone does not mend."""
HEARTBEAT = timedelta(seconds=10)
RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)
)
BUDGETS: Final[Mapping[Command, timedelta]] = MappingProxyType(
    {Command.PLACE_ENTRY: timedelta(minutes=10)}
)
"""How long a command is tried before it waits for a person; what protects or leaves is tried on."""
EXIT_FIRST, ENTRY_LATER = Priority(priority_key=1), Priority(priority_key=3)
ENTRY = frozenset({Command.PLACE_ENTRY})
READS = frozenset({Command.VERIFY_STOP, Command.LOOK_UP})
EXITS = frozenset({Command.FLATTEN, Command.SETTLE})
ADDITIONS = frozenset({Command.SET_TRAILING, Command.PLACE_TARGETS})
HURRIED = READS | ADDITIONS | {Command.SET_STOP, Command.CANCEL_ENTRY}
"""What gives way to a wish to leave when it takes long: a flatten does without it."""
ACTIVITIES: Final[Mapping[Command, Any]] = MappingProxyType(
    {
        Command.PLACE_ENTRY: ExchangePort.place_entry,
        Command.CANCEL_ENTRY: ExchangePort.cancel_entry,
        Command.VERIFY_STOP: ExchangePort.verify_stop,
        Command.SET_STOP: ExchangePort.set_stop,
        Command.SET_TRAILING: ExchangePort.set_trailing,
        Command.PLACE_TARGETS: ExchangePort.place_targets,
        Command.LOOK_UP: ExchangePort.look_up,
        Command.FLATTEN: ExchangePort.flatten,
        Command.SETTLE: ExchangePort.settle,
    }
)


class Later(Exception):
    """The command is performed by the next run."""


class Host(Protocol):
    """The part of a trade's workflow that its commands know of."""

    @property
    def standing(self) -> Trade: ...
    @property
    def inbox(self) -> deque[TradeEvent]: ...
    def may_continue_as_new(self) -> bool: ...
    def command_hindered(
        self, command: Command, how: str, choices: tuple[Choice, ...] = ()
    ) -> None: ...
    def command_ended(self, command: Command) -> None: ...
    def doubt(self, in_doubt: bool) -> None: ...


class TradeCommands:
    """Performs what is due, and hears how a person resolves what does not succeed."""

    def __init__(self, host: Host, pending: Iterable[Command] = ()) -> None:
        self._host = host
        self._pending = deque(pending)
        self._resolution: ResolveWish | None = None

    @property
    def pending(self) -> tuple[Command, ...]:
        return tuple(self._pending)

    @property
    def current(self) -> Command | None:
        return self._pending[0] if self._pending else None

    def add(self, commands: Iterable[Command]) -> None:
        self._pending.extend(commands)

    def resolve(self, wish: ResolveWish) -> None:
        self._resolution = wish

    async def perform_all(self) -> None:
        """Perform what is pending, and put what comes of it into the host's inbox.

        What failed stays pending where the run is to be continued as a new one.
        """
        with contextlib.suppress(Later):
            while self._pending:
                self._host.inbox.extend(await self._perform(self._pending[0]))
                self._pending.popleft()

    async def _perform(self, command: Command) -> Sequence[TradeEvent]:
        if command is Command.PLACE_ENTRY and self._leave_waits():
            return await self._never_entered()
        if command in ADDITIONS and self._leave_waits():
            return ()
        return await self._ask(command)

    async def _never_entered(self) -> Sequence[TradeEvent]:
        """Return that the entry is not sent; of a run that begins again, only if it never was."""
        if self._is_known():
            return ()
        info = workflow.info()
        was_reset = info.run_id != info.first_execution_run_id and info.continued_run_id is None
        found = await self._ask(Command.LOOK_UP) if was_reset else ()
        if any(isinstance(event, EntryPlaced | Executed) for event in found):
            return found
        refusal = EntryRejected(code="exit_requested", reason="before the entry was sent")
        self._host.inbox.appendleft(refusal)
        return ()

    def _order(self, command: Command) -> TradeOrder:
        trade = self._host.standing
        order = TradeOrder(
            plan=trade.plan,
            since=trade.opened_at if trade.plan.origin is Origin.ADOPTED else None,
            number=trade.next_leg,
            price=trade.wanted_stop,
            wished_by=trade.stop_wished_by,
            stops_set=trade.stops_set,
        )
        if command is Command.SET_TRAILING:
            return order.model_copy(update={"price": trade.trailing_from})
        if command is Command.SETTLE:
            return order.model_copy(update={"targets": trade.targets})
        if command is Command.PLACE_TARGETS:
            return order.model_copy(update={"targets": trade.target_orders(trade.next_leg)})
        return order

    async def _ask(self, command: Command) -> Sequence[TradeEvent]:
        """Perform an activity to its end, however long; a person is told when it takes long.

        A wish to leave does not wait for what only reads, nor for a stop that cannot be set;
        for an entry it does, unless that has failed: an order that is still under way could
        land after the flatten.
        """
        order = self._order(command)
        while True:
            self._resolution = None
            task = self._begin(command, order)
            try:
                await self._done_or_leaving(command, task, READS, PATIENCE)
            except TimeoutError:
                self._host.command_hindered(
                    command,
                    f"has been tried for {PATIENCE.seconds} s; the pending activity shows its "
                    "last error, and it goes on trying",
                )
                await self._done_or_leaving(command, task, HURRIED)
            if not task.done():
                task.cancel()
                with contextlib.suppress(ActivityError, asyncio.CancelledError):
                    await task
                self._host.command_ended(command)
                return ()
            try:
                answer = await task
            except ActivityError as e:
                events = await self._after_failure(command, e)
                if events is None:
                    continue
                self._host.command_ended(command)
                return events
            self._host.command_ended(command)
            if isinstance(answer, StopConfirmed):
                answer = answer.model_copy(update={"asked": order.stops_set})
            return answer.events if isinstance(answer, TradeEvents) else (answer,)

    def _begin(self, command: Command, order: TradeOrder) -> asyncio.Future[Any]:
        is_entry = command is Command.PLACE_ENTRY
        return asyncio.ensure_future(
            workflow.execute_activity_method(
                ACTIVITIES[command],
                order,
                start_to_close_timeout=ACTIVITY_TIMEOUT,
                schedule_to_close_timeout=BUDGETS.get(command),
                heartbeat_timeout=HEARTBEAT,
                retry_policy=RETRY,
                priority=ENTRY_LATER if is_entry else EXIT_FIRST,
                summary=command_summary(command, order),
            )
        )

    async def _after_failure(
        self, command: Command, error: ActivityError
    ) -> Sequence[TradeEvent] | None:
        """Return what follows for a command that is not tried again; None if it is.

        A person is told, and may say how to go on. An entry whose outcome is unknown waits for
        that, or for word of it; everything else is tried again by itself.
        """
        is_entry = command is Command.PLACE_ENTRY
        if is_entry and not _was_never_sent(error):
            self._host.doubt(True)
        how = f"failed: {_told(error)}"
        while True:
            after = "say how to go on" if is_entry else "it is tried again in a minute"
            choices = tuple(Choice) if is_entry else (Choice.RETRY, Choice.ABANDON)
            self._host.command_hindered(command, f"{how}; {after}", choices)
            if self._host.may_continue_as_new():
                raise Later from None
            try:
                await workflow.wait_condition(
                    lambda: self._resolution is not None or self._gives_way(command),
                    timeout=None if is_entry else AGAIN_AFTER,
                    timeout_summary="until it is tried again",
                )
            except TimeoutError:
                return None
            wish, self._resolution = self._resolution, None
            if wish is None:
                return ()
            if wish.choice is Choice.RETRY:
                return None
            events = await self._ask(Command.LOOK_UP)
            if wish.choice is Choice.ADOPT and _shows_trade(events):
                return events
            if wish.choice is Choice.ABANDON and _shows_nothing(events):
                return (*events, Abandoned(note=wish.reason, by=wish.by))
            # What it shows counts all the same; the command is still to be done
            self._host.inbox.extend(events)
            how = f"failed, and there is nothing to {wish.choice}: {_shown(events)}"
            if not is_entry:
                return None

    def _gives_way(self, command: Command) -> bool:
        """Return whether what has failed is not needed any more."""
        if self._leave_waits(frozenset(Command) - EXITS):
            return True
        return command is Command.PLACE_ENTRY and self._is_known()

    def _is_known(self) -> bool:
        """Return whether somebody else has told what became of the entry."""
        return any(isinstance(e, EntryPlaced | EntryEnded | Executed) for e in self._host.inbox)

    async def _done_or_leaving(
        self,
        command: Command,
        task: asyncio.Future[Any],
        hurried: Set[Command],
        timeout: timedelta | None = None,
    ) -> None:
        # An entry that is known to have landed has nothing to tell that a wish to leave waits for
        await workflow.wait_condition(
            lambda: (
                task.done()
                or self._leave_waits(hurried)
                or (command in ENTRY and self._leave_waits(ENTRY) and self._is_known())
            ),
            timeout=timeout,
            timeout_summary="until a person is told",
        )

    def _leave_waits(self, commands: Set[Command] = frozenset(Command)) -> bool:
        """Return whether one of *commands* keeps a wish to leave waiting."""
        return self.current in commands and any(
            isinstance(event, ExitRequested) for event in self._host.inbox
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _was_never_sent(error: ActivityError) -> bool:
    """Return whether what failed is the journal, without which nothing is sent."""
    return any(
        isinstance(cause, ApplicationError) and str(cause.type).startswith("Journal")
        for cause in _causes(error)
    )


def _shows_trade(events: Sequence[TradeEvent]) -> bool:
    """Return whether the exchange shows anything of the trade."""
    return any(
        isinstance(e, EntryPlaced | EntryEnded | Executed)
        or (isinstance(e, PositionRead) and e.qty > 0)
        for e in events
    )


def _shows_nothing(events: Sequence[TradeEvent]) -> bool:
    """Return whether the exchange has said that nothing is held and no entry works."""
    reads = [event for event in events if isinstance(event, PositionRead)]
    ended = any(isinstance(event, EntryEnded) for event in events)
    works = any(isinstance(event, EntryPlaced) for event in events) and not ended
    return bool(reads) and not reads[-1].qty and not works


def _shown(events: Sequence[TradeEvent]) -> str:
    reads = [event for event in events if isinstance(event, PositionRead)]
    if not reads:
        return "reads of the position and of its executions disagree"
    if reads[-1].qty:
        return f"{reads[-1].qty} is held; exit the trade instead"
    placed = any(isinstance(event, EntryPlaced) for event in events)
    return "its entry works; exit the trade instead" if placed else "the exchange shows nothing"


def _told(error: ActivityError) -> str:
    """Return the innermost cause: of a time-out, what was hindering it."""
    *_, last = _causes(error)
    return str(last)
