"""What a reconciliation may ask of the world."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.case import Case
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Discrepancy, Kind, Policies
from tradewright.domain.trade import Adopted


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
    policies: Policies = Field(default=Policies(), description="In force when it was read.")
    cases: tuple[Case, ...] = Field(default=(), description="Those that run and have answered.")
    ended: tuple[str, ...] = Field(
        default=(), description="Workflow ids of trades that asked themselves and run no more."
    )
    uncompared: tuple[str, ...] = Field(
        default=(), description="Symbols of which nothing can be said: unread, or at work."
    )
    unlooked: tuple[Kind, ...] = Field(
        default=(), description="Kinds that could not be looked for this time."
    )
    halted: bool = Field(default=False, description="The kill switch has tripped already.")


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
        """Cancel an order that no running trade owns."""

    @activity.defn
    @abstractmethod
    async def look_again(self, account: str) -> None:
        """Have the next reconciliation run now, not in its time."""
