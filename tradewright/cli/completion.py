"""What the shell completes: names that an earlier command has seen, and files near by.

Asked at every press of a key, so nothing here imports more than the standard library.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

FILE: Final = "completion.json"
MOST: Final = 200
_NAME: Final = re.compile(r"^name:\s*([a-z0-9-]{3,40})\s*(?:#|$)", re.MULTILINE)
_FOLDER: Final = Path("strategies")
_HEAD: Final = 4096
"""Characters of a preset in which its name is looked for."""


def remember(kind: str, names: Iterable[str]) -> None:
    """Keep *names* for completion; a state folder that cannot be written is no fault."""
    path = _path()
    found = _remembered() | {kind: list(dict.fromkeys(names))[:MOST]}
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        if not path.parent.is_dir():
            return
        draft.write_text(json.dumps(found), "utf-8")
        draft.replace(path)
    except OSError:
        return


def presets(incomplete: str) -> list[str]:
    """Return the presets that ran when strategies were last listed, and those of strategies/."""
    return _matching({*_remembered().get("strategies", []), *_in_folder()}, incomplete)


def preset_files(incomplete: str) -> list[str]:
    """Return the presets of strategies/; nothing if another place is meant: then files are."""
    found = sorted(path.as_posix() for path in _FOLDER.glob("*.y*ml"))
    return _matching(found, incomplete.removeprefix("./"))


def trades(incomplete: str) -> list[str]:
    """Return the trades that were last listed, newest first."""
    return _matching(_remembered().get("trades", []), incomplete)


def templates(incomplete: str) -> list[str]:
    folder = Path(__file__).parents[1] / "app" / "authoring" / "templates"
    return _matching(sorted(path.stem for path in folder.glob("*.yaml")), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    ordered = sorted(names) if isinstance(names, set) else list(names)
    return [name for name in ordered if name.startswith(incomplete)]


def _path() -> Path:
    return Path(os.environ.get("TRADEWRIGHT_HOME", ".tradewright")) / FILE


def _remembered() -> dict[str, list[str]]:
    try:
        found = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        kind: [name for name in names if isinstance(name, str)]
        for kind, names in found.items()
        if isinstance(names, list)
    }


def _in_folder() -> Iterator[str]:
    for path in _FOLDER.glob("*.y*ml"):
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                named = _NAME.search(file.read(_HEAD))
        except OSError:
            continue
        if named:
            yield named[1]
