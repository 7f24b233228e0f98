"""What tests of the kill switch look at, and what it finds held."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tradewright.domain.account import Position
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side
from tradewright.ports import Exposure

Until = Callable[..., Any]
Failure = Callable[..., Any]


def waiting(state: Any) -> bool:
    return bool(state["step"] == "waiting")


def gate_is(gate: GateState) -> Callable[[Any], bool]:
    return lambda state: waiting(state) and state["gate"]["state"] == gate


def held() -> Exposure:
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )
    return Exposure(at=datetime.now(UTC), positions=(position,), orders=1)
