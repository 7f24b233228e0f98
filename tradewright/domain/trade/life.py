"""The life of one trade: a pure reducer over its table.

`Trade.after(event)` counts an event; `due(before, after)` says what its step calls for. The shells
around it (workflow, backtest) deliver events and perform commands.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, assert_never

from pydantic import AwareDatetime, Field

from tradewright import ids
from tradewright.domain.errors import IllegalTransition
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.plan import TrailedBy
from tradewright.domain.trade.event import (
    Abandoned,
    Adopted,
    EntryEnded,
    EntryExpired,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    ExitSent,
    Funded,
    Migrated,
    PositionRead,
    RecheckRequested,
    Started,
    StopConfirmed,
    StopKept,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    TargetsPlaced,
    TradeEvent,
    TrailingRefused,
    TrailingSet,
)
from tradewright.domain.trade.fills import Fills
from tradewright.domain.trade.migration import Migration, migration_fault
from tradewright.domain.trade.table import FINAL, TRANSITIONS, S, T, TradeState, Trigger


class Trade(Fills):
    """A trade's plan and all that has happened to it."""

    state: TradeState = TradeState.PENDING
    entry_order_id: str = ""
    entry_ended: bool = Field(default=False, description="It will not fill any further.")
    entry_expired: bool = Field(default=False, description="What is left of it is not wanted.")
    targets_placed: bool = False
    funded: tuple[str, ...] = ()
    """Ids of what was counted in `funding`."""
    stop: Decimal | None = Field(default=None, description="As last confirmed by the exchange.")
    wanted_stop: Decimal | None = None
    stop_wished_by: str = ""
    """Who asked for the wanted stop, if it was a person."""
    stop_before_wish: Decimal | None = None
    """What was wanted until then; wanted again if the exchange does not take the wish."""
    stop_moved_at: AwareDatetime | None = Field(
        default=None, description="When the market's way moved it last; market clock."
    )
    stops_set: int = 0
    """How often a stop was asked for; a stop that was lost is asked for again."""
    trailed_by: TrailedBy | None = Field(
        default=None, description="Who follows the price; None until the exchange has answered."
    )
    rechecks: int = 0
    legs: int = 1
    """Highest number of an order before its own targets and exits; the entry bears 1."""
    exits_sent: int = 0
    exit_links: tuple[str, ...] = ()
    migrations: tuple[Migration, ...] = Field(
        default=(), description="To exits of other versions of its preset, oldest first."
    )
    leaving: bool = Field(default=False, description="It is to be closed, whole.")
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
        if self._is_counted(event):
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

    def _is_counted(self, event: TradeEvent) -> bool:
        """Return whether *event* is one of those that count once, and has counted or cannot."""
        match event:
            case Funded(exec_id=exec_id, at=at):
                # The trade before it on the same symbol was paid or charged
                is_known = exec_id in self.funded or at < self.plan.trigger
            case Executed(execution=execution):
                is_known = any(e.exec_id == execution.exec_id for e in self.executions)
                at = execution.at
            case _:
                return False
        if self.is_final or is_known:
            return True
        return bool(self.adopted_qty and self.opened_at and at < self.opened_at)

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
                    "legs": event.legs,
                    "wanted_stop": self.plan.stop_loss,
                    "entry_ended": True,
                }
            case EntryPlaced():
                return {"entry_order_id": event.order_id}
            case EntryRejected():
                return {"rejection": f"{event.code}: {event.reason}", "entry_ended": True}
            case EntryEnded():
                note = {} if self.was_open else {"exit_note": self.exit_note or event.reason}
                return note | {"entry_ended": True}
            case EntryExpired():
                note = {} if self.was_open else {"exit_note": event.reason}
                return note | {"entry_expired": True}
            case TargetsPlaced():
                return self._targets_placed(event)
            case Executed(execution=execution):
                return self._executed(execution)
            case Funded():
                funding = self.funding + event.amount
                return {"funding": funding, "funded": (*self.funded, event.exec_id)}
            case StopConfirmed():
                if event.asked is not None and event.asked < self.stops_set:
                    # Read before the last wish, whose own answer comes
                    return {"stop": event.price}
                return {"stop": event.price} | self._standing(event.price, self.wanted_stop)
            case StopMissing():
                return self._leaving(ExitReason.NAKED, "no stop at the exchange in time")
            case StopRefused():
                return self._leaving(ExitReason.STOP_PASSED, event.reason)
            case StopKept():
                wanted = self.stop_before_wish if self.stop_wished_by else self.wanted_stop
                changes = {"stop": event.price, "stop_wished_by": ""}
                return changes | self._standing(event.price, wanted)
            case StopLost():
                # What followed the price went with it
                again = self.trailed_by is TrailedBy.EXCHANGE
                return {
                    "stop": None,
                    "stops_set": self.stops_set + 1,
                    "trailed_by": None if again else self.trailed_by,
                }
            case StopMoved():
                # Before the entry fills its own stop stands, and nothing else can
                if not (self.was_open and self.tightens(event.price)):
                    return {}
                if event.by == "manage":
                    return self._moving_stop(event.price) | {
                        "stop_moved_at": event.at or self.stop_moved_at
                    }
                before = self.stop_before_wish if self.stop_wished_by else self.wanted_stop
                return self._moving_stop(event.price, event.by) | {"stop_before_wish": before}
            case Migrated():
                return {} if self.migration_fault(event) else self._migrated(event)
            case TrailingSet():
                return {"trailed_by": TrailedBy.EXCHANGE}
            case TrailingRefused():
                return {"trailed_by": TrailedBy.CANDLE}
            case ExitRequested():
                return self._leaving(event.reason, event.note, event.by)
            case Abandoned():
                return self._leaving(ExitReason.ABANDONED, event.note, event.by)
            case ExitSent():
                links = (event.order_link_id,) if event.order_link_id else ()
                return {
                    "exits_sent": self.exits_sent + 1,
                    "exit_links": (*self.exit_links, *links),
                }
            case PositionRead():
                until = self.plan.rest_until
                is_late = until is not None and event.at >= until and not self.entry_ended
                return {"entry_expired": True} if is_late else {}
            case RecheckRequested():
                return {"rechecks": self.rechecks + 1}
            case _:
                assert_never(event)

    def _migrated(self, event: Migrated) -> dict[str, Any]:
        done = Migration(
            from_hash=self.plan.preset_hash,
            preset_hash=event.preset_hash,
            by=event.by,
            reason=event.reason,
        )
        plan = self.plan.model_copy(
            update={
                "preset_hash": event.preset_hash,
                "exits": event.exits,
                "targets": event.targets,
                "take_profit": event.take_profit,
            }
        )
        # Where the exchange refused to trail before, it is asked for what is trailed now
        is_other = event.exits.trailing != self.plan.exits.trailing
        changes: dict[str, Any] = {
            "plan": plan,
            "migrations": (*self.migrations, done),
            "trailed_by": None if is_other else self.trailed_by,
        }
        # Targets that were reached before count for the break-even that it has now
        return changes | self.model_copy(update=changes)._secured()

    @property
    def standing_fault(self) -> str:
        """Return why no version's exits can be given to the trade; empty if some can."""
        if self.state is S.OPEN and not self.is_over:
            return ""
        return f"the trade is {self.state}, and only an open one is moved"

    def migration_fault(self, event: Migrated) -> str:
        """Return why the trade cannot be moved to those exits; empty if it can."""
        return self.standing_fault or migration_fault(
            self.plan,
            event,
            is_trailed=self.trailed_by is TrailedBy.EXCHANGE,
            are_placed=self.targets_placed,
            is_reached=any(self.is_target(e) for e in self.exits),
        )

    def _executed(self, execution: Execution) -> dict[str, Any]:
        changes: dict[str, Any] = {"executions": (*self.executions, execution)}
        if execution.side is self.plan.side:
            changes["opened_at"] = min(self.opened_at or execution.at, execution.at)
            filled = self.model_copy(update=changes)
            return changes | {"entry_ended": self.entry_ended or filled.is_filled}
        changes["exit_reason"] = self._reason_of(execution)
        # What has begun to leave is not entered any further
        changes["entry_expired"] = self.entry_expired or self.is_working
        return changes | self.model_copy(update=changes)._secured()

    def _reason_of(self, execution: Execution) -> ExitReason:
        """Return why *execution* closed what it did."""
        if execution.cause is not None:
            return execution.cause
        if self.is_over and self.exit_reason is not None:
            return self.exit_reason
        return ExitReason.TARGET if self.is_target(execution) else ExitReason.BY_HAND

    def _targets_placed(self, event: TargetsPlaced) -> dict[str, Any]:
        if self.targets_placed:
            return {}
        changes = {"targets": event.orders, "targets_placed": True}
        # Their fills may have overtaken the answer
        return changes | self.model_copy(update=changes)._secured()

    def _secured(self) -> dict[str, Any]:
        """Return the move of the stop to the entry, if enough targets were reached."""
        after, entry = self.plan.exits.break_even_after_target, self.entry_price
        if after is None or entry is None or self.targets_reached < after:
            return {}
        price = self.plan.instrument.distant_price(entry, self.plan.side)
        return self._moving_stop(price) if self.tightens(price) else {}

    def _moving_stop(self, price: Decimal, wished_by: str = "") -> dict[str, Any]:
        return {
            "wanted_stop": price,
            "stop_wished_by": wished_by,
            "stops_set": self.stops_set + 1,
        }

    def _standing(self, price: Decimal, wanted: Decimal | None) -> dict[str, Any]:
        """Return what a stop that stands at *price* means for the one that is *wanted*.

        A tighter one stands, whoever put it there; a looser one is set again.
        """
        wanted = wanted if wanted is not None else self.plan.stop_loss
        if (price - wanted) * self.plan.side.sign >= 0:
            # Nobody's wish any more: it is the trade's own
            return {"wanted_stop": price, "stop_wished_by": ""}
        return {"wanted_stop": wanted, "stops_set": self.stops_set + 1}

    def _leaving(self, reason: ExitReason, note: str, by: str = "") -> dict[str, Any]:
        # The first reason to leave stands: a second explains nothing, nor does one that comes
        # when all is closed. A part that was closed for another reason explains not the rest
        is_closed = self.was_open and self.open_qty <= 0
        if self.exit_reason is not None and (self.is_over or is_closed):
            return {"leaving": True}
        return {"leaving": True, "exit_reason": reason, "exit_note": note, "exit_by": by}

    def tightens(self, price: Decimal) -> bool:
        """Return whether a stop at *price* would risk less than the one that is wanted."""
        current = self.wanted_stop if self.wanted_stop is not None else self.plan.stop_loss
        return (price - current) * self.plan.side.sign > 0

    def _trigger(self, event: TradeEvent) -> Trigger:
        """Return what *event*, already counted, means."""
        match event:
            case Executed(execution=execution):
                if self.was_open and (self.open_qty <= 0 or self.is_over):
                    return T.CLOSED_BY_FILL
                return T.ENTRY_FILLED if execution.side is self.plan.side else T.EXIT_FILLED
            case PositionRead():
                if not event.qty:
                    return T.SETTLED if event.settled else T.POSITION_FLAT
                return T.POSITION_HELD if self.is_over else T.POSITION_KEPT
            case _:
                return Trigger(event.kind)

    @property
    def is_over(self) -> bool:
        """Return whether what is still held is to be closed.

        What the exchange closes by itself (stop, take profit, liquidation) it closes whole, so
        does the kill switch; a target's order, or a person's, takes a part and leaves the rest.
        """
        return self.leaving or any(e.cause is not None for e in self.exits)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_resting(self) -> bool:
        """Return whether the entry waits at the exchange for its price."""
        return self.is_working and bool(self.entry_order_id) and self.state is S.ENTERING

    @property
    def is_working(self) -> bool:
        """Return whether a limit entry may still fill, as far as was told."""
        return self.plan.rest_until is not None and not self.entry_ended

    @property
    def trailing_from(self) -> Decimal | None:
        """Return the price at which trailing begins; None if it begins at once."""
        trailing, entry = self.plan.exits.trailing, self.entry_price
        if trailing is None or entry is None or not trailing.after_r:
            return None
        gain = trailing.after_r * abs(self.plan.price - self.plan.stop_loss)
        price = entry + gain * self.plan.side.sign
        return self.plan.instrument.protective_price(price, self.plan.side)

    @property
    def next_leg(self) -> int:
        """Return the number of the next order; the entry's is 1."""
        links = (ids.parse_link(order.order_link_id) for order in self.targets)
        numbers = (link.number for link in links if link)
        return max(numbers, default=self.legs) + self.exits_sent + 1

    def age(self, now: datetime) -> float:
        """Return how many seconds of market time the position has been open at *now*."""
        return (now - self.opened_at).total_seconds() if self.opened_at else 0.0
