"""The life of one trade: a pure reducer over its table.

`Trade.after(event)` counts an event; `due(before, after)` says what its step calls for. The shells
around it (workflow, backtest) deliver events and perform commands.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, assert_never

from pydantic import AwareDatetime, Field

from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Value
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade.event import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    ExitSent,
    PositionRead,
    RecheckRequested,
    Started,
    StopConfirmed,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    TradeEvent,
)
from tradewright.domain.trade.table import FINAL, TRANSITIONS, S, T, TradeState, Trigger


class Command(StrEnum):
    """What the shell has to do at the exchange."""

    PLACE_ENTRY = "place_entry"
    VERIFY_STOP = "verify_stop"
    SET_STOP = "set_stop"
    LOOK_UP = "look_up"
    FLATTEN = "flatten"
    SETTLE = "settle"


ON_ENTERING: Final[Mapping[TradeState, Command]] = MappingProxyType(
    {
        S.ENTERING: Command.PLACE_ENTRY,
        S.OPEN: Command.VERIFY_STOP,
        S.EXITING: Command.FLATTEN,
        S.SETTLING: Command.SETTLE,
    }
)


class Trade(Value):
    """A trade's plan and all that has happened to it."""

    plan: TradePlan
    state: TradeState = TradeState.PENDING
    entry_order_id: str = ""
    executions: tuple[Execution, ...] = ()
    adopted_qty: Decimal = Decimal(0)
    adopted_price: Decimal = Decimal(0)
    stop: Decimal | None = Field(default=None, description="As last confirmed by the exchange.")
    wanted_stop: Decimal | None = None
    stops_set: int = 0
    """How often a stop was asked for; a stop that was lost is asked for again."""
    rechecks: int = 0
    exits_sent: int = 0
    exit_links: tuple[str, ...] = ()
    exit_reason: ExitReason | None = None
    exit_note: str = ""
    exit_by: str = ""
    rejection: str = ""
    opened_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None

    def after(self, event: TradeEvent) -> "Trade":
        """Return the trade as it stands after *event*; an execution counts once.

        Raises:
            IllegalTransition: The table has no row for this state and event.
        """
        if isinstance(event, Executed):
            execution = event.execution
            if self.is_final or any(e.exec_id == execution.exec_id for e in self.executions):
                return self
            if self.adopted_qty and self.opened_at and execution.at < self.opened_at:
                return self
        told = self.model_copy(update=self._told(event))
        trigger = told._trigger(event)
        try:
            state = TRANSITIONS[self.state, trigger]
        except KeyError:
            raise IllegalTransition(self.state, trigger) from None
        if self.is_final:
            return self
        changes: dict[str, Any] = {"state": state}
        if state is S.CLOSED and isinstance(event, PositionRead):
            changes["closed_at"] = max((e.at for e in told.exits), default=event.at)
            if not told.was_open:
                changes["state"] = S.REJECTED if told.rejection else S.CANCELLED
        return told.model_copy(update=changes)

    def _told(self, event: TradeEvent) -> dict[str, Any]:
        """Return what *event* changes, beside the state."""
        match event:
            case Started():
                return {"wanted_stop": self.plan.stop_loss}
            case Adopted():
                return {
                    "adopted_qty": event.qty,
                    "adopted_price": event.price,
                    "opened_at": event.at,
                    "wanted_stop": self.plan.stop_loss,
                }
            case EntryPlaced():
                return {"entry_order_id": event.order_id}
            case EntryRejected():
                return {"rejection": f"{event.code}: {event.reason}"}
            case EntryEnded():
                return {} if self.was_open else {"exit_note": self.exit_note or event.reason}
            case Executed(execution=execution):
                changes: dict[str, Any] = {"executions": (*self.executions, execution)}
                if execution.side is self.plan.side:
                    return changes | {
                        "opened_at": min(self.opened_at or execution.at, execution.at)
                    }
                reason = execution.cause or self.exit_reason or ExitReason.BY_HAND
                return changes | {"exit_reason": reason}
            case StopConfirmed():
                return {"stop": event.price}
            case StopMissing():
                return self._leaving(ExitReason.NAKED, "no stop at the exchange in time")
            case StopRefused():
                return self._leaving(ExitReason.STOP_PASSED, event.reason)
            case StopLost():
                return {"stop": None, "stops_set": self.stops_set + 1}
            case StopMoved():
                # Before the entry fills its own stop stands, and nothing else can
                if not (self.was_open and self._tightens(event.price)):
                    return {}
                return {"wanted_stop": event.price, "stops_set": self.stops_set + 1}
            case ExitRequested():
                return self._leaving(event.reason, event.note, event.by)
            case ExitSent():
                links = (event.order_link_id,) if event.order_link_id else ()
                return {
                    "exits_sent": self.exits_sent + 1,
                    "exit_links": (*self.exit_links, *links),
                }
            case PositionRead():
                return {}
            case RecheckRequested():
                return {"rechecks": self.rechecks + 1}
            case _:
                assert_never(event)

    def _leaving(self, reason: ExitReason, note: str, by: str = "") -> dict[str, Any]:
        # The first reason stands: a second wish to leave explains nothing. While it is open a
        # part may have been closed for another reason
        if self.exit_reason is not None and self.state is not S.OPEN:
            return {}
        return {"exit_reason": reason, "exit_note": note, "exit_by": by}

    def _tightens(self, price: Decimal) -> bool:
        current = self.wanted_stop if self.wanted_stop is not None else self.plan.stop_loss
        return (price - current) * self.plan.side.sign > 0

    def _trigger(self, event: TradeEvent) -> Trigger:
        """Return what *event*, already counted, means."""
        match event:
            case Executed(execution=execution):
                if self.was_open and self.open_qty <= 0:
                    return T.CLOSED_BY_FILL
                return T.ENTRY_FILLED if execution.side is self.plan.side else T.EXIT_FILLED
            case PositionRead():
                if not event.qty:
                    return T.POSITION_FLAT
                return T.POSITION_HELD if self.exit_reason else T.POSITION_KEPT
            case _:
                return Trigger(event.kind)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def entries(self) -> tuple[Execution, ...]:
        return tuple(e for e in self.executions if e.side is self.plan.side)

    @property
    def exits(self) -> tuple[Execution, ...]:
        return tuple(e for e in self.executions if e.side is not self.plan.side)

    @property
    def entry_qty(self) -> Decimal:
        return sum((e.qty for e in self.entries), self.adopted_qty)

    @property
    def exit_qty(self) -> Decimal:
        return sum((e.qty for e in self.exits), Decimal(0))

    @property
    def open_qty(self) -> Decimal:
        """Return what the fills say is held; the exchange's own answer decides."""
        return self.entry_qty - self.exit_qty

    @property
    def was_open(self) -> bool:
        return self.entry_qty > 0

    @property
    def entry_price(self) -> Decimal | None:
        """Return the average price of what was opened, in quote currency."""
        if not self.was_open:
            return None
        value = sum((e.qty * e.price for e in self.entries), self.adopted_qty * self.adopted_price)
        return value / self.entry_qty

    @property
    def exit_price(self) -> Decimal | None:
        """Return the average price of what was closed, in quote currency."""
        if not self.exit_qty:
            return None
        return sum((e.qty * e.price for e in self.exits), Decimal(0)) / self.exit_qty

    @property
    def fees(self) -> Decimal:
        return sum((e.fee for e in self.executions), Decimal(0))

    @property
    def pnl(self) -> Decimal:
        """Return what the closed part earned, net of all fees so far, in quote currency."""
        if self.entry_price is None or self.exit_price is None:
            return -self.fees
        gain = (self.exit_price - self.entry_price) * self.exit_qty * self.plan.side.sign
        return gain - self.fees

    @property
    def r_multiple(self) -> Decimal | None:
        """Return the PnL in multiples of the initial risk; None without a risk."""
        return self.pnl / self.plan.risk if self.plan.risk else None

    def age(self, now: datetime) -> float:
        """Return how many seconds of market time the position has been open at *now*."""
        return (now - self.opened_at).total_seconds() if self.opened_at else 0.0


def due(before: Trade, after: Trade) -> Command | None:
    """Return the command that the step from *before* to *after* calls for, if any."""
    if after.state is not before.state:
        if after.state is S.OPEN and after.plan.origin is Origin.ADOPTED:
            return Command.SET_STOP
        return ON_ENTERING.get(after.state)
    if after.state is S.OPEN and after.stops_set > before.stops_set:
        return Command.SET_STOP
    if after.state is S.OPEN and len(after.exits) > len(before.exits):
        # A reduction may have taken the stop along
        return Command.VERIFY_STOP
    if after.rechecks > before.rechecks and not after.is_final:
        return Command.LOOK_UP
    return None
