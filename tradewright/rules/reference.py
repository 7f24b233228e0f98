"""The tables of docs/rules.md.

``python -m tradewright.rules.reference docs/rules.md`` renews them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tradewright.rules import catalogue
from tradewright.rules.function import FUNCTIONS


def renewed(page: str) -> str:
    """Return *page* with what stands between its marks as it is now."""
    tables = {"functions": _functions(), "indicators": _indicators()}
    for name, lines in tables.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        table = "\n".join(lines) + "\n"
        page = marked.sub(lambda found, table=table: f"{found[1]}{table}{found[2]}", page)  # type: ignore[misc]
    return page


def _functions() -> Iterator[str]:
    yield "| function | what it is | yields |"
    yield "|---|---|---|"
    for each in FUNCTIONS.values():
        yield f"| `{each.call}` | {each.meaning} | {each.kind} |"


def _indicators() -> Iterator[str]:
    yield "| `ta` | what it is | of | parameters | outputs | candles |"
    yield "|---|---|---|---|---|---|"
    for name, each in catalogue.functions().items():
        if each.refused:
            yield f"| {name} | not supported: {each.refused} | | | | |"
            continue
        parameters = ", ".join(f"{p} {q.default:g}" for p, q in each.parameters.items())
        forever = "¹" if each.settling is None else ""
        outputs = ", ".join(_outputs(each)) if len(each.outputs) > 1 else ""
        inputs = ", ".join(column.removeprefix("of:") for column in each.inputs)
        candles = f"{each.warm_up({})}{forever}"
        yield f"| {name} | {each.title} | {inputs} | {parameters} | {outputs} | {candles} |"


def _outputs(function: catalogue.Function) -> Iterator[str]:
    short = {full: word for word, full in function.short_outputs.items()}
    for each in function.outputs:
        yield f"{each} ({short[each]})" if each in short else each


def main(path: Path) -> None:
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
