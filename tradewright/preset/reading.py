"""Reading a YAML document of ours: every mistake in it is told, each with its place."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tradewright.preset import document
from tradewright.preset.document import Flaw, Node
from tradewright.preset.fault import PresetInvalid
from tradewright.preset.place import fault_at, located
from tradewright.preset.wording import Mistake

T = TypeVar("T")
Check = Callable[[Node], tuple[T | None, list[Mistake]]]
"""Makes what a document means; or None, and in any case the mistakes that it found."""


def read(path: Path, invalid: type[PresetInvalid]) -> bytes:
    """Return the bytes at *path*, one more than a document may have at most.

    Raises:
        PresetInvalid: As *invalid*; the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(document.MAX_BYTES + 1)
    except OSError as e:
        reason = e.strerror or type(e).__name__
        if isinstance(e, IsADirectoryError):
            reason = "it is a folder, and one file belongs here"
        flaw = Flaw(document.START, (), f"cannot be read: {reason}; check the path")
        raise invalid([fault_at("", str(path), flaw)]) from e


def decoded(raw: bytes, source: str, invalid: type[PresetInvalid]) -> str:
    """Return the text of *raw*; raise *invalid* if it is none, or too large."""
    text = document.decode(raw)
    if isinstance(text, Flaw):
        raise invalid([fault_at(raw.decode("utf-8", errors="replace"), source, text)])
    return text


def checked(text: str, source: str, check: Check[T], invalid: type[PresetInvalid]) -> T:
    """Return what *check* makes of *text*; raise *invalid* with every mistake in it."""
    root, flaws = document.parse(text)
    if root is None:
        raise invalid(fault_at(text, source, flaw) for flaw in flaws)
    made, found = check(root)
    # What the YAML got wrong is not told a second time by the model
    told = {flaw.place for flaw in flaws}
    places = (located(text, root, mistake) for mistake in found)
    flaws += [flaw for flaw in places if flaw.place not in told]
    if flaws or made is None:
        raise invalid(fault_at(text, source, flaw) for flaw in flaws)
    return made
