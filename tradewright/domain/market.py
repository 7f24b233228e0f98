"""Instruments, candles and prices."""

from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Price = Annotated[Decimal, Field(gt=0, description="Price in quote currency per base unit.")]
Qty = Annotated[Decimal, Field(gt=0, description="Quantity in base currency.")]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9-]{4,32}$", description="Bybit's symbol.")]
"""Dated contracts, such as BTCUSDT-21FEB25, are listed and held beside the perpetual ones."""


class Value(BaseModel):
    """Base of what never changes once made, and knows its every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Side(StrEnum):
    """Order side, spelled as Bybit spells it."""

    BUY = "Buy"
    SELL = "Sell"

    # Not properties: the books ask for them more than for anything else
    opposite: "Side"
    sign: int
    """1 for a buy, -1 for a sell: the direction of gain."""


Side.BUY.opposite, Side.SELL.opposite = Side.SELL, Side.BUY
Side.BUY.sign, Side.SELL.sign = 1, -1


class Timeframe(StrEnum):
    """Length of a candle."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H12 = "12h"
    D1 = "1d"

    @property
    def length(self) -> timedelta:
        unit = {"m": 1, "h": 60, "d": 1440}[self.value[-1]]
        return timedelta(minutes=int(self.value[:-1]) * unit)

    @property
    def interval(self) -> str:
        """Return Bybit's name of it: minutes, or ``D`` for a day."""
        minutes = int(self.length.total_seconds()) // 60
        return "D" if minutes == 1440 else str(minutes)

    def closes_at(self, moment: datetime) -> bool:
        """Return whether a candle of this length closes at *moment* (UTC, aware)."""
        return int(moment.timestamp()) % int(self.length.total_seconds()) == 0


class Instrument(Value):
    """Trading rules of one symbol, from Bybit's `instruments-info`."""

    symbol: Symbol
    base_coin: str
    quote_coin: str = "USDT"
    tick_size: Price
    qty_step: Qty
    min_qty: Qty
    max_qty: Qty
    max_market_qty: Qty
    min_notional: Decimal = Decimal(5)
    max_leverage: Decimal = Decimal(100)

    def floor_qty(self, qty: Decimal) -> Decimal:
        """Round *qty* down to a multiple of `qty_step`; never up, for risk must not grow."""
        return (qty / self.qty_step).to_integral_value(ROUND_DOWN) * self.qty_step

    def floor_price(self, price: Decimal) -> Decimal:
        """Round *price* down to a multiple of `tick_size`."""
        return (price / self.tick_size).to_integral_value(ROUND_DOWN) * self.tick_size

    def ceil_price(self, price: Decimal) -> Decimal:
        """Round *price* up to a multiple of `tick_size`."""
        return (price / self.tick_size).to_integral_value(ROUND_UP) * self.tick_size

    def protective_price(self, price: Decimal, side: Side) -> Decimal:
        """Round a stop of a trade on *side* towards the entry, so that risk never grows."""
        return self.ceil_price(price) if side is Side.BUY else self.floor_price(price)

    def distant_price(self, price: Decimal, side: Side) -> Decimal:
        """Round a stop of a trade on *side* away from the market: not nearer than was asked."""
        return self.floor_price(price) if side is Side.BUY else self.ceil_price(price)


class Candle(Value):
    """One closed candle, named by its open time."""

    open_time: AwareDatetime
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Decimal = Field(ge=0, description="Base currency.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            raise ValueError(
                f"candle {self.open_time}: high {self.high} and low {self.low} must enclose "
                f"open {self.open} and close {self.close}"
            )
        return self
