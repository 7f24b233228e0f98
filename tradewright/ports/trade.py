"""What a trade may ask of the exchange, and what it says of itself."""

from abc import ABC, abstractmethod
from decimal import Decimal

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopMissing,
    StopRefused,
    Trade,
    TradeEvent,
)


class TradeOrder(Value):
    """A request about one trade at the exchange."""

    plan: TradePlan
    since: AwareDatetime | None = Field(
        default=None, description="Market clock; executions before it are not the trade's."
    )
    number: int = Field(default=1, description="Of the leg, for its order link.")
    price: Decimal | None = Field(default=None, description="Of the stop.")


class TradeEvents(Value):
    """What the exchange was found to have done."""

    events: tuple[TradeEvent, ...] = ()


class ExchangePort(ABC):
    """Orders and positions. Every activity is safe to repeat."""

    @activity.defn
    @abstractmethod
    async def place_entry(self, order: TradeOrder) -> EntryPlaced | EntryRejected:
        """Journal the intent, read the gate, send the entry with its stop and target."""

    @activity.defn
    @abstractmethod
    async def verify_stop(self, order: TradeOrder) -> StopConfirmed | StopMissing | PositionRead:
        """Read the position back until it shows its stop, or the deadline is over."""

    @activity.defn
    @abstractmethod
    async def set_stop(self, order: TradeOrder) -> StopConfirmed | StopRefused | PositionRead:
        """Amend the position's stop in place."""

    @activity.defn
    @abstractmethod
    async def look_up(self, order: TradeOrder) -> TradeEvents:
        """Ask for the entry order, its executions, and the position."""

    @activity.defn
    @abstractmethod
    async def flatten(self, order: TradeOrder) -> ExitSent:
        """Cancel what is left of the entry and close what the exchange says is held."""

    @activity.defn
    @abstractmethod
    async def settle(self, order: TradeOrder) -> TradeEvents:
        """Wait for flat, remove what is left of our orders, return every execution found."""


class TradeView(Value):
    """Query `trade`: the trade, and whether it is still working on what it was told."""

    trade: Trade
    busy: bool
    needs_operator: str = ""
