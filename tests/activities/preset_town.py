"""A folder of presets, who watches it, what runs, and a clock that goes when it is told to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from activities.messenger import Messenger
from activities.presets import PresetWatch
from activities.presets_author import Author
from activities.presets_folder import SETTLED, FolderEye, FolderSight
from activities.presets_news import FolderReport
from tradewright.domain.errors import ExchangeUnreachable, Retry, TradewrightError
from tradewright.domain.folder import Remembered, Running, Standing, held_mode
from tradewright.domain.plan import Mode
from tradewright.ports import FolderMemory, FolderNews
from tradewright.preset import LoadedPreset, PresetFault, loads

PRESET = """\
version: 1
name: {name}
mode: {mode}
enabled: {enabled}
market: {{category: linear, symbols: [BTCUSDT]}}
trigger: {{on: candle, timeframe: 1m}}
strategy: {{plugin: donchian_breakout, params: {{period: {period}}}}}
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 2}}}}
risk: {{sizing: fixed_notional, notional: 500}}
protections: {{cooldown_candles: 3}}
"""


def text(period: int = 20, name: str = "ema", mode: str = "trade", enabled: str = "true") -> str:
    return PRESET.format(period=period, name=name, mode=mode, enabled=enabled)


def hash_of(said: str) -> str:
    return loads(said).hash


class VersionRuns(TradewrightError):
    retry = Retry.NEVER


class Died(BaseException):
    """The worker is gone in the middle of its work."""


@dataclass
class Strategies:
    """The running system: what runs, and every application in its order."""

    running_now: dict[str, Running] = field(default_factory=dict)
    applied: list[tuple[str, str]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    dies: str = ""
    """Where the watcher dies next: before or after what it does."""
    stopped: dict[str, Running] = field(default_factory=dict)
    """What ran last of what was stopped."""
    renamed: list[tuple[str, str, str]] = field(default_factory=list)
    away: int = 0
    """How many calls find nobody."""

    async def running(self, preset: str) -> Running | None:
        if self.away:
            self.away -= 1
            raise ExchangeUnreachable("query", "nobody answers")
        return self.running_now.get(preset)

    async def last(self, preset: str) -> Running | None:
        return await self.running(preset) or self.stopped.get(preset)

    async def rename(self, account: str, preset: str, formerly: str) -> None:
        self.renamed.append((account, preset, formerly))

    async def was_applied(self, preset: str, preset_hash: str) -> bool:
        return preset_hash in self.known

    async def faults(self, loaded: LoadedPreset, file: str) -> tuple[PresetFault, ...]:
        told = self.refused.get(loaded.preset.name)
        return (PresetFault(file=file, line=1, column=1, message=told),) if told else ()

    async def apply(
        self, loaded: LoadedPreset, *, expected: str, mode_before: Mode | None, by: str, reason: str
    ) -> str:
        self._may_die("before")
        name = loaded.preset.name
        now = self.running_now.get(name)
        if (now.preset_hash if now else "") != expected:
            raise VersionRuns(f"version {now} runs")
        wanted = (loaded.hash, loaded.preset.enabled)
        assert now is None or (now.preset_hash, now.enabled) != wanted, "applied twice"
        is_same = now is not None and now.preset_hash == loaded.hash
        mode = held_mode(loaded.preset.mode, mode_before, is_same=is_same)
        self.running_now[name] = Running(
            preset_hash=loaded.hash, enabled=loaded.preset.enabled, mode=mode
        )
        self.known.add(loaded.hash)
        self.applied.append((name, loaded.hash))
        self.told.append((by, reason))
        self._may_die("after")
        return f"it stays in mode {mode}" if mode is not loaded.preset.mode else ""

    async def disable(self, preset: str, *, expected: str, by: str, reason: str) -> None:
        self._may_die("before")
        now = self.running_now[preset]
        assert now.preset_hash == expected
        self.running_now[preset] = now.model_copy(update={"enabled": False})
        self.told.append((by, reason))
        self._may_die("after")

    def apply_elsewhere(self, said: str) -> None:
        loaded = loads(said)
        self.running_now[loaded.preset.name] = Running(preset_hash=loaded.hash)
        self.known.add(loaded.hash)

    def stop(self, preset: str) -> None:
        self.stopped[preset] = self.running_now.pop(preset)

    def _may_die(self, where: str) -> None:
        if self.dies == where:
            self.dies = ""
            raise Died


class Workflow:
    """Keeps the folder's memory, as the workflow does."""

    def __init__(self) -> None:
        self.memories: dict[str, FolderMemory] = {}
        self.news: list[FolderNews] = []

    async def tell(self, workflow_id: str, signal: str, news: FolderNews) -> bool:
        assert (workflow_id, signal) == ("presets/main", "report")
        self.news.append(news)
        self.memories[news.place] = self.of(news.place).after(news)
        return True

    def of(self, place: str) -> FolderMemory:
        return self.memories.get(place, FolderMemory(place=place))


async def the_watcher(path: Path, otherwise: Author) -> Author:
    return otherwise


class PresetTown:
    """A folder, who watches it, and a clock that goes when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.strategies = Strategies()
        self.workflow = Workflow()
        self.now = 0.0
        self._writes = 0
        self.restart()

    def restart(self, host: str = "here") -> None:
        """Let a new worker watch, which knows only what the workflow does."""
        memory = self.workflow.of(f"{host}:{self.folder}")
        self.eye = FolderEye(self.folder, "main")
        self.eye.remember(
            {e.name: e.file for e in memory.presets if e.standing is not Standing.GONE}
        )
        report = FolderReport(cast(Messenger, self.workflow), "main", memory)
        self.watch = PresetWatch(self.folder, memory, self.strategies, report, the_watcher)
        self.place = memory.place

    def write(self, file: str, said: str, *, replace: bool = False) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.with_name(f".{path.name}.tmp") if replace else path
        target.write_text(said, "utf-8")
        # Two saves within one tick of a coarse clock are two saves all the same
        self._writes += 1
        os.utime(target, ns=(self._writes, self._writes))
        if replace:
            target.replace(path)

    async def look(self, after: float = 0.0) -> FolderSight:
        self.now += after
        sight = self.eye.look(self.now)
        await self.watch.follow(sight)
        return sight

    async def settle(self, within: float = 5.0) -> FolderSight:
        """Look until the folder has said all that it says."""
        sight = await self.look()
        for _ in range(int(within / SETTLED)):
            if not (sight.unsettled or not self.watch.is_done):
                break
            sight = await self.look(SETTLED)
        return sight

    def entry(self, name: str = "ema") -> Remembered:
        return next(e for e in self.workflow.of(self.place).presets if e.name == name)

    @property
    def faults(self) -> Mapping[str, str]:
        return {each.file: each.text for each in self.workflow.of(self.place).faults}

    def runs(self, name: str = "ema") -> Running | None:
        return self.strategies.running_now.get(name)
