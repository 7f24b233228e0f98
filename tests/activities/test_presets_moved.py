"""Files that are deleted, moved or renamed, and the mode that outlives them."""

import contextlib
from typing import Any

import pytest

from tests.activities.preset_town import Died, PresetTown, hash_of, text
from tradewright.domain.folder import Running, Standing
from tradewright.domain.plan import Mode


async def test_a_deleted_file_takes_no_entries_and_takes_them_again_when_it_is_back(
    town: PresetTown,
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


async def test_a_file_deleted_while_nobody_watched_is_seen_as_deleted(town: PresetTown) -> None:
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
    town: PresetTown,
) -> None:
    town.write("ema.yaml", text(20))
    town.write("rsi.yaml", text(20, "rsi", enabled="false"))
    await town.settle()

    town.write("ema.yaml", text(20, enabled="false"))
    await town.settle()

    ema, off = town.runs(), hash_of(text(20, enabled="false"))
    assert ema == Running(preset_hash=off, enabled=False)
    assert (town.runs("rsi"), town.entry("rsi").standing) == (None, Standing.IDLE)


async def test_a_moved_file_changes_nothing(town: PresetTown) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "sub").mkdir()
    (town.folder / "ema.yaml").rename(town.folder / "sub" / "mine.yml")
    await town.settle()

    assert len(town.strategies.applied) == 2
    assert (town.entry().file, town.faults) == ("sub/mine.yml", {})
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


async def test_a_file_that_is_moved_and_broken_at_once_was_never_away(town: PresetTown) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()

    (town.folder / "ema.yaml").unlink()
    town.write("mine.yaml", text(20).replace("fraction: 0.01", "fraction: -1"))
    await town.settle()

    assert list(town.faults) == ["mine.yaml"]
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


@pytest.mark.parametrize("file", ["ema.yaml", "slow.yaml"])
async def test_a_renamed_preset_is_seen_as_such(town: PresetTown, file: str) -> None:
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
    assert town.strategies.renamed == [("main", "slow", "ema")]


@pytest.mark.parametrize("file", ["ema.yaml", "slow.yaml"])
async def test_a_rename_does_not_let_a_preset_trade_that_did_not(
    town: PresetTown, file: str
) -> None:
    town.write("rsi.yaml", text(20, "rsi"))
    town.write("ema.yaml", text(20))
    await town.settle()
    demoted = Running(preset_hash=hash_of(text(20)), mode=Mode.SHADOW)
    town.strategies.running_now["ema"] = demoted

    (town.folder / "ema.yaml").unlink()
    town.write(file, text(20, "slow"))
    await town.settle()

    runs = town.runs("slow")
    assert runs is not None
    assert runs.mode is Mode.SHADOW


async def test_a_rename_does_not_raise_the_mode_of_its_document(town: PresetTown) -> None:
    town.write("ema.yaml", text(20, mode="shadow"))
    await town.settle()

    town.write("ema.yaml", text(20, "slow", mode="trade"))
    await town.settle()

    runs = town.runs("slow")
    assert runs is not None
    assert runs.mode is Mode.SHADOW


@pytest.mark.parametrize("stopped", ["ema", "slow"])
async def test_a_rename_does_not_let_trade_what_was_stopped_before_it_did(
    town: PresetTown, stopped: str
) -> None:
    town.write("ema.yaml", text(20, mode="trade" if stopped == "slow" else "shadow"))
    await town.settle()
    if stopped == "ema":
        town.strategies.stop("ema")
    else:
        ran = Running(preset_hash=hash_of(text(30, "slow")), mode=Mode.SHADOW)
        town.strategies.stopped["slow"] = ran

    town.write("ema.yaml", text(20, "slow", mode="trade"))
    await town.settle()

    runs = town.runs("slow")
    assert runs is not None
    assert runs.mode is Mode.SHADOW


@pytest.mark.parametrize("host", ["here", "elsewhere"])
async def test_what_was_promoted_is_lowered_by_an_edit_and_by_nothing_else(
    town: PresetTown, host: str
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
    town: PresetTown, meanwhile: str, monkeypatch: pytest.MonkeyPatch
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


async def test_the_watcher_never_raises_a_mode_to_trade_and_says_who_may(town: PresetTown) -> None:
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
