"""The rules strategy: arrays give what a person would compute candle by candle."""

import math
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.rules import COLUMNS, Rules, evaluate_rule
from tradewright import plugin, rules
from tradewright.domain.market import Side
from tradewright.rules import compile_rule

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _candles(close: list[float]) -> pd.DataFrame:
    values = np.asarray(close, dtype=np.float64)
    index = pd.date_range("2022-01-01", periods=len(values), freq="1min", tz="UTC")
    before = np.concatenate((values[:1], values[:-1]))
    return pd.DataFrame(
        {
            "open": before,
            "high": np.maximum(before, values) + 0.5,
            "low": np.minimum(before, values) - 0.5,
            "close": values,
            "volume": np.ones(len(values)),
        },
        index=index,
    )


def _walk(length: int, seed: int = 1) -> pd.DataFrame:
    steps = np.random.default_rng(seed).normal(0, 1, length)
    return _candles(list(100 + np.cumsum(steps)))


def _strategy(**params: Any) -> Rules:
    return Rules(Rules.Params.model_validate(params))


# The language once more, one candle at a time, with None for what cannot be told


def _naive(node: rules.Node, series: Mapping[str, list[float]], at: int) -> Any:
    match node:
        case rules.Number(value):
            return value
        case rules.Name(name, lag):
            return _finite(series[name][at - lag]) if at >= lag else None
        case rules.Negative(operand):
            inner = _naive(operand, series, at)
            return None if inner is None else -inner
        case rules.Arithmetic(symbol, left, right):
            pair = (_naive(left, series, at), _naive(right, series, at))
            if None in pair or (symbol in "/%" and pair[1] == 0):
                return None
            if symbol == "/":
                return _finite(operator.truediv(*pair))
            return _finite(operator.mod(*pair) if symbol == "%" else OPERATORS[symbol](*pair))
        case rules.Comparison(symbol, left, right):
            pair = (_naive(left, series, at), _naive(right, series, at))
            return None if None in pair else bool(OPERATORS[symbol](*pair))
        case rules.Not(operand):
            inner = _naive(operand, series, at)
            return None if inner is None else not inner
        case rules.Both(operands) | rules.Either(operands):
            decisive = isinstance(node, rules.Either)
            each = [_naive(operand, series, at) for operand in operands]
            if decisive in each:
                return decisive
            return None if None in each else not decisive
        case rules.Call(function, arguments):
            return _naive_call(function, arguments, series, at)


def _naive_call(
    function: str, arguments: tuple[rules.Node, ...], series: Mapping[str, list[float]], at: int
) -> Any:
    now: list[Any] = [_naive(argument, series, at) for argument in arguments]
    if function.startswith("cross_"):
        then: list[Any] = [_naive(argument, series, at - 1) for argument in arguments]
        if function == "cross_down":
            now, then = (
                [-v if v is not None else None for v in now],
                [-v if v is not None else None for v in then],
            )
        crossed = None if None in now else now[0] > now[1]
        before = None if None in then else then[0] <= then[1]
        if crossed is False or before is False:
            return False
        return None if None in (crossed, before) else True
    if None in now:
        return None
    match function:
        case "abs":
            return abs(now[0])
        case "clip":
            return min(max(now[0], now[1]), now[2])
        case _:
            return {"min": min, "max": max}[function](now)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


numbers = st.recursive(
    st.sampled_from(["close", "fast", "close[-1]", "fast[-3]", "1", "2.5", "0"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"abs({text})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        st.tuples(inner, inner, inner).map(lambda t: f"clip({', '.join(t)})"),
    ),
    max_leaves=5,
)
comparisons = st.tuples(numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers)
conditions = st.recursive(
    comparisons.map(" ".join)
    | st.tuples(comparisons.map(" ".join), numbers).map(" < ".join)
    | st.tuples(st.sampled_from(["cross_up", "cross_down"]), numbers, numbers).map(
        lambda t: f"{t[0]}({t[1]}, {t[2]})"
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
)
values = st.lists(
    st.one_of(st.just(math.nan), st.integers(-3, 3).map(float)), min_size=6, max_size=6
)


@settings(deadline=None)
@given(conditions, values, values)
def test_arrays_agree_with_one_candle_at_a_time(
    text: str, close: list[float], fast: list[float]
) -> None:
    if len(text) > rules.MAX_LENGTH:
        return
    rule = compile_rule(text, ["close", "fast"])
    series = {"close": close, "fast": fast}

    found = evaluate_rule(rule, {name: np.array(each) for name, each in series.items()})

    naive = [_naive(rule.root, series, at) for at in range(len(close))]
    assert [None if math.isnan(each) else bool(each) for each in found] == naive


@pytest.mark.parametrize(
    "text", ["rsi < 70", "not (rsi < 70)", "rsi != rsi", "close / 0 > 1", "not (close / 0 > 1)"]
)
def test_what_cannot_be_told_decides_nothing_even_under_not(text: str) -> None:
    rule = compile_rule(text, ["close", "rsi"])

    found = evaluate_rule(rule, {"close": np.ones(3), "rsi": np.full(3, np.nan)})

    assert not (found == 1).any()


def test_a_crossing_gives_one_signal_with_its_numbers() -> None:
    falling_then_up = [100.0 - 0.1 * n for n in range(150)] + [90.0]
    strategy = _strategy(
        indicators={
            "fast": {"ta": "SMA", "timeperiod": 2},
            "slow": {"ta": "SMA", "timeperiod": 5},
            "atr": {"ta": "ATR", "timeperiod": 3},
        },
        long="cross_up(fast, slow)",
        confidence="0.5",
    )

    before, after = (strategy.evaluate(_candles(falling_then_up[:end])) for end in (150, 151))

    assert before.signal is None
    assert before.factors.keys() == {"fast", "slow", "atr", *COLUMNS}
    assert after.signal is not None
    assert (after.signal.side, after.signal.confidence) == (Side.BUY, Decimal("0.5"))
    assert after.signal.factors == after.factors
    assert after.signal.reason == "long: cross_up(fast, slow) (fast=87.55, slow=86.2)"


def test_rules_that_contradict_each_other_give_no_signal() -> None:
    candles = _walk(10)

    both = _strategy(long="close > 0", short="close > 1").evaluate(candles)
    one = _strategy(long="close < 0", short="close > 1").evaluate(candles)

    assert both.signal is None
    assert one.signal is not None
    assert one.signal.side is Side.SELL


@pytest.mark.parametrize(
    ("expression", "confidence"), [("5", "1"), ("-5", "0.1"), ("1 / 0", "0.1"), ("1 / 3", "0.3333")]
)
def test_confidence_is_clipped_and_an_unknown_one_is_the_least(
    expression: str, confidence: str
) -> None:
    evaluation = _strategy(long="close > 0", confidence=expression).evaluate(_walk(10))

    assert evaluation.signal is not None
    assert evaluation.signal.confidence == Decimal(confidence)


def test_a_long_rule_has_a_reason_that_fits_the_signal() -> None:
    rule = " or ".join(["close > 0"] * 30)

    signal = _strategy(long=rule).evaluate(_walk(10)).signal

    assert signal is not None
    assert len(signal.reason) == 200


EMA_CROSS: dict[str, Any] = {
    "indicators": {
        "fast": {"ta": "EMA", "timeperiod": 3},
        "slow": {"ta": "EMA", "timeperiod": 8},
        "hist": {"ta": "MACD", "fastperiod": 3, "slowperiod": 6, "output": "macdhist"},
        "atr": {"ta": "ATR", "timeperiod": 7},
    },
    "long": "cross_up(fast, slow)",
    "short": "cross_down(fast, slow)",
}


def test_candles_of_the_future_change_nothing() -> None:
    strategy = _strategy(**EMA_CROSS)
    candles = _walk(400)
    other = pd.concat([candles.iloc[:300], _walk(100, seed=2).set_axis(candles.index[300:])])

    for end in range(200, 300):
        assert strategy.evaluate(candles.iloc[:end]) == strategy.evaluate(other.iloc[:end])


def test_where_the_window_begins_changes_nothing() -> None:
    strategy = _strategy(**EMA_CROSS)
    candles = _walk(400)

    signals = 0
    for end in range(strategy.lookback, 400):
        whole = strategy.evaluate(candles.iloc[:end])
        assert whole == strategy.evaluate(candles.iloc[end - strategy.lookback : end])
        signals += whole.signal is not None
    assert signals > 10


def test_too_few_candles_give_an_empty_answer() -> None:
    strategy = _strategy(**EMA_CROSS)

    assert strategy.evaluate(_walk(strategy.lookback - 1)) == plugin.Evaluation()
    assert strategy.evaluate(_walk(strategy.lookback)).factors != {}


def test_the_candles_are_not_copied_and_not_changed() -> None:
    candles = _walk(200)
    kept = candles.copy(deep=True)

    column = candles.iloc[-50:]["close"].to_numpy(dtype=np.float64)
    _strategy(**EMA_CROSS).evaluate(candles)

    assert np.shares_memory(column, candles["close"].to_numpy())
    pd.testing.assert_frame_equal(candles, kept)


def test_only_distances_in_price_are_offered_to_exits() -> None:
    assert _strategy(**EMA_CROSS).factor_names == {"atr"}


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({}, (), "neither long nor short; write one of them"),
        (
            {"long": "close > 1", "indicators": {"close": {"ta": "EMA"}}},
            ("indicators", "close"),
            "",
        ),
        (
            {"long": "1 > 2", "indicators": {"abs": {"ta": "EMA"}}},
            ("indicators", "abs"),
            "'abs' has",
        ),
        (
            {"long": "close > 1", "indicators": {"x": {"ta": "MACD", "output": "macdsginal"}}},
            ("indicators", "x", "output"),
            "unknown output 'macdsginal'; did you mean 'macdsignal'?",
        ),
        (
            {"long": "close > 1", "indicators": {"x": {"ta": "MAVP"}}},
            ("indicators", "x", "ta"),
            "MAVP is not supported: it needs a second series; use another",
        ),
        (
            {"long": "close > 1", "indicators": {"x": {"ta": "EMA", "timeperiod": "9"}}},
            ("indicators", "x", "timeperiod"),
            "'9' is not a number; write a number without quotes",
        ),
        (
            {"long": "close > 1", "indicators": {"x": {"ta": "EMA", "timeperiod": 10**30}}},
            ("indicators", "x", "timeperiod"),
            f"{10**30} is out of range for EMA; use at least 1, at most 100000",
        ),
        (
            {"long": "close > 1", "indicators": {"x": {"ta": "EMA", "timeperiod": 500}}},
            ("indicators", "x"),
            "it needs 3993 candles to settle, more than 3000; use a shorter period",
        ),
        (
            {"long": "x[-500] > 1", "indicators": {"x": {"ta": "SMA", "timeperiod": 2900}}},
            (),
            "the rules need 3402 candles, more than 3000; look back less",
        ),
    ],
)
def test_mistakes_in_parameters_are_told_where_they_are(
    params: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=r"; ") as caught:
        Rules.Params.model_validate(params)

    (fault,) = caught.value.errors()[0]["ctx"]["error"].faults  # type: ignore[attr-defined]
    assert fault.path == path
    assert message in fault.message


def test_all_mistakes_in_parameters_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"indicators\.x\.ta: .*long: .*confidence: "):
        Rules.Params.model_validate(
            {"indicators": {"x": {"ta": "NOPE"}}, "long": "y > 1", "confidence": "x > 1"}
        )


# --- exits ----------------------------------------------------------------------------------------


def test_a_rule_says_which_side_is_to_be_left() -> None:
    strategy = _strategy(long="close > 1000", exit_long="close < open", exit_short="close > open")
    rising, falling = _candles([1.0, 2.0, 3.0, 4.0, 5.0]), _candles([5.0, 4.0, 3.0, 2.0, 1.0])

    (up,) = strategy.evaluate(rising).exits
    (down,) = strategy.evaluate(falling).exits

    assert (up.side, down.side) == (Side.SELL, Side.BUY)
    assert up.reason == "exit_short: close > open (close=5, open=4)"


def test_what_is_to_be_left_is_not_entered_at_the_same_candle() -> None:
    rising = _candles([1.0, 2.0, 3.0, 4.0, 5.0])
    always = {"long": "close > open"}

    turned = _strategy(**always, exit_short="close > open").evaluate(rising)
    torn = _strategy(**always, exit_long="close > open").evaluate(rising)

    # Leaving a short to go long is one thought, leaving a long to go long is none
    assert (turned.signal is not None, [e.side for e in turned.exits]) == (True, [Side.SELL])
    assert (torn.signal, [e.side for e in torn.exits]) == (None, [Side.BUY])


def test_exits_say_nothing_before_there_are_enough_candles() -> None:
    strategy = _strategy(long="close > open", exit_long="close[-3] > 0")

    assert strategy.evaluate(_candles([1.0, 2.0, 3.0])).exits == ()


def test_rules_without_exits_give_the_signals_that_they_gave() -> None:
    assert Rules.version == "1"
    assert _strategy(long="close > open").evaluate(_candles([1.0, 2.0, 3.0, 4.0])).exits == ()
