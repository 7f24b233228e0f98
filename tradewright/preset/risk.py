"""How much a preset trades."""

import math
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from tradewright.domain.market import Price, Timeframe
from tradewright.domain.plan import CorrelationCap, FixedNotional, RiskFraction, Sizing
from tradewright.domain.plan import VolatilityTarget as Target
from tradewright.preset.section import Factor, Flag, Section, tag_by

MAX_RISK_FRACTION = Decimal("0.05")


class Period(StrEnum):
    """What a volatility is reckoned over."""

    DAY = "day"
    YEAR = "year"

    def candles(self, timeframe: Timeframe) -> float:
        """Return how many candles of *timeframe* there are in it; the market never rests."""
        days = 365 if self is Period.YEAR else 1
        return days * 86400 / timeframe.length.total_seconds()


class Correlation(Section):
    """Trade less of what moves as open trades do."""

    max: Decimal = Field(
        gt=0,
        lt=1,
        description="Above this correlation of returns with an open trade of the same direction "
        "the size is cut; one that is unknown counts as above.",
    )
    candles: int = Field(
        default=200, ge=20, le=1000, description="Of the trigger's timeframe, to measure it over."
    )
    share: Decimal = Field(
        default=Decimal("0.5"),
        ge=0,
        lt=1,
        description="Cut to this share of the size, once for each such trade; 0: no entry.",
    )

    def domain(self) -> CorrelationCap:
        return CorrelationCap(max=self.max, share=self.share)


class Sized(Section):
    """What every way of sizing has."""

    max_open_trades: int = Field(default=1, ge=1, le=20)
    leverage: Decimal = Field(default=Decimal(3), ge=1, le=25)
    scale_by_confidence: Flag = Field(
        default=True, description="The strategy's confidence, 0 to 1, scales the size."
    )
    correlation: Correlation | None = None


class RiskByFraction(Sized):
    """Lose at most a share of equity if the stop is hit."""

    sizing: Literal["risk_fraction"]
    risk_fraction: Decimal = Field(
        gt=0, le=MAX_RISK_FRACTION, description="Of equity, per trade: 0.005 is half a per cent."
    )

    def measured(
        self, price: Price, factors: Mapping[str, float], timeframe: Timeframe
    ) -> Sizing | None:
        """Return the sizing; nothing about it is measured."""
        return RiskFraction(risk_fraction=self.risk_fraction)


class RiskByNotional(Sized):
    """Trade the same value every time."""

    sizing: Literal["fixed_notional"]
    notional: Decimal = Field(gt=0, le=10_000_000, description="USDT per trade.")

    def measured(
        self, price: Price, factors: Mapping[str, float], timeframe: Timeframe
    ) -> Sizing | None:
        """Return the sizing; nothing about it is measured."""
        return FixedNotional(notional=self.notional)


class RiskByVolatility(Sized):
    """Trade less when the market moves more, so that a position moves by the same every day."""

    sizing: Literal["volatility_target"]
    target_volatility: Decimal = Field(
        gt=0, le=2, description="Of the position, as a share of equity: 0.01 is one per cent."
    )
    per: Period = Field(default=Period.DAY, description="What the target is reckoned over.")
    indicator: Factor = Field(
        description="The factor that measures volatility: a distance in price per candle, such as "
        "an ATR or a standard deviation."
    )
    max_risk_fraction: Decimal = Field(
        default=Decimal("0.01"),
        gt=0,
        le=MAX_RISK_FRACTION,
        description="However calm the market, lose no more of equity if the stop is hit.",
    )

    def measured(
        self, price: Price, factors: Mapping[str, float], timeframe: Timeframe
    ) -> Sizing | None:
        """Return the sizing with the volatility of the market; None while that is unknown.

        ``measured = factor / price * sqrt(candles in the period)``.
        """
        factor = factors.get(self.indicator)
        if factor is None or not math.isfinite(factor) or factor <= 0:
            return None
        per_candle = Decimal(repr(float(factor))) / price
        scale = Decimal(repr(math.sqrt(self.per.candles(timeframe))))
        return Target(
            target=self.target_volatility,
            measured=per_candle * scale,
            max_risk_fraction=self.max_risk_fraction,
        )


Risk = Annotated[
    Annotated[RiskByFraction, Tag("#risk_fraction")]
    | Annotated[RiskByNotional, Tag("#fixed_notional")]
    | Annotated[RiskByVolatility, Tag("#volatility_target")],
    Discriminator(tag_by("sizing", "risk_fraction", "fixed_notional", "volatility_target")),
]
