"""A desk, what is proposed to it, and what it holds: valid and short to write."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tradewright.domain.account import (
    Account,
    Approved,
    Decision,
    Limits,
    Position,
    RefusalCode,
    Refused,
    Released,
    Snapshot,
    Unresolved,
    decide,
)
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, Proposal, RiskFraction, TradePlan
from tradewright.domain.signal import Signal

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""Market clock."""
Code = RefusalCode


def trade_id(number: int) -> str:
    return "tw" + f"{number:04d}".translate(str.maketrans("0123456789", "abcdefghij")) * 4


def proposal(number: int = 1, **changes: Any) -> Proposal:
    side = changes.pop("side", Side.BUY)
    symbol = changes.pop("symbol", "BTCUSDT")
    fields = {
        "trade_id": trade_id(number),
        "account": "main",
        "preset": "ema",
        "preset_hash": "c0ffee",
        "symbol": symbol,
        "signal": Signal(side=side, reason="test"),
        "trigger": NOON,
        "price": Decimal(50_000),
        "stop_loss": Decimal(50_000) - 500 * side.sign,
        "exits": ExitRules(timeframe=Timeframe.M1),
        "sizing": RiskFraction(risk_fraction=Decimal("0.005")),
        "leverage": Decimal(3),
        "max_open_trades": 2,
        "expires_after": timedelta(seconds=30),
        "instrument": Instrument(
            symbol=symbol,
            base_coin="BTC",
            tick_size=Decimal("0.1"),
            qty_step=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            max_market_qty=Decimal(100),
            max_leverage=Decimal(50),
        ),
        "window": "w",
    }
    return Proposal.model_validate(fields | changes)


def snapshot(equity: str = "10000", **changes: Any) -> Snapshot:
    fields = {"at": NOW, "market_at": NOON, "equity": equity, "wallet": equity}
    return Snapshot.model_validate(fields | changes)


def position(symbol: str = "BTCUSDT", qty: str = "0.1") -> Position:
    return Position(
        symbol=symbol,
        side=Side.BUY,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )


def desk(**changes: Any) -> Account:
    started = NOW - timedelta(hours=1)
    open_desk = Account(name="main", started_at=started, reconciled_at=NOW).observed(snapshot())
    return open_desk.model_copy(update=changes)


def plan_of(wish: Proposal) -> TradePlan:
    decision = decide(wish, desk(), Limits(), NOW)
    assert isinstance(decision, Approved)
    return decision.plan


def holding(*wishes: Proposal, **changes: Any) -> Account:
    account = desk(**changes)
    for wish in wishes:
        account = account.reserved(plan_of(wish), NOW)
    return account


def refusal(decision: Decision) -> RefusalCode | None:
    return decision.code if isinstance(decision, Refused) else None


HOUR = timedelta(hours=1)
IN_DOUBT = Unresolved(
    trade_id=trade_id(9), symbol="BTCUSDT", order_link_id=f"{trade_id(9)}-e1", since=NOW - HOUR
)
OTHER = {"preset": "donchian", "trigger": NOON - timedelta(minutes=5)}


def released(*numbers: int) -> Account:
    account = desk()
    for number in numbers:
        account = account.reserved(plan_of(proposal(number)), NOW)
        account = account.released(Released(trade_id=trade_id(number), at=NOON))
    return account
