"""The interface of strategy plugins; third parties import this module and `tradewright.domain`."""

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value
from tradewright.domain.signal import ExitSignal, Signal

if TYPE_CHECKING:
    from pandas import DataFrame

ENTRY_POINT_GROUP = "tradewright.strategies"


class Params(Value):
    """Base of every strategy's parameters: what a person wrote, taken at its word.

    Unknown keys are errors, and so is quoted text or a boolean where a number belongs.
    Numbers arrive as `int` or, with a fraction or an exponent, as exact `Decimal`.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_number_where_one_belongs(cls, value: Any, info: ValidationInfo) -> Any:
        if info.mode == "json" or not isinstance(value, bool | str):
            return value
        annotation = cls.model_fields[info.field_name or ""].annotation
        if _takes_numbers_only(annotation):
            raise PydanticCustomError("number_type", "not a number")
        return value


def _takes_numbers_only(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return all(type(choice) is int for choice in get_args(annotation))
    kinds = set(get_args(annotation) or (annotation,)) - {NoneType}
    return bool(kinds) and kinds <= {int, float, Decimal}


class ParamFault(NamedTuple):
    """One mistake in a strategy's parameters."""

    path: tuple[str | int, ...]
    """Where it is, from the parameters down: ``("indicators", "fast", "timeperiod")``."""
    message: str
    column: int | None = None
    """Where in the text of that value, counted from 1; None for all of it."""
    at_key: bool = False
    """Whether the key is meant, not the value."""


class ParamsInvalid(TradewrightError, ValueError):
    """Parameters that pass their types but not the strategy's own rules; all faults at once.

    Raise it from a model validator: each fault is shown at its own place in the preset.
    """

    def __init__(self, faults: Iterable[ParamFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "; ".join(f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in self.faults)
        )


class Evaluation(Value):
    """What a strategy has to say about the candle that has just closed."""

    signal: Signal | None = None
    exits: tuple[ExitSignal, ...] = Field(
        default=(), description="Trades of this preset on this symbol that are to be left now."
    )
    factors: dict[str, float] = Field(
        default_factory=dict,
        description="Named numbers at the closed candle, signal or not; finite ones only.",
    )


class Strategy(Protocol):
    """A pure function of closed candles, with declared parameters.

    One that never names exits may say so, `says_exits = False`: it is then not asked again for
    trades that an earlier version of the preset opened.

    Called once per closed candle, live and in the backtest alike. It must not keep state
    between calls, read a clock, or do I/O, and its answer must depend on the last `lookback`
    candles alone: then it is the same wherever the window begins.
    """

    Params: ClassVar[type[Params]]
    version: ClassVar[str]
    """Raised when the same parameters may give other signals; part of a preset's hash."""

    lookback: int
    """Closed candles needed, warm-up included."""
    factor_names: frozenset[str]
    """Factors that are distances in price: stops and trailing may be declared in them."""

    def __init__(self, params: Any) -> None: ...

    def evaluate(self, candles: "DataFrame") -> Evaluation:
        """Return the signal of the candle that has just closed, if any, and the factors.

        Args:
            candles: One row per closed candle, ascending by open time (UTC DatetimeIndex);
                float64 columns open, high, low, close in quote currency, volume in base
                currency. With fewer than `lookback` rows the answer is empty.
        """


class PluginUnknown(TradewrightError, LookupError):
    """No installed distribution registers a strategy of that name."""

    def __init__(self, name: str, installed: Iterable[str]) -> None:
        known = sorted(installed)
        self.name = name
        super().__init__(f"strategy plugin {name!r} is not installed; {suggestion(name, known)}")


class PluginBroken(TradewrightError):
    """A strategy is registered but cannot be imported or lacks part of the interface."""

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"strategy plugin {name!r} cannot be loaded: {detail}; mend the plugin")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown *word*: the nearest known one, or all of them.

    Example:
        >>> suggestion("rulse", ["donchian_breakout", "rules"])
        "did you mean 'rules'?"
        >>> suggestion("xyz", ["a", "b"])
        'known: a, b'
    """
    names = sorted(known)
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean {by_folded[near[0]]!r}?"
    if len(names) > 20:
        return f"none of the {len(names)} known names is like it"
    return f"known: {', '.join(names) or 'none'}"


def installed() -> Mapping[str, EntryPoint]:
    """Return the entry points of all installed strategies, by name, none imported yet."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def load(name: str) -> type[Strategy]:
    """Import the strategy registered as *name*.

    Raises:
        PluginUnknown: No installed distribution registers *name* (a `LookupError`).
        PluginBroken: Its import fails, or it lacks `Params` or `evaluate`.
    """
    found = installed()
    if name not in found:
        raise PluginUnknown(name, found)
    try:
        strategy: type[Strategy] = found[name].load()
    # Foreign code: whatever its import raises must not stop the presets that do not use it
    except Exception as e:
        raise PluginBroken(name, f"{type(e).__name__}: {e}") from e
    declared = getattr(strategy, "Params", None)
    if not (isinstance(declared, type) and issubclass(declared, Params)):
        raise PluginBroken(name, "it has no class Params that inherits tradewright.plugin.Params")
    if not callable(getattr(strategy, "evaluate", None)):
        raise PluginBroken(name, "it has no method evaluate")
    return strategy


def version(name: str) -> str:
    """Return the version of the strategy *name*: its own, else its distribution's."""
    own = getattr(load(name), "version", None)
    if isinstance(own, str):
        return own
    distribution = installed()[name].dist
    return distribution.version if distribution else "0"
