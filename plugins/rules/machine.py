"""Rules one candle at a time: closures over a few numbers, and what must be remembered."""

import math
from collections.abc import Callable
from typing import Final

from plugins.rules.clock import local_minute
from plugins.rules.column import Columns
from plugins.rules.memory import NAN, Age, Earlier, Highest, Memory, Streak
from plugins.rules.programme import Let, Programme
from tradewright.rules import Rule
from tradewright.rules import node as nodes
from tradewright.rules.node import Kind, Node

Numeral = Callable[[], float]
Test = Callable[[], bool]

INFINITY: Final = math.inf


class Machine:
    """The state of a programme after one candle.

    `values` holds what every name is now; whoever knows it writes it there: columns and
    indicators from outside, each `let` by itself in `run`.
    """

    def __init__(self, programme: Programme) -> None:
        self.values: dict[str, float] = {}
        self.closes_at_ms = 0
        self._memories: dict[Node, Memory] = {}
        self._fed: list[tuple[Memory, Node]] = []
        self._steps: dict[str, list[Callable[[], None]]] = {}
        """What to do for each let."""
        for each in programme.definitions:
            if isinstance(each, Let):
                steps = self._remembering(each.rule)
                self._steps[each.name] = [*steps, self._keeping(each)]
        self._last: list[Callable[[], None]] = []
        self.rules = {path: self._ready(rule) for path, rule in programme.rules.items()}

    def _ready(self, rule: Rule) -> Numeral:
        self._last += self._remembering(rule)
        return self._told(rule.root, rule.kind)

    def run(self, name: str) -> None:
        """Take the next candle into the let called *name*, whose names are known."""
        for step in self._steps[name]:
            step()

    def finish(self) -> None:
        """Take the next candle into the rules, all names being known."""
        for step in self._last:
            step()

    def again(self, name: str) -> None:
        """Reckon the let *name* once more at the same candle; it remembers nothing."""
        self._steps[name][-1]()

    def begin(self, columns: Columns) -> None:
        """Be as after the last candle of *columns*."""
        self.closes_at_ms = int(columns.closes[-1])
        for memory, operand in self._fed:
            memory.forget()
            for value in columns.told(operand, nodes.kind(operand))[-memory.depth :].tolist():
                memory.feed(value)

    # --- memories ------------------------------------------------------------------------------

    def _remembering(self, rule: Rule) -> list[Callable[[], None]]:
        """Return the steps that take a candle into what *rule* remembers, inner parts first."""
        steps: list[Callable[[], None]] = []
        self._remember(rule.root, steps)
        return steps

    def _remember(self, node: Node, steps: list[Callable[[], None]]) -> None:
        if node in self._memories:
            return
        for child in nodes.children(node):
            self._remember(child, steps)
        memory: Memory
        match node:
            case nodes.Before(operand, lag):
                memory = Earlier(lag)
            case nodes.Extreme(operand, candles, highest):
                memory = Highest(candles, 1.0 if highest else -1.0)
            case nodes.Since(operand, candles):
                memory = Age(candles)
            case nodes.Throughout(operand, candles):
                memory = Streak(candles)
            case _:
                return
        self._memories[node] = memory
        self._fed.append((memory, operand))
        told = self._told(operand, nodes.kind(operand))
        steps.append(lambda: memory.feed(told()))

    def _keeping(self, let: Let) -> Callable[[], None]:
        told, values, name = self._told(let.rule.root, let.rule.kind), self.values, let.name

        def keep() -> None:
            values[name] = told()

        return keep

    def _told(self, node: Node, kind: Kind) -> Numeral:
        if kind is Kind.NUMBER:
            return self._number(node)
        yes, no = self._test(node, True), self._test(node, False)
        return lambda: 1.0 if yes() else 0.0 if no() else NAN

    # --- numbers -------------------------------------------------------------------------------

    def _number(self, node: Node) -> Numeral:
        match node:
            case nodes.Number(value):
                return lambda: value
            case nodes.Name(name):
                values = self.values
                return lambda: values[name]
            case nodes.Before() | nodes.Extreme() | nodes.Since():
                memory = self._memories[node]
                return lambda: memory.value
            case nodes.Negative(operand):
                number = self._number(operand)
                return lambda: -number()
            case nodes.Absolute(operand):
                number = self._number(operand)
                return lambda: abs(number())
            case nodes.Arithmetic(operator, left, right):
                return _arithmetic(operator, self._number(left), self._number(right))
            case nodes.Bound(left, right, greater):
                return _bound(self._number(left), self._number(right), greater)
            case nodes.Choice(condition, if_yes, if_no):
                yes, no = self._test(condition, True), self._test(condition, False)
                chosen, other = self._number(if_yes), self._number(if_no)
                return lambda: chosen() if yes() else other() if no() else NAN
        raise TypeError(f"{type(node).__name__} yields no number")

    # --- conditions ----------------------------------------------------------------------------

    def _test(self, node: Node, true: bool) -> Test:
        """Return what says whether *node* is true, or whether it is false."""
        wanted = 1.0 if true else 0.0
        match node:
            case nodes.Comparison(operator, left, right):
                return _compared(operator, self._number(left), self._number(right), true)
            case nodes.Not(operand):
                return self._test(operand, not true)
            case nodes.Both(operands):
                return _joined([self._test(each, true) for each in operands], every=true)
            case nodes.Either(operands):
                return _joined([self._test(each, true) for each in operands], every=not true)
            case nodes.Before() | nodes.Throughout():
                memory = self._memories[node]
                return lambda: memory.value == wanted
            case nodes.Name(name):
                values = self.values
                return lambda: values[name] == wanted
            case nodes.Session(begin, end, zone):
                return lambda: self._is_within(begin, end, zone) is true
            case nodes.Weekday(days, zone):
                return lambda: (self._day(zone) in days) is true
        raise TypeError(f"{type(node).__name__} yields no condition")

    def _is_within(self, begin: int, end: int, zone: str) -> bool:
        minute = local_minute(self.closes_at_ms, zone) % 1440
        if begin < end:
            return begin <= minute < end
        return begin <= minute or minute < end

    def _day(self, zone: str) -> int:
        # 1970 began on a Thursday
        return (local_minute(self.closes_at_ms, zone) // 1440 + 3) % 7


def _finite(value: float) -> float:
    return value if -INFINITY < value < INFINITY else NAN


def _arithmetic(operator: str, left: Numeral, right: Numeral) -> Numeral:
    match operator:
        case "+":
            return lambda: _finite(left() + right())
        case "-":
            return lambda: _finite(left() - right())
        case "*":
            return lambda: _finite(left() * right())
        case "/":

            def divided() -> float:
                by = right()
                return _finite(left() / by) if by else NAN

            return divided
        case _:

            def rest() -> float:
                by = right()
                return _finite(left() % by) if by else NAN

            return rest


def _bound(left: Numeral, right: Numeral, greater: bool) -> Numeral:
    def bound() -> float:
        a, b = left(), right()
        if a != a or b != b:
            return NAN
        return (a if (a > b) is greater else b) + 0.0

    return bound


def _compared(operator: str, left: Numeral, right: Numeral, true: bool) -> Test:
    match operator, true:
        case (">", True) | ("<=", False):
            return lambda: left() > right()
        case (">=", True) | ("<", False):
            return lambda: left() >= right()
        case ("<", True) | (">=", False):
            return lambda: left() < right()
        case ("<=", True) | (">", False):
            return lambda: left() <= right()
        case ("==", True) | ("!=", False):
            return lambda: left() == right()

    def unequal() -> bool:
        a, b = left(), right()
        return a < b or a > b

    return unequal


def _joined(each: list[Test], every: bool) -> Test:
    if len(each) == 1:
        return each[0]
    if len(each) == 2:
        first, second = each
        if every:
            return lambda: first() and second()
        return lambda: first() or second()
    if every:
        return lambda: all(test() for test in each)
    return lambda: any(test() for test in each)
