"""What is done about each kind of difference: by the settings, or by a person."""

from enum import StrEnum
from typing import Literal, get_args

from pydantic import Field

from tradewright.domain.choice import Choice
from tradewright.domain.market import Value
from tradewright.domain.reconciliation.difference import Kind

Trade = Literal["fix", "close", "ask", "trip"]
OddTrade = Literal["fix", "close", "ignore", "ask", "trip"]


class Policies(Value):
    """What a reconciliation does about each kind of difference.

    ``adopt``: make a trade of it. ``close``: leave the market. ``fix``: see each kind.
    ``ignore``: nothing, and entries go on. ``ask``: a person decides. ``trip``: halt and flatten
    the account.
    """

    orphan_position: Literal["adopt", "close", "ignore", "ask", "trip"] = Field(
        default="adopt", description="A position that no trade owns."
    )
    ghost_trade: Trade = Field(
        default="fix", description="A trade believes in a position, and nothing is held."
    )
    size_mismatch: OddTrade = Field(
        default="fix", description="A trade believes in another quantity than is held."
    )
    side_mismatch: Trade = Field(
        default="fix", description="A trade believes in the other side than is held."
    )
    missing_stop: Trade = Field(default="fix", description="An open position without its stop.")
    wrong_stop: OddTrade = Field(
        default="fix", description="The stop stands elsewhere than its trade wants it."
    )
    unknown_order: Literal["fix", "ignore", "ask", "trip"] = Field(
        default="fix", description="An order of ours whose trade does not run; fix cancels it."
    )
    foreign_order: Literal["fix", "ignore", "ask", "trip"] = Field(
        default="ask", description="An order that is not ours; fix cancels it."
    )
    missing_execution: OddTrade = Field(
        default="fix", description="An execution of a trade that does not know of it."
    )
    balance_drift: Literal["ignore", "ask", "trip"] = Field(
        default="ask", description="The wallet changed by more than its log explains."
    )
    altered_journal: Literal["ignore", "ask", "trip"] = Field(
        default="ask", description="A row of the journal is not as it was written."
    )
    unanswering_trade: Literal["ignore", "ask", "trip"] = Field(
        default="ask", description="A trade runs, and two looks in a row got no answer from it."
    )
    attempts: int = Field(
        default=3, ge=1, le=100, description="After so many remedies without effect it is unmended."
    )
    unmended: Literal["ask", "trip"] = Field(
        default="ask", description="What is done about a difference that no remedy mends."
    )

    def of(self, kind: Kind) -> "Policy":
        return Policy(getattr(self, kind))


class Policy(StrEnum):
    ADOPT = "adopt"
    CLOSE = "close"
    FIX = "fix"
    IGNORE = "ignore"
    ASK = "ask"
    TRIP = "trip"


def choices_of(kind: Kind) -> tuple[Choice, ...]:
    """Return what a person may decide about *kind*: its policies, but for asking and tripping."""
    allowed = get_args(Policies.model_fields[kind].annotation)
    return tuple(choice for choice in Choice if choice.value in allowed)
