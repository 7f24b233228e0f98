"""What the exchange shows of an account at one moment."""

from datetime import timedelta
from decimal import Decimal

from pydantic import AwareDatetime, Field

from tradewright.domain.account.limits import MarginMode, PositionMode
from tradewright.domain.account.past import Past
from tradewright.domain.account.tally import Tally
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
    margin_ratio: Decimal | None = Field(
        default=None, description="Maintenance margin over margin balance; liquidation is at 1."
    )
    liquidation_prices: dict[Symbol, Decimal] = Field(
        default_factory=dict, description="Of the positions for which the exchange names one."
    )
    cash: Tally | None = Field(default=None, description="None if the log was not read.")
    cash_fault: str = Field(default="", description="Why the log could not be read.")
    clock_skew: timedelta | None = None
    position_mode: PositionMode | None = Field(default=None, description="None: not asked.")
    margin_mode: MarginMode | None = None
    past: Past | None = Field(default=None, description="Only of the desk's first look.")
    past_fault: str = Field(default="", description="Why the journal could not be read.")

    @property
    def exposure(self) -> Decimal:
        """Return the value of all that is held, whatever its side, in USDT."""
        return sum((p.notional for p in self.positions), Decimal(0))

    @property
    def leverage(self) -> Decimal | None:
        return self.exposure / self.equity if self.equity > 0 else None

    @property
    def is_explained(self) -> bool:
        """Return whether all that moved the wallet is known."""
        return not self.cash_fault and (self.cash is None or self.cash.explained)

    @property
    def liquidation_distance(self) -> tuple[Symbol, Decimal] | None:
        """Return the position nearest to its liquidation, and how near: a share of its mark."""
        found = [
            (abs(p.mark_price - price) / p.mark_price, p.symbol)
            for p in self.positions
            if (price := self.liquidation_prices.get(p.symbol)) and p.mark_price > 0
        ]
        if not found:
            return None
        distance, symbol = min(found)
        return symbol, distance

    def without(self, symbol: str) -> "Snapshot":
        return self.model_copy(
            update={"positions": tuple(p for p in self.positions if p.symbol != symbol)}
        )
