"""The interface of strategy plugins; third parties import this module and `tradewright.domain`."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    get_args,
    get_origin,
)

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Timeframe, Value
from tradewright.domain.signal import ExitSignal, Signal

# Presets are validated without numpy: its import takes longer than all the rest
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from tradewright.book import Book

ENTRY_POINT_GROUP = "tradewright.strategies"

HISTORY_SERIES = ("funding_rate", "open_interest", "mark_price")
"""What was known at the close of each candle."""
BOOK_SERIES = (
    "book.imbalance",
    "book.spread_bps",
    "book.bid_volume",
    "book.ask_volume",
    "book.bid_cluster",
    "book.ask_cluster",
)
POSITION_SERIES = ("position.r", "position.candles", "position.pnl")
"""Of the trade that the preset has on the symbol: open profit in R and in quote currency, age."""
ACCOUNT_SERIES = ("account.equity", "account.open_trades")
EXTRA_SERIES = (*HISTORY_SERIES, *BOOK_SERIES, *POSITION_SERIES, *ACCOUNT_SERIES)
"""What a strategy may ask for beside candles; all but histories are NaN in every row but the last.
"""
MAX_CANDLES = 5_000
"""Of one series that a strategy may need."""
COLUMNS = ("open", "high", "low", "close", "volume")


class Params(Value):
    """Base of every strategy's parameters: what a person wrote, taken at its word.

    Unknown keys are errors, and so is quoted text or a boolean where a number belongs.
    Numbers arrive as `int` or, with a fraction or an exponent, as exact `Decimal`.
    """

    # Sections are built within the model that they are part of, and not once more by themselves
    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

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


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Closed candles in columns of equal length, ascending; they must not be written to.

    Prices in quote currency, volume in base currency; `open_time` in ms since 1970, UTC.
    """

    open_time: "NDArray[np.int64]"
    open: "NDArray[np.float64]"
    high: "NDArray[np.float64]"
    low: "NDArray[np.float64]"
    close: "NDArray[np.float64]"
    volume: "NDArray[np.float64]"

    def __len__(self) -> int:
        return len(self.open_time)

    def tail(self, n: int) -> "Candles":
        """Return the last *n* candles, or all if there are fewer; no copy."""
        return self.between(max(0, len(self) - n), len(self))

    def between(self, begin: int, end: int) -> "Candles":
        """Return the candles from row *begin* up to, not including, row *end*; no copy."""
        return Candles(
            self.open_time[begin:end],
            self.open[begin:end],
            self.high[begin:end],
            self.low[begin:end],
            self.close[begin:end],
            self.volume[begin:end],
        )

    def frame(self) -> "DataFrame":
        """Return a copy with the columns open … volume over a UTC DatetimeIndex `open_time`."""
        import pandas as pd

        index = pd.DatetimeIndex(self.open_time.astype("datetime64[ms]"), name="open_time")
        columns = {name: getattr(self, name).copy() for name in COLUMNS}
        return pd.DataFrame(columns, index=index.tz_localize("UTC"))


def anchor(end: int, step: int, needed: int) -> int:
    """Return where a window begins that holds *needed* candles and ends with that of *end*, in ms.

    At a multiple of as many candles: it keeps its first candle for *needed* closes, whoever asks
    and whenever, so that what follows it candle by candle sees what one sees that begins anew.

    Args:
        end: When the last candle opens.
        step: Length of a candle.
        needed: Candles that a strategy needs; the window has up to twice as many.

    Example:
        >>> [anchor(end, 1, 3) for end in (9, 10, 11, 12, 13, 14)]
        [6, 6, 9, 9, 9, 12]
    """
    block = needed * step
    return (end - (needed - 1) * step) // block * block


ExtraSeries = Annotated[str, Field(pattern="^(" + "|".join(map(re.escape, EXTRA_SERIES)) + ")$")]


class Need(Value):
    """A series of candles beside the strategy's own."""

    symbol: str = Field(default="", description="Empty: the symbol that is looked at.")
    timeframe: Timeframe | None = Field(default=None, description="None: the trigger's.")
    candles: int = Field(ge=1, le=MAX_CANDLES)


class Needs(Value):
    """What a strategy has to see for one answer."""

    candles: int = Field(
        ge=1, le=MAX_CANDLES, description="Of the trigger's timeframe, warm-up included."
    )
    others: dict[str, Need] = Field(
        default_factory=dict, max_length=20, description="By the name that it uses."
    )
    series: tuple[ExtraSeries, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """All that a strategy may see, at one moment.

    The window of each series begins at a multiple of a block, so that it keeps its first candle
    for as many closes as are needed and has up to twice as many rows.
    """

    symbol: str
    at: datetime
    """The close of the last candle, or the time of the book; market clock."""
    timeframe: Timeframe
    """The trigger's."""
    candles: Candles
    others: Mapping[str, Candles] = field(default_factory=lambda: MappingProxyType({}))
    """By the names in `Needs.others`; only what had closed at `at`."""
    series: Mapping[str, "NDArray[np.float64]"] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """By the names in `Needs.series`; one value per row of `candles`, NaN where unknown."""
    degraded: bool = False
    """The data is bad and the preset says `on_bad: degrade`: only what is declared for it counts.

    Asked of strategies with `knows_degraded` alone.
    """

    def degraded_view(self) -> "View":
        """Return the same view, to be decided on by what is declared for bad data."""
        return replace(self, degraded=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy has no pickle
        state = (
            self.symbol,
            self.at,
            self.timeframe,
            self.candles,
            dict(self.others),
            dict(self.series),
            self.degraded,
        )
        return _view, state


def _view(*state: Any) -> View:
    names = ("symbol", "at", "timeframe", "candles", "others", "series", "degraded")
    return View(**dict(zip(names, state, strict=True)))


class Follower(Protocol):
    """Gives `Strategy.evaluate`'s answers at less cost, one candle after the other."""

    def evaluate(self, view: View) -> Evaluation:
        """Return what the strategy's own `evaluate` returns for *view*, to the bit.

        The next candle of the same run (every series has the same first candle, and rows more)
        is cheap; for any other view it begins anew.
        """


class Strategy(Protocol):
    """A pure function of a view of the market, with declared parameters.

    It must not keep state between calls, read a clock, or do I/O; it is asked in any order,
    live and in the backtest alike. Given other first candles, but no fewer than `needs`, it
    must answer the same but for what warm-up leaves behind.

    Optional parts, found by name:

    - `says_exits = False`: it never names exits, and is not asked again for trades that an
      earlier version of the preset opened.
    - `knows_degraded = True`: it has an answer for a view that is degraded.
    - `looks_back: frozenset[str]`: names in `needs.others` of which it looks at what they were at
      earlier candles of the trigger; these must not be of a shorter timeframe.
    - `follow(self) -> Follower`: a follower of one symbol that has seen nothing yet.
    - `on_book(self, view: View, book: Book) -> Evaluation`: see `ReadsBook`.
    """

    Params: ClassVar[type[Params]]
    version: ClassVar[str]
    """Raised when the same parameters may give other signals; part of a preset's hash."""

    needs: Needs
    factor_names: frozenset[str]
    """Factors that are distances in price: stops and trailing may be declared in them."""

    def __init__(self, params: Any) -> None: ...

    def evaluate(self, view: View) -> Evaluation:
        """Return the signal of the candle that has just closed, if any, and the factors.

        With fewer candles than needed the answer is empty.
        """


class ReadsBook(Protocol):
    """A strategy for `trigger: {on: order_book}`."""

    def on_book(self, view: View, book: "Book") -> Evaluation:
        """Return what to do at one update of the order book; asked many times a second.

        Args:
            view: As of the last closed candle.
            book: Best prices and features as they stand now.
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


def is_foreign(name: str) -> bool:
    """Return whether *name* is registered by another distribution than tradewright itself.

    Raises:
        PluginUnknown: By none at all.
    """
    found = installed()
    if name not in found:
        raise PluginUnknown(name, found)
    return not _is_ours(found[name])


@cache
def _is_ours(point: EntryPoint) -> bool:
    # The name of a distribution is parsed from a file each time that it is asked for
    return point.dist is not None and point.dist.name == "tradewright"


@cache
def load(name: str) -> type[Strategy]:
    """Import the strategy registered as *name*; one that is not there is looked for each time.

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
    except (Exception, SystemExit) as e:
        raise PluginBroken(name, f"{type(e).__name__}: {e}") from e
    declared = getattr(strategy, "Params", None)
    if not (isinstance(declared, type) and issubclass(declared, Params)):
        raise PluginBroken(name, "it has no class Params that inherits tradewright.plugin.Params")
    if not callable(getattr(strategy, "evaluate", None)):
        raise PluginBroken(name, "it has no method evaluate")
    return strategy


def complete(name: str, strategy: Any) -> Strategy:
    """Return *strategy*, an instance of what is registered as *name*, if it is one.

    Raises:
        PluginBroken: It does not say what it needs, or which factors are distances.
    """
    if not isinstance(getattr(strategy, "needs", None), Needs):
        raise PluginBroken(name, "it has no attribute needs of type tradewright.plugin.Needs")
    if not isinstance(getattr(strategy, "factor_names", None), frozenset):
        raise PluginBroken(name, "it has no attribute factor_names, a frozenset")
    found: Strategy = strategy
    return found


def version(name: str) -> str:
    """Return the version of the strategy *name*: its own, else its distribution's."""
    own = getattr(load(name), "version", None)
    if isinstance(own, str):
        return own
    distribution = installed()[name].dist
    return distribution.version if distribution else "0"
