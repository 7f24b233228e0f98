"""What a rule is made of once it is checked: few kinds of node, each with one meaning.

Numbers are finite or unknown; conditions are true, false or unknown. What is computed from
something unknown is unknown, unless the known part decides alone: ``false and unknown`` is false.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an expression yields for each candle."""

    NUMBER = "number"
    CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A series, or another expression that has a name."""

    name: str
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Before:
    """What the operand was *lag* candles ago."""

    operand: "Node"
    lag: int


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Absolute:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Bound:
    """The greater or the lesser of two numbers."""

    left: "Node"
    right: "Node"
    greater: bool


@dataclass(frozen=True, slots=True)
class Extreme:
    """The highest or lowest of the last *candles* values."""

    operand: "Node"
    candles: int
    highest: bool


@dataclass(frozen=True, slots=True)
class Since:
    """Candles since the condition was true last, *candles* at most; 0 while it is."""

    condition: "Node"
    candles: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One number while the condition is true, another while it is false."""

    condition: "Node"
    yes: "Node"
    no: "Node"


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Throughout:
    """The condition has been true at each of the last *candles* candles."""

    condition: "Node"
    candles: int


@dataclass(frozen=True, slots=True)
class Both:
    """Every one of the conditions."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of the conditions."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Session:
    """The candle closes at *begin* or later and before *end*, in minutes of the day of *zone*."""

    begin: int
    end: int
    zone: str


@dataclass(frozen=True, slots=True)
class Weekday:
    """The candle closes on one of these days of *zone*; Monday is 0."""

    days: frozenset[int]
    zone: str


Node = (
    Number
    | Name
    | Before
    | Negative
    | Absolute
    | Arithmetic
    | Bound
    | Extreme
    | Since
    | Choice
    | Comparison
    | Throughout
    | Both
    | Either
    | Not
    | Session
    | Weekday
)

REMEMBERING = (Before, Extreme, Since, Throughout)
"""Nodes that look at earlier candles."""


def kind(node: Node) -> Kind:
    """Return what *node* yields."""
    match node:
        case Name(_, own):
            return own
        case Before(operand):
            return kind(operand)
        case Comparison() | Throughout() | Both() | Either() | Not() | Session() | Weekday():
            return Kind.CONDITION
        case _:
            return Kind.NUMBER


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Negative(operand) | Absolute(operand) | Not(operand) | Before(operand):
            return (operand,)
        case Extreme(operand):
            return (operand,)
        case Since(condition) | Throughout(condition):
            return (condition,)
        case Arithmetic(_, left, right) | Comparison(_, left, right) | Bound(left, right):
            return (left, right)
        case Choice(condition, yes, no):
            return (condition, yes, no)
        case Both(operands) | Either(operands):
            return operands
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield *node* and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def reach(node: Node) -> int:
    """Return how many candles before the last one *node* looks at by itself."""
    match node:
        case Before(_, lag):
            return lag
        case Extreme(_, candles) | Since(_, candles) | Throughout(_, candles):
            return candles - 1
        case _:
            return 0


def lags(node: Node) -> dict[str, int]:
    """Return how many candles before the last one *node* looks at each name."""
    if isinstance(node, Name):
        return {node.name: 0}
    own, found = reach(node), dict[str, int]()
    for child in children(node):
        for name, lag in lags(child).items():
            found[name] = max(found.get(name, 0), own + lag)
    return found
