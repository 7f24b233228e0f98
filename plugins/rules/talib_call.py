"""TA-Lib's functions, called: over columns with holes, and candle by candle."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray
from talib import stream

from plugins.rules.programme import Measure

Series = NDArray[np.float64]

NOT_STREAMED: frozenset[str] = frozenset()
"""Functions whose handles differ from the function itself; a test tries them all."""


def finite(values: Series) -> Series:
    """Return *values* with what is infinite unknown."""
    if is_known(values):
        return values
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def is_known(values: Series) -> bool:
    """Return whether all *values* are numbers, if that shows at once."""
    # One pass that allocates nothing; huge numbers may add up to more than a float holds
    with np.errstate(all="ignore"):
        return math.isfinite(np.add.reduce(values))


def outputs(measure: Measure, inputs: Sequence[Series]) -> list[Series]:
    """Return all outputs of *measure*, a row for each of its inputs.

    A hole in the inputs ends one run, and the next begins anew: TA-Lib knows no holes.
    """
    length, known = len(inputs[0]), runs(inputs)
    if known == [(0, length)]:
        return _outputs(measure, inputs)
    found = [np.full(length, np.nan) for _ in measure.function.outputs]
    for begin, end in known:
        part = _outputs(measure, [each[begin:end] for each in inputs])
        for whole, values in zip(found, part, strict=True):
            whole[begin:end] = values
    return found


def runs(inputs: Sequence[Series]) -> list[tuple[int, int]]:
    """Return from where to where, without end, all inputs are known."""
    if all(map(is_known, inputs)):
        return [(0, len(inputs[0]))] if len(inputs[0]) else []
    known = np.isfinite(inputs[0])
    for each in inputs[1:]:
        known &= np.isfinite(each)
    if known.all():
        return [(0, len(known))] if len(known) else []
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _outputs(measure: Measure, inputs: Sequence[Series]) -> list[Series]:
    function: Callable[..., Any] = getattr(talib, measure.function.name)
    columns = [np.ascontiguousarray(each) for each in inputs]
    result = function(*columns, **measure.parameters)
    several = result if isinstance(result, tuple | list) else [result]
    return [_known(each, measure) for each in several]


def _known(values: NDArray[Any], measure: Measure) -> Series:
    own = measure.function.lookback(measure.parameters)
    if values.dtype == np.float64:
        return values if is_known(values[own:]) else finite(values)
    # Whole numbers are 0 while they warm up: TA-Lib has no other word for unknown there
    found = values.astype(np.float64)
    found[:own] = np.nan
    return found


def handle(measure: Measure, inputs: Sequence[Series]) -> Any | None:
    """Return TA-Lib's handle after the last row of *inputs*; None if it cannot have one yet."""
    if measure.function.name in NOT_STREAMED:
        return None
    last = runs(inputs)[-1:]
    if not last or last[0][1] != len(inputs[0]):
        return None
    begin, end = last[0]
    opened: Callable[..., Any] = getattr(stream, measure.function.name)
    columns = [np.ascontiguousarray(each[begin:end]) for each in inputs]
    try:
        return opened(*columns, **measure.parameters)
    except talib.InsufficientHistory:  # type: ignore[attr-defined]
        return None
