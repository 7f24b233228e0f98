"""What a folder of presets asks for: base, folder and what runs, merged."""

from typing import Any

import pytest

from tradewright.domain.folder import (
    Act,
    Declared,
    Remembered,
    Running,
    Standing,
    gone,
    held_mode,
    mode_note,
    step,
    step_when_gone,
)
from tradewright.domain.plan import Mode


def declared(preset_hash: str = "v2", name: str = "ema", **more: Any) -> Declared:
    return Declared(**{"name": name, "file": f"{name}.yaml", "preset_hash": preset_hash, **more})


def base(preset_hash: str = "v1", name: str = "ema", **more: Any) -> Remembered:
    told = {"standing": Standing.APPLIED, "file": f"{name}.yaml", **more}
    return Remembered(name=name, preset_hash=preset_hash, **told)


V1, V2, V3 = (Running(preset_hash=each) for each in ("v1", "v2", "v3"))


@pytest.mark.parametrize(
    ("before", "running", "was_applied", "act", "standing"),
    [
        # Never seen in this folder
        (None, None, False, Act.START, Standing.INTENDED),
        (None, V1, False, Act.APPLY, Standing.INTENDED),
        (None, V2, True, None, Standing.APPLIED),
        # A folder that is older than what runs takes nothing back
        (None, V3, True, None, Standing.LEFT),
        # What a person has stopped is not started because a worker is
        (None, None, True, None, Standing.LEFT),
        # The file has changed
        (base(), None, False, Act.START, Standing.INTENDED),
        (base(), V1, False, Act.APPLY, Standing.INTENDED),
        (base(), V3, False, Act.APPLY, Standing.INTENDED),
        (base(), V2, False, None, Standing.APPLIED),
        # It was about to be applied when the watcher died
        (base("v2", standing="intended", expected="v1"), V1, True, Act.APPLY, Standing.INTENDED),
        (base("v2", standing="intended", expected="v1"), V2, True, None, Standing.APPLIED),
        (base("v2", standing="intended", expected="v1"), V3, True, None, Standing.LEFT),
        (base("v2", standing="intended", expected="v1"), None, True, None, Standing.LEFT),
        (base("v2", standing="intended"), None, True, Act.START, Standing.INTENDED),
        # It was deleted, and is back
        (base("v2", standing="gone"), V2, True, None, Standing.APPLIED),
        (
            base("v2", standing="gone"),
            Running(preset_hash="v2", enabled=False),
            True,
            Act.APPLY,
            Standing.INTENDED,
        ),
    ],
)
def test_a_change_of_the_folder_is_a_wish_and_nothing_else_is(
    before: Remembered | None,
    running: Running | None,
    was_applied: bool,
    act: Act | None,
    standing: Standing,
) -> None:
    found = step(before, declared(), running, was_applied=was_applied)

    assert found is not None
    assert (found.act, found.remember.standing) == (act, standing)
    assert bool(found.remember.note) == (standing is Standing.LEFT)
    if act is not None:
        assert found.remember.expected == (running.preset_hash if running else "")


@pytest.mark.parametrize("standing", ["applied", "left", "idle"])
@pytest.mark.parametrize("running", [V1, V2, V3, None])
def test_a_file_that_has_not_changed_asks_for_nothing_whatever_runs(
    standing: str, running: Running | None
) -> None:
    assert step(base("v2", standing=standing), declared(), running, was_applied=True) is None


def test_a_moved_file_is_only_remembered() -> None:
    found = step(base("v2"), declared(file="other.yaml"), V3, was_applied=True)

    assert found is not None
    assert (found.act, found.remember.file) == (None, "other.yaml")


def test_a_preset_that_is_not_enabled_is_not_started_and_one_that_runs_is_changed() -> None:
    idle = step(None, declared(enabled=False), None, was_applied=False)
    changed = step(base(), declared(enabled=False), V1, was_applied=False)

    assert idle is not None
    assert changed is not None
    assert (idle.act, idle.remember.standing) == (None, Standing.IDLE)
    assert changed.act is Act.APPLY


def test_entries_that_were_stopped_elsewhere_are_not_allowed_again_by_an_older_folder() -> None:
    stopped = Running(preset_hash="v2", enabled=False)

    found = step(None, declared(), stopped, was_applied=True)

    assert found is not None
    assert (found.act, found.remember.standing) == (None, Standing.LEFT)


def test_a_deleted_file_disables_what_runs_and_is_not_asked_again() -> None:
    found = step_when_gone(base(), V3)

    assert found is not None
    assert (found.act, found.remember.standing, found.remember.expected) == (
        Act.DISABLE,
        Standing.GONE,
        "v3",
    )
    assert step_when_gone(found.remember, V3) is None
    off = Running(preset_hash="v1", enabled=False)
    assert [step_when_gone(base(), r).act for r in (off, None)] == [None, None]  # type: ignore[union-attr]


def test_an_empty_folder_deletes_nothing() -> None:
    memory = {"ema": base()}

    assert gone(memory, []) == ()
    assert [each.base.name for each in gone(memory, [declared(name="rsi")])] == ["ema"]
    assert [each.base.name for each in gone(memory, [], faulty={"broken.yaml"})] == ["ema"]


def test_a_file_that_cannot_be_understood_deletes_nothing() -> None:
    assert gone({"ema": base()}, [declared(name="rsi")], faulty={"ema.yaml"}) == ()


def test_what_is_gone_is_gone_once() -> None:
    assert gone({"ema": base(standing="gone")}, [declared(name="rsi")]) == ()


def test_a_rename_is_seen_as_such() -> None:
    renamed = declared(name="ema-2", file="ema.yaml")
    in_place = gone({"ema": base()}, [renamed], fresh={"ema-2"})
    copies = [declared(name="copy", body="same"), declared(name="ema-2", body="same")]
    moved = gone({"ema": base(body="same")}, copies, fresh={"ema-2"})
    other = declared(name="other", body="not")
    replaced = gone({"ema": base(body="same")}, [other], fresh={"other"})

    assert [each.renamed for each in in_place + moved + replaced] == ["ema-2", "ema-2", ""]
    assert in_place[0].why == "renamed ema-2"
    assert replaced[0].why == "no file declares it any more"


@pytest.mark.parametrize(
    ("wanted", "before", "mode"),
    [
        *((Mode.TRADE, held, held) for held in (Mode.SHADOW, Mode.ALERT, Mode.TRADE)),
        (Mode.TRADE, None, Mode.TRADE),
        (Mode.SHADOW, Mode.TRADE, Mode.SHADOW),
        (Mode.ALERT, Mode.SHADOW, Mode.ALERT),
    ],
)
def test_no_file_lets_a_preset_trade_that_did_not(
    wanted: Mode, before: Mode | None, mode: Mode
) -> None:
    assert held_mode(wanted, before) is mode


@pytest.mark.parametrize("said", Mode)
@pytest.mark.parametrize("before", Mode)
def test_what_is_said_once_more_changes_no_mode(said: Mode, before: Mode) -> None:
    assert held_mode(said, before, is_same=True) is before
    assert held_mode(said, None, is_same=True) is said


def test_a_person_is_told_of_every_mode_that_is_not_as_written_or_as_before() -> None:
    promoted = mode_note("ema", Mode.SHADOW, Mode.TRADE, Mode.TRADE)
    held = mode_note("ema", Mode.TRADE, Mode.SHADOW, Mode.SHADOW)
    lowered = mode_note("ema", Mode.ALERT, Mode.ALERT, Mode.TRADE)

    assert promoted.startswith("it trades, as a person has promoted it")
    assert "strategy promote ema --by" in held
    assert "sends nothing any more" in lowered
    for before in (*Mode, None):
        assert not mode_note("ema", Mode.TRADE, Mode.TRADE, before)
