"""What each function of the language stands for: most are several simple nodes."""

from collections.abc import Callable, Mapping
from typing import Final

from tradewright.rules import node as nodes
from tradewright.rules.node import Node

Expansion = Callable[[list[Node], int], Node]
"""Takes the numbers and conditions in order, and the number of candles."""


def _cross(up: bool) -> Expansion:
    now, then = (">", "<=") if up else ("<", ">=")

    def built(numbers: list[Node], _: int) -> Node:
        left, right = numbers
        earlier = nodes.Before(nodes.Comparison(then, left, right), 1)
        return nodes.Both((nodes.Comparison(now, left, right), earlier))

    return built


def _steady(operator: str) -> Expansion:
    def built(numbers: list[Node], candles: int) -> Node:
        (x,) = numbers
        return nodes.Throughout(nodes.Comparison(operator, x, nodes.Before(x, 1)), candles)

    return built


def _between(numbers: list[Node], _: int) -> Node:
    x, low, high = numbers
    return nodes.Both((nodes.Comparison("<=", low, x), nodes.Comparison("<=", x, high)))


def _bound(greater: bool) -> Expansion:
    def built(numbers: list[Node], _: int) -> Node:
        found = numbers[0]
        for each in numbers[1:]:
            found = nodes.Bound(found, each, greater)
        return found

    return built


def _clip(numbers: list[Node], _: int) -> Node:
    x, low, high = numbers
    return nodes.Bound(nodes.Bound(x, low, greater=True), high, greater=False)


EXPANSIONS: Final[Mapping[str, Expansion]] = {
    "cross_up": _cross(up=True),
    "cross_down": _cross(up=False),
    "rising": _steady(">"),
    "falling": _steady("<"),
    "between": _between,
    "highest": lambda numbers, candles: nodes.Extreme(numbers[0], candles, highest=True),
    "lowest": lambda numbers, candles: nodes.Extreme(numbers[0], candles, highest=False),
    "since": lambda numbers, candles: nodes.Since(numbers[0], candles),
    "iff": lambda numbers, _: nodes.Choice(*numbers),
    "clip": _clip,
    "abs": lambda numbers, _: nodes.Absolute(numbers[0]),
    "min": _bound(greater=False),
    "max": _bound(greater=True),
}
