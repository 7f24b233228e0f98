"""TA-Lib's functions as a person declares them in a preset; checked without TA-Lib."""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue, StringConstraints

from tradewright import plugin
from tradewright.rules import catalogue
from tradewright.rules.catalogue import Function, Parameter

SeriesName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,29}(\.[a-z][a-z0-9_]{0,29}){0,2}$")
]


def _parameter_schema(parameter: Parameter) -> dict[str, JsonValue]:
    if parameter.choices:
        return {"enum": [*parameter.choices], "default": parameter.default}
    return {
        "type": "integer" if parameter.whole else "number",
        "default": parameter.default,
        "minimum": parameter.least,
        "maximum": parameter.most,
    }


def _schema(schema: dict[str, Any]) -> None:
    """Say which parameters each function has, one clause per set of them."""
    del schema["additionalProperties"]
    usable = {name: each for name, each in catalogue.functions().items() if not each.refused}
    schema["properties"]["ta"]["enum"] = [*usable]
    by_parameters: dict[str, tuple[dict[str, JsonValue], list[JsonValue]]] = {}
    for name, function in usable.items():
        properties = {key: _parameter_schema(each) for key, each in function.parameters.items()}
        by_parameters.setdefault(repr(properties), ({**properties}, []))[1].append(name)
    schema["allOf"] = [
        {
            "if": {"properties": {"ta": {"enum": names}}, "required": ["ta"]},
            "then": {"properties": properties},
        }
        for properties, names in by_parameters.values()
        if properties
    ]
    schema["unevaluatedProperties"] = False


class Indicator(plugin.Params):
    """One TA-Lib function; its parameters stand beside `ta`, such as ``timeperiod: 14``."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_schema)
    __pydantic_extra__: dict[str, Any]

    ta: str = Field(description="Name of a TA-Lib function, such as EMA, RSI, ATR, MACD.")
    on: SeriesName | None = Field(
        default=None,
        description="Whose candles: a name of `timeframes` or `symbols`, or both as in btc.h1.",
    )
    of: SeriesName | Annotated[list[SeriesName], Field(min_length=1, max_length=2)] | None = Field(
        default=None,
        description="Which series instead of close: volume, funding_rate, another indicator, a "
        "name of `let`; two where the function takes two; or a name of `symbols`.",
    )
    output: str | None = Field(
        default=None, description="Which of several outputs, such as macdsignal; default the first."
    )

    @property
    def function(self) -> Function:
        """Return what is known of the function; for an indicator without faults."""
        function = catalogue.function(self.ta)
        if function is None:
            raise LookupError(f"TA-Lib function {self.ta!r} is unknown; look at its faults first")
        return function

    def faults(self) -> Iterator[plugin.ParamFault]:
        """Yield what is wrong with it by itself."""
        function = catalogue.function(self.ta)
        if function is None:
            advice = plugin.suggestion(self.ta, catalogue.names())
            yield plugin.ParamFault(("ta",), f"unknown TA-Lib function {self.ta!r}; {advice}")
            return
        if function.refused:
            message = f"{self.ta} is not supported: {function.refused}"
            yield plugin.ParamFault(("ta",), message)
            return
        if self.output is not None and function.output(self.output) is None:
            advice = plugin.suggestion(self.output, [*function.outputs, *function.short_outputs])
            yield plugin.ParamFault(("output",), f"unknown output {self.output!r}; {advice}")
        for name, value in self.__pydantic_extra__.items():
            if (problem := _problem(function, name, value)) is not None:
                yield plugin.ParamFault((name,), problem, at_key=name not in function.parameters)

    def parameters(self) -> dict[str, int | float]:
        """Return the given parameters in the types that TA-Lib wants."""
        known = self.function.parameters
        return {
            name: int(value) if known[name].whole or known[name].choices else float(value)
            for name, value in self.__pydantic_extra__.items()
        }

    def outputs(self, name: str) -> Mapping[str, int]:
        """Return how its outputs are called in rules when it is called *name*, by their order."""
        function = catalogue.function(self.ta)
        if function is None:
            return {name: 0}
        chosen = function.outputs.index(function.output(self.output or "") or function.outputs[0])
        if len(function.outputs) == 1:
            return {name: 0}
        full = {f"{name}.{each}": at for at, each in enumerate(function.outputs)}
        short = {
            f"{name}.{word}": function.outputs.index(each)
            for word, each in function.short_outputs.items()
        }
        return {name: chosen, **full, **short}


def _problem(function: Function, name: str, value: Any) -> str | None:
    parameter = function.parameters.get(name)
    if parameter is None:
        known = (*function.parameters, "of", "on", "output")
        return f"{function.name} has no parameter {name!r}; {plugin.suggestion(name, known)}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return f"{value!r} is not a number; write a number without quotes"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and parameter.accepts(number)):
        return f"{value} is out of range for {function.name}; {parameter.bounds()}"
    if (parameter.whole or parameter.choices) and not number.is_integer():
        return f"{value} is not whole; write a whole number"
    return None
