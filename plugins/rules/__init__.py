"""Rules: a strategy declared in a preset, as indicators and expressions over them."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from plugins.rules.params import Params as RulesParams
from plugins.rules.programme import Measure
from tradewright import plugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plugins.rules.evaluator import Board, Evaluator
    from tradewright.book import Book

__all__ = ["Rules"]


class Rules:
    """Go long or short, and leave, when an expression comes true.

    Rules that come true together contradict each other: no signal. What is to be left is not
    entered at the same candle.
    """

    version: ClassVar[str] = "2"
    Params = RulesParams

    def __init__(self, params: RulesParams) -> None:
        programme = self._programme = params.programme()
        self.needs = programme.needs
        exits = {path[-1] for path in programme.rules}
        self.says_exits = not exits.isdisjoint({"exit_long", "exit_short"})
        self.looks_back = programme.looked_back - {""}
        self.knows_degraded = params.degraded is not None
        self.factor_names = frozenset(
            each.name
            for each in programme.definitions
            if isinstance(each, Measure) and programme.is_distance(each)
        )
        self._boards: dict[str, Board] = {}

    @cached_property
    def _evaluator(self) -> "Evaluator":
        # A strategy is made to validate its preset, too, and that needs neither numpy nor TA-Lib
        from plugins.rules.evaluator import Evaluator

        return Evaluator(self._programme)

    def evaluate(self, view: plugin.View) -> plugin.Evaluation:
        """Return the signal of the last candle, and the value of all that has a name."""
        return self._evaluator.evaluate(view)

    def follow(self) -> plugin.Follower:
        """Return what gives the same answers, candle by candle, at less cost."""
        from plugins.rules.evaluator import Follower

        return Follower(self._evaluator)

    def on_book(self, view: plugin.View, book: "Book") -> plugin.Evaluation:
        """Return what to do at one update of the order book.

        What the candles say is reckoned once for each view, and kept while the same view is
        handed in again.
        """
        board = self._boards.get(view.symbol)
        if board is None or board.view is not view:
            from plugins.rules.evaluator import Board

            board = self._boards[view.symbol] = Board(self._evaluator, view)
        return board.evaluate(book)

    def history(self, view: plugin.View) -> "dict[str, NDArray[Any]]":
        """Return, for every rule, where it is true; for confidence, the number at each candle."""
        return self._evaluator.history(view)
