"""The grammar of rules: Python's tree goes in, a checked tree of few kinds of node comes out."""

import ast
import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from tradewright.rules import node as nodes
from tradewright.rules.expansion import EXPANSIONS
from tradewright.rules.fault import RuleInvalid
from tradewright.rules.function import DAYS, FUNCTIONS, Argument, Function
from tradewright.rules.node import Kind, Name, Node
from tradewright.rules.text import MAX_DEPTH, parsed

MAX_NODES: Final = 200
MAX_LAG: Final = 500

_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_COMPARISON = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_DAY: Final = 24 * 60
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked expression, ready to be evaluated."""

    text: str
    kind: Kind
    root: Node
    lags: Mapping[str, int]
    """Names that it speaks of, and how many candles before the last one it looks at each."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.lags)

    @property
    def lag(self) -> int:
        return max(self.lags.values(), default=0)


def compile_rule(
    text: str,
    names: Iterable[str] | Mapping[str, Kind],
    kind: Kind | None = Kind.CONDITION,
    *,
    only_now: Collection[str] = (),
    elsewhere: Mapping[str, str] = _NONE,
) -> Rule:
    """Return the rule that *text* says.

    Args:
        text: What a person wrote.
        names: What it may speak of, all numbers unless their kind is given.
        kind: What it must yield; None: either.
        only_now: Names without a past: they are known at the last candle alone.
        elsewhere: Names that exist but not here, and why.

    Raises:
        RuleInvalid: The first mistake, with its column.

    Example:
        >>> rule = compile_rule("cross_up(fast, slow) and rsi[-2] < 70", ["fast", "slow", "rsi"])
        >>> sorted(rule.names), rule.lag
        (['fast', 'rsi', 'slow'], 2)
        >>> compile_rule("fast > slo", ["fast", "slow"])
        Traceback (most recent call last):
        ...
        tradewright.rules.fault.RuleInvalid: rule 'fast > slo' is invalid: unknown name 'slo', \
at column 8; did you mean 'slow'?
    """
    tree = parsed(text)
    known = names if isinstance(names, Mapping) else dict.fromkeys(names, Kind.NUMBER)
    root, found = _Builder(text, known, frozenset(only_now), elsewhere).node(tree, kind, depth=1)
    return Rule(
        text=text,
        kind=found,
        root=root,
        lags=nodes.lags(root),
    )


def mentioned(text: str) -> frozenset[str]:
    """Return the names that *text* speaks of, dots and all; none if it cannot be read."""
    try:
        tree = parsed(text)
    except RuleInvalid:
        return frozenset()
    return frozenset(_names(tree))


def likely_kind(text: str, of: Mapping[str, str]) -> Kind:
    """Return what *text* yields, told by its outermost part alone.

    Args:
        text: An expression, which may be faulty elsewhere.
        of: The texts of what has a name, for *text* may be just a name.
    """
    for _ in range(len(of) + 1):
        try:
            tree = parsed(text)
        except RuleInvalid:
            return Kind.NUMBER
        match tree:
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return Kind.CONDITION
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                return FUNCTIONS[name].kind
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in of:
                text = of[name]
            case _:
                return Kind.NUMBER
    return Kind.NUMBER


def _names(tree: ast.AST) -> Iterator[str]:
    match tree:
        case ast.Name(id=word):
            yield word
        case ast.Attribute() if set(map(type, ast.walk(tree))) <= {
            ast.Attribute,
            ast.Name,
            ast.Load,
        }:
            yield ast.unparse(tree)
        case _:
            for child in ast.iter_child_nodes(tree):
                yield from _names(child)


class _Builder:
    """Builds the checked tree, one Python node at a time."""

    def __init__(
        self,
        text: str,
        names: Mapping[str, Kind],
        only_now: frozenset[str],
        elsewhere: Mapping[str, str],
    ) -> None:
        self._text = text
        self._names = names
        self._only_now = only_now
        self._elsewhere = elsewhere
        self._count = 0

    def node(self, tree: ast.expr, kind: Kind | None, depth: int) -> tuple[Node, Kind]:
        """Return the checked node of *tree*, which must yield *kind* if one is given."""
        self._count += 1
        if self._count > MAX_NODES:
            raise self._fault(tree, "the rule is too long", f"use at most {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise self._fault(tree, "nested too deeply", f"use at most {MAX_DEPTH} levels")
        node, found = self._build(tree, depth + 1)
        if isinstance(tree, ast.Call | ast.Compare) and _is_beyond(node, MAX_NODES):
            raise self._fault(
                tree, "the rule is too long once it is written out", "name a part under let"
            )
        if kind is not None and found is not kind:
            words = " ".join(self._text[tree.col_offset : tree.end_col_offset].split())
            advice = (
                f"compare it, as in {words} > 0"
                if kind is Kind.CONDITION
                else "numbers belong here; iff(condition, 1, 0) makes one"
            )
            raise self._fault(tree, f"a {found} where a {kind} belongs", advice)
        return node, found

    def _build(self, tree: ast.expr, depth: int) -> tuple[Node, Kind]:
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(tree, value), Kind.NUMBER
            case ast.Constant(value=str()):
                raise self._fault(
                    tree, "text where a number belongs", "only session and weekday take text"
                )
            case ast.Name() | ast.Attribute():
                name = self._name(tree)
                return name, name.kind
            case ast.Subscript(value=ast.Name() | ast.Attribute() as series, slice=index):
                name = self._name(series)
                earlier = nodes.Before(name, self._previous(index))
                return self._with_past(tree, earlier), name.kind
            case ast.Subscript():
                raise self._fault(
                    tree, "only names have previous values", "name it under let, write name[-1]"
                )
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return nodes.Negative(self._a_number(operand, depth)), Kind.NUMBER
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return nodes.Not(self._a_condition(operand, depth)), Kind.CONDITION
            case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
                left, right = self._a_number(tree.left, depth), self._a_number(tree.right, depth)
                return nodes.Arithmetic(_ARITHMETIC[type(op)], left, right), Kind.NUMBER
            case ast.BoolOp(op=op, values=values):
                operands = tuple(self._a_condition(value, depth) for value in values)
                joined = nodes.Both if isinstance(op, ast.And) else nodes.Either
                return joined(operands), Kind.CONDITION
            case ast.Compare():
                return self._comparison(tree, depth), Kind.CONDITION
            case ast.Call():
                return self._call(tree, depth)
        raise self._fault(
            tree, "this is not part of the language", "use numbers, names, operators and functions"
        )

    def _a_number(self, tree: ast.expr, depth: int) -> Node:
        return self.node(tree, Kind.NUMBER, depth)[0]

    def _a_condition(self, tree: ast.expr, depth: int) -> Node:
        return self.node(tree, Kind.CONDITION, depth)[0]

    def _number(self, tree: ast.expr, value: float) -> nodes.Number:
        # An int of 500 digits is beyond float, and float text beyond 1e308 is inf
        if abs(value) > 1e300 or not math.isfinite(value):
            raise self._fault(tree, "the number is too large", "use less than 1e300")
        return nodes.Number(float(value))

    def _name(self, tree: ast.expr) -> Name:
        name = self._dotted(tree)
        if name in self._names:
            return Name(name, self._names[name])
        if name in FUNCTIONS:
            raise self._fault(tree, f"{name} is a function", f"call it, as in {name}(…)")
        if reason := self._elsewhere.get(name):
            raise self._fault(tree, f"{name} cannot be used here", reason)
        if parts := sorted(each for each in self._names if each.startswith(f"{name}.")):
            raise self._fault(tree, f"{name} has several series", f"write one, such as {parts[0]}")
        raise self._fault(tree, f"unknown name {name!r}", _suggestion(name, self._names))

    def _dotted(self, tree: ast.expr) -> str:
        match tree:
            case ast.Name(id=word):
                return word
            case ast.Attribute(value=ast.Name() | ast.Attribute() as owner, attr=word):
                return f"{self._dotted(owner)}.{word}"
        raise self._fault(tree, "this is not part of the language", "a dot belongs after a name")

    def _previous(self, index: ast.expr) -> int:
        match index:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as lag)) if (
                not isinstance(lag, bool) and 1 <= lag <= MAX_LAG
            ):
                return lag
        raise self._fault(
            index, "not a previous candle", f"write -1 for the one before, down to -{MAX_LAG}"
        )

    def _with_past(self, tree: ast.expr, node: Node) -> Node:
        for each in nodes.walk(node):
            if isinstance(each, Name) and each.name in self._only_now:
                raise self._fault(
                    tree, f"{each.name} is known only now", "it has no previous values"
                )
        return node

    def _comparison(self, tree: ast.Compare, depth: int) -> Node:
        operands = [self._a_number(t, depth) for t in (tree.left, *tree.comparators)]
        for op, right in zip(tree.ops, tree.comparators, strict=True):
            if type(op) not in _COMPARISON:
                raise self._fault(right, "no such comparison", "use < <= > >= == !=")
        pairs = zip(tree.ops, operands, operands[1:], strict=False)
        links = [nodes.Comparison(_COMPARISON[type(op)], left, right) for op, left, right in pairs]
        return links[0] if len(links) == 1 else nodes.Both(tuple(links))

    def _call(self, tree: ast.Call, depth: int) -> tuple[Node, Kind]:
        if not isinstance(tree.func, ast.Name):
            raise self._fault(tree.func, "only functions are called", "write cross_up(a, b)")
        name = tree.func.id
        if name not in FUNCTIONS:
            advice = (
                f"{name} is a series: leave the brackets out"
                if name in self._names
                else _suggestion(name, FUNCTIONS)
            )
            raise self._fault(tree.func, f"unknown function {name!r}", advice)
        function = FUNCTIONS[name]
        if tree.keywords or not function.least <= len(tree.args) <= function.most:
            least, most = function.least, function.most
            count = str(least) if least == most else f"{least} to {most}"
            plural = "argument" if most == 1 else "arguments"
            raise self._fault(tree, f"{name} takes {count} {plural}", f"write {function.call}")
        if name == "weekday":
            return self._weekday(tree), Kind.CONDITION
        if name == "session":
            return self._session(tree), Kind.CONDITION
        return self._with_past_if_any(tree, self._built(function, tree, depth)), function.kind

    def _built(self, function: Function, tree: ast.Call, depth: int) -> Node:
        numbers: list[Node] = []
        candles = 1
        for at, argument in enumerate(tree.args):
            match function.argument(at):
                case Argument.CANDLES:
                    candles = self._candles(argument)
                case Argument.CONDITION:
                    numbers.append(self._a_condition(argument, depth))
                case _:
                    numbers.append(self._a_number(argument, depth))
        return EXPANSIONS[function.name](numbers, candles)

    def _with_past_if_any(self, tree: ast.expr, node: Node) -> Node:
        for each in nodes.walk(node):
            if isinstance(each, nodes.REMEMBERING):
                self._with_past(tree, each)
        return node

    def _candles(self, tree: ast.expr) -> int:
        match tree:
            case ast.Constant(value=int() as count) if (
                not isinstance(count, bool) and 1 <= count <= MAX_LAG
            ):
                return count
        raise self._fault(tree, "not a number of candles", f"write a number from 1 to {MAX_LAG}")

    def _session(self, tree: ast.Call) -> Node:
        begin, end = (self._minute(argument) for argument in tree.args[:2])
        if begin in (end, end + _DAY):
            raise self._fault(tree.args[1], "the session is empty", "end it later than it begins")
        return nodes.Session(begin, end, self._zone(tree.args[2:]))

    def _minute(self, tree: ast.expr) -> int:
        match tree:
            case ast.Constant(value=str() as text) if _TIME.fullmatch(text):
                hours, minutes = text.split(":")
                return 60 * int(hours) + int(minutes)
        raise self._fault(tree, "not a time of day", 'write it as in "08:30", up to "24:00"')

    def _weekday(self, tree: ast.Call) -> Node:
        zoned = isinstance(tree.args[-1], ast.Constant)
        days = tree.args[:-1] if zoned else tree.args
        for each in days or tree.args:
            if not (isinstance(each, ast.Name) and each.id in DAYS):
                raise self._fault(each, "not a day of the week", f"use {', '.join(DAYS)}")
        chosen = frozenset(DAYS[each.id] for each in days if isinstance(each, ast.Name))
        return nodes.Weekday(chosen, self._zone(tree.args[-1:] if zoned else []))

    def _zone(self, given: list[ast.expr]) -> str:
        for tree in given:
            match tree:
                case ast.Constant(value=str() as zone) if _is_zone(zone):
                    return zone
            raise self._fault(tree, "not a time zone", 'write one as in "Europe/London"')
        return "UTC"

    def _fault(self, tree: ast.expr, problem: str, advice: str) -> RuleInvalid:
        return RuleInvalid(self._text, tree.col_offset + 1, problem, advice)


def _is_beyond(node: Node, count: int) -> bool:
    """Return whether *node* has more parts than *count*: some functions repeat their arguments."""
    return next(islice(nodes.walk(node), count, None), None) is not None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _suggestion(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    # The right parts in another order mean what nothing that merely looks alike does
    near = [each for each in names if sorted(each.split(".")) == sorted(word.split("."))]
    folded = {each.casefold(): each for each in names}
    near += [folded[each] for each in difflib.get_close_matches(word.casefold(), folded, 1)]
    if near:
        return f"did you mean {near[0]!r}?"
    listed = ", ".join(names[:20])
    return f"known: {listed}{' and more' if len(names) > 20 else ''}"
