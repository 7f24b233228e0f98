"""Rules asked about a view: all of it at once, candle by candle, or at each update of the book."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from plugins.rules import talib_call
from plugins.rules.column import Columns, milliseconds
from plugins.rules.machine import Machine
from plugins.rules.programme import Let, Measure, Programme
from plugins.rules.verdict import Verdict, lets
from tradewright.plugin import BOOK_SERIES, COLUMNS, HISTORY_SERIES, Candles, Evaluation, View
from tradewright.rules import Kind

if TYPE_CHECKING:
    from tradewright.book import Book

NAN = math.nan
INFINITY = math.inf


class Evaluator:
    """Answers from whole columns, without a memory; makes those that have one."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.verdict = Verdict(programme)
        self._needs = programme.needs

    def evaluate(self, view: View) -> Evaluation:
        if not self.has_enough(view):
            return Evaluation()
        return self.of(Columns(self.programme, view))

    def has_enough(self, view: View) -> bool:
        """Return whether *view* has all the candles that are needed."""
        if len(view.candles) < self._needs.candles:
            return False
        return all(
            name in view.others and len(view.others[name]) >= need.candles
            for name, need in self._needs.others.items()
        )

    def of(self, columns: Columns) -> Evaluation:
        """Return the answer at the last candle of *columns*."""
        rules = self.programme.rules

        def told(path: tuple[str, ...]) -> float:
            return float(columns.told(rules[path].root, rules[path].kind)[-1])

        return self.verdict.evaluation(told, self.values(columns), columns.view.degraded)

    def values(self, columns: Columns) -> dict[str, float]:
        """Return what every name is at the last candle."""
        conditions = {
            each.name: each.rule
            for each in lets(self.programme)
            if each.rule.kind is Kind.CONDITION
        }
        return {
            name: float(columns.told(conditions[name].root, Kind.CONDITION)[-1])
            if name in conditions
            else float(columns.series(name)[-1])
            for name in self.verdict.names
        }

    def history(self, view: View) -> dict[str, NDArray[Any]]:
        """Return, for every rule, where it is true; for confidence, the number at each candle."""
        columns = Columns(self.programme, view)
        return {
            ".".join(path): columns.truth(rule.root)
            if rule.kind is Kind.CONDITION
            else columns.told(rule.root, Kind.NUMBER)
            for path, rule in self.programme.rules.items()
        }


class Run:
    """Where a series of candles had come to; told by its first and its last candle."""

    def __init__(self, candles: Candles) -> None:
        self.first = candles.open_time.item(0)
        self.take(candles)

    def take(self, candles: Candles) -> None:
        self.length = len(candles)
        self.last = candles.open_time.item(-1)
        self.row = _row(candles, -1)

    def steps_to(self, candles: Candles) -> int:
        """Return how many candles *candles* is ahead: 0 or 1; -1 if it is another run."""
        more = len(candles) - self.length
        if more not in (0, 1) or candles.open_time.item(0) != self.first:
            return -1
        before = -1 - more
        if candles.open_time.item(before) != self.last or _row(candles, before) != self.row:
            return -1
        return more


class Follower:
    """Takes one candle after the other, with TA-Lib's handles and a machine.

    What does not simply continue, such as a candle that was missed or a hole that has ended, is
    evaluated as a whole, and followed from there.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._programme = evaluator.programme
        self._machine = Machine(self._programme)
        self._runs: dict[str, Run] = {}
        """By the name of the candles; the strategy's own have none."""
        self._symbol = ""
        self._handles: dict[str, Any] = {}
        self._held: dict[str, tuple[float, ...]] = {}
        """What each indicator gave last, on its own candles."""
        values = self._machine.values
        names = self._evaluator.verdict.names
        self._measured = {
            each.name: [(name, at) for name, at in each.outputs.items() if name in names]
            for each in self._programme.definitions
            if isinstance(each, Measure)
        }
        self._leaves = [n for n in names if n in self._programme.leaves and n not in COLUMNS]
        self._histories = [n for n in self._leaves if n in HISTORY_SERIES]
        self._known: list[float] = []
        """What of the histories was known last."""
        self._told = lambda path: self._machine.rules[path]()
        self._values = values

    def evaluate(self, view: View) -> Evaluation:
        if view.degraded or not self._evaluator.has_enough(view):
            return self._evaluator.evaluate(view)
        new = self._new_candles(view)
        if new is None or not self._step(view, new):
            return self._begin(view)
        return self._evaluator.verdict.evaluation(self._told, self._values)

    def _new_candles(self, view: View) -> set[str] | None:
        """Return whose candles *view* has one more of; None if it does not continue."""
        if not self._runs or view.symbol != self._symbol:
            return None
        steps = {name: run.steps_to(_candles(view, name)) for name, run in self._runs.items()}
        if steps[""] != 1 or -1 in steps.values() or self._history(view, -2) != self._known:
            return None
        return {name for name, more in steps.items() if more}

    def _history(self, view: View, row: int) -> list[float]:
        """Return what was known in *row*; what came late changes it. Infinite: nothing."""
        seen = (view.series[name] for name in self._histories if name in view.series)
        return [value if (value := each.item(row)) == value else INFINITY for each in seen]

    def _begin(self, view: View) -> Evaluation:
        columns = Columns(self._programme, view)
        evaluation = self._evaluator.of(columns)
        self._symbol, self._known = view.symbol, self._history(view, -1)
        names = ("", *self._programme.sources)
        self._runs = {name: Run(_candles(view, name)) for name in names}
        self._lengths = {name: milliseconds(self._programme, name, view) for name in names}
        self._machine.begin(columns)
        for each in self._programme.definitions:
            if isinstance(each, Measure):
                self._handles[each.name] = talib_call.handle(each, columns.inputs(each))
                self._held[each.name] = tuple(float(o[-1]) for o in columns.outputs(each))
        return evaluation

    def _step(self, view: View, new: set[str]) -> bool:
        """Take the next candle; False if that cannot be done from what is remembered."""
        self._known = self._history(view, -1)
        for name in new:
            self._runs[name].take(_candles(view, name))
        self._machine.closes_at_ms = self._runs[""].last + self._lengths[""]
        current = {name: self._is_current(name) for name in self._runs}
        if None in current.values():
            return False
        values = self._values
        for column, number in zip(COLUMNS, self._runs[""].row, strict=True):
            values[column] = _finite(number)
        for name in self._leaves:
            values[name] = self._leaf(name, view, current)
        for each in self._programme.definitions:
            if isinstance(each, Let):
                self._machine.run(each.name)
            elif not self._measure(each, view, new, current):
                return False
        self._machine.finish()
        return True

    def _is_current(self, source: str) -> bool | None:
        """Return whether its last candle is the one that has closed last; None: it is later."""
        late = self._machine.closes_at_ms - self._runs[source].last - self._lengths[source]
        return None if late < 0 else late < self._lengths[source]

    def _leaf(self, name: str, view: View, current: Mapping[str, bool | None]) -> float:
        source, _, column = name.rpartition(".")
        if source and source in current:
            theirs = getattr(view.others[source], column)
            return _finite(theirs.item(-1)) if current[source] else NAN
        return _finite(view.series[name].item(-1)) if name in view.series else NAN

    def _measure(
        self, measure: Measure, view: View, new: set[str], current: Mapping[str, bool | None]
    ) -> bool:
        if measure.source in new and not self._update(measure, view):
            return False
        known = current[measure.source]
        held = self._held[measure.name]
        for name, at in self._measured[measure.name]:
            self._values[name] = held[at] if known else NAN
        return True

    def _update(self, measure: Measure, view: View) -> bool:
        if measure.source:
            theirs = view.others[measure.source]
            columns = (name.rpartition(".")[2] for name in measure.inputs)
            inputs = [_finite(getattr(theirs, column).item(-1)) for column in columns]
        else:
            inputs = [self._values[name] for name in measure.inputs]
        for each in inputs:
            if each != each:
                self._handles[measure.name] = None
                self._held[measure.name] = (NAN,) * len(measure.function.outputs)
                return True
        handle = self._handles[measure.name]
        if handle is None:
            return False
        found = handle.update(*inputs)
        several = found if isinstance(found, tuple) else (found,)
        self._held[measure.name] = tuple([float(_finite(each)) for each in several])
        return True


class Board:
    """The rules at each update of an order book, the candles being those of one view."""

    def __init__(self, evaluator: Evaluator, view: View) -> None:
        self.view = view
        self._verdict = evaluator.verdict
        self._enough = evaluator.has_enough(view)
        programme = evaluator.programme
        self._machine = Machine(programme)
        if self._enough:
            columns = Columns(programme, view)
            self._machine.begin(columns)
            self._machine.values.update(evaluator.values(columns))
            # What is remembered was taken in with the last candle already
        self._again = [each.name for each in lets(programme) if each.name in programme.only_now]
        self._features = [
            (name, name.partition(".")[2]) for name in BOOK_SERIES if name in programme.leaves
        ]
        rules = self._machine.rules
        self._told: Callable[[tuple[str, ...]], float] = lambda path: rules[path]()

    def evaluate(self, book: "Book") -> Evaluation:
        """Return what to do at *book*."""
        if not self._enough:
            return Evaluation()
        values = self._machine.values
        for name, feature in self._features:
            values[name] = _finite(getattr(book, feature))
        for name in self._again:
            self._machine.again(name)
        return self._verdict.evaluation(self._told, values, self.view.degraded)


def _row(candles: Candles, at: int) -> tuple[float, ...]:
    """Return the numbers of one candle; if one is unknown, they equal no others."""
    return (
        candles.open.item(at),
        candles.high.item(at),
        candles.low.item(at),
        candles.close.item(at),
        candles.volume.item(at),
    )


def _candles(view: View, name: str) -> Candles:
    return view.others[name] if name else view.candles


def _finite(value: float) -> float:
    return value if -INFINITY < value < INFINITY else NAN
