"""What the desk may ask of the world, and what it is told."""

from abc import ABC, abstractmethod
from typing import Any

from pydantic import AwareDatetime, Field, model_validator
from temporalio import activity

from tradewright.domain.account import Account, Baseline, Block, Decision, Snapshot
from tradewright.domain.market import Value
from tradewright.domain.plan import Proposal, TradePlan


class SnapshotWish(Value):
    """What a snapshot is to hold beside equity and positions."""

    account: str
    baseline: Baseline | None = Field(
        default=None,
        description="Goes into the journal with it; None asks the journal for the last one.",
    )
    modes: bool = Field(default=False, description="Position and margin mode are read, too.")

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_desk(cls, given: Any) -> Any:
        """Take the bare name of the account, which desks once sent."""
        return {"account": given} if isinstance(given, str) else given


class Rehearsal(Value):
    """A proposal to decide on as if: nothing is reserved, and nothing is sent."""

    proposal: Proposal
    desk: Account = Field(description="What the preset's virtual trades have come to.")


class AccountPort(ABC):
    @activity.defn
    @abstractmethod
    async def read_snapshot(self, wish: SnapshotWish) -> Snapshot:
        """Read equity, positions and cash from the exchange, and journal them."""

    @activity.defn
    @abstractmethod
    async def reserve(self, proposal: Proposal) -> Decision:
        """Ask the desk for the risk and journal its decision."""

    @activity.defn
    @abstractmethod
    async def rehearse(self, rehearsal: Rehearsal) -> Decision:
        """Decide as the desk would for virtual trades alone, and journal the decision."""


class Reconciled(Value):
    """Signal `reconciled` of an account: a pass has finished, and what it blocks."""

    at: AwareDatetime = Field(description="Wall clock, when its reads began.")
    blocks: tuple[Block, ...] = ()
    unreserved: tuple[TradePlan, ...] = Field(default=(), description="To be reserved now.")
    released: tuple[str, ...] = Field(default=(), description="Trades to be released now.")
