"""Hot reload, save by save: what a folder says, and what comes of it."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from activities.messenger import Messenger
from activities.presets import PresetWatch
from activities.presets_author import Author
from activities.presets_folder import (
    DOUBTED,
    GONE_AFTER,
    RESTLESS,
    SETTLED,
    UNENDED,
    FolderEye,
    Sight,
)
from activities.presets_news import Told
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
    away: int = 0
    """How many calls find nobody."""

    async def running(self, preset: str) -> Running | None:
        if self.away:
            self.away -= 1
            raise ExchangeUnreachable("query", "nobody answers")
        return self.running_now.get(preset)

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


class Town:
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
        told = Told(cast(Messenger, self.workflow), "main", memory)
        self.watch = PresetWatch(self.folder, memory, self.strategies, told, the_watcher)
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

    async def look(self, after: float = 0.0) -> Sight:
        self.now += after
        sight = self.eye.look(self.now)
        await self.watch.follow(sight)
        return sight

    async def settle(self, within: float = 5.0) -> Sight:
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


@pytest.fixture
def town(tmp_path: Path) -> Town:
    folder = tmp_path / "strategies"
    folder.mkdir()
    return Town(folder)


async def test_a_new_file_starts_and_a_saved_one_changes_what_runs(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()
    first = town.runs()
    town.write("ema.yaml", text(30))
    await town.settle()

    assert first == Running(preset_hash=hash_of(text(20)))
    assert town.strategies.applied == [("ema", hash_of(text(20))), ("ema", hash_of(text(30)))]
    assert (town.entry().standing, town.entry().note) == (Standing.APPLIED, "")
    assert town.strategies.told[0] == (f"watcher of {town.place}", "saved")


async def test_a_save_is_applied_as_soon_as_the_file_has_settled(town: Town) -> None:
    town.write("ema.yaml", text(20))

    await town.look()
    early = town.runs()
    await town.look(SETTLED * 1.1)

    assert (early, town.runs()) == (None, Running(preset_hash=hash_of(text(20))))


async def test_comments_layout_and_a_touch_are_no_new_version(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    for said in (text(20), "# a remark\n" + text(20), text(20).replace("{r: 2}", "{ r: 2.0 }")):
        town.write("ema.yaml", said)
        await town.settle()

    assert len(town.strategies.applied) == 1


async def test_an_editor_that_replaces_the_file_changes_it(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", text(30), replace=True)
    await town.settle()

    assert town.runs() == Running(preset_hash=hash_of(text(30)))


async def test_an_editor_that_deletes_before_it_writes_disables_nothing(town: Town) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    await town.look()
    await town.look(GONE_AFTER / 2)
    missing = town.runs()
    town.write("ema.yaml", text(30))
    await town.settle()

    assert missing == Running(preset_hash=hash_of(text(20)))
    assert town.runs() == Running(preset_hash=hash_of(text(30)))
    assert "no file declares it any more" not in dict(town.strategies.told).values()


@pytest.mark.parametrize("cut", [0, 10, len(text(30)) - 32, len(text(30)) - 1])
async def test_what_is_half_written_is_never_believed(town: Town, cut: int) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    # The other half comes later than any editor needs for it
    town.write("ema.yaml", text(30)[:cut])
    await town.look()
    await town.look(UNENDED * 0.8)
    town.write("ema.yaml", text(30))
    await town.settle()

    assert town.faults == {}
    assert town.strategies.applied == [("ema", hash_of(text(20))), ("ema", hash_of(text(30)))]


async def test_a_mere_beginning_of_what_was_there_is_doubted_and_believed_at_last(
    town: Town,
) -> None:
    """Its protections come last: without them it would be valid, and another preset."""
    beginning = text(20).replace("protections: {cooldown_candles: 3}\n", "")
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", beginning)
    await town.look()
    await town.look(DOUBTED * 0.9)
    doubted = len(town.strategies.applied)
    await town.look(DOUBTED * 0.1)

    assert doubted == 1
    assert town.runs() == Running(preset_hash=hash_of(beginning))


async def test_ten_saves_a_second_are_one_application_each_and_the_last_one_stays(
    town: Town,
) -> None:
    for period in range(20, 30):
        town.write("ema.yaml", text(period))
        for _ in range(10):
            await town.look(0.01)

    assert town.runs() == Running(preset_hash=hash_of(text(29)))
    assert len(town.strategies.applied) == len(set(town.strategies.applied))


async def test_a_file_that_never_settles_is_read_at_last(town: Town) -> None:
    for turn in range(int(RESTLESS / 0.02) + 2):
        town.write("ema.yaml", text(20 + turn % 2))
        await town.look(0.02)

    assert town.runs() is not None


async def test_an_invalid_file_leaves_the_last_good_version_and_is_told_once(town: Town) -> None:
    """E1: validate fully, then swap; a bad file keeps the last good one, and is told."""
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", text(20).replace("fraction: 0.01", "fraction: -1"))
    await town.settle()
    news = len(town.workflow.news)
    for _ in range(5):
        await town.look(1.0)
    faults = town.faults
    town.write("ema.yaml", text(30))
    await town.settle()

    assert "ema.yaml:9:" in faults["ema.yaml"]
    assert "exits.stop.fraction" in faults["ema.yaml"]
    assert len(town.workflow.news) - news == 3, "intended, applied, and no fault any more"
    assert (town.faults, town.runs()) == ({}, Running(preset_hash=hash_of(text(30))))


async def test_a_file_that_is_wrong_and_right_again_was_never_away(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", "nonsense\n")
    await town.settle()
    town.write("ema.yaml", text(20))
    await town.settle()

    assert (len(town.strategies.applied), town.faults) == (1, {})


@pytest.mark.parametrize("harm", ["empty", "missing", "unreadable", "file"])
async def test_a_folder_that_cannot_be_used_deletes_nothing_and_is_told(
    town: Town, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ema", "rsi"):
        town.write(f"{name}.yaml", text(20, name))
    await town.settle()
    away = town.folder.with_name("away")

    if harm == "unreadable":
        denied = PermissionError(13, "Permission denied")
        monkeypatch.setattr(os, "scandir", lambda path: _raise(denied))
    else:
        town.folder.rename(away)
    if harm == "empty":
        town.folder.mkdir()
    if harm == "file":
        town.folder.write_text("a file")
    for _ in range(5):
        await town.look(GONE_AFTER)
    told = town.workflow.of(town.place).fault
    ran = dict(town.strategies.running_now)
    monkeypatch.undo()
    if harm in ("empty", "file"):
        town.folder.rmdir() if harm == "empty" else town.folder.unlink()
    if away.exists():
        away.rename(town.folder)
    town.write("ema.yaml", text(30))
    await town.settle()

    assert "what runs goes on" in told
    assert ran == {n: Running(preset_hash=hash_of(text(20, n))) for n in ("ema", "rsi")}
    assert town.workflow.of(town.place).fault == ""
    assert town.runs() == Running(preset_hash=hash_of(text(30)))
    assert town.runs("rsi") == ran["rsi"]


def _raise(error: Exception) -> Any:
    raise error


async def test_a_deleted_file_takes_no_entries_and_takes_them_again_when_it_is_back(
    town: Town,
) -> None:
    for name in ("ema", "rsi"):
        town.write(f"{name}.yaml", text(20, name))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    await town.settle()
    deleted, entry = town.runs(), town.entry()
    town.write("ema.yaml", text(20))
    await town.settle()

    assert deleted == Running(preset_hash=hash_of(text(20)), enabled=False)
    assert (entry.standing, entry.note) == (Standing.GONE, "no file declares it any more")
    assert town.runs() == Running(preset_hash=hash_of(text(20)))
    assert town.runs("rsi") == Running(preset_hash=hash_of(text(20, "rsi")))


async def test_a_file_deleted_while_nobody_watched_is_seen_as_deleted(town: Town) -> None:
    for name in ("ema", "rsi"):
        town.write(f"{name}.yaml", text(20, name))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    town.restart()
    await town.look()
    at_first = town.runs()
    await town.settle()

    assert at_first == Running(preset_hash=hash_of(text(20)))
    assert town.runs() == Running(preset_hash=hash_of(text(20)), enabled=False)


async def test_disabled_in_the_file_is_disabled_and_a_new_one_is_not_even_started(
    town: Town,
) -> None:
    town.write("ema.yaml", text(20))
    town.write("rsi.yaml", text(20, "rsi", enabled="false"))
    await town.settle()

    town.write("ema.yaml", text(20, enabled="false"))
    await town.settle()

    ema, off = town.runs(), hash_of(text(20, enabled="false"))
    assert ema == Running(preset_hash=off, enabled=False)
    assert (town.runs("rsi"), town.entry("rsi").standing) == (None, Standing.IDLE)


async def test_a_moved_file_changes_nothing(town: Town) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "sub").mkdir()
    (town.folder / "ema.yaml").rename(town.folder / "sub" / "mine.yml")
    await town.settle()

    assert len(town.strategies.applied) == 2
    assert (town.entry().file, town.faults) == ("sub/mine.yml", {})
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


async def test_a_file_that_is_moved_and_broken_at_once_was_never_away(town: Town) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    town.write("mine.yaml", text(20).replace("fraction: 0.01", "fraction: -1"))
    await town.settle()

    assert list(town.faults) == ["mine.yaml"]
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


@pytest.mark.parametrize("file", ["ema.yaml", "slow.yaml"])
async def test_a_renamed_preset_is_seen_as_such(town: Town, file: str) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    town.write(file, text(20, "slow"))
    await town.settle()

    assert town.runs() == Running(preset_hash=hash_of(text(20)), enabled=False)
    assert town.runs("slow") == Running(preset_hash=hash_of(text(20, "slow")))
    assert town.entry("ema").note == "renamed slow"
    assert "renamed slow" in {reason for _, reason in town.strategies.told}


async def test_a_rename_does_not_let_a_preset_trade_that_did_not(town: Town) -> None:
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()

    town.write("ema.yaml", text(20, "slow", mode="trade"))
    await town.settle()

    runs = town.runs("slow")
    assert runs is not None
    assert runs.mode is Mode.SHADOW


@pytest.mark.parametrize("host", ["here", "elsewhere"])
async def test_what_was_promoted_is_lowered_by_an_edit_and_by_nothing_else(
    town: Town, host: str
) -> None:
    town.write("other.yaml", text(20, "other"))
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()
    promoted = Running(preset_hash=hash_of(text(20, mode="shadow")), mode=Mode.TRADE)
    town.strategies.running_now["ema"] = promoted

    town.restart(host)
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()
    after_a_restart = town.runs()
    (town.folder / "ema.yaml").unlink()
    await town.settle()
    away = town.runs()
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()
    back = town.runs()
    town.write("ema.yaml", text(30, mode="shadow"))
    await town.settle()
    edited = town.runs()

    assert after_a_restart == back == promoted
    assert away == promoted.model_copy(update={"enabled": False})
    assert edited == Running(preset_hash=hash_of(text(30, mode="shadow")), mode=Mode.SHADOW)


@pytest.mark.parametrize("meanwhile", ["it dies", "nobody answers"])
async def test_a_rename_that_is_finished_later_lets_nothing_trade_either(
    town: Town, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()
    strategies, disable = town.strategies, town.strategies.disable

    async def disable_and_then(*args: Any, **more: Any) -> None:
        await disable(*args, **more)
        if meanwhile == "it dies":
            strategies.dies = "before"
        else:
            strategies.away = 1

    monkeypatch.setattr(strategies, "disable", disable_and_then)
    town.write("ema.yaml", text(20, "slow", mode="trade"))
    with contextlib.suppress(Died):
        await town.settle()
    if meanwhile == "it dies":
        town.restart()
    await town.settle()

    runs = town.runs("slow")
    assert runs is not None
    assert (runs.mode, strategies.told[-1][1]) == (Mode.SHADOW, "renamed from ema")


async def test_the_watcher_never_raises_a_mode_to_trade_and_says_who_may(town: Town) -> None:
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()

    town.write("ema.yaml", text(30, mode="trade"))
    await town.settle()

    runs = town.runs()
    assert runs == Running(preset_hash=hash_of(text(30)), mode=Mode.SHADOW)
    assert (town.entry().standing, town.entry().note) == (
        Standing.APPLIED,
        "it stays in mode shadow",
    )


async def test_two_files_of_one_name_leave_the_first_one_alone(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("copy.yaml", text(30))
    await town.settle()
    faults = town.faults
    town.write("ema.yaml", text(40))
    await town.settle()
    town.write("copy.yaml", text(30, "copy"))
    await town.settle()

    assert "'ema' is the name of ema.yaml too; rename one" in faults["copy.yaml"]
    assert "copy.yaml:2:" in faults["copy.yaml"]
    assert town.runs() == Running(preset_hash=hash_of(text(40)))
    assert town.runs("copy") == Running(preset_hash=hash_of(text(30, "copy")))
    assert town.faults == {}


async def test_a_preset_of_another_account_is_a_fault(town: Town) -> None:
    town.write("ema.yaml", text(20).replace("mode:", "account: other\nmode:"))
    await town.settle()

    assert "'other' is not the account here, 'main'" in town.faults["ema.yaml"]
    assert town.strategies.applied == []


async def test_what_the_exchange_has_against_a_preset_keeps_the_last_good_version(
    town: Town,
) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.strategies.refused["ema"] = "'BTCUSDX' is not listed"
    town.write("ema.yaml", text(30))
    await town.settle()
    faults, ran = town.faults, town.runs()
    town.strategies.refused.clear()
    town.write("ema.yaml", text(40))
    await town.settle()

    assert "is not listed" in faults["ema.yaml"]
    assert ran == Running(preset_hash=hash_of(text(20)))
    assert (town.faults, town.runs()) == ({}, Running(preset_hash=hash_of(text(40))))


async def test_drafts_of_editors_and_other_files_are_not_looked_at(town: Town) -> None:
    for file in (".ema.yaml.swp", ".#ema.yaml", "ema.yaml~", "notes.txt", ".git/ema.yaml"):
        town.write(file, text(20))

    await town.settle()

    assert (town.strategies.applied, town.faults) == ([], {})


# --- restarts, other workers, other people --------------------------------------------------------


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_a_version_is_applied_once_though_the_worker_dies_while_it_applies_it(
    town: Town, dies: str
) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()
    town.strategies.dies = dies
    town.write("ema.yaml", text(30))

    with pytest.raises(Died):
        await town.settle()
    town.restart()
    await town.settle()

    assert town.strategies.applied == [("ema", hash_of(text(20))), ("ema", hash_of(text(30)))]
    assert town.entry().standing is Standing.APPLIED


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_a_deletion_is_not_lost_with_the_worker(town: Town, dies: str) -> None:
    for name in ("ema", "rsi"):
        town.write(f"{name}.yaml", text(20, name))
    await town.settle()
    town.strategies.dies = dies
    (town.folder / "ema.yaml").unlink()

    with pytest.raises(Died):
        await town.settle()
    town.restart()
    await town.settle()

    assert town.runs() == Running(preset_hash=hash_of(text(20)), enabled=False)
    assert town.entry().standing is Standing.GONE


async def test_what_was_applied_by_hand_in_between_is_not_taken_back(town: Town) -> None:
    """The worker dies after it said what it will do; a person applies another version."""
    town.write("ema.yaml", text(20))
    await town.settle()
    town.strategies.dies = "before"
    town.write("ema.yaml", text(30))
    with pytest.raises(Died):
        await town.settle()

    town.strategies.apply_elsewhere(text(40))
    town.restart()
    await town.settle()
    left = town.entry()
    town.write("ema.yaml", text(50))
    await town.settle()

    assert (left.standing, "was applied meanwhile" in left.note) == (Standing.LEFT, True)
    assert [v for _, v in town.strategies.applied] == [hash_of(text(20)), hash_of(text(50))]


async def test_a_second_worker_with_an_older_folder_takes_nothing_back(
    town: Town, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for period in (20, 30):
        town.write("ema.yaml", text(period))
        await town.settle()
    town.write("rsi.yaml", text(20, "rsi"))
    await town.settle()
    first = town.folder

    town.folder = old
    town.write("ema.yaml", text(20))
    town.restart("there")
    await town.settle()
    left, ran = town.entry(), dict(town.strategies.running_now)
    # It is brought up to date, and then further
    town.write("ema.yaml", text(30))
    await town.settle()
    same = len(town.strategies.applied)
    town.write("ema.yaml", text(40))
    await town.settle()
    # The first one comes back, with the folder that it had
    town.folder = first
    town.restart()
    await town.settle()

    assert (left.standing, f"version {hash_of(text(30))} replaced this one" in left.note) == (
        Standing.LEFT,
        True,
    )
    assert ran["rsi"] == Running(preset_hash=hash_of(text(20, "rsi")))
    assert (same, len(town.strategies.applied)) == (3, 4)
    assert town.runs() == Running(preset_hash=hash_of(text(40)))


async def test_going_back_to_an_earlier_version_is_a_wish_like_any_other(town: Town) -> None:
    for period in (20, 30, 20):
        town.write("ema.yaml", text(period))
        await town.settle()
    town.write("ema.yaml", text(30))
    town.restart()
    await town.settle()

    assert [v for _, v in town.strategies.applied] == [
        hash_of(text(period)) for period in (20, 30, 20, 30)
    ]


async def test_a_strategy_that_a_person_stopped_is_not_started_by_a_restart(town: Town) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    del town.strategies.running_now["ema"]
    for host in ("here", "there"):
        town.restart(host)
        await town.settle()
    stopped = town.runs()
    town.write("ema.yaml", text(30))
    await town.settle()

    assert stopped is None
    assert town.runs() == Running(preset_hash=hash_of(text(30)))


async def test_while_nobody_answers_a_version_waits_and_is_then_applied(town: Town) -> None:
    town.strategies.away = 3
    town.write("ema.yaml", text(20))

    await town.look()
    await town.look(SETTLED * 1.1)
    waiting = town.workflow.of(town.place).waiting
    await town.settle()

    assert waiting.startswith("preset ema: ")
    assert town.workflow.of(town.place).waiting == ""
    assert town.strategies.applied == [("ema", hash_of(text(20)))]


async def test_a_new_file_that_nobody_can_compare_waits_and_is_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: str) -> bool:
        raise VersionRuns("the journal refuses")

    monkeypatch.setattr(town.strategies, "was_applied", refused)
    town.write("ema.yaml", text(20))
    await town.settle()
    waiting = town.workflow.of(town.place).waiting
    monkeypatch.undo()
    await town.settle()

    assert waiting == "preset ema: the journal refuses"
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


class EditingPresets(RuleBasedStateMachine):
    """Any sequence of edits, deaths and restarts ends in the last valid state of each file."""

    files = st.sampled_from(["one", "two", "three"])
    periods = st.integers(min_value=5, max_value=12)

    def __init__(self) -> None:
        super().__init__()
        self.valid: dict[str, str] = {}
        """Hash of what each file said last that was valid, by its preset."""
        self.removed: set[str] = set()
        self.dormant: set[str] = set()
        """Deleted, and back with what is not valid: no wish to take entries again."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.town = Town(self.place)

    def teardown(self) -> None:
        if hasattr(self, "town"):
            try:
                self._settled()
            finally:
                shutil.rmtree(self.place)

    def _run(self, work: Callable[[], Any]) -> None:
        asyncio.run(work())

    async def _glance(self) -> None:
        try:
            await self.town.look(0.01)
        except Died:
            self.town.restart()

    def _settled(self) -> None:
        """Let the folder come to rest, restarting whoever dies meanwhile."""

        async def work() -> None:
            for _ in range(4):
                try:
                    await self.town.settle()
                    return
                except Died:
                    self.town.restart()
            raise AssertionError("it dies for ever")

        self._run(work)
        there = {p.stem for p in self.town.folder.glob("*.yaml")}
        if there:
            for name in self.removed - there:
                runs = self.town.runs(name)
                assert runs is None or not runs.enabled, f"{name} takes entries though deleted"
        for name, wanted in self.valid.items():
            runs = self.town.runs(name)
            assert runs is not None, f"{name} was lost"
            assert runs.preset_hash == wanted, f"{name} is not as its file said last"
            assert runs.enabled or name not in there or name in self.dormant

    @rule(file=files, period=periods, replace=st.booleans(), settle=st.booleans())
    def save(self, file: str, period: int, replace: bool, settle: bool) -> None:
        said = text(period, file)
        self.town.write(f"{file}.yaml", said, replace=replace)
        self.valid[file] = hash_of(said)
        self.removed.discard(file)
        self.dormant.discard(file)
        if settle:
            self._settled()

    @rule(file=files, cut=st.integers(min_value=0, max_value=200))
    def save_in_two_steps(self, file: str, cut: int) -> None:
        said = text(7, file)
        for part in (said[:cut], said):
            self.town.write(f"{file}.yaml", part)
            self._run(self._glance)
        self.valid[file] = hash_of(said)
        self.removed.discard(file)
        self.dormant.discard(file)

    @rule(file=files, nonsense=st.sampled_from(["", "{", "version: 2\n", "name: 1\n"]))
    def spoil(self, file: str, nonsense: str) -> None:
        self._settled()
        self.town.write(f"{file}.yaml", nonsense)
        if file in self.removed:
            self.dormant.add(file)
        self.removed.discard(file)
        self._settled()

    @rule(file=files)
    def delete(self, file: str) -> None:
        self._settled()
        path = self.town.folder / f"{file}.yaml"
        if path.exists():
            path.unlink()
            self.removed.add(file)
            self._settled()

    @rule(dies=st.sampled_from(["before", "after"]))
    def die_next(self, dies: str) -> None:
        self.town.strategies.dies = dies

    @rule()
    def restart(self) -> None:
        self.town.restart()

    @rule(calls=st.integers(min_value=1, max_value=5))
    def be_away(self, calls: int) -> None:
        self.town.strategies.away = calls


EditingPresets.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_any_sequence_of_edits_ends_in_the_last_valid_state = EditingPresets.TestCase
