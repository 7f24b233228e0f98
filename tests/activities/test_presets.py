"""Hot reload, save by save: what a folder says, and what comes of it."""

import os
from typing import Any

import pytest

from activities.presets_folder import DOUBTED, GONE_AFTER, RESTLESS, SETTLED, UNENDED
from tests.activities.preset_town import PresetTown, hash_of, text
from tradewright.domain.folder import Running, Standing


async def test_a_new_file_starts_and_a_saved_one_changes_what_runs(town: PresetTown) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()
    first = town.runs()
    town.write("ema.yaml", text(30))
    await town.settle()

    assert first == Running(preset_hash=hash_of(text(20)))
    assert town.strategies.applied == [("ema", hash_of(text(20))), ("ema", hash_of(text(30)))]
    assert (town.entry().standing, town.entry().note) == (Standing.APPLIED, "")
    assert town.strategies.told[0] == (f"watcher of {town.place}", "saved")


async def test_a_save_is_applied_as_soon_as_the_file_has_settled(town: PresetTown) -> None:
    town.write("ema.yaml", text(20))

    await town.look()
    early = town.runs()
    await town.look(SETTLED * 1.1)

    assert (early, town.runs()) == (None, Running(preset_hash=hash_of(text(20))))


async def test_comments_layout_and_a_touch_are_no_new_version(town: PresetTown) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    for said in (text(20), "# a remark\n" + text(20), text(20).replace("{r: 2}", "{ r: 2.0 }")):
        town.write("ema.yaml", said)
        await town.settle()

    assert len(town.strategies.applied) == 1


async def test_an_editor_that_replaces_the_file_changes_it(town: PresetTown) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", text(30), replace=True)
    await town.settle()

    assert town.runs() == Running(preset_hash=hash_of(text(30)))


async def test_an_editor_that_deletes_before_it_writes_disables_nothing(town: PresetTown) -> None:
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
async def test_what_is_half_written_is_never_believed(town: PresetTown, cut: int) -> None:
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
    town: PresetTown,
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
    town: PresetTown,
) -> None:
    for period in range(20, 30):
        town.write("ema.yaml", text(period))
        for _ in range(10):
            await town.look(0.01)

    assert town.runs() == Running(preset_hash=hash_of(text(29)))
    assert len(town.strategies.applied) == len(set(town.strategies.applied))


async def test_a_file_that_never_settles_is_read_at_last(town: PresetTown) -> None:
    for turn in range(int(RESTLESS / 0.02) + 2):
        town.write("ema.yaml", text(20 + turn % 2))
        await town.look(0.02)

    assert town.runs() is not None


async def test_an_invalid_file_leaves_the_last_good_version_and_is_told_once(
    town: PresetTown,
) -> None:
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


async def test_a_file_that_is_wrong_and_right_again_was_never_away(town: PresetTown) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    town.write("ema.yaml", "nonsense\n")
    await town.settle()
    town.write("ema.yaml", text(20))
    await town.settle()

    assert (len(town.strategies.applied), town.faults) == (1, {})


@pytest.mark.parametrize("harm", ["empty", "missing", "unreadable", "file"])
async def test_a_folder_that_cannot_be_used_deletes_nothing_and_is_told(
    town: PresetTown, harm: str, monkeypatch: pytest.MonkeyPatch
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


async def test_two_files_of_one_name_leave_the_first_one_alone(town: PresetTown) -> None:
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


async def test_a_preset_of_another_account_is_a_fault(town: PresetTown) -> None:
    town.write("ema.yaml", text(20).replace("mode:", "account: other\nmode:"))
    await town.settle()

    assert "'other' is not the account here, 'main'" in town.faults["ema.yaml"]
    assert town.strategies.applied == []


async def test_what_the_exchange_has_against_a_preset_keeps_the_last_good_version(
    town: PresetTown,
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


async def test_drafts_of_editors_and_other_files_are_not_looked_at(town: PresetTown) -> None:
    for file in (".ema.yaml.swp", ".#ema.yaml", "ema.yaml~", "notes.txt", ".git/ema.yaml"):
        town.write(file, text(20))

    await town.settle()

    assert (town.strategies.applied, town.faults) == ([], {})
