"""What a folder of presets says, once it has settled: nothing half-written is ever believed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from activities.host import GuestFailed, RemoteStrategy, loaded_apart
from tradewright import plugin
from tradewright.domain.folder import Declared
from tradewright.preset import LoadedPreset, PresetFault, PresetInvalid, document, outlined, reading
from tradewright.preset.folder import (
    FolderUnreadable,
    PresetFile,
    Stamp,
    fault_in,
    read_file,
    stamp_of,
    stamps,
    taken_twice,
)

SETTLED: Final = 0.05
"""Seconds that a file stays as it is before it is read."""
UNENDED: Final = 0.25
"""The same where its last line has no end: most editors end it, a write that goes on does not."""
DOUBTED: Final = 1.0
"""The same where it is wrong, or a mere beginning of what it said before."""
RESTLESS: Final = 2.0
"""A file that changes all the time is read at last, if only it holds still while it is read."""
GONE_AFTER: Final = 2.0
"""A file that is missing for so long is deleted; some editors delete before they write."""
LOADED_WITHIN: Final = 10.0
"""Seconds that a foreign strategy may take to be loaded, in a process of its own."""


@dataclass(frozen=True)
class FolderSight:
    """What the folder says now."""

    declared: dict[str, tuple[Declared, LoadedPreset]]
    """By the preset's name."""
    faults: dict[str, tuple[PresetFault, ...]]
    """By the file."""
    claimed: frozenset[str] = frozenset()
    """Names that faulty files bear."""
    unread: frozenset[str] = frozenset()
    """Files of which it is not known yet what they say."""
    awaits_file: bool = False
    """A file is missing: it may come back as another one, or be one that has come."""
    fault: str = ""
    """Why the folder as a whole says nothing."""
    unsettled: bool = False
    """Whether it is worth another look at once."""


@dataclass(frozen=True)
class _File:
    stamp: Stamp | None
    since: float
    """When the stamp was seen first."""
    restless_since: float
    content: PresetFile | None = None
    """What was believed last."""
    believed: Stamp | None = None
    draft: PresetFile | None = None
    """What was read and is not believed yet."""
    missing_since: float | None = None


class FolderEye:
    """Looks at a folder again and again; the caller says when."""

    def __init__(self, folder: Path, account: str) -> None:
        self.folder = folder
        self._account = account
        self._files: dict[str, _File] = {}
        self._keepers: dict[str, str] = {}
        """The file that declares each name."""

    def remember(self, keepers: Mapping[str, str]) -> None:
        """Take over which file declared each preset, by name, when somebody looked before."""
        self._keepers = dict(keepers)
        # One that is missing now is given its time like any other
        for file in keepers.values():
            self._files.setdefault(file, _File(None, 0.0, 0.0))

    def look(self, now: float) -> FolderSight:
        """Return what the folder says at *now*, in seconds of a clock that only rises."""
        try:
            seen = stamps(self.folder)
        except FolderUnreadable as e:
            return self._sight(fault=str(e))
        if not seen:
            # Not deleted but gone with the folder's content, as when it is mounted anew
            told = f"folder {self.folder} is empty; what runs goes on, put the presets back"
            is_loss = bool(self._files or self._keepers)
            return self._sight(fault=told if is_loss else "")
        for file, stamp in seen.items():
            self._files[file] = self._seen(file, stamp, now)
        for file in [file for file in self._files if file not in seen]:
            missing = self._files[file]
            since = now if missing.missing_since is None else missing.missing_since
            self._files[file] = replace(missing, missing_since=since)
            if now - since >= GONE_AFTER:
                del self._files[file]
        return self._sight()

    def _seen(self, file: str, stamp: Stamp | None, now: float) -> _File:
        known = self._files.get(file) or _File(stamp, now, now)
        known = replace(known, missing_since=None)
        if stamp != known.stamp:
            was_calm = known.stamp == known.believed and known.draft is None
            known = replace(
                known,
                stamp=stamp,
                since=now,
                restless_since=now if was_calm else known.restless_since,
                draft=None,
            )
        if known.content is not None and stamp == known.believed and known.draft is None:
            return known
        waited, restless = now - known.since, now - known.restless_since
        if waited < SETTLED and restless < RESTLESS:
            return known
        draft = known.draft or self._read(file, stamp)
        if draft is None:
            return known
        if waited < _patience(draft, known.content) and restless < RESTLESS:
            return replace(known, draft=draft)
        return replace(known, content=draft, believed=stamp, draft=None)

    def _read(self, file: str, stamp: Stamp | None) -> PresetFile | None:
        """Return what the file says; None if it changed meanwhile."""
        path = self.folder / file
        content = _read_apart(path, file) or read_file(path, file)
        return content if stamp_of(path) == stamp else None

    def _sight(self, fault: str = "") -> FolderSight:
        contents = [each.content for each in self._files.values() if each.content is not None]
        faults = {each.file: each.faults for each in contents if each.faults}
        for content in contents:
            if content.loaded is not None and content.loaded.preset.account != self._account:
                told = f"{content.loaded.preset.account!r} is not the account here, "
                told += f"{self._account!r}; correct it"
                faults[content.file] = (fault_in(content, ("account",), told),)
        good = [each for each in contents if each.file not in faults]
        there = [each for each in good if self._files[each.file].missing_since is None]
        taken = {each.declared.name for each in there if each.declared is not None}
        # A file that moves is missed a moment longer than it takes to find it
        there += [
            each
            for each in good
            if each not in there and each.declared is not None and each.declared.name not in taken
        ]
        faults |= taken_twice(sorted(there, key=lambda each: each.file), self._keepers)
        declared = {
            each.declared.name: (each.declared, each.loaded)
            for each in there
            if each.declared is not None and each.loaded is not None and each.file not in faults
        }
        self._keepers |= {name: said.file for name, (said, _) in declared.items()}
        claimed = frozenset(_name(each.text) for each in contents if each.file in faults)
        unread = frozenset(file for file, each in self._files.items() if each.content is None)
        unsettled = any(
            each.content is None
            or each.stamp != each.believed
            or each.draft is not None
            or each.missing_since is not None
            for each in self._files.values()
        )
        return FolderSight(
            declared,
            dict(sorted(faults.items())),
            claimed,
            unread,
            awaits_file=any(each.missing_since is not None for each in self._files.values()),
            fault=fault,
            unsettled=unsettled,
        )


def _name(text: str) -> str:
    """Return the name that a file bears, whatever else is wrong with it; empty if none."""
    root, _ = document.parse(text)
    return str(root.data.get("name", "")) if root and isinstance(root.data, dict) else ""


def _read_apart(path: Path, file: str) -> PresetFile | None:
    """Return what the file says if its strategy is foreign: that is never imported here."""
    try:
        text = reading.decoded(reading.read(path, PresetInvalid), file, PresetInvalid)
        root, _ = document.parse(text)
        name = root.at(("strategy", "plugin")).data if root else None
        if not isinstance(name, str) or not plugin.is_foreign(name):
            return None
    except (PresetInvalid, plugin.PluginUnknown):
        # Its faults are told without loading a strategy
        return None
    content = PresetFile(file, text)
    try:
        told = loaded_apart(text, LOADED_WITHIN)
        if "faults" in told:
            faults = (PresetFault.model_validate({**each, "file": file}) for each in told["faults"])
            return replace(content, faults=tuple(faults))
        declared = Declared.model_validate({**told["declared"], "file": file})
        strategy: Any = RemoteStrategy(told["strategy"])
        loaded = LoadedPreset(outlined(text, file), text, declared.preset_hash, strategy)
    except (GuestFailed, ValidationError) as e:
        detail = e if isinstance(e, GuestFailed) else "what it needs cannot be understood"
        message = f"strategy plugin {name!r} cannot be loaded: {detail}; mend the plugin"
        return replace(content, faults=(fault_in(content, ("strategy", "plugin"), message),))
    return replace(content, loaded=loaded, declared=declared)


def _patience(draft: PresetFile, before: PresetFile | None) -> float:
    """Return how long a file must have stayed as it is to be believed."""
    is_beginning = before is not None and before.text.startswith(draft.text)
    if draft.loaded is None or (is_beginning and before is not None and before.text != draft.text):
        return DOUBTED
    return SETTLED if draft.text.endswith("\n") else UNENDED


def identity(folder: Path) -> tuple[int, int] | None:
    """Return which folder it is: another one may come to stand in its place."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino
