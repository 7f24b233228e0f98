"""What a preset may say: the keys that work, their types and bounds, and nothing else."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from tradewright import plugin
from tradewright.domain.market import Price, Symbol, Timeframe
from tradewright.domain.plan import FixedNotional, RiskFraction, Sizing

DURATION = r"^[1-9][0-9]{0,4}[smhd]$"
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.fullmatch(DURATION[1:-1], value):
        return timedelta(seconds=int(value[:-1]) * _UNIT[value[-1]])
    raise PydanticCustomError("duration", "not a duration")


def _spelled(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    unit = next(u for u in "dhms" if not seconds % _UNIT[u])
    return f"{seconds // _UNIT[unit]}{unit}"


def _unique(symbols: tuple[str, ...]) -> tuple[str, ...]:
    for number, symbol in enumerate(symbols):
        if symbol in symbols[:number]:
            raise PydanticCustomError("duplicate", "listed twice", {"at": number})
    return symbols


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_spelled, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["30s", "5m", "1h", "1d"]}),
]
R = Annotated[
    Decimal, Field(gt=0, le=100, description="In multiples of R, the distance from entry to stop.")
]
Factor = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,29}$",
        description="A factor of the strategy that is a distance in price, such as an ATR.",
    ),
]
Times = Annotated[Decimal, Field(gt=0, le=100, description="Distance: the factor times this.")]
Fraction = Annotated[
    Decimal, Field(gt=0, le=Decimal("0.5"), description="Distance: 0.02 is two per cent of price.")
]


class Section(plugin.Params):
    """A mapping of a preset."""


class ByIndicator(Section):
    """A distance that follows the market."""

    indicator: Factor
    times: Times

    def distance(self, price: Price, factors: Mapping[str, float]) -> Decimal | None:
        """Return the distance in price, or None while the factor is unknown."""
        factor = factors.get(self.indicator)
        return None if factor is None else Decimal(repr(float(factor))) * self.times


class ByFraction(Section):
    """A distance that is a share of the price."""

    fraction: Fraction

    def distance(self, price: Price, factors: Mapping[str, float]) -> Decimal | None:
        """Return the distance in price; the factors do not matter."""
        return price * self.fraction


class TrailingByIndicator(ByIndicator):
    """Follow the price at a distance that follows the market."""

    after_r: R


class TrailingByFraction(ByFraction):
    """Follow the price at a share of it."""

    after_r: R


# Tags stand in pydantic's error locations; # keeps them apart from keys
def _way(value: Any) -> str:
    if isinstance(value, ByFraction) or (isinstance(value, Mapping) and "fraction" in value):
        return "#fraction"
    return "#indicator"


def _sizing(value: Any) -> str:
    if isinstance(value, RiskByNotional):
        return "#fixed_notional"
    named = value.get("sizing") if isinstance(value, Mapping) else None
    return "#fixed_notional" if named == "fixed_notional" else "#risk_fraction"


Stop = Annotated[
    Annotated[ByIndicator, Tag("#indicator")] | Annotated[ByFraction, Tag("#fraction")],
    Discriminator(_way),
]
Trailing = Annotated[
    Annotated[TrailingByIndicator, Tag("#indicator")]
    | Annotated[TrailingByFraction, Tag("#fraction")],
    Discriminator(_way),
]


class Market(Section):
    """What is traded."""

    category: Literal["linear"] = Field(description="USDT perpetuals.")
    symbols: Annotated[tuple[Symbol, ...], AfterValidator(_unique)] = Field(
        min_length=1, max_length=20, json_schema_extra={"uniqueItems": True}
    )


class Trigger(Section):
    """When the strategy is asked."""

    on: Literal["candle"] = Field(description="At the close of each candle.")
    timeframe: Timeframe


class StrategyChoice(Section):
    """Who is asked."""

    plugin: str = Field(
        min_length=1, description="An installed strategy: rules, donchian_breakout, or another."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Checked by the plugin; see schemas/plugins/."
    )


class Entry(Section):
    """How a trade begins."""

    type: Literal["market"]
    expires_after: Duration = Field(description="The entry is never sent later than this.")


class Target(Section):
    """Take profit there."""

    r: R


class BreakEven(Section):
    """Move the stop to the entry, once."""

    after_r: R


class Exits(Section):
    """How a trade ends. The stop stands at the exchange from the first moment."""

    stop: Stop
    target: Target | None = None
    break_even: BreakEven | None = None
    trailing: Trailing | None = None
    max_candles: int | None = Field(
        default=None, ge=1, le=10_000, description="Leave after so many candles of the trigger."
    )


class RiskByFraction(Section):
    """Lose at most a share of equity if the stop is hit."""

    sizing: Literal["risk_fraction"]
    risk_fraction: Decimal = Field(
        gt=0, le=Decimal("0.05"), description="Of equity, per trade: 0.005 is half a per cent."
    )
    max_open_trades: int = Field(default=1, ge=1, le=20)
    leverage: Decimal = Field(default=Decimal(3), ge=1, le=25)

    def domain(self) -> Sizing:
        return RiskFraction(risk_fraction=self.risk_fraction)


class RiskByNotional(Section):
    """Trade the same value every time."""

    sizing: Literal["fixed_notional"]
    notional: Decimal = Field(gt=0, le=10_000_000, description="USDT per trade.")
    max_open_trades: int = Field(default=1, ge=1, le=20)
    leverage: Decimal = Field(default=Decimal(3), ge=1, le=25)

    def domain(self) -> Sizing:
        return FixedNotional(notional=self.notional)


Risk = Annotated[
    Annotated[RiskByFraction, Tag("#risk_fraction")]
    | Annotated[RiskByNotional, Tag("#fixed_notional")],
    Discriminator(_sizing),
]


class Protections(Section):
    """When not to trade."""

    cooldown_candles: int = Field(
        default=0, ge=0, le=10_000, description="Rest after a trade, per symbol."
    )


class Preset(Section):
    """One declared strategy: what to trade, when, with which plugin, exits and risk."""

    version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9-]{3,40}$", description="Unique among the presets.")
    account: str = Field(default="main", pattern=r"^[a-z0-9-]{1,40}$")
    mode: Literal["trade"] = "trade"
    market: Market
    trigger: Trigger
    strategy: StrategyChoice
    entry: Entry
    exits: Exits
    risk: Risk
    protections: Protections = Protections()

    @property
    def cooldown(self) -> timedelta:
        return self.protections.cooldown_candles * self.trigger.timeframe.length
