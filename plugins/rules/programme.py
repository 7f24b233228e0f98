"""What a preset's rules come to: what is computed, in which order, and from how many candles."""

from collections.abc import Mapping
from dataclasses import dataclass

from plugins.rules.indicator import Indicator
from tradewright import plugin
from tradewright.domain.market import Timeframe
from tradewright.rules import Kind, Rule
from tradewright.rules.catalogue import Function


@dataclass(frozen=True, slots=True)
class Source:
    """Candles beside the strategy's own."""

    symbol: str = ""
    timeframe: Timeframe | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """An indicator whose inputs are known."""

    name: str
    function: Function
    parameters: Mapping[str, int | float]
    source: str
    """Whose candles it is reckoned on; empty: the strategy's own."""
    inputs: tuple[str, ...]
    """Names of series, in the function's order; columns of *source* are named in full."""
    outputs: Mapping[str, int]
    """Which of the function's outputs each name means."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.inputs)


@dataclass(frozen=True, slots=True)
class Let:
    """An expression with a name."""

    name: str
    rule: Rule

    @property
    def names(self) -> frozenset[str]:
        return self.rule.names


@dataclass(frozen=True, slots=True)
class Declared:
    """What a person wrote, each part by name."""

    symbols: Mapping[str, str]
    timeframes: Mapping[str, Timeframe]
    indicators: Mapping[str, Indicator]
    lets: Mapping[str, str]
    rules: Mapping[tuple[str, ...], tuple[str, Kind]]
    """By the way to it in the parameters."""


@dataclass(frozen=True, slots=True)
class Programme:
    """All that is evaluated, ready for any evaluator."""

    definitions: tuple[Measure | Let, ...]
    """Each after what it is computed from."""
    rules: Mapping[tuple[str, ...], Rule]
    sources: Mapping[str, Source]
    """Those that are used."""
    needs: plugin.Needs
    only_now: frozenset[str]
    """Names that are known at the last candle alone."""
    leaves: frozenset[str]
    """Names that are used and not defined: columns and extra series."""
    looked_back: frozenset[str]
    """Of `sources`, those at which rules look back from candle to candle of the trigger's."""

    def is_distance(self, measure: Measure) -> bool:
        """Return whether *measure* is a distance in the price of the symbol that is looked at."""
        return measure.function.distance and all(map(self._may_be_price, measure.inputs))

    def _may_be_price(self, name: str) -> bool:
        source, _, column = name.rpartition(".")
        if source in self.sources and self.sources[source].symbol:
            return False
        return column != "volume" and name not in ("funding_rate", "open_interest")
