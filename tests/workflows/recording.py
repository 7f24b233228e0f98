"""Histories that stand for workflows which run while the code under them is replaced."""

import base64
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

HISTORIES: Final = Path(__file__).parent / "histories"


def keep(folder: Path, name: str, history: dict[str, Any]) -> Path:
    """Keep *history* beside the older ones of *name*, unless it says nothing new.

    An older one is never written over: workflows that began as it says may still run.
    """
    said = _outline(history)
    for number in count(1):
        path = folder / (f"{name}.json" if number == 1 else f"{name}.{number}.json")
        if not path.exists():
            path.write_text(json.dumps(history, separators=(",", ":")) + "\n")
            break
        if _outline(json.loads(path.read_text())) == said:
            break
    return path


def _outline(history: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Return what *history* commands one after another, and which keys it tells."""
    commands: list[Any] = []
    keys: set[str] = set()
    for event in history["events"]:
        (told,) = (value for key, value in event.items() if key.endswith("Attributes"))
        if "workflowTaskCompletedEventId" in told:
            commands.append((event["eventType"], told.get("activityType")))
        keys.update(_keys(told, event["eventType"]))
    return commands, sorted(keys)


def _keys(said: Any, path: str = "") -> Iterator[str]:
    match said:
        case {"metadata": _, "data": str(data)}:
            yield from _keys(json.loads(base64.b64decode(data)), path)
        case dict():
            for key, value in said.items():
                yield f"{path}.{key}"
                yield from _keys(value, f"{path}.{key}")
        case list():
            for each in said:
                yield from _keys(each, f"{path}[]")
