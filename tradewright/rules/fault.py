"""What is wrong with a rule, and where."""

from tradewright.domain.errors import TradewrightError


class RuleInvalid(TradewrightError, ValueError):
    """A text is not a rule; `column` (from 1) says where."""

    def __init__(self, text: str, column: int, problem: str, advice: str) -> None:
        self.text = text
        self.column = min(max(column, 1), len(text) + 1)
        self.problem = problem
        self.advice = advice
        super().__init__(f"rule {text!r} is invalid: {problem}, at column {self.column}; {advice}")
