"""What each book says of one account: the exchange's, the journal's and Temporal's."""

from decimal import Decimal
from typing import Self

from tradewright.domain.execution import Execution
from tradewright.domain.market import Side, Symbol, Value
from tradewright.domain.order import OrderState
from tradewright.domain.trade import Trade, TradeState


class LedgerOrder(Value):
    order_id: str
    order_link_id: str = ""
    symbol: Symbol
    side: Side
    qty: Decimal | None = None
    """None if this book does not know what was asked."""
    state: OrderState


class LedgerExecution(Value):
    exec_id: str
    order_id: str
    order_link_id: str = ""
    symbol: Symbol
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    trade_id: str = ""
    """Empty in the exchange's book, which knows no trades."""

    @classmethod
    def of(cls, execution: Execution, trade_id: str = "") -> Self:
        fields = set(cls.model_fields) - {"trade_id"}
        return cls(**execution.model_dump(include=fields), trade_id=trade_id)


class LedgerTrade(Value):
    trade_id: str
    symbol: Symbol
    state: TradeState
    pnl: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)

    @property
    def traded(self) -> Decimal:
        """Return what was earned without funding, which no execution shows."""
        return self.pnl - self.funding

    @classmethod
    def of(cls, trade: Trade) -> Self:
        plan = trade.plan
        return cls(
            trade_id=plan.trade_id,
            symbol=plan.symbol,
            state=trade.state,
            pnl=trade.pnl,
            fees=trade.fees,
            funding=trade.funding,
        )


class Ledger(Value):
    """What the exchange says of one account."""

    orders: tuple[LedgerOrder, ...] = ()
    executions: tuple[LedgerExecution, ...] = ()


class Books(Ledger):
    """What the journal says of one account."""

    trades: tuple[LedgerTrade, ...] = ()


class WorkflowTrade(Value):
    """What Temporal says of one trade."""

    trade: Trade
    ended: bool
    """Whether its workflow has, in whatever way."""
