"""What the exchange shows of an account at one moment."""

from decimal import Decimal

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Side, Symbol, Value


class Position(Value):
    """What the exchange says is held in one symbol."""

    symbol: Symbol
    side: Side
    qty: Decimal = Field(gt=0)
    entry_price: Decimal
    mark_price: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    unrealised_pnl: Decimal = Decimal(0)
    leverage: Decimal = Decimal(1)
    created_at: AwareDatetime | None = None

    @property
    def notional(self) -> Decimal:
        return self.qty * self.mark_price


class Snapshot(Value):
    """The account as the exchange shows it at one moment."""

    at: AwareDatetime = Field(description="Wall clock.")
    market_at: AwareDatetime = Field(description="Market clock.")
    equity: Decimal = Field(description="Wallet and unrealised PnL, USDT.")
    wallet: Decimal
    positions: tuple[Position, ...] = ()

    def without(self, symbol: str) -> "Snapshot":
        return self.model_copy(
            update={"positions": tuple(p for p in self.positions if p.symbol != symbol)}
        )
