"""Keep what is carried over the boundaries of workflows, for `test_carried.py`.

    python -m tests.workflows.record_carried

It refuses what running workflows could not be read after; ``--anyway`` is for what cannot have
been written yet.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.workflows import boundary
from tests.workflows.compatibility import incompatible, renewed

RECORD: Final = Path(__file__).parent / "carried.json"


def main(*options: str) -> int:
    found = boundary.carried()
    said = boundary.schema(found)
    before = read() if RECORD.exists() else said
    faults = incompatible(before, said, boundary.by_hand(found))
    lines = faults[:]
    if faults and "--anyway" not in options:
        lines.append("nothing was recorded: what runs could not be read any more")
    else:
        RECORD.write_text(text(renewed(before, said)))
        notes = incompatible(said, before)
        lines += (f"after a rollback the version before would not read: {note}" for note in notes)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(bool(faults) and "--anyway" not in options)


def read() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


def text(document: Mapping[str, Any]) -> str:
    """Return *document* as JSON with a line for each place and each key of a model."""
    models = {
        name: {**model, "properties": "@"} if "properties" in model else model
        for name, model in document["models"].items()
    }
    written = {
        name: _line(model).replace('"@"', _block(document["models"][name].get("properties", {})))
        for name, model in models.items()
    }
    places = {where: _line(schema) for where, schema in document["places"].items()}
    return f'{{"places": {_lines(places)},\n"models": {_lines(written)}}}\n'


def _block(properties: Mapping[str, Any]) -> str:
    return _lines({key: _line(schema) for key, schema in properties.items()})


def _lines(entries: Mapping[str, str]) -> str:
    return "{" + ",".join(f"\n{json.dumps(key)}: {entries[key]}" for key in sorted(entries)) + "}"


def _line(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
