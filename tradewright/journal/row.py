"""What the journal gives back: one frozen model per kind of row."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime

from tradewright.domain.account import Position
from tradewright.domain.event import JournalEvent
from tradewright.domain.execution import ExitReason
from tradewright.domain.ledger import LedgerExecution, LedgerOrder, LedgerTrade
from tradewright.domain.market import Side, Value
from tradewright.domain.order import OrderState
from tradewright.domain.plan import Mode, Origin
from tradewright.domain.trade import TradeState
from tradewright.ports import MarketView


class Leg(StrEnum):
    """What an order is to its trade."""

    ENTRY = "entry"
    EXIT = "exit"
    TARGET = "target"
    STOP = "stop"
    LIQUIDATION = "liquidation"
    KILL = "kill"
    BY_HAND = "by_hand"


class Stage(StrEnum):
    """Where something was refused."""

    DECISION = "decision"
    """The desk refused the proposal."""
    EVALUATION = "evaluation"
    """The strategy's side did, before the desk was asked."""
    ENTRY = "entry"
    """The entry was refused at the gate or rejected by the exchange."""
    MESSAGE = "message"
    """A message could not be read."""


class EventRow(Value):
    seq: int
    chain_seq: int
    event: JournalEvent
    prev_hash: str
    hash: str


class TradeRow(Value):
    trade_id: str
    workflow_id: str
    account: str
    preset: str
    preset_hash: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    """Expected entry."""
    stop_loss: Decimal
    """Of the plan; `stop` is the one that the exchange confirmed last."""
    take_profit: Decimal | None
    stop: Decimal | None
    state: TradeState
    live: bool
    needs: str
    """What waits for an operator; empty if nothing does."""
    origin: Origin
    reason: str
    entry_price: Decimal | None
    exit_price: Decimal | None
    open_qty: Decimal
    pnl: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)
    """Received; what was paid is negative. `pnl` holds it."""
    risk: Decimal
    r_multiple: Decimal | None
    exit_reason: ExitReason | None
    exit_note: str
    exit_by: str
    rejection: str
    trigger: AwareDatetime
    """Market clock."""
    decided_at: AwareDatetime
    opened_at: AwareDatetime | None
    """Market clock, as is `closed_at`."""
    closed_at: AwareDatetime | None
    updated_at: AwareDatetime
    factors: dict[str, float | None]
    """At the decision, as is `market`."""
    market: dict[str, str]
    open_view: MarketView | None
    close_view: MarketView | None

    @property
    def ledger(self) -> LedgerTrade:
        return LedgerTrade(
            trade_id=self.trade_id,
            symbol=self.symbol,
            state=self.state,
            pnl=self.pnl,
            fees=self.fees,
            funding=self.funding,
        )


class OrderRow(Value):
    account: str
    trade_id: str
    order_id: str
    order_link_id: str
    symbol: str
    side: Side
    leg: Leg
    state: OrderState
    qty: Decimal | None
    """None if nobody told us."""
    price: Decimal | None
    filled_qty: Decimal
    fees: Decimal
    detail: str
    sent_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def ledger(self) -> LedgerOrder:
        fields = {name: getattr(self, name) for name in LedgerOrder.model_fields}
        return LedgerOrder.model_validate(fields)


class ExecutionRow(Value):
    account: str
    trade_id: str
    exec_id: str
    seq: int
    order_id: str
    order_link_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    at: AwareDatetime
    is_maker: bool
    cause: ExitReason | None

    @property
    def ledger(self) -> LedgerExecution:
        fields = {name: getattr(self, name) for name in LedgerExecution.model_fields}
        return LedgerExecution.model_validate(fields)


class SignalRow(Value):
    at: AwareDatetime
    trade_id: str
    account: str
    preset: str
    preset_hash: str
    symbol: str
    side: Side
    reason: str
    confidence: Decimal
    price: Decimal
    stop_loss: Decimal
    take_profit: Decimal | None
    trigger: AwareDatetime
    window: str
    factors: dict[str, float | None]
    market: dict[str, str]
    approved: bool
    qty: Decimal | None
    code: str
    """Of the refusal; empty if approved."""
    refusal: str
    mode: Mode = Mode.TRADE


class RefusalRow(Value):
    at: AwareDatetime
    stage: Stage
    trade_id: str
    account: str
    preset: str
    symbol: str
    code: str
    reason: str


class SnapshotRow(Value):
    account: str
    at: AwareDatetime
    market_at: AwareDatetime
    equity: Decimal
    wallet: Decimal
    positions: tuple[Position, ...]


class StoredPreset(Value):
    hash: str
    name: str
    document: str
    plugin: str
    applied_at: AwareDatetime
    by: str


def fields_of(model: type[Value], row: Any) -> dict[str, Any]:
    """Return those columns of *row* that *model* has."""
    return {name: value for name, value in row._mapping.items() if name in model.model_fields}
