"""What a person writes under `strategy.params` of a preset with rules."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from plugins.rules.indicator import Indicator
from plugins.rules.programme import Declared, Programme
from plugins.rules.resolution import MEANINGS, Resolution
from tradewright import plugin, rules
from tradewright.domain.market import Symbol, Timeframe
from tradewright.rules import Kind

KINDS = {
    "long": Kind.CONDITION,
    "short": Kind.CONDITION,
    "exit_long": Kind.CONDITION,
    "exit_short": Kind.CONDITION,
    "confidence": Kind.NUMBER,
}
WORD = r"^[a-z][a-z0-9_]{0,29}$"

Word = Annotated[str, StringConstraints(pattern=WORD)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=rules.MAX_LENGTH)]

_words: list[JsonValue] = [*sorted(MEANINGS)]
NAMED: dict[str, JsonValue] = {"propertyNames": {"pattern": WORD, "not": {"enum": _words}}}
ONE_SIDE: list[JsonValue] = [
    {"required": [side], "properties": {side: {"type": "string"}}} for side in ("long", "short")
]


class Degraded(plugin.Params):
    """What counts instead while the data is bad and the preset says `on_bad: degrade`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    long: Expression | None = Field(default=None, description="Buy when true.")
    short: Expression | None = Field(default=None, description="Sell when true.")
    exit_long: Expression | None = Field(default=None, description="Leave a long when true.")
    exit_short: Expression | None = Field(default=None, description="Leave a short when true.")
    confidence: Expression | None = Field(default=None, description="Scales the size.")


class Params(plugin.Params):
    """Indicators and expressions: see docs/rules.md."""

    model_config = ConfigDict(json_schema_extra={"anyOf": ONE_SIDE})

    symbols: dict[Word, Symbol] = Field(
        default_factory=dict,
        max_length=10,
        description="Other symbols by short names: with btc, rules know btc.close.",
        json_schema_extra=NAMED,
    )
    timeframes: dict[Word, Timeframe] = Field(
        default_factory=dict,
        max_length=5,
        description="Other timeframes by short names: with h1, rules know h1.close.",
        json_schema_extra=NAMED,
    )
    indicators: dict[Word, Indicator] = Field(
        default_factory=dict,
        max_length=30,
        description="Named series for the expressions, by TA-Lib function.",
        json_schema_extra=NAMED,
    )
    let: dict[Word, Expression] = Field(
        default_factory=dict,
        max_length=30,
        description="Named expressions, numbers or conditions, for other expressions.",
        json_schema_extra=NAMED,
    )
    long: Expression | None = Field(
        default=None, description="Buy when true, such as cross_up(fast, slow) and rsi < 70."
    )
    short: Expression | None = Field(default=None, description="Sell when true.")
    exit_long: Expression | None = Field(
        default=None, description="Leave a long when true, such as cross_down(fast, slow)."
    )
    exit_short: Expression | None = Field(default=None, description="Leave a short when true.")
    confidence: Expression | None = Field(
        default=None, description="Number that scales the size; clipped to 0.1 and 1."
    )
    degraded: Degraded | None = Field(
        default=None, description="Rules for bad data; with `on_bad: degrade` alone."
    )

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        faults = [*self._missing()]
        resolution = Resolution(self._declared())
        resolution.programme()
        faults += resolution.faults
        if faults:
            raise plugin.ParamsInvalid(faults)
        return self

    def _missing(self) -> Iterator[plugin.ParamFault]:
        if self.long is None and self.short is None:
            yield plugin.ParamFault((), "neither long nor short; write one of them")
        if self.degraded is not None and not self.degraded.model_fields_set:
            yield plugin.ParamFault(("degraded",), "no rules; write one of them or leave it out")

    def programme(self) -> Programme:
        """Return what is to be evaluated."""
        resolution = Resolution(self._declared())
        programme = resolution.programme()
        if programme is None:
            raise plugin.ParamsInvalid(resolution.faults)
        return programme

    def _declared(self) -> Declared:
        written: dict[tuple[str, ...], Any] = {(key,): getattr(self, key) for key in KINDS}
        if self.degraded is not None:
            written |= {("degraded", key): getattr(self.degraded, key) for key in KINDS}
        texts: Mapping[tuple[str, ...], tuple[str, Kind]] = {
            path: (text, KINDS[path[-1]]) for path, text in written.items() if text is not None
        }
        return Declared(self.symbols, self.timeframes, self.indicators, self.let, texts)
