"""A folder of presets: which files count, what each says, and which names are taken twice."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradewright.domain.errors import TradewrightError
from tradewright.domain.folder import Declared
from tradewright.preset import document, reading
from tradewright.preset.fault import PresetFault, PresetInvalid
from tradewright.preset.loader import LoadedPreset, loads, preset_hash
from tradewright.preset.place import fault_at

SUFFIXES: Final = (".yaml", ".yml")

Stamp = tuple[int, int, int, int]
"""What changes whenever a file does: times of its content and of the rest, size, inode."""


class FolderUnreadable(TradewrightError):
    """Nothing can be said of what is in it, least of all that something is not."""

    def __init__(self, folder: Path, detail: str) -> None:
        super().__init__(
            f"folder {folder} cannot be read: {detail}; what runs goes on, mend the folder"
        )
        self.folder = folder


@dataclass(frozen=True)
class PresetFile:
    """What one file said when it was read."""

    file: str
    text: str
    loaded: LoadedPreset | None = None
    declared: Declared | None = None
    """What it comes to; None if it is not valid."""
    faults: tuple[PresetFault, ...] = ()


def stamps(folder: Path) -> dict[str, Stamp | None]:
    """Return the stamp of each preset file in *folder*, by its path there; None if it has none.

    Hidden files and folders are not looked at: editors keep their drafts there.

    Raises:
        FolderUnreadable: It, or a folder in it, cannot be listed.
    """
    found: dict[str, Stamp | None] = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{inside}{entry.name}"
                    # A link to a folder may lead around in circles
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{name}/")
                    elif entry.name.endswith(SUFFIXES):
                        found[name] = stamp_of(folder / name)
        except OSError as e:
            raise FolderUnreadable(folder, e.strerror or type(e).__name__) from None
    return dict(sorted(found.items()))


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of one file; None if it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def read_file(path: Path, file: str) -> PresetFile:
    """Return what the preset file at *path* says; its faults are told as those of *file*."""
    text = ""
    try:
        text = reading.decoded(reading.read(path, PresetInvalid), file, PresetInvalid)
        loaded = loads(text, file)
    except PresetInvalid as e:
        told = (fault.model_copy(update={"file": file}) for fault in e.faults)
        return PresetFile(file, text, faults=tuple(told))
    return PresetFile(file, text, loaded, declaration(file, loaded))


def declaration(file: str, loaded: LoadedPreset) -> Declared:
    """Return what a file comes to; its plugin is imported, for its version is part of it."""
    preset = loaded.preset
    root, _ = document.parse(loaded.document)
    said = dict(root.data) if root else {}
    said.pop("name", None)
    return Declared(
        name=preset.name,
        file=file,
        preset_hash=loaded.hash,
        enabled=preset.enabled,
        mode=preset.mode,
        body=preset_hash(said, preset.strategy.plugin),
    )


def taken_twice(
    files: Iterable[PresetFile], before: Mapping[str, str]
) -> dict[str, tuple[PresetFault, ...]]:
    """Return the faults of files whose preset's name is that of another file's, by file.

    Args:
        files: All of the folder.
        before: The file that declared a name until now keeps it, by name.
    """
    by_name: dict[str, list[PresetFile]] = {}
    for each in files:
        if each.declared is not None:
            by_name.setdefault(each.declared.name, []).append(each)
    faults: dict[str, tuple[PresetFault, ...]] = {}
    for name, sharing in by_name.items():
        keeper = next((e for e in sharing if e.file == before.get(name)), sharing[0])
        for each in sharing:
            if each is not keeper:
                told = f"{name!r} is the name of {keeper.file} too; rename one"
                faults[each.file] = (fault_in(each, ("name",), told),)
    return faults


def fault_in(file: PresetFile, where: tuple[str | int, ...], message: str) -> PresetFault:
    """Return the fault at a place of a file that could be read."""
    root, _ = document.parse(file.text)
    place = root.at(where).place if root else document.START
    return fault_at(file.text, file.file, document.Flaw(place, where, message))
