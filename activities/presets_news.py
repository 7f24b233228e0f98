"""What the watcher of presets tells: the workflow what has changed, the log what is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import structlog

from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.folder import Remembered
from tradewright.domain.notice import shortened
from tradewright.ports import FileFault, FolderMemory, FolderNews
from tradewright.preset import PresetFault, render

log = structlog.get_logger(__name__)

LONGEST_FAULT: Final = 2000
"""Characters of what is wrong with one file: a signal has to hold all of them."""


class FolderReport:
    """Tells the workflow what has changed, and the log what is wrong."""

    def __init__(self, messenger: Messenger, account: str, memory: FolderMemory) -> None:
        self.place = memory.place
        self._messenger = messenger
        self._workflow = ids.presets_workflow(account)
        self._faults = memory.faults
        self._fault = memory.fault
        self._waiting = memory.waiting

    async def remember(self, entry: Remembered) -> None:
        await self._send((entry,))

    async def look(
        self,
        memory: Mapping[str, Remembered],
        faults: Mapping[str, tuple[PresetFault, ...]],
        fault: str,
        waiting: str,
    ) -> None:
        """Tell what a look has found, if it has changed."""
        by_file = {each.file: name for name, each in memory.items()}
        found = tuple(
            FileFault(
                file=file,
                text=shortened(render(told), LONGEST_FAULT),
                preset=by_file.get(file, ""),
            )
            for file, told in sorted(faults.items())
        )
        if (found, fault, waiting) == (self._faults, self._fault, self._waiting):
            return
        for each in found:
            if each not in self._faults:
                log.error("preset_invalid", file=each.file, detail=each.text, preset=each.preset)
        for each in self._faults:
            if each.file not in faults:
                log.info("preset_valid_again", file=each.file)
        if fault and fault != self._fault:
            log.error("presets_not_read", detail=fault)
        if waiting and waiting != self._waiting:
            log.warning("presets_wait", detail=waiting)
        self._faults, self._fault, self._waiting = found, fault, waiting
        await self._send(())

    async def _send(self, entries: tuple[Remembered, ...]) -> None:
        news = FolderNews(
            place=self.place,
            at=datetime.now(UTC),
            presets=entries,
            faults=self._faults,
            fault=self._fault,
            waiting=self._waiting,
        )
        await self._messenger.tell(self._workflow, "report", news)
