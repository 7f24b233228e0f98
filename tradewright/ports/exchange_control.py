"""What a person may ask a process of: how its way to the exchange stands, and to begin anew."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.market import Value


class BreakerLine(Value):
    group: str = Field(description="Endpoints that are up or down together: `order`.")
    state: str = Field(description="`closed`, `open`, or `half_open` while one request finds out.")
    failures: int = Field(default=0, description="In a row.")
    detail: str = Field(default="", description="What failed last.")
    since: AwareDatetime
    probe_in: float = Field(default=0.0, description="Seconds until a request may try again.")


class BucketLine(Value):
    name: str = Field(description="The endpoint, `order/create`; `address` for all together.")
    limit: int | None = Field(default=None, description="None where nothing is counted.")
    period: float = Field(description="Seconds that the limit is over.")
    used: int = Field(description="By this process.")
    foreign: int = Field(description="By others, as the last answer of the exchange shows.")
    waiting: int = 0
    paused_for: float = Field(default=0.0, description="Seconds; exits wait less, or not at all.")


class ExchangeStatus(Value):
    """One process's way to the exchange; what it never asked for is not in it."""

    breakers: tuple[BreakerLine, ...] = ()
    buckets: tuple[BucketLine, ...] = ()
    clock_skew_ms: float | None = Field(
        default=None, description="How far the exchange's clock is ahead; None before any answer."
    )
    was_reset: tuple[str, ...] = Field(default=(), description="Names, by this very request.")


class ResetWish(Value):
    name: str = Field(default="", description="A group, or one bucket; everything if empty.")
    by: str = ""


class ExchangeControlPort(ABC):
    """Served by every process on a queue of its own."""

    @activity.defn
    @abstractmethod
    async def exchange_status(self) -> ExchangeStatus:
        """Return how breakers and buckets stand."""

    @activity.defn
    @abstractmethod
    async def reset_exchange(self, wish: ResetWish) -> ExchangeStatus:
        """Close breakers, forget pauses and what others used; return how they stand then."""
