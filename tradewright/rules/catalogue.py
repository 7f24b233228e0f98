"""TA-Lib's functions as `plugins.rules.survey` found them, read without TA-Lib."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("talib.json")
LONGEST: Final = 100_000
"""TA-Lib's longest period."""
SETTLING_LEAST: Final = 50
"""Candles beyond the lookback of what remembers its first candle, however short its periods."""

Number = int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    default: Number
    whole: bool = True
    least: Number = -math.inf
    most: Number = math.inf
    choices: tuple[int, ...] = ()

    def accepts(self, value: Number) -> bool:
        if self.choices:
            return value in self.choices
        return self.least <= value <= self.most

    def bounds(self) -> str:
        """Return what it takes, in words."""
        if self.choices:
            return f"use one of {', '.join(map(str, self.choices))}"
        return f"use at least {self.least:g}, at most {self.most:g}"


@dataclass(frozen=True, slots=True)
class Form:
    """A sum of terms of the parameters."""

    constant: int
    terms: tuple[tuple[int, str, tuple[str, ...]], ...]

    def of(self, sizes: Mapping[str, int]) -> int:
        return self.constant + sum(
            times * term(kind, [sizes[p] for p in of]) for times, kind, of in self.terms
        )


def term(kind: str, values: Sequence[int]) -> int:
    """Return the greatest of *values*; for other kinds of term, what they are named after."""
    match kind:
        case "isqrt":
            return math.isqrt(values[0])
        case "half":
            return values[0] // 2
        case "later":
            return max(values[0], values[1] + 1)
        case _:
            return max(values)


@dataclass(frozen=True, slots=True)
class Function:
    """What TA-Lib has under one name."""

    name: str
    title: str
    group: str
    inputs: tuple[str, ...]
    """In order: a column, or ``of:`` and a column where another series may be put."""
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    form: Form
    settling: tuple[int, ...] | None
    """Candles beyond the lookback until the first candle does not matter: a number, and times of
    the lookback; empty: none; None: it matters forever."""
    shares: tuple[str, ...] = ()
    """Parameters of which the least says how much of a new value is taken in dull markets."""
    distance: bool = False
    refused: str = ""
    short_outputs: Mapping[str, str] = field(default_factory=dict)
    """What an output may be called for short: ``signal`` for ``macdsignal``."""

    def lookback(self, given: Mapping[str, Number]) -> int:
        """Return how many candles before the last TA-Lib takes for one value, or a few more."""
        return self.form.of(self._sizes(given))

    def warm_up(self, given: Mapping[str, Number]) -> int:
        """Return how many candles, the last included, the last value depends on.

        Other first candles before those change it by less than 1e-9 of its size.
        """
        own = self.lookback(given)
        settling = [self.settling or ()]
        settling += [
            _averages()[kind].settling or ()
            for period, kind in self._kinds(given).items()
            if self._given(period, given) > 1
        ]
        least = max((each[0] for each in settling if each), default=0)
        times = max((each[1] for each in settling if each), default=0)
        if self.shares:
            shares = (given.get(each, self.parameters[each].default) for each in self.shares)
            least = max(least, faded(min(shares)))
        return own + least + times * own + 1

    def output(self, name: str) -> str | None:
        """Return the output called *name* in full or for short."""
        return name if name in self.outputs else self.short_outputs.get(name)

    def _given(self, parameter: str, given: Mapping[str, Number]) -> int:
        return int(given.get(parameter, self.parameters[parameter].default))

    def _kinds(self, given: Mapping[str, Number]) -> dict[str, int]:
        """Return the kind of moving average that is taken over each period."""
        kinds: dict[str, int] = {}
        for name, parameter in self.parameters.items():
            if parameter.choices:
                period = name.removesuffix("matype") + "period"
                periods = (period,) if period in self.parameters else self._periods()
                kinds |= dict.fromkeys(periods, self._given(name, given))
        return kinds

    def _periods(self) -> tuple[str, ...]:
        return tuple(n for n, p in self.parameters.items() if p.whole and not p.choices)

    def _sizes(self, given: Mapping[str, Number]) -> dict[str, int]:
        """Return each period, an average of another kind as long as a simple one would be."""
        sizes = {name: self._given(name, given) for name in self._periods()}
        for period, kind in self._kinds(given).items():
            if sizes[period] > 1:
                average = _averages()[kind].form.of({"timeperiod": sizes[period]})
                # What else is taken over the period takes all of it
                sizes[period] = max(sizes[period], average + 1)
        return sizes


@dataclass(frozen=True, slots=True)
class Average:
    """One kind of moving average."""

    form: Form
    settling: tuple[int, ...] | None


def faded(share: float) -> int:
    """Return after how many candles a mean that takes *share* of each is rid of the first.

    One of half that share, which follows it, is too; and a few more for rounding.
    """
    return math.ceil(math.log(1e-10) / math.log1p(-share / 2))


def names() -> tuple[str, ...]:
    """Return the names of all functions, those that are refused included."""
    return tuple(_document()["functions"])


@cache
def function(name: str) -> Function | None:
    """Return the function called *name*; None if there is none."""
    written = _document()["functions"].get(name)
    return _function(name, written) if written is not None else None


def functions() -> dict[str, Function]:
    """Return all functions, by name."""
    return {name: found for name in names() if (found := function(name)) is not None}


@cache
def _averages() -> Mapping[int, Average]:
    return {
        int(kind): Average(_form(written["lookback"]), _settling(written["settling"]))
        for kind, written in _document()["averages"].items()
    }


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document


def _function(name: str, written: Mapping[str, Any]) -> Function:
    outputs = tuple(written["outputs"])
    return Function(
        name=name,
        title=written["title"],
        group=written["group"],
        inputs=tuple(written["inputs"]),
        outputs=outputs,
        parameters={
            each: Parameter(**{**bounds, "choices": tuple(bounds.get("choices", ()))})
            for each, bounds in written["parameters"].items()
        },
        form=_form(written.get("lookback", {"constant": 0, "terms": []})),
        settling=_settling(written.get("settling", [])),
        shares=tuple(written.get("shares", ())),
        distance=written.get("distance", False),
        refused=written.get("refused", ""),
        short_outputs=_short(name, outputs) if len(outputs) > 1 else {},
    )


def _form(written: Mapping[str, Any]) -> Form:
    terms = tuple((times, kind, tuple(of)) for times, kind, of in written["terms"])
    return Form(written["constant"], terms)


def _settling(written: list[int] | None) -> tuple[int, ...] | None:
    return None if written is None else tuple(written)


def _short(name: str, outputs: Sequence[str]) -> dict[str, str]:
    """Return outputs by what is left of their names without the function's and ``band``."""
    start = name.lower().removesuffix("ext").removesuffix("fix")
    short = {each.removeprefix(start).removesuffix("band"): each for each in outputs}
    return {word: each for word, each in short.items() if word and word not in outputs}
