"""What a workflow may ask of the world; `activities/` answers.

Each port is an abstract class of activities. A workflow names the abstract method, the worker
registers an implementation, Temporal joins the two by the method's name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.account import Block, Decision, Position, Snapshot
from tradewright.domain.event import JournalEvent
from tradewright.domain.gate import Gate
from tradewright.domain.market import Symbol, Timeframe, Value
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.reconciliation import Discrepancy
from tradewright.domain.trade import (
    Adopted,
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


class AccountPort(ABC):
    @activity.defn
    @abstractmethod
    async def read_snapshot(self, account: str) -> Snapshot:
        """Read equity and positions from the exchange."""

    @activity.defn
    @abstractmethod
    async def reserve(self, proposal: Proposal) -> Decision:
        """Ask the desk for the risk and journal its decision."""


class GateWish(Value):
    gate: Gate
    rearm: bool = False


class TripOrder(Value):
    account: str
    trip: int


class Exposure(Value):
    """What is still held or could still enter, read from the exchange."""

    at: AwareDatetime = Field(description="Wall clock of the read.")
    positions: tuple[Position, ...] = ()
    orders: int = Field(default=0, description="Readable or not.")
    unreadable: int = Field(default=0, description="Positions shown that could not be understood.")

    @property
    def is_flat(self) -> bool:
        return not (self.positions or self.orders or self.unreadable)


class KillPort(ABC):
    """What the kill switch does; it runs in a process of its own."""

    @activity.defn
    @abstractmethod
    async def read_gate(self, account: str) -> Gate:
        """Read the gate's row; a missing one is open."""

    @activity.defn
    @abstractmethod
    async def write_gate(self, wish: GateWish) -> Gate:
        """Write the gate and return how it stands afterwards."""

    @activity.defn
    @abstractmethod
    async def cancel_entries(self, order: TripOrder) -> int:
        """Cancel, one by one, every order that could open a position; stops stay."""

    @activity.defn
    @abstractmethod
    async def flatten_all(self, order: TripOrder) -> Exposure:
        """Close every position, then remove every order once flat; return what is left."""

    @activity.defn
    @abstractmethod
    async def read_exposure(self, order: TripOrder) -> Exposure:
        """Read positions and orders, changing nothing."""


class JournalBatch(Value):
    events: tuple[JournalEvent, ...]


class JournalPort(ABC):
    @activity.defn
    @abstractmethod
    async def record(self, batch: JournalBatch) -> None:
        """Append events to the journal; those that it has are left alone."""


class Evaluation(Value):
    """The candles of one preset that closed at one time, to be decided on."""

    account: str
    preset: str
    preset_hash: str
    symbols: tuple[Symbol, ...]
    close_time: AwareDatetime = Field(description="Market clock.")


class Watch(Value):
    """What one preset wants to be told of."""

    preset: str
    symbols: tuple[Symbol, ...]
    timeframe: Timeframe


class Watchlist(Value):
    account: str
    watches: tuple[Watch, ...] = ()


class CandlesDone(Value):
    """A preset has dealt with the candles that closed at this time."""

    preset: str
    close_time: AwareDatetime


class Proposals(Value):
    """What a preset wishes after a candle; `note` says why it wishes nothing when that matters."""

    proposals: tuple[Proposal, ...] = ()
    note: str = ""


class MarketView(Value):
    """The market and the preset's indicators around one moment of a trade."""

    price: Decimal
    factors: dict[str, float] = Field(default_factory=dict)
    market: dict[str, str] = Field(default_factory=dict)


class MarketPort(ABC):
    @activity.defn
    @abstractmethod
    async def evaluate(self, evaluation: Evaluation) -> Proposals:
        """Fetch the candles, ask the plugin, and price its signal by the preset's rules."""

    @activity.defn
    @abstractmethod
    async def observe(self, plan: TradePlan) -> MarketView:
        """Return price and indicators as they stand now, for the trade's record."""

    @activity.defn
    @abstractmethod
    async def done(self, candles: CandlesDone) -> None:
        """Tell a market in lockstep that the candle was dealt with; a no-op elsewhere."""

    @activity.defn
    @abstractmethod
    async def consume_market(self, watchlist: Watchlist) -> None:
        """Follow the public streams until cancelled, signalling strategies and trades."""


class StreamPort(ABC):
    @activity.defn
    @abstractmethod
    async def consume_stream(self, account: str) -> None:
        """Follow the private stream until cancelled, signalling every execution's trade."""


class Comparison(Value):
    """What one pass of a reconciliation found."""

    at: AwareDatetime = Field(description="Wall clock, when the reads began.")
    discrepancies: tuple[Discrepancy, ...] = ()
    trades: int = 0
    positions: int = 0
    released: tuple[str, ...] = Field(
        default=(), description="Trades that ended without giving their risk back."
    )
    unreserved: tuple[TradePlan, ...] = Field(
        default=(), description="Trades that run without risk held for them."
    )


class Adoption(Value):
    """How a position without an owner becomes a trade."""

    plan: TradePlan
    adopted: Adopted


class ReconciliationPort(ABC):
    @activity.defn
    @abstractmethod
    async def compare(self, account: str) -> Comparison:
        """Read the exchange, ask the trades, and report every difference."""

    @activity.defn
    @abstractmethod
    async def plan_adoption(self, orphan: Discrepancy) -> Adoption | None:
        """Return the trade that adopts the position; None if it is gone."""

    @activity.defn
    @abstractmethod
    async def cancel_unknown(self, unknown: Discrepancy) -> None:
        """Cancel an order of ours whose trade does not run."""


class CandleClosed(Value):
    """Signal `candle` of a strategy: candles of these symbols have closed."""

    symbols: tuple[Symbol, ...]
    close_time: AwareDatetime = Field(description="Market clock.")
    acknowledge: bool = Field(default=False, description="A market in lockstep waits for `done`.")


class TradeView(Value):
    """Query `trade`: the trade, and whether it is still working on what it was told."""

    trade: Trade
    busy: bool
    needs_operator: str = ""


class StrategyStatus(Value):
    """Query `status` of a strategy."""

    preset: str
    preset_hash: str
    account: str
    symbols: tuple[Symbol, ...]
    timeframe: Timeframe
    paused: bool = False
    pause_reason: str = ""
    last_candle: AwareDatetime | None = None
    candles: int = 0
    approved: int = 0
    refused: int = 0
    note: str = ""
    needs_operator: str = ""


class KillSwitchState(Value):
    """Query `state` of the kill switch."""

    gate: Gate
    flattening: bool = False
    step: str = ""
    needs_operator: str = ""


class Reconciled(Value):
    """Signal `reconciled` of an account: a pass has finished, and what it blocks."""

    at: AwareDatetime = Field(description="Wall clock, when its reads began.")
    blocks: tuple[Block, ...] = ()
    unreserved: tuple[TradePlan, ...] = Field(default=(), description="To be reserved now.")
    released: tuple[str, ...] = Field(default=(), description="Trades to be released now.")


ACTIVITY_TIMEOUT = timedelta(seconds=30)
"""Start-to-close of an ordinary activity: above every HTTP time-out within it."""


def activities_of(*adapters: ABC) -> list[Callable[..., Any]]:
    """Return what *adapters* implement of the ports, ready for ``Worker(activities=)``."""
    return [
        getattr(adapter, name)
        for adapter in adapters
        for port in type(adapter).__mro__
        for name in sorted(getattr(port, "__abstractmethods__", ()))
    ]
