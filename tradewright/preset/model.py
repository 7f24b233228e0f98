"""What a preset may say: the keys that work, their types and bounds, and nothing else."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from tradewright import plugin
from tradewright.domain.plan import Mode, TrailedBy
from tradewright.preset.market import Market, Trigger
from tradewright.preset.protection import DataTerms, Protections
from tradewright.preset.risk import Risk
from tradewright.preset.section import ByFraction as ByFraction
from tradewright.preset.section import ByIndicator as ByIndicator
from tradewright.preset.section import Duration, Flag, Section, tag_by

R = Annotated[
    Decimal, Field(gt=0, le=100, description="In multiples of R, the distance from entry to stop.")
]
By = Annotated[
    TrailedBy,
    Field(
        description="Who moves the stop: the exchange at each trade, also while nothing of ours "
        "runs, or tradewright at each closed minute."
    ),
]


class TrailingByIndicator(ByIndicator):
    """Follow the price at a distance that follows the market."""

    after_r: R
    by: By = TrailedBy.EXCHANGE


class TrailingByFraction(ByFraction):
    """Follow the price at a share of it."""

    after_r: R
    by: By = TrailedBy.EXCHANGE


def _way(value: Any) -> str:
    if isinstance(value, ByFraction) or (isinstance(value, Mapping) and "fraction" in value):
        return "#fraction"
    return "#indicator"


def _milestone(value: Any) -> str:
    if isinstance(value, BreakEvenAfterTarget):
        return "#after_target"
    is_target = isinstance(value, Mapping) and "after_target" in value
    return "#after_target" if is_target else "#after_r"


Distance = Annotated[
    Annotated[ByIndicator, Tag("#indicator")] | Annotated[ByFraction, Tag("#fraction")],
    Discriminator(_way),
]
Trailing = Annotated[
    Annotated[TrailingByIndicator, Tag("#indicator")]
    | Annotated[TrailingByFraction, Tag("#fraction")],
    Discriminator(_way),
]


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
    post_only: Flag = Field(
        default=False,
        description="Only ever wait in the book: cancelled if it would trade at once.",
    )


Entry = Annotated[
    Annotated[EntryAtMarket, Tag("#market")] | Annotated[EntryByLimit, Tag("#limit")],
    Discriminator(tag_by("type", "market", "limit")),
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


class Preset(Section):
    """One declared strategy: what to trade, when, with which plugin, exits and risk."""

    version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9-]{3,40}$", description="Unique among the presets.")
    account: str = Field(default="main", pattern=r"^[a-z0-9-]{1,40}$")
    enabled: Flag = Field(
        default=True, description="false: no entries; open trades run on to their end."
    )
    mode: Mode = Field(
        default=Mode.TRADE,
        description="shadow decides, and follows the trade without sending anything; alert tells.",
    )
    market: Market
    trigger: Trigger
    strategy: StrategyChoice
    entry: Entry
    exits: Exits
    risk: Risk
    protections: Protections = Protections()
    data: DataTerms = DataTerms()

    @property
    def cooldown(self) -> timedelta:
        return self.protections.cooldown_candles * self.trigger.timeframe.length
