"""Which requests and messages a fault strikes, and how often."""

import fnmatch
import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from tradewright.plugin import Params

MOST_SECONDS = 10_000_000


class Section(Params):
    """A mapping of a scenario."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A request or a stream message, as far as filters look at it."""

    endpoint: str = ""
    method: str = ""
    topic: str = ""
    account: str = ""
    symbols: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return self.topic or self.endpoint


@lru_cache(maxsize=1024)
def _expression(wanted: str) -> re.Pattern[str]:
    return re.compile(wanted[1:] if wanted.startswith("~") else fnmatch.translate(wanted))


def _compiles(wanted: str) -> str:
    try:
        _expression(wanted)
    except (re.error, OverflowError) as error:
        raise ValueError(f"{wanted!r} is no regular expression: {error}; correct it") from None
    return wanted


def _moment(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("is no time; write 2025-01-01T00:00:00Z")
    return value


Glob = Annotated[
    str,
    AfterValidator(_compiles),
    Field(
        min_length=1,
        max_length=200,
        description="With * and ? for anything; after a ~ a regular expression.",
    ),
]
Seconds = Annotated[Decimal, Field(ge=0, le=MOST_SECONDS)]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def fits(wanted: str | None, values: tuple[str, ...]) -> bool:
    """Return whether one of *values* is *wanted*; what nobody asks for always fits."""
    if wanted is None:
        return True
    expression = _expression(wanted)
    search = expression.search if wanted.startswith("~") else expression.match
    return any(search(value) for value in values)


class When(Section):
    """Filters that requests and messages share; what is left out fits everything."""

    account: Glob | None = None
    symbol: Glob | None = None
    order_link: Glob | None = None
    probability: Decimal = Field(default=Decimal(1), ge=0, le=1, description="Of each match.")
    after: int = Field(default=0, ge=0, le=1_000_000_000, description="Matches let through first.")
    times: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Strikes at most; no end without it."
    )
    from_: Seconds = Field(
        default=Decimal(0), alias="from", description="Seconds since it was put in force."
    )
    until: Seconds | None = Field(default=None, description="Seconds, likewise; exclusive.")
    market_from: Moment | None = Field(default=None, description="By the market clock.")
    market_until: Moment | None = Field(default=None, description="Likewise; exclusive.")

    def is_open(self, elapsed: Decimal, market: datetime) -> bool:
        """Return whether the time is right.

        Args:
            elapsed: Wall-clock seconds since the fault was put in force.
            market: Market time.
        """
        return (
            self.from_ <= elapsed
            and (self.until is None or elapsed < self.until)
            and (self.market_from is None or self.market_from <= market)
            and (self.market_until is None or market < self.market_until)
        )

    def fits(self, subject: Subject) -> bool:
        return (
            fits(self.account, (subject.account,))
            and fits(self.symbol, subject.symbols)
            and fits(self.order_link, subject.links)
        )


class RequestWhen(When):
    """Which requests."""

    endpoint: Glob | None = Field(default=None, examples=["/v5/order/*"])
    method: Literal["GET", "POST"] | None = None

    def fits(self, subject: Subject) -> bool:
        return (
            fits(self.endpoint, (subject.endpoint,))
            and self.method in (None, subject.method)
            and super().fits(subject)
        )


class OrderWhen(When):
    """Which new orders."""


class StreamWhen(When):
    """Which stream messages."""

    topic: Glob | None = Field(default=None, examples=["execution*", "kline.1.*"])

    def fits(self, subject: Subject) -> bool:
        return fits(self.topic, (subject.topic,)) and super().fits(subject)
