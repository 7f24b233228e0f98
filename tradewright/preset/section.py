"""What the parts of a preset are made of: mappings without unknown keys, durations, distances."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from tradewright import plugin
from tradewright.domain.market import Price

DURATION = r"^[1-9][0-9]{0,4}[smhd]$"
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}

T = TypeVar("T")


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.fullmatch(DURATION[1:-1], value):
        return timedelta(seconds=int(value[:-1]) * _UNIT[value[-1]])
    raise PydanticCustomError("duration", "not a duration")


def spelled(duration: timedelta) -> str:
    """Return *duration* as a preset writes it.

    Example:
        >>> spelled(timedelta(minutes=90))
        '90m'
    """
    seconds = int(duration.total_seconds())
    unit = next(u for u in "dhms" if not seconds % _UNIT[u])
    return f"{seconds // _UNIT[unit]}{unit}"


def unique(listed: tuple[T, ...]) -> tuple[T, ...]:
    """Return *listed*, in which nothing stands twice; say where if it does."""
    for number, each in enumerate(listed):
        if each in listed[:number]:
            raise PydanticCustomError("duplicate", "listed twice", {"at": number})
    return listed


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(spelled, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["30s", "5m", "1h", "1d"]}),
]
Flag = Annotated[bool, Field(strict=True)]
Factor = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,29}$",
        description="A factor of the strategy that is a distance in price, such as an ATR.",
    ),
]
Times = Annotated[Decimal, Field(gt=0, le=100, description="Distance: the factor times this.")]
Fraction = Annotated[
    Decimal, Field(gt=0, le=Decimal("0.5"), description="Distance: 0.02 is two per cent of price.")
]


class Section(plugin.Params):
    """A mapping of a preset."""


class ByIndicator(Section):
    """A distance that follows the market."""

    indicator: Factor
    times: Times

    def distance(self, price: Price, factors: Mapping[str, float]) -> Decimal | None:
        """Return the distance in price, or None while the factor is unknown."""
        factor = factors.get(self.indicator)
        return None if factor is None else Decimal(repr(float(factor))) * self.times


class ByFraction(Section):
    """A distance that is a share of the price."""

    fraction: Fraction

    def distance(self, price: Price, factors: Mapping[str, float]) -> Decimal | None:
        """Return the distance in price; the factors do not matter."""
        return price * self.fraction


def tag_by(key: str, *values: str) -> Any:
    """Return what tells variants of a section apart: which of *values* stands at *key*.

    The first one is meant where none does, so that its mistakes are told. Tags stand in
    pydantic's error locations; # keeps them apart from keys.
    """

    def tag(value: Any) -> str:
        named = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        return f"#{named if named in values[1:] else values[0]}"

    return tag
