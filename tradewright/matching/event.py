"""What the matching engine reports: each event holds the new state of one thing."""

import msgspec

from tradewright.matching.order import Order
from tradewright.matching.position import Balance, Execution, Position, Profile


class OrderChanged(msgspec.Struct, frozen=True):
    order: Order


class StopTrailed(msgspec.Struct, frozen=True):
    """A trailing stop was armed or followed the price; its owner is not told."""

    order: Order


class Executed(msgspec.Struct, frozen=True):
    execution: Execution


class PositionChanged(msgspec.Struct, frozen=True):
    position: Position


class WalletChanged(msgspec.Struct, frozen=True):
    balance: Balance


class ProfileChanged(msgspec.Struct, frozen=True):
    profile: Profile


Event = OrderChanged | StopTrailed | Executed | PositionChanged | WalletChanged | ProfileChanged
