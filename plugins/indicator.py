"""TA-Lib's functions by name: what they take, how far they look back, what they give."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from talib import abstract

from tradewright import plugin

Series = NDArray[np.float64]

MAX_LOOKBACK = 3000
"""Candles; the exchange gives a thousand per request."""

# Measured: the last value of these changes by more than 1e-9 of its spread when only the
# candles of TA-Lib's own lookback are given. Most are built upon exponential averages, which
# need seven more lookbacks until less than a thousandth of the first value is left.
RECURSIVE = frozenset(
    {"AD", "ADOSC", "ADX", "ADXR", "APO", "ATR", "CMO", "CUMSUM", "CVI", "DEMA", "DX", "EFI", "EMA"}
    | {"ERI", "HA", "HT_DCPERIOD", "HT_DCPHASE", "HT_PHASOR", "HT_SINE", "HT_TRENDLINE"}
    | {"HT_TRENDMODE", "KAMA", "KC", "KDJ", "MACD", "MACDEXT", "MACDFIX", "MAMA", "MASSI"}
    | {"MINUS_DI", "MINUS_DM", "NATR", "NVI", "OBV", "PLUS_DI", "PLUS_DM", "PPO", "PVI", "PVO"}
    | {
        "PVT",
        "RMA",
        "RSI",
        "RVI",
        "SAR",
        "SAREXT",
        "SMI",
        "STOCHRSI",
        "SUPERTREND",
        "T3",
        "TEMA",
        "TRIX",
    }
    | {"TSI", "VWAP", "WAD", "ZLEMA"}
)
SETTLING = 8
SETTLING_LEAST = 100

DISTANCES = frozenset({"ATR", "AVGDEV", "STDDEV", "TRANGE"})
"""Functions that give a distance in price: what a stop can be declared in."""

REFUSED = {
    "MAVP": "it needs a second series",
    "MAXINDEX": "it counts from wherever the window begins",
    "MININDEX": "it counts from wherever the window begins",
    "MINMAXINDEX": "it counts from wherever the window begins",
}


def _function(name: str) -> Any:
    # TA-Lib's stubs leave its own class out
    return abstract.Function(name)  # type: ignore[attr-defined]


@cache
def _names() -> frozenset[str]:
    return frozenset(talib.get_functions())  # type: ignore[no-untyped-call]


@cache
def _outputs(name: str) -> tuple[str, ...]:
    return tuple(_function(name).output_names)


@cache
def _defaults(name: str) -> Mapping[str, int | float]:
    return dict(_function(name).parameters)


class Indicator(plugin.Params):
    """One TA-Lib function; its parameters stand beside `ta`, such as ``timeperiod: 14``."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"additionalProperties": {"type": "number"}}
    )
    __pydantic_extra__: dict[str, Any]

    ta: str = Field(
        description="Name of a TA-Lib function, such as EMA, RSI, ATR, MACD.",
        json_schema_extra=lambda schema: schema.update(enum=[*sorted(_names() - REFUSED.keys())]),
    )
    output: str | None = Field(
        default=None, description="Which of several outputs, such as macdsignal; default the first."
    )

    def faults(self) -> Iterator[plugin.ParamFault]:
        """Yield what is wrong with it, by TA-Lib's own account."""
        if self.ta not in _names():
            advice = plugin.suggestion(self.ta, _names())
            yield plugin.ParamFault(("ta",), f"unknown TA-Lib function {self.ta!r}; {advice}")
            return
        if reason := REFUSED.get(self.ta):
            yield plugin.ParamFault(("ta",), f"{self.ta} is not supported: {reason}; use another")
            return
        if self.output is not None and self.output not in _outputs(self.ta):
            advice = plugin.suggestion(self.output, _outputs(self.ta))
            yield plugin.ParamFault(("output",), f"unknown output {self.output!r}; {advice}")
        bad = [fault for name in self._given for fault in self._about(name)]
        yield from bad
        if not bad and self.lookback() > MAX_LOOKBACK:
            yield plugin.ParamFault(
                (),
                f"it needs {self.lookback()} candles to settle, more than {MAX_LOOKBACK}; "
                "use a shorter period",
            )

    @property
    def _given(self) -> dict[str, Any]:
        return self.__pydantic_extra__

    def _about(self, name: str) -> Iterator[plugin.ParamFault]:
        defaults = _defaults(self.ta)
        value = self._given[name]
        if name not in defaults:
            advice = plugin.suggestion(name, defaults)
            problem = f"{self.ta} has no parameter {name!r}; {advice}"
        elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            problem = f"{value!r} is not a number; write a number without quotes"
        elif isinstance(defaults[name], int) and value != int(value):
            problem = f"{value} is not whole; write a whole number"
        elif not _accepted(self.ta, name, value):
            problem = f"{value} is out of range for {self.ta}; {_range(self.ta, name)}"
        else:
            return
        yield plugin.ParamFault((name,), problem, at_key=name not in defaults)

    @property
    def is_distance(self) -> bool:
        return self.ta in DISTANCES

    def parameters(self) -> dict[str, int | float]:
        """Return the given parameters in the types that TA-Lib wants."""
        defaults = _defaults(self.ta)
        return {name: type(defaults[name])(value) for name, value in self._given.items()}

    def lookback(self) -> int:
        """Return how many candles the last value depends on, as far as it matters."""
        own = _lookback(self.ta, self.parameters())
        averages = (value for name, value in self.parameters().items() if name.endswith("matype"))
        if self.ta in RECURSIVE or any(averages):
            return max(SETTLING * own, SETTLING_LEAST) + 1
        return own + 1

    def values(self, candles: Mapping[str, Series]) -> Series:
        """Return one value per candle; NaN while it warms up."""
        result = _function(self.ta)(candles, **self.parameters())
        outputs = _outputs(self.ta)
        if len(outputs) > 1:
            result = result[outputs.index(self.output) if self.output else 0]
        return np.asarray(result, dtype=np.float64)


def _lookback(name: str, parameters: Mapping[str, int | float]) -> int:
    """Return TA-Lib's lookback, -1 where it refuses the parameters."""
    function = _function(name)
    function.set_parameters(dict(parameters))
    return int(function.lookback)


def _accepted(name: str, parameter: str, value: int | float | Decimal) -> bool:
    try:
        typed = type(_defaults(name)[parameter])(value)
        return _lookback(name, {parameter: typed}) >= 0
    except OverflowError:
        return False


def _range(name: str, parameter: str) -> str:
    """Return what TA-Lib takes, found by asking: its bounds are in no public metadata."""
    if not isinstance(_defaults(name)[parameter], int):
        return "see TA-Lib's documentation"
    least = next((n for n in range(101) if _accepted(name, parameter, n)), None)
    if least is None:
        return "see TA-Lib's documentation"
    most = next((n for n in (100_000, 8) if _accepted(name, parameter, n)), None)
    return f"use at least {least}" + (f", at most {most}" if most else "")
