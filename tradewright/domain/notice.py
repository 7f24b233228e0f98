"""What a person is told, and how urgently."""

from enum import IntEnum

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Value


class Priority(IntEnum):
    """How soon somebody must look; what asks for an answer is repeated until it has one."""

    ROUTINE = 1
    """Fills and exits: good to know."""
    WARNING = 2
    """Something works less well than it should: a refusal of note, a breaker, a channel."""
    URGENT = 3
    """A person has to act: a trip, a case, a trade that cannot go on."""


class Notice(Value):
    """One thing to tell; the same key is the same thing, told again only when it has changed."""

    key: str = Field(
        min_length=1, description="What it is about: ``trade/BTCUSDT/tw…/needs_operator``."
    )
    account: str
    priority: Priority
    title: str = Field(max_length=200)
    text: str = Field(default="", max_length=2000)
    workflow_id: str = Field(default="", description="Where to look in the Web UI.")
    at: AwareDatetime | None = Field(default=None, description="Wall clock.")
    resolved: bool = Field(
        default=False, description="Whether what the key is about is over: no more repeats."
    )
