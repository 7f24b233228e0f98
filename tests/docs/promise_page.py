"""docs/promises.md: what is promised, and the tests that would fail without it.

``python -m tests.docs.promise_page docs/promises.md`` writes it anew.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parents[1]

PROMISES: Final = {
    "test_01_intent_first.py": "Intent first: the history and, for entries, the journal hold what "
    "is intended before the request leaves.",
    "test_02_once.py": "Once: an order's link is derived from the trade and the leg; whoever "
    "repeats looks it up first.",
    "test_03_unresolved.py": "No time-out decides what became of an order; only the exchange does.",
    "test_04_never_naked.py": "Never naked: the stop comes with the entry and is read back; "
    "without it the trade leaves.",
    "test_05_one_trade_per_symbol.py": "One trade per account and symbol; it ends when the "
    "exchange says flat.",
    "test_06_kill_switch.py": "The kill switch works until it has read flat twice; only a named "
    "person rearms it.",
    "test_07_mismatch.py": "A mismatch blocks entries, never exits; safe mode manages all that "
    "is open.",
    "test_08_cancel_terminate_reset.py": "Cancel flattens and journals; what terminate and reset "
    "leave is put in order.",
    "test_09_bad_input.py": "A bad preset, plugin, candle or message touches no running trade.",
    "test_10_pinned.py": "A trade keeps the preset version and the code version that opened it.",
    "test_11_secrets.py": "Secrets are in no history, log, journal, error or notice.",
    "test_12_decisions_shown.py": "What was decided can be shown, and cannot be altered unseen.",
}
"""By the file in tests/promises that keeps it."""

COMPLAINTS: Final = {
    "A1": "accepted orders that a broken connection makes the bot forget",
    "A2": "a time-out, and the same order sent again",
    "A3": "an order in flight that is declared rejected, and fills",
    "A4": "orders of unknown outcome that pile up",
    "A5": "a live stop reported as gone because the wrong list was asked",
    "A6": "a cancelled order that had filled",
    "A7": "an order sent, and the database write that failed",
    "A8": "dead orders that fill later",
    "A9": "an order repeated after a time-out",
    "B1": "a restart after which no stop, target or timer is watched",
    "B2": "invented fills that make the strategy believe it is flat",
    "B3": "positions older than the list of fills that keep a bot from starting",
    "B4": "a reconciliation that never comes to an end",
    "B5": "stops that vanish with a restart",
    "B6": "a position closed by hand that is not noticed",
    "B7": "entries as if flat, because the position was not read",
    "B8": "a simulated restart that closes everything",
    "B9": "a stop's fill that is taken for a new position",
    "B10": "one missing field that stops the whole reconciliation",
    "B11": "a liquidation that nobody sees",
    "C1": "a stop that is refused because the price has passed it",
    "C2": "a stop placed after the position was closed",
    "C3": "a stop that is cancelled and placed again without end",
    "C4": "a trailing stop with a gap between cancel and create",
    "C5": "a stop that comes late or never",
    "C6": "a stop that outlives its trade",
    "C7": "liquidation before the stop was placed",
    "C8": "a close that filled, and is tried again until it fails",
    "C9": "a position without any stop",
    "C10": "a stop that triggers by another price than was meant",
    "C11": "a stop that bears no id of ours",
    "D1": "a stop and an exit that are both partly filled",
    "D2": "partial fills that are counted twice or not at all",
    "D3": "a rest too small to close",
    "E1": "a reload that crashes the bot",
    "E2": "settings that silently override each other",
    "E3": "a changed stop that open trades ignore",
    "E4": "an upgrade that cannot be undone",
    "E5": "a crash without a word",
    "E6": "a change that needs a restart",
    "E7": "a panic close over a deposit or withdrawal",
    "F1": "requests refused for the clock",
    "F2": "streams that connect again and bring nothing",
    "F3": "a ban for too many requests",
    "F4": "decisions on old data",
    "F5": "a private stream that never recovers",
    "F6": "two bots on one account that take each other's orders",
    "F7": "an account in another position mode",
}
"""What hurts users of trading systems; the key is named in the docstrings of the tests."""

_KEY: Final = re.compile(r"\b([A-F]\d{1,2})\b")


class Told(NamedTuple):
    """One test, by its file and its name."""

    file: str
    name: str

    @property
    def sentence(self) -> str:
        return self.name.removeprefix("test_").replace("_", " ")


def tests_of(file: Path) -> Iterator[tuple[Told, str]]:
    """Return every test of *file* with its docstring."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("test_"):
            yield Told(file.relative_to(TESTS).as_posix(), node.name), ast.get_docstring(node) or ""


def complaints() -> dict[str, list[Told]]:
    """Return the tests that name each complaint."""
    found: dict[str, list[Told]] = {key: [] for key in COMPLAINTS}
    for file in sorted(TESTS.rglob("test_*.py")):
        for test, docstring in tests_of(file):
            head, colon, _ = docstring.partition(":")
            for key in _KEY.findall(docstring if colon and _KEY.search(head) else ""):
                if key in found:
                    found[key].append(test)
    return found


def page() -> str:
    lines = [
        "# Promises",
        "",
        "What tradewright promises, and the tests in `tests/promises` that would fail without it.",
        "They run the whole system as processes of its own and use `kill -9` where a promise",
        "speaks of it. This page is made from the tests by `python -m tests.docs.promise_page`.",
        "",
    ]
    for number, (name, promise) in enumerate(PROMISES.items(), start=1):
        lines += [f"{number}. **{promise}**"]
        file = TESTS / "promises" / name
        lines += [f"   - {test.sentence}" for test, _ in tests_of(file)]
        lines += [""]
    lines += [
        "## What went wrong elsewhere",
        "",
        "What users of trading systems lost money or sleep by, and the tests that keep it from",
        "happening here.",
        "",
        "| | what happened | tests |",
        "|---|---|---|",
    ]
    for key, tests in complaints().items():
        places = "<br>".join(f"{t.file}: {t.sentence}" for t in tests[:3])
        more = f"<br>and {len(tests) - 3} more" if len(tests) > 3 else ""
        lines.append(f"| {key} | {COMPLAINTS[key]} | {places}{more} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
