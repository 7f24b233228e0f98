"""What the matching engine reports: each event holds the new state of one thing."""

from datetime import datetime
from decimal import Decimal

import msgspec

from tradewright.domain.market import Side
from tradewright.matching.order import Order
from tradewright.matching.position import Balance, Execution, Position, Profile


class OrderChanged(msgspec.Struct, frozen=True):
    order: Order


class StopTrailed(msgspec.Struct, frozen=True):
    """An open order changed and its owner is not told.

    A trailing stop was armed or followed the price, or a resting order moved up in its queue.
    """

    order: Order


class Executed(msgspec.Struct, frozen=True):
    execution: Execution


class PositionChanged(msgspec.Struct, frozen=True):
    position: Position


class WalletChanged(msgspec.Struct, frozen=True):
    balance: Balance


class ProfileChanged(msgspec.Struct, frozen=True):
    profile: Profile


class Liquidated(msgspec.Struct, frozen=True):
    """A position, or a part of it, was taken from its account; public."""

    account: str
    symbol: str
    side: Side
    """Of the position: Buy of a long."""
    qty: Decimal
    price: Decimal
    """The bankruptcy price."""
    time: datetime


Event = (
    OrderChanged
    | StopTrailed
    | Executed
    | PositionChanged
    | WalletChanged
    | ProfileChanged
    | Liquidated
)
