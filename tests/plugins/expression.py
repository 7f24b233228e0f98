"""The rule language once more: one candle at a time, None for unknown; and random rules."""

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.plugins.market import MINUTE, START
from tradewright.rules import node as nodes
from tradewright.rules.node import Node

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def told(node: Node, series: Mapping[str, list[float]], at: int) -> Any:
    """Return what *node* is at row *at*, as a person would find out by hand."""
    if at < 0:
        return None
    match node:
        case nodes.Number(value):
            return value
        case nodes.Name(name):
            return _finite(series[name][at])
        case nodes.Before(operand, lag):
            return told(operand, series, at - lag)
        case nodes.Negative(operand) | nodes.Absolute(operand):
            inner = told(operand, series, at)
            if inner is None:
                return None
            return -inner if isinstance(node, nodes.Negative) else abs(inner)
        case nodes.Arithmetic(symbol, left, right):
            pair = (told(left, series, at), told(right, series, at))
            if None in pair or (symbol in "/%" and pair[1] == 0):
                return None
            return _finite(OPERATORS[symbol](*pair))
        case nodes.Bound(left, right, greater):
            pair = (told(left, series, at), told(right, series, at))
            return None if None in pair else (max if greater else min)(*pair)
        case nodes.Extreme(operand, candles, highest):
            each = [told(operand, series, at - n) for n in range(candles)]
            return None if None in each else (max if highest else min)(each)
        case nodes.Choice(condition, yes, no):
            chosen = told(condition, series, at)
            return None if chosen is None else told(yes if chosen else no, series, at)
        case nodes.Since(condition, candles):
            for age in range(candles):
                found = told(condition, series, at - age)
                if found is not False:
                    return None if found is None else age
            return candles
        case nodes.Comparison(symbol, left, right):
            pair = (told(left, series, at), told(right, series, at))
            return None if None in pair else bool(OPERATORS[symbol](*pair))
        case nodes.Not(operand):
            inner = told(operand, series, at)
            return None if inner is None else not inner
        case nodes.Throughout(condition, candles):
            return _all([told(condition, series, at - n) for n in range(candles)])
        case nodes.Both(operands):
            return _all([told(each, series, at) for each in operands])
        case nodes.Either(operands):
            each = [told(each, series, at) for each in operands]
            return True if True in each else None if None in each else False
        case nodes.Session(begin, end, zone):
            close = _close(at, zone)
            minute = 60 * close.hour + close.minute
            return begin <= minute < end if begin < end else minute >= begin or minute < end
        case nodes.Weekday(days, zone):
            return _close(at, zone).weekday() in days


def _close(at: int, zone: str) -> datetime:
    close = datetime.fromtimestamp((START + MINUTE * (at + 1)) / 1000, UTC)
    return close.astimezone(ZoneInfo(zone))


def _all(each: list[bool | None]) -> bool | None:
    return False if False in each else None if None in each else True


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _call() -> Callable[[tuple[Any, ...]], str]:
    return lambda arguments: f"{arguments[0]}({', '.join(map(str, arguments[1:]))})"


_few = st.integers(1, 4)
_leaves = st.sampled_from(["a", "b", "c", "a[-1]", "b[-3]", "1", "2.5", "0", "1e200"])
_simple = st.tuples(_leaves, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _leaves).map(
    " ".join
)


def _more_numbers(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    call = _call()
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"abs({text})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(call),
        st.tuples(st.just("clip"), inner, inner, inner).map(call),
        st.tuples(st.sampled_from(["highest", "lowest"]), inner, _few).map(call),
        st.tuples(st.just("since"), _simple, _few).map(call),
        st.tuples(st.just("iff"), _simple, inner, inner).map(call),
    )


numbers = st.recursive(_leaves, _more_numbers, max_leaves=5)
_basic = st.one_of(
    st.tuples(numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers).map(" ".join),
    st.tuples(numbers, numbers, numbers).map(" < ".join),
    st.tuples(st.sampled_from(["cross_up", "cross_down"]), numbers, numbers).map(_call()),
    st.tuples(st.sampled_from(["rising", "falling"]), numbers, _few).map(_call()),
    st.tuples(st.just("between"), numbers, numbers, numbers).map(_call()),
    st.just('session("00:00", "00:03")'),
    st.just('session("23:58", "00:02", "Europe/London")'),
    st.just('session("18:00", "18:05", "America/New_York")'),
    st.just("weekday(sat)"),
    st.just('weekday(fri, "America/New_York")'),
    st.just("t"),
    st.just("t[-2]"),
)
conditions = st.recursive(
    _basic,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
)
