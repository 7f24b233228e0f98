"""Rules: a strategy declared in a preset, as indicators and expressions over them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from plugins.indicator import MAX_LOOKBACK, Indicator, Series
from tradewright import plugin, rules
from tradewright.domain.market import Side
from tradewright.domain.signal import ExitSignal, Signal
from tradewright.rules import Kind, Rule, RuleInvalid

SIDES = {"long": Side.BUY, "short": Side.SELL}
COLUMNS = ("open", "high", "low", "close", "volume")
NOT_A_NAME: list[JsonValue] = [*sorted({*COLUMNS, *rules.RESERVED})]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,29}$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=rules.MAX_LENGTH)]


class Rules:
    """Go long or short, and leave, when an expression comes true at the close of a candle.

    Rules that come true together contradict each other: no signal. What is to be left is not
    entered at the same candle.
    """

    version: ClassVar[str] = "1"

    class Params(plugin.Params):
        model_config = ConfigDict(
            json_schema_extra={"anyOf": [{"required": ["long"]}, {"required": ["short"]}]}
        )

        indicators: dict[Name, Indicator] = Field(
            default_factory=dict,
            max_length=30,
            description="Named series for the expressions, by TA-Lib function.",
            json_schema_extra={
                "propertyNames": {
                    "pattern": r"^[a-z][a-z0-9_]{0,29}$",
                    "not": {"enum": NOT_A_NAME},
                }
            },
        )
        long: Expression | None = Field(
            default=None, description="Buy when true, such as cross_up(fast, slow) and rsi < 70."
        )
        short: Expression | None = Field(default=None, description="Sell when true.")
        exit_long: Expression | None = Field(
            default=None, description="Leave a long when true, such as cross_down(fast, slow)."
        )
        exit_short: Expression | None = Field(default=None, description="Leave a short when true.")
        confidence: Expression | None = Field(
            default=None, description="Number that scales the size; clipped to 0.1 and 1."
        )

        @model_validator(mode="after")
        def _means_something(self) -> Self:
            faults = [*self._indicator_faults(), *self._expression_faults()]
            if faults:
                raise plugin.ParamsInvalid(faults)
            if self.lookback() > MAX_LOOKBACK:
                message = f"the rules need {self.lookback()} candles, more than {MAX_LOOKBACK}"
                raise plugin.ParamsInvalid([plugin.ParamFault((), f"{message}; look back less")])
            return self

        def _indicator_faults(self) -> list[plugin.ParamFault]:
            faults = []
            for name, indicator in self.indicators.items():
                if name in NOT_A_NAME:
                    message = f"{name!r} has a meaning of its own in rules; choose another name"
                    faults.append(plugin.ParamFault(("indicators", name), message))
                faults += [
                    fault._replace(path=("indicators", name, *fault.path))
                    for fault in indicator.faults()
                ]
            return faults

        def _expression_faults(self) -> list[plugin.ParamFault]:
            faults = []
            if self.long is None and self.short is None:
                faults.append(plugin.ParamFault((), "neither long nor short; write one of them"))
            for key, (text, kind) in self._expressions().items():
                try:
                    rules.compile_rule(text, self._series(), kind)
                except RuleInvalid as e:
                    message = f"{e.problem}; {e.advice}"
                    faults.append(plugin.ParamFault((key,), message, e.column))
            return faults

        def _series(self) -> list[str]:
            return [*COLUMNS, *self.indicators]

        def _expressions(self) -> dict[str, tuple[str, Kind]]:
            found = {
                "long": (self.long, Kind.CONDITION),
                "short": (self.short, Kind.CONDITION),
                "exit_long": (self.exit_long, Kind.CONDITION),
                "exit_short": (self.exit_short, Kind.CONDITION),
                "confidence": (self.confidence, Kind.NUMBER),
            }
            return {key: (text, kind) for key, (text, kind) in found.items() if text is not None}

        def compiled(self) -> dict[str, Rule]:
            """Return the rules, by key."""
            return {
                key: rules.compile_rule(text, self._series(), kind)
                for key, (text, kind) in self._expressions().items()
            }

        def lookback(self) -> int:
            """Return the candles that one decision needs."""
            lag = max((rule.lag for rule in self.compiled().values()), default=0)
            settled = max((i.lookback() for i in self.indicators.values()), default=1)
            return settled + lag + 2

    def __init__(self, params: Params) -> None:
        self._indicators = params.indicators
        self._rules = params.compiled()
        self.needs = plugin.Needs(candles=params.lookback())
        self.says_exits = not self._rules.keys().isdisjoint({"exit_long", "exit_short"})
        self.factor_names = frozenset(
            name for name, indicator in params.indicators.items() if indicator.is_distance
        )

    def evaluate(self, view: plugin.View) -> plugin.Evaluation:
        """Return the signal of the last candle, and every indicator's value there."""
        if len(view.candles) < self.needs.candles:
            return plugin.Evaluation()
        series: dict[str, Series] = {name: getattr(view.candles, name) for name in COLUMNS}
        series |= {name: each.values(series) for name, each in self._indicators.items()}
        factors = _last({name: series[name] for name in (*self._indicators, *COLUMNS)})
        exits = tuple(
            ExitSignal(side=side, reason=self._reason(f"exit_{key}", factors))
            for key, side in SIDES.items()
            if self._is_true(f"exit_{key}", series)
        )
        fired = [key for key in SIDES if self._is_true(key, series)]
        if len(fired) != 1 or any(SIDES[fired[0]] is each.side for each in exits):
            return plugin.Evaluation(exits=exits, factors=factors)
        signal = Signal(
            side=SIDES[fired[0]],
            reason=self._reason(fired[0], factors),
            confidence=self._confidence(series),
            factors=factors,
        )
        return plugin.Evaluation(signal=signal, exits=exits, factors=factors)

    def _is_true(self, key: str, series: Mapping[str, Series]) -> bool:
        rule = self._rules.get(key)
        return rule is not None and bool(evaluate_rule(rule, series)[-1] == 1)

    def _confidence(self, series: Mapping[str, Series]) -> Decimal:
        rule = self._rules.get("confidence")
        if rule is None:
            return Decimal(1)
        value = float(evaluate_rule(rule, series)[-1])
        # An unknown confidence is the least
        return Decimal(f"{min(max(value, 0.1), 1.0) if np.isfinite(value) else 0.1:.4f}")

    def _reason(self, key: str, factors: Mapping[str, float]) -> str:
        rule = self._rules[key]
        text = re.sub(r"\s+", " ", rule.text.strip())
        values = ", ".join(f"{n}={factors[n]:.6g}" for n in sorted(rule.names) if n in factors)
        reason = f"{key}: {text} ({values})"
        return reason if len(reason) <= 200 else reason[:199] + "…"


def _last(series: Mapping[str, Series]) -> dict[str, float]:
    return {name: float(each[-1]) for name, each in series.items() if np.isfinite(each[-1])}


def evaluate_rule(rule: Rule, series: Mapping[str, Series]) -> Series:
    """Return what *rule* yields at every candle.

    Conditions are 1, 0, or NaN where they cannot be told: a comparison with what is no finite
    number (warm-up, a division by zero) is unknown, and what depends on it is unknown too,
    under ``not`` as well. Only 1 is true.

    Args:
        rule: Checked before.
        series: One array per name, all of one length.

    Returns:
        An array of that length.
    """
    length = len(series["close"])
    with np.errstate(all="ignore"):
        return np.broadcast_to(_value(rule.root, series), (length,))


def _value(node: rules.Node, series: Mapping[str, Series]) -> Series:
    match node:
        case rules.Number(value):
            return np.asarray(value, dtype=np.float64)
        case rules.Name(name, lag):
            return _before(series[name], lag)
        case rules.Negative(operand):
            return -_value(operand, series)
        case rules.Arithmetic(operator, left, right):
            return _arithmetic(operator, _value(left, series), _value(right, series))
        case rules.Comparison(operator, left, right):
            return _comparison(operator, _value(left, series), _value(right, series))
        case rules.Not(operand):
            return 1 - _value(operand, series)
        case rules.Both(operands):
            return _both([_value(operand, series) for operand in operands])
        case rules.Either(operands):
            return 1 - _both([1 - _value(operand, series) for operand in operands])
        case rules.Call(function, arguments):
            return _call(function, [_value(argument, series) for argument in arguments])


def _before(values: Series, lag: int) -> Series:
    """Return what *values* were *lag* candles before; NaN where there was none."""
    if lag == 0 or values.ndim == 0:
        return values
    return np.concatenate((np.full(min(lag, len(values)), np.nan), values[:-lag]))


def _arithmetic(operator: str, left: Series, right: Series) -> Series:
    match operator:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/":
            result = left / right
        case _:
            result = np.mod(left, right)
    return np.where(np.isfinite(result), result, np.nan)


def _comparison(operator: str, left: Series, right: Series) -> Series:
    match operator:
        case "<":
            result = left < right
        case "<=":
            result = left <= right
        case ">":
            result = left > right
        case ">=":
            result = left >= right
        case "==":
            result = left == right
        case _:
            result = left != right
    return np.where(np.isfinite(left) & np.isfinite(right), result.astype(np.float64), np.nan)


def _both(conditions: list[Series]) -> Series:
    """Return the conjunction: false if any is false, else unknown if any is unknown."""
    result = conditions[0]
    for condition in conditions[1:]:
        result = np.where((result == 0) | (condition == 0), 0.0, result * condition)
    return result


def _call(function: str, arguments: list[Series]) -> Series:
    first = arguments[0]
    match function:
        case "abs":
            return np.abs(first)
        case "min":
            return reduce(np.minimum, arguments)
        case "max":
            return reduce(np.maximum, arguments)
        case "clip":
            return np.minimum(np.maximum(first, arguments[1]), arguments[2])
    operator, reverse = (">", "<=") if function == "cross_up" else ("<", ">=")
    earlier = [_before(argument, 1) for argument in arguments]
    return _both([_comparison(operator, *arguments), _comparison(reverse, *earlier)])
