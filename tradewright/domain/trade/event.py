"""What can happen to a trade, told by the exchange, the market, a reconciliation or a person."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Price, Qty, Value
from tradewright.domain.plan import ExitRules, Target


class Started(Value):
    """The plan was approved and the workflow runs."""

    kind: Literal["started"] = "started"


class Adopted(Value):
    """A position without an owner is ours from now on."""

    kind: Literal["adopted"] = "adopted"
    qty: Decimal = Field(gt=0)
    price: Price
    at: AwareDatetime = Field(description="Market clock; executions before it are not counted.")
    legs: int = Field(
        default=1, ge=1, description="Highest number of its orders, if it was adopted before."
    )


class EntryPlaced(Value):
    """The exchange has the entry order."""

    kind: Literal["entry_placed"] = "entry_placed"
    order_id: str


class EntryRejected(Value):
    """The entry is not at the exchange and will not be: refused by us or rejected by it."""

    kind: Literal["entry_rejected"] = "entry_rejected"
    code: str
    reason: str


class EntryEnded(Value):
    """The entry order will not fill any further."""

    kind: Literal["entry_ended"] = "entry_ended"
    order_id: str = ""
    reason: str = ""


class EntryExpired(Value):
    """The entry has waited long enough, or the market went without it."""

    kind: Literal["entry_expired"] = "entry_expired"
    reason: str


class TargetOrder(Value):
    """A reduce-only limit order that takes a part of the profit."""

    order_link_id: str
    price: Price
    qty: Qty
    order_id: str = ""


class TargetsPlaced(Value):
    """The exchange has these orders; a target that it refused is not among them."""

    kind: Literal["targets_placed"] = "targets_placed"
    orders: tuple[TargetOrder, ...] = ()
    reason: str = Field(default="", description="Why some are missing.")


class Executed(Value):
    """One execution on the trade's symbol; its side says whether it opened or closed."""

    kind: Literal["executed"] = "executed"
    execution: Execution


class Funded(Value):
    """Funding was paid or received for what is held."""

    kind: Literal["funded"] = "funded"
    exec_id: str
    amount: Decimal = Field(description="Quote currency; what was paid is negative.")
    at: AwareDatetime = Field(description="Market clock.")


class StopConfirmed(Value):
    """The exchange shows this stop on the position."""

    kind: Literal["stop_confirmed"] = "stop_confirmed"
    price: Price
    asked: int | None = Field(
        default=None, description="How many stops had been asked for when it was read."
    )


class StopMissing(Value):
    """The exchange shows no stop although its deadline is over."""

    kind: Literal["stop_missing"] = "stop_missing"


class StopLost(Value):
    """A reconciliation found the open position without its stop."""

    kind: Literal["stop_lost"] = "stop_lost"


class StopRefused(Value):
    """The exchange does not take the stop because the price has passed it."""

    kind: Literal["stop_refused"] = "stop_refused"
    reason: str


class StopKept(Value):
    """The exchange does not take the stop that a person wished; the one before it stands."""

    kind: Literal["stop_kept"] = "stop_kept"
    price: Price = Field(description="Where it stands.")
    reason: str


class TrailingSet(Value):
    """The exchange follows the price from now on."""

    kind: Literal["trailing_set"] = "trailing_set"


class TrailingRefused(Value):
    """The exchange does not follow the price: the stop is moved at closed candles instead."""

    kind: Literal["trailing_refused"] = "trailing_refused"
    reason: str


class StopMoved(Value):
    """The stop is to stand here; a move that loosens it is not made."""

    kind: Literal["stop_moved"] = "stop_moved"
    price: Price
    reason: str
    by: str = "manage"
    at: AwareDatetime | None = Field(
        default=None, description="Close of the candle that it follows; market clock."
    )


class Migrated(Value):
    """A person moves the trade to the exits of another version of its preset."""

    kind: Literal["migrated"] = "migrated"
    preset_hash: str = Field(description="Of that version.")
    exits: ExitRules
    targets: tuple[Target, ...] = ()
    take_profit: Price | None = None
    by: str
    reason: str = ""


class ExitRequested(Value):
    kind: Literal["exit_requested"] = "exit_requested"
    reason: ExitReason = ExitReason.OPERATOR
    note: str = ""
    by: str = ""


class Abandoned(Value):
    """A person gives the trade up, the exchange having shown that nothing is held."""

    kind: Literal["abandoned"] = "abandoned"
    note: str = ""
    by: str = ""


class ExitSent(Value):
    """What was held is being closed by this order; without one, nothing was held."""

    kind: Literal["exit_sent"] = "exit_sent"
    order_link_id: str = ""
    order_id: str = ""
    qty: Decimal = Decimal(0)


class PositionRead(Value):
    """The exchange says how much of the symbol is held; zero is flat."""

    kind: Literal["position_read"] = "position_read"
    qty: Decimal = Field(ge=0)
    at: AwareDatetime = Field(description="Market clock.")
    settled: bool = Field(
        default=False,
        description="Nothing of the trade's works any more, and all that it traded is told.",
    )


class RecheckRequested(Value):
    """The stream is silent or the books differ: ask the exchange."""

    kind: Literal["recheck_requested"] = "recheck_requested"
    reason: str = ""


TradeEvent = Annotated[
    Started
    | Adopted
    | EntryPlaced
    | EntryRejected
    | EntryEnded
    | EntryExpired
    | TargetsPlaced
    | Executed
    | Funded
    | StopConfirmed
    | StopMissing
    | StopLost
    | StopRefused
    | StopKept
    | TrailingSet
    | TrailingRefused
    | StopMoved
    | Migrated
    | ExitRequested
    | Abandoned
    | ExitSent
    | PositionRead
    | RecheckRequested,
    Field(discriminator="kind"),
]
