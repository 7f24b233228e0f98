"""A person at work on the watched folder, who notes what each save must come to."""

import asyncio
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from tests.system.live_system import LiveSystem, until
from tradewright import ids
from tradewright.app.operate import set_mode
from tradewright.domain.event import EventKind
from tradewright.domain.plan import Mode
from tradewright.journal import TradeRow
from tradewright.ports import Folders, StrategyStatus
from tradewright.preset import PresetInvalid, loads

PERSON = "ann"
BETWEEN_KEYS = 0.1
"""Seconds between two of ten saves a second."""
WITHIN = 120.0
"""Seconds until a version runs, on a busy machine and with an exchange that is away."""


@dataclass(frozen=True)
class Version:
    """What one save asks of a strategy."""

    preset_hash: str
    enabled: bool


@dataclass
class Wished:
    """What was asked of one strategy, in order."""

    versions: list[Version] = field(default_factory=list)
    passing: set[str] = field(default_factory=set)
    """Versions that were overwritten at once: each may be applied or skipped."""


class Author:
    def __init__(self, live: LiveSystem, folder: Path) -> None:
        self._live = live
        self._folder = folder
        self._deleted: dict[str, str] = {}
        self.wished: dict[str, Wished] = {}
        self.deeds: list[str] = []
        self._promoted: dict[str, datetime] = {}
        """When each was let trade; wall clock."""

    # --- what the files say -----------------------------------------------------------------------

    def text(self, name: str) -> str:
        return self._path(name).read_text()

    def begin(self, name: str, text: str) -> None:
        """Write a preset before anybody watches."""
        self._path(name).write_text(text)
        self._note(name, text)

    async def change(self, name: str, old: str, new: str) -> None:
        """Save another version, by a rename, as most editors do."""
        await self._at_rest(name)
        text = self._edited(name, old, new)
        draft = self._folder / f".{name}.swp"
        draft.write_text(text)
        os.replace(draft, self._path(name))
        self._note(name, text)
        self._told(f"{name}: {old} -> {new}")

    async def change_in_two_steps(self, name: str, old: str, new: str) -> None:
        """Save another version as who empties the file first, and writes half of it."""
        await self._at_rest(name)
        text = self._edited(name, old, new)
        with self._path(name).open("w") as file:
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                await asyncio.sleep(BETWEEN_KEYS)
                file.write(part)
                file.flush()
        self._note(name, text)
        self._told(f"{name}: {old} -> {new}, in two steps")

    async def flurry(self, name: str, old: str, news: Iterable[str]) -> None:
        """Save one version after the other, ten a second."""
        await self._at_rest(name)
        before, texts = self.text(name), [self._edited(name, old, new) for new in news]
        for text in texts:
            self._path(name).write_text(text)
            await asyncio.sleep(BETWEEN_KEYS)
        wished = self.wished[name]
        wished.passing |= {loads(text).hash for text in texts[:-1]}
        wished.passing -= {loads(before).hash, loads(texts[-1]).hash}
        self._note(name, texts[-1])
        self._told(f"{name}: {len(texts)} saves, ten a second")

    async def spoil(self, name: str, old: str, new: str) -> None:
        """Save what is not valid, and see that it is told."""
        await self._at_rest(name)
        text = self._edited(name, old, new)
        try:
            loads(text)
        except PresetInvalid:
            self._path(name).write_text(text)
        else:
            raise AssertionError(f"{name} is valid with {new}")
        handle = self._live.client.get_workflow_handle(
            ids.presets_workflow(self._live.settings.account)
        )

        async def is_told() -> bool:
            found = await self._live.told(handle, "folders", Folders)
            return f"{name}.yaml" in {fault.file for fault in found.folders[0].faults}

        await until(is_told, WITHIN)
        self._told(f"{name}: not valid ({old} -> {new}), told")

    async def disable(self, name: str) -> None:
        await self.change(name, "version: 1\n", "version: 1\nenabled: false\n")

    async def enable(self, name: str) -> None:
        await self.change(name, "enabled: false\n", "")

    async def delete(self, name: str) -> None:
        await self._at_rest(name)
        self._deleted[name] = self.text(name)
        self._path(name).unlink()
        self._ends(name)
        self._told(f"{name}: deleted")

    async def put_back(self, name: str) -> None:
        """Save what the file said when it was deleted."""
        await self._at_rest(name)
        text = self._deleted.pop(name)
        self._path(name).write_text(text)
        self._note(name, text)
        self._told(f"{name}: put back")

    async def rename(self, name: str, new: str) -> None:
        """Give the preset another name, in the file of the same name."""
        await self._at_rest(name)
        text = self._edited(name, f"name: {name}\n", f"name: {new}\n")
        self._path(name).rename(self._path(new))
        self._path(new).write_text(text)
        self._ends(name)
        self._note(new, text)
        if name in self._promoted:
            self._promoted[new] = self._promoted[name]
        self._told(f"{name}: renamed {new}")

    async def promote(self, name: str) -> None:
        """Save the shadow as one that trades, and say so by name."""
        await self.change(name, "mode: shadow", "mode: trade")
        await self._at_rest(name)
        held = await self.status(name)
        self._promoted[name] = datetime.now(UTC)
        assert held.mode is Mode.SHADOW, f"{name} was raised by a file"
        await set_mode(
            self._live.client, name, mode=Mode.TRADE, by=PERSON, reason="it did well in the shadow"
        )
        self._told(f"{name}: promoted by {PERSON}")

    # --- what came of it --------------------------------------------------------------------------

    async def status(self, name: str) -> StrategyStatus:
        handle = self._live.client.get_workflow_handle(ids.strategy_workflow(name))
        return await self._live.told(handle, "status", StrategyStatus)

    async def all_at_rest(self) -> None:
        for name in self.wished:
            await self._at_rest(name)

    async def faults(self) -> list[str]:
        """Return every version that was lost, doubled or reverted."""
        found = []
        for name, wished in self.wished.items():
            events = await self._live.journal.events(
                chain=ids.strategy_workflow(name), kind=EventKind.STRATEGY_CHANGED, limit=None
            )
            applied = [
                Version(row.event.data["version"], row.event.data["enabled"])
                for row in events
                if row.event.data["change"] == "applied"
            ]
            if any(len(list(group)) > 1 for _, group in groupby(applied)):
                found.append(f"{name}: a version was applied twice: {_short(applied)}")
            kept = [each for each in applied if each.preset_hash not in wished.passing]
            if kept != wished.versions:
                found.append(f"{name}: {_short(wished.versions)} became {_short(applied)}")
        return found

    def strangers(self, trades: Iterable[TradeRow]) -> list[str]:
        """Return the trades of versions that nobody saved, or that nobody had let trade yet."""
        found = []
        for trade in trades:
            wished, promoted = self.wished[trade.preset], self._promoted.get(trade.preset)
            saved = wished.passing | {each.preset_hash for each in wished.versions}
            if trade.preset_hash not in saved:
                found.append(f"{trade.trade_id} is of version {trade.preset_hash}, never saved")
            if promoted is None or trade.decided_at < promoted:
                found.append(f"{trade.trade_id} of {trade.preset} was decided in the shadow")
        return found

    async def _at_rest(self, name: str) -> None:
        """Wait until the strategy runs what was asked of it last."""
        if name not in self.wished:
            return
        last = self.wished[name].versions[-1]

        async def is_so() -> bool:
            status = await self.status(name)
            return Version(status.preset_hash, status.enabled) == last

        try:
            await until(is_so, WITHIN)
        except AssertionError:
            status = await self.status(name)
            now = _short([Version(status.preset_hash, status.enabled)])
            raise AssertionError(f"{name} runs {now}, not {_short([last])}") from None

    def _edited(self, name: str, old: str, new: str) -> str:
        before = self.text(name)
        text = re.sub(re.escape(old), lambda _: new, before, count=1)
        assert text != before, f"{name} does not say {old!r}"
        return text

    def _note(self, name: str, text: str) -> None:
        loaded = loads(text)
        wished = self.wished.setdefault(name, Wished())
        version = Version(loaded.hash, loaded.preset.enabled)
        if wished.versions[-1:] != [version]:
            wished.versions.append(version)

    def _ends(self, name: str) -> None:
        versions = self.wished[name].versions
        versions.append(Version(versions[-1].preset_hash, enabled=False))

    def _told(self, deed: str) -> None:
        self.deeds.append(" ".join(deed.split()))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.yaml"


def _short(versions: Iterable[Version]) -> str:
    return " ".join(v.preset_hash[:6] + ("" if v.enabled else "-off") for v in versions) or "none"
