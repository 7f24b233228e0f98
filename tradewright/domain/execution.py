"""Executions: what the exchange did, counted once each."""

from decimal import Decimal
from enum import StrEnum

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Price, Qty, Side, Symbol, Value


class ExitReason(StrEnum):
    """Why a trade left the market."""

    STOP = "stop"
    TARGET = "target"
    TRAILING_STOP = "trailing_stop"
    LIQUIDATION = "liquidation"
    TIME_STOP = "time_stop"
    NAKED = "naked"
    """The exchange did not show the stop in time."""
    STOP_PASSED = "stop_passed"
    """The price had passed where the stop was to go."""
    SIGNAL = "signal"
    """The strategy said so."""
    OPERATOR = "operator"
    CANCELLED = "cancelled"
    """The workflow was cancelled in the Web UI or with the `temporal` command."""
    KILL_SWITCH = "kill_switch"
    ABANDONED = "abandoned"
    """A person gave the trade up when nothing was held."""
    BY_HAND = "by_hand"
    """An order that is not ours closed the position."""
    DELISTED = "delisted"
    """The exchange closed the position with its contract."""


class Execution(Value):
    """One match of one order of this account."""

    exec_id: str
    seq: int = Field(description="The exchange's own order of events.")
    order_id: str
    order_link_id: str = Field(default="", description="Empty for position stops.")
    symbol: Symbol
    side: Side
    price: Price
    qty: Qty
    fee: Decimal = Field(description="Paid, in quote currency; a rebate is negative.")
    at: AwareDatetime = Field(description="Market clock.")
    is_maker: bool = False
    cause: ExitReason | None = Field(
        default=None, description="What the exchange says of an order that it made itself."
    )
