"""What a preset may say: the keys that work, their types and bounds, and nothing else."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tradewright import plugin
from tradewright.domain.market import Price, Symbol, Timeframe
from tradewright.domain.plan import FixedNotional, RiskFraction, Sizing, TrailedBy

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


By = Annotated[
    TrailedBy,
    Field(
        description="Who moves the stop: the exchange at each trade, also while nothing of ours "
        "runs, or tradewright at each closed minute."
    ),
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
    by: By = TrailedBy.EXCHANGE


class TrailingByFraction(ByFraction):
    """Follow the price at a share of it."""

    after_r: R
    by: By = TrailedBy.EXCHANGE


# Tags stand in pydantic's error locations; # keeps them apart from keys
def _way(value: Any) -> str:
    if isinstance(value, ByFraction) or (isinstance(value, Mapping) and "fraction" in value):
        return "#fraction"
    return "#indicator"


def _entry(value: Any) -> str:
    named = value.get("type") if isinstance(value, Mapping) else None
    return "#limit" if isinstance(value, EntryByLimit) or named == "limit" else "#market"


def _milestone(value: Any) -> str:
    if isinstance(value, BreakEvenAfterTarget):
        return "#after_target"
    is_target = isinstance(value, Mapping) and "after_target" in value
    return "#after_target" if is_target else "#after_r"


def _sizing(value: Any) -> str:
    if isinstance(value, RiskByNotional):
        return "#fixed_notional"
    named = value.get("sizing") if isinstance(value, Mapping) else None
    return "#fixed_notional" if named == "fixed_notional" else "#risk_fraction"


Distance = Annotated[
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


class EntryAtMarket(Section):
    """Enter at once, at what the market asks."""

    type: Literal["market"]
    expires_after: Duration = Field(description="The entry is never sent later than this.")


class EntryByLimit(Section):
    """Wait for a better price; what is not filled in time is cancelled."""

    type: Literal["limit"]
    expires_after: Duration = Field(description="The entry is never sent later than this.")
    offset: Distance | None = Field(
        default=None, description="From the close, below it for a long; unset: at the close."
    )
    rest_candles: int = Field(
        ge=1, le=1000, description="Wait so many candles of the trigger, then cancel."
    )
    post_only: bool = Field(
        default=False,
        description="Only ever wait in the book: cancelled if it would trade at once.",
    )


Entry = Annotated[
    Annotated[EntryAtMarket, Tag("#market")] | Annotated[EntryByLimit, Tag("#limit")],
    Discriminator(_entry),
]


class Target(Section):
    """Take profit there."""

    r: R


class PartialTarget(Target):
    """Take a part of the profit there, or, at the last one, all that is left."""

    close_fraction: Decimal | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Of what was opened; the last target takes the rest and has none.",
    )


class BreakEvenAfterGain(Section):
    """Move the stop to the entry, once the price has gained so much."""

    after_r: R


class BreakEvenAfterTarget(Section):
    """Move the stop to the entry, once so many targets were filled."""

    after_target: int = Field(ge=1, le=10)


BreakEven = Annotated[
    Annotated[BreakEvenAfterGain, Tag("#after_r")]
    | Annotated[BreakEvenAfterTarget, Tag("#after_target")],
    Discriminator(_milestone),
]


class Exits(Section):
    """How a trade ends. The stop stands at the exchange from the first moment."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"required": ["target", "targets"]}},
    )

    stop: Distance
    target: Target | None = None
    targets: tuple[PartialTarget, ...] | None = Field(
        default=None, min_length=1, max_length=10, description="Nearest first, instead of target."
    )
    break_even: BreakEven | None = None
    trailing: Trailing | None = None
    max_candles: int | None = Field(
        default=None, ge=1, le=10_000, description="Leave after so many candles of the trigger."
    )

    @model_validator(mode="after")
    def _aims_one_way(self) -> Self:
        if {"target", "targets"} <= self.model_fields_set:
            message = "'targets' does not go with target; remove one or the other"
            raise plugin.ParamsInvalid([plugin.ParamFault(("targets",), message, at_key=True)])
        return self

    @property
    def ladder(self) -> tuple[PartialTarget, ...]:
        """Return all targets, nearest first; the last one takes what is left."""
        if self.target is not None:
            return (PartialTarget(r=self.target.r),)
        return self.targets or ()


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
