"""What the desk goes on from: written with every snapshot, read again by a desk that is new."""

from decimal import Decimal

from pydantic import AwareDatetime, Field

from tradewright.domain.account.guard import Lift, Result
from tradewright.domain.account.name import Renamed
from tradewright.domain.account.refusal import RefusalCode
from tradewright.domain.account.tally import CashMark
from tradewright.domain.market import Value


class Pause(Value):
    """No entries for a time."""

    code: RefusalCode
    reason: str
    until: AwareDatetime = Field(description="Market clock.")


class Fired(Value):
    """A breach whose consequence has come; it does not come again while it lasts."""

    code: RefusalCode
    day: str


class Baseline(Value):
    """Against what losses are measured."""

    peak_equity: Decimal = Decimal(0)
    day: str = ""
    day_equity: Decimal = Decimal(0)
    realised_today: Decimal = Decimal(0)
    fees_today: Decimal = Decimal(0)
    funding_today: Decimal = Decimal(0)
    cash: CashMark | None = None
    losses: int = 0
    streak_since: AwareDatetime | None = None
    """Market time after which losses count."""
    pauses: tuple[Pause, ...] = ()
    fired: tuple[Fired, ...] = ()
    lifts: tuple[Lift, ...] = ()
    renames: tuple[Renamed, ...] = ()


class Past(Value):
    """What the journal knows of the account."""

    baseline: Baseline = Baseline()
    losses: int = Field(default=0, description="Trades that lost in a row, by the journal.")
    results: tuple[Result, ...] = ()
