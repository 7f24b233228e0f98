"""Order matching, stops, fees and margin: one engine for the paper exchange and the backtest."""

from tradewright.matching.account import Account
from tradewright.matching.engine import Engine, PreCheck
from tradewright.matching.event import (
    Event,
    Executed,
    Liquidated,
    OrderChanged,
    PositionChanged,
    ProfileChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.matching.ledger import Links
from tradewright.matching.market import Market, Tier
from tradewright.matching.order import (
    Change,
    Fate,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    StopKind,
    StopRequest,
    TimeInForce,
    TpslMode,
    TriggerDirection,
)
from tradewright.matching.position import (
    Balance,
    ExecType,
    Execution,
    Fees,
    MarginMode,
    Position,
    Profile,
    RequestRejected,
)

__all__ = [
    "Account",
    "Balance",
    "Change",
    "Engine",
    "Event",
    "ExecType",
    "Executed",
    "Execution",
    "Fate",
    "Fees",
    "Links",
    "Liquidated",
    "MarginMode",
    "Market",
    "Order",
    "OrderChanged",
    "OrderRequest",
    "OrderStatus",
    "OrderType",
    "Position",
    "PositionChanged",
    "PreCheck",
    "Profile",
    "ProfileChanged",
    "RequestRejected",
    "StopKind",
    "StopRequest",
    "StopTrailed",
    "Tier",
    "TimeInForce",
    "TpslMode",
    "TriggerDirection",
    "WalletChanged",
]
