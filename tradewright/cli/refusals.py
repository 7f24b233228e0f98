"""docs/refusals.md, drawn from the limits and the codes themselves.

``python -m tradewright.cli.refusals docs/refusals.md`` writes it anew.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tradewright.domain.account import EXPLANATIONS, Limits
from tradewright.domain.account.usage import consequence, shown

HEAD: Final = """\
# Limits and refusals

An entry passes the desk of its account, and then the last checks before it is sent. Whatever
refuses it has a code that never changes its meaning, and a reason in words; both are in the
journal's table `refusals`. Exits are never refused.

This page is written by `python -m tradewright.cli.refusals docs/refusals.md`.

## Limits

Declared under `limits:` in the settings file, or as `TRADEWRIGHT_LIMITS__…` in the environment.
A worker notices a changed file by itself; a file with mistakes leaves the last good limits in
force and tells a person. `tradewright limits show` says how near the account is to each,
`tradewright limits reload` reads the file at once. Times are written as `90s`, `15m` or `4h`.

While a limit is broken, entries are refused. What else a breach brings about is declared under
`limits.consequences`: `refuse` is no more than that, `pause` allows no entries for a time, `trip`
halts and flattens the account. What is measured fires when two snapshots in a row show it, never
at one odd sample. Deposits and withdrawals are read from the transaction log and are neither loss
nor gain: peak and day are scaled by them.

| limit | default | a breach | meaning |
|---|---|---|---|
"""
CODES: Final = """
## Codes

| code | what it means | what to do |
|---|---|---|
"""


def page() -> str:
    """Return the page of every limit and every code."""
    return HEAD + "".join(_limits()) + CODES + "".join(_codes())


def _limits() -> Iterator[str]:
    defaults = Limits()
    for name, field in Limits.model_fields.items():
        if name == "consequences":
            continue
        then = consequence(name, defaults)
        value = shown(getattr(defaults, name))
        yield f"| `{name}` | {value} | {then} | {field.description} |\n"


def _codes() -> Iterator[str]:
    for code, (meaning, remedy) in sorted(EXPLANATIONS.items()):
        yield f"| `{code}` | {meaning} | {remedy[0].upper()}{remedy[1:]}. |\n"


def main() -> None:
    Path(sys.argv[1]).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
