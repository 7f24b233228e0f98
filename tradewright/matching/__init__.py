"""Order matching, stops, fees and margin: one engine for the paper exchange and the backtest."""

from tradewright.matching.account import Market
from tradewright.matching.engine import Engine
from tradewright.matching.event import (
    Event,
    Executed,
    OrderChanged,
    PositionChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.matching.order import (
    Change,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    StopKind,
    StopRequest,
    TimeInForce,
    TriggerDirection,
)
from tradewright.matching.position import (
    Balance,
    Execution,
    Fees,
    Position,
    RequestRejected,
)

__all__ = [
    "Balance",
    "Change",
    "Engine",
    "Event",
    "Executed",
    "Execution",
    "Fees",
    "Market",
    "Order",
    "OrderChanged",
    "OrderRequest",
    "OrderStatus",
    "OrderType",
    "Position",
    "PositionChanged",
    "RequestRejected",
    "StopKind",
    "StopRequest",
    "StopTrailed",
    "TimeInForce",
    "TriggerDirection",
    "WalletChanged",
]
