"""What all kinds of faults have in common."""

import re
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from tradewright.paper.fault.when import Section

NAME = r"^[a-z0-9-]{1,40}$"
_MOST_MS = 999_999
_RANGE = r"^[0-9]{1,6}\.\.[0-9]{1,6}$"


class Span(NamedTuple):
    """Milliseconds from *low* to *high*, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}..{self.high}"


def _span(value: Any) -> Any:
    if isinstance(value, Span):
        return value
    if isinstance(value, str) and re.fullmatch(_RANGE, value):
        low, high = sorted(map(int, value.split("..")))
        return Span(low, high)
    is_whole = isinstance(value, int | Decimal) and value is not True and value % 1 == 0
    if is_whole and value is not False and 0 <= value <= _MOST_MS:
        return Span(int(value), int(value))
    raise ValueError(
        f"{value!s:.60} is no time in milliseconds up to {_MOST_MS}; write 200 or 200..800"
    )


Milliseconds = Annotated[
    Span,
    BeforeValidator(_span),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _MOST_MS},
                {"type": "string", "pattern": _RANGE},
            ],
            "examples": [200, "200..800"],
        }
    ),
]


class Layer(IntEnum):
    """What a request or a message goes through; one that is struck down goes no further."""

    WAY = 0
    """It comes later, or by a wrong clock; nothing else changes."""
    BEFORE = 1
    """It is not executed, or not sent."""
    WITHIN = 2
    """It is executed or sent, in another way."""
    AFTER = 3
    """It is executed, but the answer is not what it should be."""


Side = Literal["request", "order", "message", "connection"]


class Kind(Section):
    """What all faults have."""

    name: str | None = Field(
        default=None,
        pattern=NAME,
        description="Takes the place of one of that name; else it is made of the kind.",
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**53, description="Of its own chance; else the scenario's."
    )

    layer_: ClassVar[Layer] = Layer.BEFORE
    side_: ClassVar[Side] = "request"

    @property
    def layer(self) -> Layer:
        return self.layer_

    @property
    def side(self) -> Side:
        """Return what it is that it strikes."""
        return self.side_

    @property
    def span(self) -> Span | None:
        """Return the time that is drawn anew for every strike."""
        return None

    def effect(self, ms: int) -> str:
        """Return what a strike with the time *ms* does, for the log."""
        raise NotImplementedError
