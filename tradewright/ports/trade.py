"""What a trade may ask of the exchange, and what it says of itself."""

from abc import ABC, abstractmethod
from decimal import Decimal
from enum import StrEnum

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
    StopKept,
    StopMissing,
    StopRefused,
    TargetOrder,
    TargetsPlaced,
    Trade,
    TradeEvent,
    TrailingRefused,
    TrailingSet,
)


class TradeOrder(Value):
    """A request about one trade at the exchange."""

    plan: TradePlan
    since: AwareDatetime | None = Field(
        default=None, description="Market clock; executions before it are not the trade's."
    )
    number: int = Field(default=1, description="Of the leg, for its order link.")
    price: Decimal | None = Field(
        default=None, description="Of the stop, or where the exchange begins to trail it."
    )
    stops_set: int = Field(default=0, description="How many stops had been asked for.")
    wished_by: str = Field(
        default="", description="The person who wants the stop there; unset, the plan does."
    )
    targets: tuple[TargetOrder, ...] = Field(
        default=(), description="To be placed; to be cancelled where the trade ends."
    )


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
    async def set_stop(
        self, order: TradeOrder
    ) -> StopConfirmed | StopRefused | StopKept | PositionRead:
        """Amend the position's stop in place; what a person wished wrongly changes nothing."""

    @activity.defn
    @abstractmethod
    async def set_trailing(self, order: TradeOrder) -> TrailingSet | TrailingRefused | PositionRead:
        """Let the exchange trail the stop from a price on."""

    @activity.defn
    @abstractmethod
    async def place_targets(self, order: TradeOrder) -> TargetsPlaced | PositionRead:
        """Place reduce-only limit orders; each is sent once."""

    @activity.defn
    @abstractmethod
    async def cancel_entry(self, order: TradeOrder) -> TradeEvents:
        """Cancel what is left of the entry; tell what it came to."""

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


class Choice(StrEnum):
    """What a person may decide about a trade that cannot go on by itself."""

    RETRY = "retry"
    """Try what failed once more, now."""
    ADOPT = "adopt"
    """Go on from what the exchange shows."""
    ABANDON = "abandon"
    """Give the trade up; only when the exchange shows that nothing is held."""


class TradeView(Value):
    """Query `trade`: the trade, and whether it is still working on what it was told."""

    trade: Trade
    busy: bool
    needs_operator: str = ""
    choices: tuple[Choice, ...] = Field(default=(), description="What `resolve` may say.")
