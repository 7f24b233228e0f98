"""What is wrong with a preset, and where; shown all at once."""

from collections.abc import Iterable

from pydantic import Field

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Value


class PresetFault(Value):
    """One mistake in a preset."""

    file: str
    line: int = Field(ge=1, description="Counted from 1.")
    column: int = Field(ge=1, description="Counted from 1, in characters.")
    path: str = Field(default="", description="Dotted path from the root; empty for the file.")
    message: str = Field(description="What is wrong; what to do.")
    excerpt: str = Field(default="", description="The line of the file.")

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: error: {where}{self.message}"


class PresetInvalid(TradewrightError):
    """A preset cannot be used; `faults` holds every mistake found, in the order of the file."""

    def __init__(self, faults: Iterable[PresetFault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))
        super().__init__("\n".join(map(str, self.faults)))


def render(faults: Iterable[PresetFault]) -> str:
    """Return *faults* for a terminal: each with its line and a caret.

    Example:
        >>> print(render([PresetFault(file="a.yaml", line=2, column=7, path="name",
        ...                           message="too short; use 3 characters", excerpt="name: ab")]))
        a.yaml:2:7: error: name: too short; use 3 characters
            2 | name: ab
              |       ^
    """
    return "\n".join(_rendered(fault) for fault in faults)


def _rendered(fault: PresetFault) -> str:
    if not fault.excerpt.strip():
        return str(fault)
    # Tabs keep their width above the caret
    lead = "".join("\t" if c == "\t" else " " for c in fault.excerpt[: fault.column - 1])
    return f"{fault}\n{fault.line:>5} | {fault.excerpt}\n      | {lead.ljust(fault.column - 1)}^"
