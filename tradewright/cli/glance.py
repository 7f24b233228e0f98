"""A plain `validate`, answered before the parser of commands is loaded.

Editors and git hooks ask it at every save, and the parser would take a third of the time. What
has any option but the format, or fails, is left to the command: it answers the same, or more.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

JSON: Final = (["-o", "json"], ["--output", "json"], ["--output=json"])


def glance(words: Sequence[str]) -> int | None:
    """Print the answer to *words* and return the exit code; None if it is not for here."""
    if not words or words[0] != "validate":
        return None
    paths, is_json = list(words[1:]), False
    for form in JSON:
        if paths[-len(form) :] == form:
            paths, is_json = paths[: -len(form)], True
    if not paths or any(path.startswith("-") for path in paths):
        return None
    from tradewright.app.authoring.check import Checked, preset_files
    from tradewright.cli.document import document
    from tradewright.domain.errors import TradewrightError

    try:
        checked = Checked(preset_files(map(Path, paths)))
    except (TradewrightError, OSError):
        return None
    lines = [document("validation", **checked.document())] if is_json else checked.lines()
    text = "\n".join(lines)
    try:
        sys.stdout.write(text + "\n")
    except (OSError, UnicodeEncodeError):
        return 1
    return 3 if checked.faults else 0
