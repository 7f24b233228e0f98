"""What applying presets would change, and what their versions were: read, never written."""

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime
from temporalio.client import Client

from tradewright import ids
from tradewright.app.strategy_run import insist_on_applied, last_run, running_strategy
from tradewright.app.survey import strategies
from tradewright.app.wish import NotRunning, NoWorkerAnswers, ask
from tradewright.domain.errors import TradewrightError
from tradewright.domain.event import EventKind
from tradewright.domain.folder import Standing, held_mode, mode_note
from tradewright.domain.market import Value
from tradewright.domain.plan import Mode
from tradewright.ports import Folders, StrategyStatus
from tradewright.preset import LoadedPreset, PresetInvalid, loads
from tradewright.preset.difference import KeyChange, difference

if TYPE_CHECKING:
    from tradewright.journal import Journal, StoredPreset

SHORTEST = 4
"""Characters of a version that name it, if no other begins so."""


class PlannedChange(StrEnum):
    START = "start"
    CHANGE = "change"
    DISABLE = "disable"
    KEEP = "keep"


class PlanLine(Value):
    """What would become of one preset."""

    preset: str
    change: PlannedChange
    file: str = ""
    before: str = ""
    """The version that runs; empty if none does."""
    after: str = ""
    changes: tuple[KeyChange, ...] = ()
    open_trades: int = 0
    """That run on with the version that they were opened with."""
    notes: tuple[str, ...] = ()


class Plan(Value):
    """What would change; `undeclared` run though no file declares them."""

    lines: tuple[PlanLine, ...]
    undeclared: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    """What the watcher of presets could not apply, and why."""

    @property
    def has_changes(self) -> bool:
        return any(line.change is not PlannedChange.KEEP for line in self.lines)

    def count(self, change: PlannedChange) -> int:
        return sum(line.change is change for line in self.lines)


class VersionUnknown(TradewrightError):
    def __init__(self, preset: str, version: str) -> None:
        super().__init__(
            f"preset {preset} has no version {version}; see `tradewright strategy history {preset}`"
        )


class VersionAmbiguous(TradewrightError):
    def __init__(self, preset: str, version: str, found: Sequence[str]) -> None:
        super().__init__(
            f"preset {preset} has several versions {version}: {', '.join(found)}; write more of it"
        )


async def plan(
    client: Client,
    journal: "Journal | None",
    presets: Mapping[Path, LoadedPreset],
    account: str,
    *,
    prune: bool = False,
) -> Plan:
    """Return what applying *presets* would do.

    Args:
        client: Of the venue's namespace.
        journal: Knows the documents of versions and the open trades; None if there is none yet.
        presets: The checked presets, by their files.
        account: Whose strategies are meant.
        prune: Whether strategies that none of them declares are to take no more entries.
    """
    names = {loaded.preset.name for loaded in presets.values()}
    declared = [_declared(client, journal, path, loaded) for path, loaded in presets.items()]
    lines = list(await asyncio.gather(*declared))
    others = [
        line.status
        for line in await strategies(client, account)
        if line.name not in names and line.status is not None and line.status.enabled
    ]
    if prune:
        lines += [await _pruned(journal, status) for status in others]
    return Plan(
        lines=tuple(lines),
        undeclared=() if prune else tuple(status.preset for status in others),
        watch=await unwatched(client, account),
    )


async def unwatched(client: Client, account: str) -> tuple[str, ...]:
    """Return what the watcher of presets could not apply, and why; nothing if none watches."""
    try:
        found = await ask(client, ids.presets_workflow(account), "folders", Folders)
    except (NotRunning, NoWorkerAnswers):
        return ()
    if not found.folders:
        return ()
    watched = found.folders[0]
    lines = [watched.fault, watched.waiting, *(fault.text for fault in watched.faults)]
    lines += [
        f"{each.file}: {each.name}: {each.note}"
        for each in watched.presets
        if each.standing is Standing.LEFT
    ]
    return tuple(line for line in lines if line)


async def _declared(
    client: Client, journal: "Journal | None", path: Path, loaded: LoadedPreset
) -> PlanLine:
    preset = loaded.preset
    running = await running_strategy(client, preset.name)
    if running is None:
        ran = await last_run(journal, preset.name) if journal else None
        known, version = (ran.mode, ran.preset_hash) if ran else (None, "")
        mode = held_mode(preset.mode, known, is_same=version == loaded.hash)
        return PlanLine(
            preset=preset.name,
            change=PlannedChange.START,
            file=str(path),
            after=loaded.hash,
            notes=_notes(loaded, mode, known),
        )
    line = PlanLine(
        preset=preset.name,
        change=PlannedChange.KEEP,
        file=str(path),
        before=running.preset_hash,
        after=loaded.hash,
    )
    is_same = running.preset_hash == loaded.hash
    mode = held_mode(preset.mode, running.mode, is_same=is_same)
    notes = _notes(loaded, mode, running.mode)
    if (running.preset_hash, running.enabled) == (loaded.hash, preset.enabled):
        return line.model_copy(update={"notes": notes})
    stored = await journal.preset(running.preset_hash) if journal else None
    changes: tuple[KeyChange, ...] = ()
    if stored is None:
        notes += (f"the document of version {running.preset_hash} is not in the journal",)
    elif running.preset_hash == loaded.hash:
        notes += (f"entries are {'taken again' if preset.enabled else 'stopped'}",)
    elif not (changes := difference(stored.document, loaded.document)):
        notes += (why_another_version(stored, loaded),)
    return line.model_copy(
        update={
            "change": PlannedChange.CHANGE,
            "changes": changes,
            "open_trades": await _open_trades(journal, preset.name),
            "notes": notes,
        }
    )


def why_another_version(before: "StoredPreset", after: "StoredPreset | LoadedPreset") -> str:
    """Return why a version is another one although no value is; empty if it is the same one."""
    if before.hash == after.hash:
        return ""
    try:
        is_plugin = loads(before.document).hash == loads(after.document).hash
    except PresetInvalid:
        is_plugin = True
    if is_plugin:
        return f"the plugin {before.plugin} has another version now; the values are the same"
    return "the values are the same, written otherwise"


def _notes(loaded: LoadedPreset, mode: Mode, before: Mode | None) -> tuple[str, ...]:
    preset = loaded.preset
    notes = [] if preset.enabled else ["it is not enabled: it takes no entries"]
    if told := mode_note(preset.name, preset.mode, mode, before):
        notes.append(told)
    elif mode is not Mode.TRADE:
        notes.append(f"mode {mode}: it sends no orders")
    return tuple(notes)


async def _pruned(journal: "Journal | None", status: StrategyStatus) -> PlanLine:
    return PlanLine(
        preset=status.preset,
        change=PlannedChange.DISABLE,
        before=status.preset_hash,
        after=status.preset_hash,
        open_trades=await _open_trades(journal, status.preset),
        notes=("no file declares it",),
    )


async def _open_trades(journal: "Journal | None", preset: str) -> int:
    return len(await journal.trades(preset=preset, live=True, limit=None)) if journal else 0


# --- versions -------------------------------------------------------------------------------------


class VersionLine(Value):
    """Something that happened to a preset: a version applied, a pause, a promotion."""

    at: AwareDatetime
    change: str
    by: str = ""
    reason: str = ""
    version: str = ""
    changes: tuple[KeyChange, ...] = ()
    """Against the version before."""
    note: str = ""
    """Why it is another version, if no value is another one."""


async def history(journal: "Journal", preset: str, *, limit: int) -> tuple[VersionLine, ...]:
    """Return what was done to *preset*, by whom, when and why, the latest first.

    Raises:
        PresetUnknown: It was never applied.
    """
    stored = {each.hash: each for each in await journal.preset_versions(preset)}
    chain = ids.strategy_workflow(preset)
    events = await journal.events(chain=chain, kind=EventKind.STRATEGY_CHANGED, limit=None)
    if not stored and not events:
        await insist_on_applied(journal, preset)
    lines: list[VersionLine] = []
    before = ""
    for event in (row.event for row in events):
        said = {key: str(event.data.get(key) or "") for key in ("change", "by", "reason")}
        version = str(event.data.get("version") or "")
        if not version and said["reason"] in stored:
            # As earlier builds wrote it
            version, said["reason"] = said["reason"], ""
        if event.data.get("enabled") is False:
            said["change"] += ", not enabled"
        if (mode := event.data.get("mode", Mode.TRADE)) != Mode.TRADE:
            said["change"] += f", mode {mode}"
        changes: tuple[KeyChange, ...] = ()
        note = ""
        if version and before and version != before and {version, before} <= stored.keys():
            changes = difference(stored[before].document, stored[version].document)
            note = "" if changes else why_another_version(stored[before], stored[version])
        lines.append(VersionLine(at=event.at, version=version, changes=changes, note=note, **said))
        before = version or before
    if not lines:
        lines = [
            VersionLine(at=each.applied_at, change="applied", by=each.by, version=each.hash)
            for each in sorted(stored.values(), key=attrgetter("applied_at"))
        ]
    return tuple(reversed(lines))[:limit]


async def version(journal: "Journal", preset: str, wanted: str = "") -> "StoredPreset":
    """Return the version of *preset* that begins with *wanted*; the one applied last if empty.

    Raises:
        PresetUnknown: It was never applied.
        VersionUnknown: There is none.
        VersionAmbiguous: Several begin so.
    """
    stored = await journal.preset_versions(preset)
    if not stored:
        await insist_on_applied(journal, preset)
    found = [each for each in stored if each.hash.startswith(wanted)]
    if not found or (wanted and len(wanted) < SHORTEST):
        raise VersionUnknown(preset, wanted)
    if wanted and len(found) > 1:
        raise VersionAmbiguous(preset, wanted, [each.hash for each in found])
    return found[0]


async def version_before(journal: "Journal", preset: str, after: str) -> "StoredPreset":
    """Return the version of *preset* that was applied before *after*.

    Raises:
        VersionUnknown: There is none.
    """
    stored = await journal.preset_versions(preset)
    place = next((n for n, each in enumerate(stored) if each.hash == after), len(stored))
    if place + 1 >= len(stored):
        raise VersionUnknown(preset, f"before {after}")
    return stored[place + 1]
