"""What the kill switch may ask of the world, and what it says of itself."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.account import Position
from tradewright.domain.gate import Gate
from tradewright.domain.market import Value


class GateWish(Value):
    gate: Gate
    rearm: bool = False


class TripOrder(Value):
    account: str
    trip: int
    first_link: int = Field(default=1, description="Number of the first order link not used yet.")


class Exposure(Value):
    """What is still held or could still enter, read from the exchange."""

    at: AwareDatetime = Field(description="Wall clock of the read.")
    positions: tuple[Position, ...] = ()
    orders: int = Field(default=0, description="Readable or not.")
    unreadable: int = Field(default=0, description="Positions shown that could not be understood.")
    next_link: int = Field(default=1, description="Number of the next order link of this trip.")

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


class KillSwitchState(Value):
    """Query `state` of the kill switch."""

    gate: Gate
    flattening: bool = False
    step: str = ""
    needs_operator: str = ""
    also: tuple[str, ...] = Field(
        default=(), description="Trips that came while one was under way: who, and why."
    )
    meaning: str = Field(default="", description="What the gate's state does, in words.")
