"""The rule language: small, closed, checked before it runs; a preset can hold no other code.

Numbers, names, ``+ - * / %``, comparisons (chained too), ``and or not``, previous values
``name[-n]``, and the functions of `FUNCTIONS`. Text is parsed with Python's own parser, but
only the tree that `compile_rule` builds from it exists afterwards, and only an evaluator of
these few node types ever runs it.
"""

import ast
import difflib
import keyword
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tradewright.domain.errors import TradewrightError

MAX_LENGTH = 500
MAX_NODES = 200
MAX_DEPTH = 20
MAX_LAG = 500

FUNCTIONS = {
    "cross_up": (2, 2),
    "cross_down": (2, 2),
    "abs": (1, 1),
    "clip": (3, 3),
    "min": (2, 10),
    "max": (2, 10),
}
"""Least and greatest number of arguments, by name."""
RESERVED = frozenset(FUNCTIONS) | frozenset(keyword.kwlist)
"""Words that cannot name an indicator."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_ .,()\[\]<>=!+\-*/%\t\r\n]")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_COMPARISON = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class Kind(StrEnum):
    """What an expression yields for each candle."""

    NUMBER = "number"
    CONDITION = "condition"


class RuleInvalid(TradewrightError, ValueError):
    """A text is not a rule; `column` (from 1) says where."""

    def __init__(self, text: str, column: int, problem: str, advice: str) -> None:
        self.text = text
        self.column = min(max(column, 1), len(text) + 1)
        self.problem = problem
        self.advice = advice
        super().__init__(f"rule {text!r} is invalid: {problem}, at column {self.column}; {advice}")

    def caret(self) -> str:
        """Return the text with a caret below the place, for a terminal."""
        flat = re.sub(r"\s", " ", self.text)
        return f"{flat}\n{' ' * (self.column - 1)}^"


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A series; *lag* candles back."""

    name: str
    lag: int = 0


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str
    left: "Node"
    right: "Node"


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
class Call:
    function: str
    arguments: tuple["Node", ...]


Node = Number | Name | Negative | Arithmetic | Comparison | Both | Either | Not | Call


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked expression, ready to be evaluated."""

    text: str
    kind: Kind
    root: Node
    names: frozenset[str]
    lag: int
    """Candles before the last one that it looks at."""


def compile_rule(text: str, names: Iterable[str], kind: Kind = Kind.CONDITION) -> Rule:
    """Return the rule that *text* says, about series called *names*, yielding *kind*.

    Raises:
        RuleInvalid: The first mistake, with its column.

    Example:
        >>> rule = compile_rule("cross_up(fast, slow) and rsi[-2] < 70", ["fast", "slow", "rsi"])
        >>> sorted(rule.names), rule.lag
        (['fast', 'rsi', 'slow'], 2)
        >>> compile_rule("fast > slo", ["fast", "slow"])
        Traceback (most recent call last):
        ...
        tradewright.rules.RuleInvalid: rule 'fast > slo' is invalid: unknown name 'slo', \
at column 8; did you mean 'slow'?
    """
    tree = _parsed(text)
    builder = _Builder(text, frozenset(names))
    root = builder.node(tree, kind, depth=1)
    series = [node for node in walk(root) if isinstance(node, Name)]
    return Rule(
        text=text,
        kind=kind,
        root=root,
        names=frozenset(node.name for node in series),
        lag=_lag(root),
    )


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Negative(operand) | Not(operand):
            return (operand,)
        case Arithmetic(_, left, right) | Comparison(_, left, right):
            return (left, right)
        case Both(operands) | Either(operands):
            return operands
        case Call(_, arguments):
            return arguments
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield *node* and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def _lag(node: Node) -> int:
    own = node.lag if isinstance(node, Name) else 0
    if isinstance(node, Call) and node.function.startswith("cross_"):
        own = 1
    return own + max((_lag(child) for child in children(node)), default=0)


def _parsed(text: str) -> ast.expr:
    """Return Python's tree of *text*, whose every character and number was looked at before."""
    if len(text) > MAX_LENGTH:
        raise RuleInvalid(
            text[:40] + "…", 1, f"{len(text)} characters", f"use at most {MAX_LENGTH}"
        )
    if not text.strip():
        raise RuleInvalid(text, 1, "the rule is empty", "write a condition such as close > open")
    if foreign := _FOREIGN.search(text):
        raise RuleInvalid(
            text,
            foreign.start() + 1,
            f"{foreign[0]!r} is not part of the language",
            "use numbers, names, + - * / %, comparisons, and, or, not",
        )
    # Python's parser warns of "1and 2" and takes 0x1f, 1_000 and 2j; none of it is a number here
    for number in _NUMBER.finditer(text):
        after = text[number.end() : number.end() + 1]
        if after and (after.isalnum() or after in "_."):
            raise RuleInvalid(
                text, number.end() + 1, f"{after!r} follows a number", "put a space or an operator"
            )
    flat = re.sub(r"\s", " ", text)
    indent = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as e:
        detail = e.msg.split(". ")[0].removeprefix("invalid syntax").strip(" .")
        raise RuleInvalid(
            text,
            # Python says 0 when the text ends too early
            indent + e.offset if e.offset else len(text) + 1,
            detail[:1].lower() + detail[1:] if detail else "this cannot be read here",
            "check operators and brackets before it",
        ) from None
    except (RecursionError, MemoryError):
        raise RuleInvalid(text, 1, "nested too deeply", f"use {MAX_DEPTH} levels") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset += indent
    return tree


class _Builder:
    """Builds the checked tree, one Python node at a time."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self._text = text
        self._names = names
        self._count = 0

    def node(self, tree: ast.expr, kind: Kind, depth: int) -> Node:
        """Return the checked node of *tree*, which must yield *kind*."""
        self._count += 1
        if self._count > MAX_NODES:
            raise self._fault(tree, "the rule is too long", f"use at most {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise self._fault(tree, "nested too deeply", f"use at most {MAX_DEPTH} levels")
        node, found = self._build(tree, depth + 1)
        if found is not kind:
            words = ast.get_source_segment(self._text, tree) or "this"
            advice = (
                f"compare it, as in {words} > 0"
                if kind is Kind.CONDITION
                else "numbers belong here; leave conditions to and, or, not"
            )
            raise self._fault(tree, f"a {found} where a {kind} belongs", advice)
        return node

    def _build(self, tree: ast.expr, depth: int) -> tuple[Node, Kind]:
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(tree, value), Kind.NUMBER
            case ast.Name():
                return Name(self._known(tree)), Kind.NUMBER
            case ast.Subscript(value=ast.Name() as series, slice=index):
                return Name(self._known(series), self._previous(index)), Kind.NUMBER
            case ast.Subscript():
                raise self._fault(tree, "only names have previous values", "write name[-1]")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Negative(self.node(operand, Kind.NUMBER, depth)), Kind.NUMBER
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.node(operand, Kind.CONDITION, depth)), Kind.CONDITION
            case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
                left = self.node(tree.left, Kind.NUMBER, depth)
                right = self.node(tree.right, Kind.NUMBER, depth)
                return Arithmetic(_ARITHMETIC[type(op)], left, right), Kind.NUMBER
            case ast.BoolOp(op=op, values=values):
                operands = tuple(self.node(value, Kind.CONDITION, depth) for value in values)
                joined = Both(operands) if isinstance(op, ast.And) else Either(operands)
                return joined, Kind.CONDITION
            case ast.Compare():
                return self._comparison(tree, depth), Kind.CONDITION
            case ast.Call():
                return self._call(tree, depth)
        raise self._fault(
            tree, "this is not part of the language", "use numbers, names, operators and functions"
        )

    def _number(self, tree: ast.expr, value: float) -> Number:
        # An int of 500 digits is beyond float, and float text beyond 1e308 is inf
        if abs(value) > 1e300 or not math.isfinite(value):
            raise self._fault(tree, "the number is too large", "use less than 1e300")
        return Number(float(value))

    def _known(self, tree: ast.Name) -> str:
        name = tree.id
        if name in self._names:
            return name
        if name in FUNCTIONS:
            raise self._fault(tree, f"{name} is a function", f"call it, as in {name}(…)")
        raise self._fault(tree, f"unknown name {name!r}", self._suggestion(name, self._names))

    def _previous(self, index: ast.expr) -> int:
        match index:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as lag)) if (
                not isinstance(lag, bool) and 1 <= lag <= MAX_LAG
            ):
                return lag
        raise self._fault(
            index, "not a previous candle", f"write -1 for the one before, down to -{MAX_LAG}"
        )

    def _comparison(self, tree: ast.Compare, depth: int) -> Node:
        operands = [self.node(t, Kind.NUMBER, depth) for t in (tree.left, *tree.comparators)]
        for op, right in zip(tree.ops, tree.comparators, strict=True):
            if type(op) not in _COMPARISON:
                raise self._fault(right, "no such comparison", "use < <= > >= == !=")
        pairs = zip(tree.ops, operands, operands[1:], strict=False)
        links = tuple(Comparison(_COMPARISON[type(op)], left, right) for op, left, right in pairs)
        return links[0] if len(links) == 1 else Both(links)

    def _call(self, tree: ast.Call, depth: int) -> tuple[Node, Kind]:
        function = tree.func
        if not isinstance(function, ast.Name):
            raise self._fault(function, "only functions are called", "write cross_up(a, b)")
        name = function.id
        if name not in FUNCTIONS:
            advice = (
                f"{name} is a series: leave the brackets out"
                if name in self._names
                else self._suggestion(name, FUNCTIONS)
            )
            raise self._fault(function, f"unknown function {name!r}", advice)
        least, most = FUNCTIONS[name]
        if tree.keywords or not least <= len(tree.args) <= most:
            count = str(least) if least == most else f"{least} to {most}"
            plural = "argument" if most == 1 else "arguments"
            raise self._fault(
                tree, f"{name} takes {count} {plural}", "give them in order, with commas"
            )
        arguments = tuple(self.node(argument, Kind.NUMBER, depth) for argument in tree.args)
        kind = Kind.CONDITION if name.startswith("cross_") else Kind.NUMBER
        return Call(name, arguments), kind

    def _suggestion(self, word: str, known: Iterable[str]) -> str:
        names = sorted(known)
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
        return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"

    def _fault(self, tree: ast.expr, problem: str, advice: str) -> RuleInvalid:
        return RuleInvalid(self._text, tree.col_offset + 1, problem, advice)
