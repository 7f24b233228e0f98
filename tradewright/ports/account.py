"""What the desk may ask of the world, and what it is told."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.account import Block, Decision, Snapshot
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan


class AccountPort(ABC):
    @activity.defn
    @abstractmethod
    async def read_snapshot(self, account: str) -> Snapshot:
        """Read equity and positions from the exchange."""

    @activity.defn
    @abstractmethod
    async def reserve(self, proposal: Proposal) -> Decision:
        """Ask the desk for the risk and journal its decision."""


class Reconciled(Value):
    """Signal `reconciled` of an account: a pass has finished, and what it blocks."""

    at: AwareDatetime = Field(description="Wall clock, when its reads began.")
    blocks: tuple[Block, ...] = ()
    unreserved: tuple[TradePlan, ...] = Field(default=(), description="To be reserved now.")
    released: tuple[str, ...] = Field(default=(), description="Trades to be released now.")
