"""The functions of the rule language: what each takes, gives and means."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tradewright.rules.node import Kind


class Argument(StrEnum):
    """What belongs in one place of a call."""

    NUMBER = "number"
    CONDITION = "condition"
    CANDLES = "candles"
    TIME = "time"
    DAY = "day"
    ZONE = "zone"


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    call: str
    """How it is written."""
    meaning: str
    kind: Kind
    least: int
    """Arguments at least, as `most` at most."""
    most: int
    arguments: tuple[Argument, ...]
    """In order; the last but one stands for all between when there may be more."""

    def argument(self, at: int) -> Argument:
        return self.arguments[min(at, len(self.arguments) - 1)]


def _function(
    call: str, meaning: str, kind: Kind, *arguments: Argument, least: int = 0, most: int = 0
) -> Function:
    name = call.partition("(")[0]
    return Function(
        name, call, meaning, kind, least or len(arguments), most or len(arguments), arguments
    )


_X, _C, _N = Argument.NUMBER, Argument.CONDITION, Argument.CANDLES
_YES, _NUMBER = Kind.CONDITION, Kind.NUMBER

FUNCTIONS = MappingProxyType(
    {
        each.name: each
        for each in (
            _function(
                "cross_up(a, b)",
                "a is above b and was not at the candle before",
                _YES,
                _X,
                _X,
            ),
            _function(
                "cross_down(a, b)",
                "a is below b and was not at the candle before",
                _YES,
                _X,
                _X,
            ),
            _function(
                "rising(x, n)",
                "x has risen at each of the last n candles; n may be left out for 1",
                _YES,
                _X,
                _N,
                least=1,
            ),
            _function(
                "falling(x, n)",
                "x has fallen at each of the last n candles; n may be left out for 1",
                _YES,
                _X,
                _N,
                least=1,
            ),
            _function("between(x, low, high)", "low <= x <= high", _YES, _X, _X, _X),
            _function(
                'session("08:00", "16:00", "Europe/London")',
                "the candle closes within these hours, the end excluded; the time zone may be "
                "left out for UTC, and hours may go past midnight",
                _YES,
                Argument.TIME,
                Argument.TIME,
                Argument.ZONE,
                least=2,
            ),
            _function(
                'weekday(mon, fri, "Europe/London")',
                "the candle closes on one of these days; the time zone may be left out for UTC",
                _YES,
                Argument.DAY,
                least=1,
                most=8,
            ),
            _function("highest(x, n)", "the highest x of the last n candles", _NUMBER, _X, _N),
            _function("lowest(x, n)", "the lowest x of the last n candles", _NUMBER, _X, _N),
            _function(
                "since(condition, n)",
                "candles since the condition was true, 0 while it is, n if it was not within n",
                _NUMBER,
                _C,
                _N,
            ),
            _function(
                "iff(condition, a, b)",
                "a while the condition is true, b while it is false",
                _NUMBER,
                _C,
                _X,
                _X,
            ),
            _function(
                "clip(x, low, high)",
                "x, but no less than low and no more than high",
                _NUMBER,
                _X,
                _X,
                _X,
            ),
            _function("abs(x)", "x without its sign", _NUMBER, _X),
            _function(
                "min(a, b, …)", "the least of two to ten numbers", _NUMBER, _X, least=2, most=10
            ),
            _function(
                "max(a, b, …)", "the greatest of two to ten numbers", _NUMBER, _X, least=2, most=10
            ),
        )
    }
)

DAYS = MappingProxyType({"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6})
