"""Hot reload: what a folder of presets says is applied to the running strategies, once.

What is about to be done is told to the workflow before it is done, so that whoever watches after
a crash goes on with it, and neither repeats it nor takes back what others did meanwhile.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import watchfiles
from temporalio import activity
from temporalio.client import Client

from activities.messenger import Messenger, heartbeats
from activities.presets_author import Author, author_of
from activities.presets_folder import FolderEye, FolderSight, identity
from activities.presets_news import FolderReport
from tradewright import ids
from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.folder import (
    Act,
    Declared,
    Gone,
    Remembered,
    Running,
    Standing,
    gone,
    step,
    step_when_gone,
)
from tradewright.domain.plan import Mode
from tradewright.ports import FolderMemory, Folders, PresetsPort
from tradewright.preset import LoadedPreset, PresetFault

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two looks though nothing was heard: not every file system tells of changes."""
LOOK_AGAIN: Final = 0.025
"""Seconds until the next look at a file that has not settled."""
TRY_AGAIN: Final = 1.0
"""Seconds until what could not be done is tried again."""

AuthorOf = Callable[[Path, Author], Awaitable[Author]]


class Applier(Protocol):
    """Does to the running strategies what the folder wishes."""

    async def running(self, preset: str) -> Running | None: ...

    async def last(self, preset: str) -> Running | None:
        """Return how it runs, or ran last."""

    async def rename(self, account: str, preset: str, formerly: str) -> None:
        """Let the desk know that what *formerly* has come to is the preset's own."""

    async def was_applied(self, preset: str, preset_hash: str) -> bool: ...

    async def faults(self, loaded: LoadedPreset, file: str) -> tuple[PresetFault, ...]:
        """Return what the exchange has against it; nothing if it cannot be asked."""

    async def apply(
        self,
        loaded: LoadedPreset,
        *,
        expected: str,
        mode_before: Mode | None,
        by: str,
        reason: str,
    ) -> str:
        """Apply it if version *expected* runs, or none if that is empty; return a remark."""

    async def disable(self, preset: str, *, expected: str, by: str, reason: str) -> None: ...


class PresetWatch:
    """Brings the running strategies to what the folder says, one look at a time."""

    def __init__(
        self,
        folder: Path,
        memory: FolderMemory,
        applier: Applier,
        report: FolderReport,
        author_of: AuthorOf = author_of,
    ) -> None:
        self._folder = folder
        self._author_of = author_of
        self._applier = applier
        self._report = report
        self._memory = {each.name: each for each in memory.presets}
        self._refused: dict[str, tuple[str, tuple[PresetFault, ...]]] = {}
        """What the exchange has against a version, by file; asked once for each."""
        self._waiting = ""
        self._fresh: set[str] = set()
        """Names that came since the folder was at rest last."""

    @property
    def memory(self) -> Mapping[str, Remembered]:
        return self._memory

    @property
    def is_done(self) -> bool:
        """Return whether nothing waits to be tried again."""
        return not self._waiting

    async def follow(self, sight: FolderSight) -> None:
        """Do what *sight* asks for and has not been done."""
        self._waiting = ""
        if not sight.fault:
            self._fresh |= sight.declared.keys() - self._memory.keys()
            missing = gone(
                self._memory,
                [said for said, _ in sight.declared.values()],
                faulty=sight.faults.keys() | sight.unread,
                claimed=sight.claimed,
                fresh=self._fresh,
            )
            # Remembered too: whoever finishes a rename later must not take it for a new preset
            renamed = {each.renamed: each.name for each in self._memory.values() if each.renamed}
            renamed |= {each.renamed: each.base.name for each in missing if each.renamed}
            for each in missing:
                await self._trying(each.base.name, self._gone(each))
            for said, loaded in sight.declared.values():
                if sight.awaits_file and said.name not in self._memory:
                    # Perhaps it is what is missing under another name, and keeps its mode
                    continue
                await self._trying(said.name, self._declared(said, loaded, renamed.get(said.name)))
        if not sight.unsettled:
            self._fresh.clear()
        current = {said.file: said.preset_hash for said, _ in sight.declared.values()}
        self._refused = {f: r for f, r in self._refused.items() if current.get(f) == r[0]}
        faults = sight.faults | {file: found for file, (_, found) in self._refused.items()}
        await self._report.look(self._memory, faults, sight.fault, self._waiting)

    async def _trying(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TradewrightError as e:
            if e.retry is Retry.NEVER and name in self._memory:
                await self._leave(name, str(e))
            else:
                self._waiting = f"preset {name}: {e}"

    async def _leave(self, name: str, why: str) -> None:
        left = {"standing": Standing.LEFT, "expected": "", "note": why}
        await self._remember(self._memory[name].model_copy(update=left))

    async def _declared(self, said: Declared, loaded: LoadedPreset, before: str | None) -> None:
        base = self._memory.get(said.name)
        if base is not None and _is_done(base, said):
            return
        if base is not None and base.standing is not Standing.INTENDED:
            before = None
        refused = self._refused.get(said.file)
        if refused is not None and refused[0] == said.preset_hash:
            return
        running, faults, author = await asyncio.gather(
            self._applier.running(said.name),
            self._applier.faults(loaded, said.file),
            self._author(said.file, before),
        )
        was_applied = base is None and await self._applier.was_applied(said.name, said.preset_hash)
        found = step(base, said, running, was_applied=was_applied)
        if found is None:
            return
        if found.act is None:
            await self._remember(found.remember)
            return
        if faults:
            self._refused[said.file] = (said.preset_hash, faults)
            return
        mode_before = running.mode if running else None
        if before is not None:
            mode_before = await self._mode_before(said.name, before)
        await self._remember(found.remember)
        if before is not None:
            await self._applier.rename(loaded.preset.account, said.name, before)
        remark = await self._applier.apply(
            loaded,
            expected=found.remember.expected,
            mode_before=mode_before,
            by=author.by,
            reason=author.reason,
        )
        log.info(
            "preset_applied", preset=said.name, file=said.file, version=loaded.hash, by=author.by
        )
        done = {"standing": Standing.APPLIED, "expected": "", "note": remark}
        await self._remember(found.remember.model_copy(update=done))

    async def _mode_before(self, name: str, formerly: str) -> Mode | None:
        """Return what a rename may not raise: of two modes, the one that does not trade."""
        ran = [await self._applier.last(each) for each in (name, formerly)]
        modes = [each.mode for each in ran if each is not None]
        return next((mode for mode in modes if mode is not Mode.TRADE), next(iter(modes), None))

    async def _author(self, file: str, before: str | None) -> Author:
        """Return who wrote *file*; a rename is told as such, whoever made it."""
        watcher = Author(by=f"watcher of {self._report.place}", reason="saved")
        author = await self._author_of(self._folder / file, watcher)
        return author if before is None else replace(author, reason=f"renamed from {before}")

    async def _gone(self, missing: Gone) -> None:
        name = missing.base.name
        found = step_when_gone(missing.base, await self._applier.running(name), missing.why)
        if found is None:
            return
        if found.act is Act.DISABLE:
            # Not remembered before: to do it twice is the same, not to do it is not
            await self._applier.disable(
                name,
                expected=found.remember.expected,
                by=f"watcher of {self._report.place}",
                reason=missing.why,
            )
            log.info("preset_disabled", preset=name, file=missing.base.file, why=missing.why)
        await self._remember(found.remember.model_copy(update={"renamed": missing.renamed}))

    async def _remember(self, entry: Remembered) -> None:
        if self._memory.get(entry.name) != entry:
            self._memory[entry.name] = entry
            await self._report.remember(entry)


def _is_done(base: Remembered, said: Declared) -> bool:
    settled = base.standing in {Standing.APPLIED, Standing.LEFT, Standing.IDLE}
    return settled and (base.preset_hash, base.file) == (said.preset_hash, said.file)


class FolderWatcher(PresetsPort):
    """The activity; one of them at a time watches for an account."""

    def __init__(self, client: Client, applier: Applier, folder: Path) -> None:
        self._messenger = Messenger(client)
        self._applier = applier
        self._folder = folder.absolute()

    @activity.defn
    async def watch_presets(self, account: str) -> None:
        place = f"{socket.gethostname()}:{self._folder}"
        workflow_id = ids.presets_workflow(account)
        async with heartbeats(lambda: place):
            known = await self._messenger.ask(workflow_id, "folders", Folders)
            memory = known.of(place) if known else FolderMemory(place=place)
            log.info("presets_watched", place=place, presets=len(memory.presets))
            eye = FolderEye(self._folder, account)
            eye.remember(
                {e.name: e.file for e in memory.presets if e.standing is not Standing.GONE}
            )
            watch = PresetWatch(
                self._folder, memory, self._applier, FolderReport(self._messenger, account, memory)
            )
            async for _ in stirs(self._folder):
                sight = await asyncio.to_thread(eye.look, time.monotonic())
                await watch.follow(sight)
                while sight.unsettled or not watch.is_done:
                    await asyncio.sleep(LOOK_AGAIN if watch.is_done else TRY_AGAIN)
                    sight = await asyncio.to_thread(eye.look, time.monotonic())
                    await watch.follow(sight)


async def stirs(folder: Path) -> AsyncIterator[None]:
    """Yield at first, whenever something in *folder* stirs, and now and then in any case."""
    yield
    while True:
        which = identity(folder)
        if which is None:
            await asyncio.sleep(LOOK_EVERY)
            yield
            continue
        try:
            async for _ in watchfiles.awatch(
                folder,
                watch_filter=None,
                step=10,
                debounce=50,
                rust_timeout=int(LOOK_EVERY * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                yield
                if identity(folder) != which:
                    break
        except (OSError, RuntimeError) as e:
            # Too many folders are watched on this machine, or it was taken away meanwhile
            log.warning("presets_polled", folder=str(folder), detail=str(e))
            await asyncio.sleep(LOOK_EVERY)
            yield
