"""What TA-Lib says of its functions, and how long each remembers: written down for validation.

``python -m plugins.rules.survey`` writes `tradewright/rules/talib.json`, so that a preset can be
checked without TA-Lib. Bounds and lookbacks are found by asking TA-Lib, for it tells them
nowhere; settling times are measured.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray
from talib import abstract

from tradewright.rules import catalogue

Series = NDArray[np.float64]
Parameters = Mapping[str, int | float]

LARGEST = 3e37
"""The largest number that TA-Lib takes anywhere."""
WHOLE = (*range(-1, 20), catalogue.LONGEST, catalogue.LONGEST + 1)
REAL = (-LARGEST, -1.0, 0.0, 0.01, 0.99, 1.0, 100.0, LARGEST)
AVERAGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13)
"""Kinds of moving average; 10 is none and 11 is another by function."""
REFUSED = {
    "MAVP": "it needs a period for each candle; use one average for each",
    "MAXINDEX": "it counts from wherever the window begins; use since(high == highest(high, n), n)",
    "MININDEX": "it counts from wherever the window begins; use since(low == lowest(low, n), n)",
    "MINMAXINDEX": "it counts from wherever the window begins; use since with highest or lowest",
}
DISTANCES = frozenset({"ADR", "ATR", "AVGDEV", "STDDEV", "TRANGE"})
"""Functions that give a distance in price: what a stop can be declared in."""
TURNING = frozenset({"SAR", "SAREXT", "SUPERTREND"})
"""Functions that forget when the market turns; a measurement says nothing of the next turn."""
TURN = 500
"""Candles within which the market almost always turns for them."""
SHARES = {"MAMA": ("fastlimit", "slowlimit")}
"""Parameters of which the least says how much of a new value is taken in dull markets."""
ADAPTIVE, ADAPTIVE_SHARE = 7, 0.05
"""The kind of average that is MAMA, and its share."""
ONE_MORE = frozenset({"DPO"})
"""Functions of which TA-Lib says one candle too few for their shortest period."""

TOLERANCE = 4e-10
"""Stricter than what is promised, and above what rounding makes of sums."""
ROWS = 6000
STEPS = tuple(int(12 * 1.12**n) for n in range(52))
"""Candles before the last, tried one after the other; about 4,000 at the end."""


def _function(name: str) -> Any:
    # TA-Lib's stubs leave its own class out
    return abstract.Function(name)  # type: ignore[attr-defined]


def names() -> list[str]:
    return sorted(talib.get_functions())  # type: ignore[no-untyped-call]


def lookback(name: str, parameters: Parameters) -> int:
    """Return TA-Lib's own lookback, -1 where it refuses the parameters."""
    function = _function(name)
    function.set_parameters(dict(parameters))
    return int(function.lookback)


def survey(measured: bool = True) -> dict[str, Any]:
    """Return what is written down: the version, the averages and the functions.

    Args:
        measured: Settling times, too, which take ten seconds.
    """
    averages: dict[int, dict[str, Any]] = {
        kind: {"lookback": _lookback_form("MA", kind)} for kind in AVERAGES
    }
    functions = {name: _described(name) for name in names()}
    if measured:
        for kind, average in averages.items():
            average["settling"] = _memory("MA", {"matype": kind})
        averages[ADAPTIVE]["settling"] = [catalogue.faded(ADAPTIVE_SHARE), 0]
        for name in functions.keys() - REFUSED.keys():
            functions[name]["settling"] = _settling(name)
    return {
        "version": talib.__version__,
        "averages": {str(kind): average for kind, average in averages.items()},
        "functions": functions,
    }


def written() -> dict[str, Any]:
    """Return what was written down."""
    found: dict[str, Any] = json.loads(catalogue.FILE.read_text(encoding="utf-8"))
    return found


def page(found: Mapping[str, Any]) -> str:
    """Return what is written down, a line for each function."""
    lines = []
    for key, value in found.items():
        if isinstance(value, dict):
            each = [f"  {json.dumps(name)}: {json.dumps(value[name])}" for name in sorted(value)]
            lines.append(f" {json.dumps(key)}: {{\n" + ",\n".join(each) + "\n }")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _described(name: str) -> dict[str, Any]:
    function = _function(name)
    found: dict[str, Any] = {
        "title": function.info["display_name"],
        "group": function.info["group"],
        "inputs": _inputs(name),
        "outputs": list(function.output_names),
        "parameters": {p: _bounds(name, p) for p in function.parameters},
    }
    if name in REFUSED:
        return found | {"refused": REFUSED[name]}
    if name in SHARES:
        found["shares"] = list(SHARES[name])
    return found | {"lookback": _lookback_form(name), "distance": name in DISTANCES}


def _inputs(name: str) -> list[str]:
    """Return its inputs in order: ``of`` for what a person may choose, else a column."""
    inputs = _function(name).info["input_names"]
    return [
        each
        for kind, columns in inputs.items()
        for each in (columns if isinstance(columns, list) else [f"of:{columns}"])
        if kind != "periods"
    ]


def _averages(name: str) -> list[str]:
    return [p for p in _function(name).parameters if p.endswith("matype")]


def _bounds(name: str, parameter: str) -> dict[str, Any]:
    default = _function(name).parameters[parameter]
    if parameter.endswith("matype"):
        return {"default": default, "choices": list(AVERAGES)}
    whole = isinstance(default, int)
    tried: tuple[int | float, ...] = WHOLE if whole else REAL
    taken = [value for value in tried if lookback(name, {parameter: value}) >= 0]
    return {"default": default, "whole": whole, "least": taken[0], "most": taken[-1]}


# --- lookback -------------------------------------------------------------------------------------


def _lookback_form(name: str, average: int = 0) -> dict[str, Any]:
    """Return its lookback as a sum: a constant, and times of what its parameters are.

    A term is ``[times, kind, parameters]``, as `catalogue.term` knows them. A period that an
    average of a chosen kind is taken over counts as that average's lookback and one.
    """
    periods = [
        p
        for p, default in _function(name).parameters.items()
        if isinstance(default, int) and not p.endswith("matype")
    ]
    rng = np.random.default_rng(3)
    asked = [{p: int(rng.integers(2, 120)) for p in periods} for _ in range(40)]
    kinds = dict.fromkeys(_averages(name), average)
    wanted = np.array([lookback(name, {**each, **kinds}) for each in asked], dtype=np.float64)
    terms: list[tuple[str, tuple[str, ...]]] = [
        *(("max", chosen) for k in (1, 2, 3) for chosen in itertools.combinations(periods, k)),
        *((kind, (p,)) for kind in ("isqrt", "half") for p in periods),
        *(("later", pair) for pair in itertools.permutations(periods, 2)),
    ]
    for count in range(5):
        for chosen in itertools.combinations(terms, count):
            form = _fitted(chosen, asked, wanted)
            if form is not None:
                return form
    raise ValueError(f"TA-Lib function {name} has a lookback of no known form; describe its form")


def _fitted(
    terms: tuple[tuple[str, tuple[str, ...]], ...], asked: list[dict[str, int]], wanted: Series
) -> dict[str, Any] | None:
    rows = [[*(catalogue.term(kind, [a[p] for p in of]) for kind, of in terms), 1] for a in asked]
    matrix = np.array(rows, dtype=np.float64)
    solution = np.rint(np.linalg.lstsq(matrix, wanted, rcond=None)[0])
    if not np.array_equal(matrix @ solution, wanted) or not solution[:-1].all():
        return None
    pairs = zip(solution[:-1], terms, strict=True)
    return {
        "constant": int(solution[-1]),
        "terms": [[int(times), kind, list(of)] for times, (kind, of) in pairs],
    }


# --- settling -------------------------------------------------------------------------------------


def _settling(name: str) -> list[float] | None:
    if name in SHARES:
        return []
    if name in ONE_MORE:
        return [1, 0]
    if name == "SUPERTREND":
        # Its bands are as far from the price as the average true range says
        return [TURN, *(_memory("ATR", {}) or [0, 0])[1:]]
    if name in TURNING:
        return [TURN, 0]
    return _memory(name, dict.fromkeys(_averages(name), 0))


def _memory(name: str, kinds: Mapping[str, int]) -> list[float] | None:
    """Return how long the first candle matters: candles, and candles per candle of lookback.

    Measured on random markets with random parameters: what is left after that many candles is
    less than `TOLERANCE` of the output's size. Empty: nothing is left after the lookback itself.
    None: its level depends on the first candle forever.
    """
    needed = [_candles_needed(name, {**each, **kinds}) for each in _examples(name)]
    if any(found is None for _, found in needed):
        return None
    beyond = [(own, found - own) for own, found in needed if found is not None]
    if not any(more for _, more in beyond):
        return []
    factor = max((more - catalogue.SETTLING_LEAST) / max(own, 1) for own, more in beyond)
    return [catalogue.SETTLING_LEAST, math.ceil(max(factor, 0) * 1.25)]


def _examples(name: str) -> Iterator[dict[str, Any]]:
    """Yield parameters that differ in their proportions: an average of each may last longest."""
    defaults: dict[str, Any] = dict(_function(name).parameters)
    yield defaults
    periods = [
        p for p, value in defaults.items() if isinstance(value, int) and not p.endswith("matype")
    ]
    for chosen in periods:
        yield defaults | {chosen: 40}
    yield defaults | dict.fromkeys(periods, 3)


def _candles_needed(name: str, parameters: Parameters) -> tuple[int, int | None]:
    """Return the lookback, and how many candles it takes until its first does not matter."""
    own = lookback(name, parameters)
    tried = [own, *(own + more for more in STEPS)]
    wrong = [-1]
    for market in MARKETS:
        whole = batch(name, market, parameters)
        for end in (ROWS - 611, ROWS):
            for at, candles in enumerate(tried):
                part = {key: each[end - candles - 1 : end] for key, each in market.items()}
                short = batch(name, part, parameters)
                if any(_differs(a[:end], b) for a, b in zip(whole, short, strict=True)):
                    wrong.append(at)
    last = max(wrong)
    return own, tried[last + 1] if last + 1 < len(tried) else None


def _differs(whole: Series, short: Series) -> bool:
    recent = whole[-1000:][np.isfinite(whole[-1000:])]
    if not len(recent):
        return False
    with np.errstate(over="ignore"):
        size = max(abs(float(whole[-1])), float(recent.std()))
    return bool(abs(whole[-1] - short[-1]) > TOLERANCE * size)


def batch(name: str, market: Mapping[str, Series], parameters: Parameters) -> list[Series]:
    """Return its outputs for columns of a market."""
    function: Callable[..., Any] = getattr(talib, name)
    columns = [market[each.removeprefix("of:")] for each in _inputs(name)]
    result = function(*columns, **parameters)
    outputs = result if isinstance(result, tuple | list) else [result]
    return [np.asarray(each, dtype=np.float64) for each in outputs]


def _market(seed: int, drift: float, spread: float) -> dict[str, Series]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, spread, ROWS)))
    start = np.concatenate((close[:1], close[:-1]))
    return {
        "open": start,
        "high": np.maximum(start, close) * (1 + rng.uniform(0, spread, ROWS)),
        "low": np.minimum(start, close) * (1 - rng.uniform(0, spread, ROWS)),
        "close": close,
        "volume": rng.uniform(100, 1000, ROWS),
    }


MARKETS = (_market(1, 0, 0.002), _market(2, 0.0002, 0.004), _market(3, -0.0001, 0.001))


def main() -> None:
    Path(catalogue.FILE).write_text(page(survey()), encoding="utf-8")


if __name__ == "__main__":
    main()
