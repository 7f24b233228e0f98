"""Calls for a person: why a trade needs one, by who says so, and what may be chosen."""

from collections.abc import Callable, Mapping

from tradewright.domain.trade import Command
from tradewright.ports import Choice
from workflows.trade_message import ResolveWish

COMMAND, JOURNAL, SIGNAL = "command", "journal", "signal"
GRAVEST_FIRST = (COMMAND, JOURNAL, SIGNAL)
"""Who may call for a person; one does not take back what another calls for."""


class Calls:
    """Keeps the faults of each caller, and tells when the gravest of them changes."""

    def __init__(
        self,
        tell: Callable[[str], None],
        faults: Mapping[str, str],
        choices: tuple[Choice, ...],
    ) -> None:
        """Go on with *faults* and *choices* of an earlier run; *tell* takes the gravest fault."""
        self._tell = tell
        self.faults = dict(faults)
        self.choices = choices

    @property
    def gravest(self) -> str:
        """Return why a person is needed; empty if none is."""
        return next((self.faults[s] for s in GRAVEST_FIRST if self.faults.get(s)), "")

    def call(self, source: str, why: str) -> None:
        """Say why *source* needs a person, or with no reason that it does not any more."""
        before = self.gravest
        self.faults[source] = why
        if self.gravest != before:
            self._tell(self.gravest)

    def hindered(self, command: Command, how: str, choices: tuple[Choice, ...]) -> None:
        self.choices = choices
        self.call(COMMAND, f"{command} {how}")

    def ended(self, command: Command) -> None:
        """Take back what was said of *command*."""
        if self.faults.get(COMMAND, "").startswith(f"{command} "):
            self.choices = ()
            self.call(COMMAND, "")

    def over(self) -> None:
        """Take everything back: the trade has ended."""
        for source in GRAVEST_FIRST:
            self.call(source, "")

    def fault_of(self, wish: ResolveWish) -> str:
        """Return why *wish* is no answer to what is asked; empty if it is one."""
        if not self.choices:
            return "the trade goes on by itself; there is nothing to resolve"
        if wish.choice not in self.choices:
            return f"{wish.choice} is no choice here; choose one of {', '.join(self.choices)}"
        return ""
