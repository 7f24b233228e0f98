"""Telling people: what the notifier asks for, and what it shows."""

from abc import ABC, abstractmethod

from pydantic import AwareDatetime, Field
from temporalio import activity

from tradewright.domain.market import Value
from tradewright.domain.notification import Delivery, Failure, Message


class NotifyPort(ABC):
    """Hands messages to whoever is to be told; a receiver that is away is an outcome."""

    @activity.defn
    @abstractmethod
    async def send(self, message: Message) -> Delivery: ...


class OpenNotice(Value):
    """Something that is not over."""

    key: str
    priority: str
    title: str
    text: str = ""
    workflow_id: str = ""
    since: AwareDatetime
    told: int = Field(description="Messages about it so far.")
    told_at: AwareDatetime | None = None
    acknowledged_by: str = ""
    next_at: AwareDatetime | None = Field(default=None, description="When it is told again.")


class SentNotice(Value):
    """A message, and who got it."""

    number: int
    at: AwareDatetime
    priority: str
    title: str
    attempts: int = 0
    delivered: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    again_at: AwareDatetime | None = Field(
        default=None, description="When the failed ones are tried again; None is never."
    )


class Notices(Value):
    """Query `notices`: what is open, what was sent, what failed."""

    account: str
    open: tuple[OpenNotice, ...] = ()
    sent: tuple[SentNotice, ...] = Field(default=(), description="The latest first.")
    faults: tuple[Failure, ...] = Field(default=(), description="Receivers that take nothing now.")
    needs_operator: str = ""
