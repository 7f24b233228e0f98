"""Rules over whole columns: every candle of a view at once."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugins.rules import talib_call
from plugins.rules.clock import local_minutes
from plugins.rules.programme import Let, Measure, Programme
from plugins.rules.talib_call import Series
from tradewright.plugin import COLUMNS, View
from tradewright.rules import node as nodes
from tradewright.rules.node import Kind, Node

Truth = NDArray[np.bool_]

# Numbers are never infinite here and conditions are pairs: where they are true, and where false.
# Comparisons with NaN are neither, so that what is unknown needs no column of its own.


class Columns:
    """What every name and expression of a programme is at each candle of *view*.

    Computed when asked for, once.
    """

    def __init__(self, programme: Programme, view: View) -> None:
        self.view = view
        self.length = len(view.candles)
        self._programme = programme
        self._definitions: Mapping[str, Measure | Let] = {
            name: each
            for each in programme.definitions
            for name in (each.outputs if isinstance(each, Measure) else (each.name,))
        }
        self._lets = {
            each.name: each.rule for each in programme.definitions if isinstance(each, Let)
        }
        self._series: dict[str, Series] = {}
        self._outputs: dict[str, list[Series]] = {}
        self._numbers: dict[Node, Series | float] = {}
        self._truths: dict[tuple[Node, bool], Truth] = {}

    # --- names ---------------------------------------------------------------------------------

    def series(self, name: str) -> Series:
        """Return the numbers called *name*, a row per candle."""
        if name not in self._series:
            self._series[name] = self._read(name)
        return self._series[name]

    def _read(self, name: str) -> Series:
        definition = self._definitions.get(name)
        if isinstance(definition, Let):
            return self._whole(self.number(definition.rule.root))
        if isinstance(definition, Measure):
            found = self.outputs(definition)[definition.outputs[name]]
            return self.aligned(definition.source, found) if definition.source else found
        if name in COLUMNS:
            return talib_call.finite(getattr(self.view.candles, name))
        source, _, column = name.rpartition(".")
        if source in self._programme.sources:
            return self.aligned(source, self._own_rows(source, column))
        given = self.view.series.get(name)
        return self._whole(np.nan) if given is None else talib_call.finite(given)

    def outputs(self, measure: Measure) -> list[Series]:
        """Return what TA-Lib gives, a row per candle of its source."""
        if measure.name not in self._outputs:
            with np.errstate(all="ignore"):
                self._outputs[measure.name] = talib_call.outputs(measure, self.inputs(measure))
        return self._outputs[measure.name]

    def inputs(self, measure: Measure) -> list[Series]:
        """Return what TA-Lib is given, a row per candle of its source."""
        if not measure.source:
            return [self.series(name) for name in measure.inputs]
        columns = [name.rpartition(".")[2] for name in measure.inputs]
        return [self._own_rows(measure.source, column) for column in columns]

    def _own_rows(self, source: str, column: str) -> Series:
        return talib_call.finite(getattr(self.view.others[source], column))

    def aligned(self, source: str, values: Series) -> Series:
        """Return, for each candle, the value of the candle of *source* that had closed last.

        Unknown where that candle is missing: one before it is not taken for it.
        """
        theirs = self.view.others[source]
        if not len(theirs):
            return np.full(self.length, np.nan)
        length = milliseconds(self._programme, source, self.view)
        closes = theirs.open_time + length
        at = np.searchsorted(closes, self.closes, side="right") - 1
        there = (at >= 0) & (closes[at] > self.closes - length)
        return np.where(there, values[at], np.nan)

    @cached_property
    def closes(self) -> NDArray[np.int64]:
        """Return when each candle closes, in milliseconds since 1970."""
        return self.view.candles.open_time + milliseconds(self._programme, "", self.view)

    # --- numbers -------------------------------------------------------------------------------

    def number(self, node: Node) -> Series | float:
        """Return what a number is at each candle; one number if it is the same at all."""
        if node not in self._numbers:
            with np.errstate(all="ignore"):
                self._numbers[node] = self._number(node)
        return self._numbers[node]

    def _whole(self, value: Series | float) -> Series:
        return np.full(self.length, value) if isinstance(value, float) else value

    def _number(self, node: Node) -> Series | float:
        match node:
            case nodes.Number(value):
                return value
            case nodes.Name(name):
                return self.series(name)
            case nodes.Before(operand, lag):
                return _before(self._whole(self.number(operand)), lag, np.nan)
            case nodes.Negative(operand):
                return -self.number(operand)
            case nodes.Absolute(operand):
                number = self.number(operand)
                return abs(number) if isinstance(number, float) else np.abs(number)
            case nodes.Arithmetic(operator, left, right):
                return _arithmetic(operator, self.number(left), self.number(right))
            case nodes.Bound(left, right, greater):
                return _bound(self.number(left), self.number(right), greater)
            case nodes.Extreme(operand, candles, highest):
                return _extreme(self._whole(self.number(operand)), candles, highest)
            case nodes.Since(condition, candles):
                return self._since(self.truth(condition), self.falsity(condition), candles)
            case nodes.Choice(condition, yes, no):
                if_not = np.where(self.falsity(condition), self.number(no), np.nan)
                return np.where(self.truth(condition), self.number(yes), if_not)
        raise TypeError(f"{type(node).__name__} yields no number")

    def _since(self, yes: Truth, no: Truth, candles: int) -> Series:
        rows = np.arange(self.length)
        # The last candle that was not false decides; before the first row nothing is known
        decided = np.maximum.accumulate(np.where(no, -1, rows))
        age = rows - decided
        told = np.concatenate((yes, [False]))[decided]
        return np.where(age >= candles, float(candles), np.where(told, age, np.nan))

    # --- conditions ----------------------------------------------------------------------------

    def truth(self, node: Node) -> Truth:
        """Return where a condition is true."""
        return self._decided(node, true=True)

    def falsity(self, node: Node) -> Truth:
        """Return where a condition is false."""
        return self._decided(node, true=False)

    def _decided(self, node: Node, true: bool) -> Truth:
        if (node, true) not in self._truths:
            found = self._decide(node, true)
            self._truths[node, true] = np.broadcast_to(found, (self.length,))
        return self._truths[node, true]

    def _decide(self, node: Node, true: bool) -> Any:
        match node:
            case nodes.Comparison(operator, left, right):
                return _compared(operator, self.number(left), self.number(right), true)
            case nodes.Not(operand):
                return self._decided(operand, not true)
            case nodes.Both(operands):
                return _joined([self._decided(each, true) for each in operands], every=true)
            case nodes.Either(operands):
                return _joined([self._decided(each, true) for each in operands], every=not true)
            case nodes.Before(operand, lag):
                return _before(self._decided(operand, true), lag, False)
            case nodes.Throughout(condition, candles):
                return _spread(self._decided(condition, true), candles, every=true)
            case nodes.Name(name):
                return self._decided(self._lets[name].root, true)
            case nodes.Session(begin, end, zone):
                minute = local_minutes(self.closes, zone) % 1440
                inside = _within(minute, begin, end)
                return inside if true else ~inside
            case nodes.Weekday(days, zone):
                # 1970 began on a Thursday
                day = (local_minutes(self.closes, zone) // 1440 + 3) % 7
                inside = np.isin(day, list(days))
                return inside if true else ~inside
        raise TypeError(f"{type(node).__name__} yields no condition")

    def told(self, node: Node, kind: Kind) -> Series:
        """Return a number, or a condition as 1, 0 and NaN, at each candle."""
        if kind is Kind.NUMBER:
            return self._whole(self.number(node))
        return np.where(self.truth(node), 1.0, np.where(self.falsity(node), 0.0, np.nan))


def milliseconds(programme: Programme, source: str, view: View) -> int:
    """Return the length of a candle of *source*."""
    timeframe = programme.sources[source].timeframe if source else None
    return int((timeframe or view.timeframe).length.total_seconds()) * 1000


def _within(minute: NDArray[np.int64], begin: int, end: int) -> Truth:
    if begin < end:
        return (begin <= minute) & (minute < end)
    return (begin <= minute) | (minute < end)


def _before(values: NDArray[Any], lag: int, unknown: float | bool) -> NDArray[Any]:
    """Return what *values* were *lag* candles before; *unknown* where there was none."""
    found = np.full_like(values, unknown)
    found[lag:] = values[: len(values) - lag] if lag < len(values) else values[:0]
    return found


def _arithmetic(operator: str, left: Series | float, right: Series | float) -> Series | float:
    a, b = np.asarray(left), np.asarray(right)
    result: Series
    match operator:
        case "+":
            result = a + b
        case "-":
            result = a - b
        case "*":
            result = a * b
        case "/":
            result = a / b
        case _:
            result = np.mod(a, b)
    if not result.ndim:
        return float(result) if math.isfinite(result) else np.nan
    infinite = np.isinf(result)
    if infinite.any():
        result[infinite] = np.nan
    return result


def _bound(left: Series | float, right: Series | float, greater: bool) -> Series | float:
    a, b = np.asarray(left), np.asarray(right)
    # Zeros have one sign, so that it does not matter which of them is taken
    result: Series = np.asarray((np.maximum(a, b) if greater else np.minimum(a, b)) + 0.0)
    return result if result.ndim else float(result)


def _extreme(values: Series, candles: int, highest: bool) -> Series:
    chosen = np.maximum if highest else np.minimum
    result, reached = values, 1
    while reached < candles:
        step = min(reached, candles - reached)
        result = chosen(result, _before(result, step, np.nan))
        reached += step
    return result + 0.0


def _compared(operator: str, left: Any, right: Any, true: bool) -> Any:
    match operator, true:
        case (">", True) | ("<=", False):
            return left > right
        case (">=", True) | ("<", False):
            return left >= right
        case ("<", True) | (">=", False):
            return left < right
        case ("<=", True) | (">", False):
            return left <= right
        case ("==", True) | ("!=", False):
            return np.equal(left, right)
    return np.less(left, right) | np.greater(left, right)


def _joined(each: list[Truth], every: bool) -> Truth:
    result = each[0]
    for other in each[1:]:
        result = result & other if every else result | other
    return result


def _spread(values: Truth, candles: int, every: bool) -> Truth:
    """Return where the last *candles* are all true, or where any of them is."""
    result, reached = values, 1
    while reached < candles:
        step = min(reached, candles - reached)
        earlier = _before(result, step, False)
        result = result & earlier if every else result | earlier
        reached += step
    return result
