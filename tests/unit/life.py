"""Plans and events of a trade, valid and short to write."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tradewright.domain.execution import Execution
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    Executed,
    PositionRead,
    Started,
    Trade,
    TradeEvent,
    TradeState,
    Trigger,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
S, T = TradeState, Trigger


def at(second: int) -> datetime:
    return NOON + timedelta(seconds=second)


def make_plan(**changes: Any) -> TradePlan:
    fields = {
        "trade_id": "tw" + "a" * 16,
        "account": "main",
        "preset": "ema",
        "preset_hash": "c0ffee",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "qty": Decimal("0.1"),
        "price": Decimal(50_000),
        "stop_loss": Decimal(49_500),
        "exits": ExitRules(timeframe=Timeframe.M1),
        "leverage": Decimal(3),
        "instrument": Instrument(
            symbol="BTCUSDT",
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
        ),
        "trigger": NOON,
        "decided_at": NOON,
        "expires_at": at(30),
    }
    return TradePlan.model_validate(fields | changes)


def fill(number: int, side: Side = Side.BUY, qty: str = "0.1", **changes: Any) -> Executed:
    fields = {
        "exec_id": f"e{number}",
        "seq": number,
        "order_id": f"o{number}",
        "symbol": "BTCUSDT",
        "side": side,
        "price": Decimal(50_000) + 100 * number,
        "qty": Decimal(qty),
        "fee": Decimal("0.5"),
        "at": at(number),
    }
    return Executed(execution=Execution.model_validate(fields | changes))


def read(qty: str = "0", second: int = 59, *, settled: bool = True) -> PositionRead:
    """Return a read of the position; one that says flat is by default the one that settles."""
    return PositionRead(qty=Decimal(qty), at=at(second), settled=settled)


def after(*events: TradeEvent, trade: Trade | None = None) -> Trade:
    trade = trade or Trade(plan=make_plan())
    for event in events:
        trade = trade.after(event)
    return trade


ENTERED = (Started(), EntryPlaced(order_id="o"))
OPENED = (*ENTERED, fill(1))
