"""What a trade is to do: proposed by a strategy's evaluation, sized by the account, then fixed."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tradewright.domain.market import Instrument, Price, Qty, Side, Symbol, Timeframe, Value
from tradewright.domain.protection import Guards
from tradewright.domain.signal import Signal


class RiskFraction(Value):
    """Lose at most this share of equity if the stop is hit."""

    kind: Literal["risk_fraction"] = "risk_fraction"
    risk_fraction: Decimal = Field(gt=0, le=1, description="0.01 is one per cent of equity.")


class FixedNotional(Value):
    """Trade the same value every time."""

    kind: Literal["fixed_notional"] = "fixed_notional"
    notional: Decimal = Field(gt=0, description="USDT.")


class VolatilityTarget(Value):
    """Hold so much that the position moves by a share of equity, as the market moves now."""

    kind: Literal["volatility_target"] = "volatility_target"
    target: Decimal = Field(gt=0, description="Of the position, over some time, 0.01: 1 per cent.")
    measured: Decimal = Field(gt=0, description="Of the market, over the same time.")
    max_risk_fraction: Decimal = Field(
        gt=0, le=1, description="Of equity; lost at most if the stop is hit."
    )


Sizing = Annotated[RiskFraction | FixedNotional | VolatilityTarget, Field(discriminator="kind")]


class CorrelationCap(Value):
    """Cut the size of what moves as open trades do."""

    max: Decimal = Field(gt=0, lt=1, description="Above it, trades move together.")
    share: Decimal = Field(ge=0, lt=1, description="What is left, for each such trade.")


class MarketEntry(Value):
    """Enter at once, at what the market asks."""

    kind: Literal["market"] = "market"


class LimitEntry(Value):
    """Enter at the plan's price or better, and wait for it until a time."""

    kind: Literal["limit"] = "limit"
    post_only: bool = False
    rest_until: AwareDatetime = Field(description="Market clock; it is cancelled then.")


EntryTerms = Annotated[MarketEntry | LimitEntry, Field(discriminator="kind")]


class Target(Value):
    """Take a part of the profit here."""

    price: Price
    fraction: Decimal = Field(gt=0, lt=1, description="Of what was opened; rounded down.")


class TrailedBy(StrEnum):
    """Who moves a trailing stop."""

    CANDLE = "candle"
    """We, at each closed minute."""
    EXCHANGE = "exchange"
    """The exchange, at each trade, also while nobody of us runs."""


class Trailing(Value):
    """Follow the price at a distance, once the gain has reached a multiple of R."""

    after_r: Decimal = Field(ge=0)
    distance: Price
    by: TrailedBy = TrailedBy.CANDLE


class ExitRules(Value):
    """How an open trade is managed, beside the stop and the target that stand at the exchange."""

    break_even_after_r: Decimal | None = Field(default=None, gt=0)
    break_even_after_target: int | None = Field(
        default=None, ge=1, description="So many targets were filled."
    )
    trailing: Trailing | None = None
    max_candles: int | None = Field(default=None, ge=1)
    timeframe: Timeframe


class FeeRates(Value):
    """What an order costs, as a share of what it trades; a rebate is below zero."""

    taker: Decimal = Field(
        default=Decimal("0.00055"),
        gt=Decimal("-0.01"),
        lt=Decimal("0.01"),
        description="Of what takes from the book; Bybit's without a tier, November 2026.",
    )
    maker: Decimal = Field(
        default=Decimal("0.0002"),
        gt=Decimal("-0.01"),
        lt=Decimal("0.01"),
        description="Of what waits in the book.",
    )


class Mode(StrEnum):
    """What comes of a preset's signals."""

    TRADE = "trade"
    SHADOW = "shadow"
    """Decided, sized and followed to the end at live prices; nothing is sent."""
    ALERT = "alert"
    """A person is told."""


class Proposal(Value):
    """A signal with all that the account needs to decide on it."""

    trade_id: str
    account: str
    preset: str
    preset_hash: str
    symbol: Symbol
    signal: Signal
    trigger: AwareDatetime = Field(description="Close time of the candle; market clock.")
    price: Price = Field(description="Expected entry: that candle's close, or the limit.")
    stop_loss: Price
    take_profit: Price | None = None
    entry: EntryTerms = MarketEntry()
    targets: tuple[Target, ...] = ()
    exits: ExitRules
    sizing: Sizing
    leverage: Decimal = Field(ge=1)
    max_open_trades: int = Field(ge=1)
    cooldown: timedelta = timedelta(0)
    expires_after: timedelta
    instrument: Instrument
    window: str = Field(description="Key of the candles that were decided on.")
    market: dict[str, str] = Field(default_factory=dict, description="Ticker at the decision.")
    mode: Mode = Mode.TRADE
    scale_by_confidence: bool = True
    correlation: CorrelationCap | None = None
    correlations: dict[str, float] = Field(
        default_factory=dict,
        description="Of returns, -1 to 1, by the other symbol; what is missing is unknown.",
    )
    guards: Guards | None = None
    max_slippage_bp: Decimal | None = Field(
        default=None, gt=0, description="At market, against the price; in basis points."
    )


class Origin(StrEnum):
    """Where a trade comes from."""

    SIGNAL = "signal"
    ADOPTED = "adopted"


class TradePlan(Value):
    """What a trade is to do, fixed when it starts."""

    trade_id: str = Field(pattern=r"^tw[a-z2-7]{16}$")
    account: str
    preset: str
    preset_hash: str
    symbol: Symbol
    side: Side
    qty: Qty
    price: Price = Field(description="Expected entry; of a limit entry its limit.")
    stop_loss: Price
    take_profit: Price | None = Field(
        default=None, description="Of all that is left then; stands at the position."
    )
    entry: EntryTerms = MarketEntry()
    targets: tuple[Target, ...] = Field(
        default=(), description="Before the take profit, nearest first; orders of their own."
    )
    exits: ExitRules
    leverage: Decimal = Field(ge=1)
    instrument: Instrument
    origin: Origin = Origin.SIGNAL
    reason: str = ""
    factors: dict[str, float] = Field(default_factory=dict)
    market: dict[str, str] = Field(default_factory=dict)
    trigger: AwareDatetime = Field(description="Market clock.")
    decided_at: AwareDatetime = Field(description="Wall clock.")
    cooldown: timedelta = timedelta(0)
    guards: Guards | None = None
    max_slippage_bp: Decimal | None = Field(
        default=None, gt=0, description="At market, against the price; in basis points."
    )
    expires_at: AwareDatetime = Field(description="Wall clock; the entry is not sent later.")
    mode: Mode = Field(default=Mode.TRADE, description="Only the first is ever sent.")
    fees: FeeRates | None = Field(
        default=None, description="What a virtual trade pays; unset, who has no tier."
    )

    @property
    def risk(self) -> Decimal:
        """Return R: what is lost between the expected entry and the stop, in quote currency."""
        return abs(self.price - self.stop_loss) * self.qty

    @property
    def notional(self) -> Decimal:
        return self.price * self.qty

    @property
    def rest_until(self) -> datetime | None:
        """Return until when the entry may wait for its price; None if it does not wait."""
        return self.entry.rest_until if isinstance(self.entry, LimitEntry) else None
