"""The workflow that holds the watcher of the presets, and remembers for it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from tradewright import ids
from tradewright.domain.folder import Remembered, Standing
from tradewright.ports import FileFault, FolderNews, Folders
from workflows.presets import PresetsStart, PresetsWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HERE, THERE = "here:/strategies", "there:/strategies"
EMA = Remembered(name="ema", file="ema.yaml", preset_hash="v1", standing=Standing.APPLIED)
WRONG = FileFault(file="ema.yaml", text="ema.yaml:3:1: error: name: too short", preset="ema")


def news(*presets: Remembered, place: str = HERE, **more: Any) -> FolderNews:
    return FolderNews(place=place, at=NOON, presets=presets, **more)


def left(note: str = "version v2 replaced this one") -> Remembered:
    return EMA.model_copy(update={"standing": Standing.LEFT, "note": note})


async def start_presets(stage: Any) -> Any:
    return await stage.start(
        PresetsWorkflow.run,
        PresetsStart(account=stage.account),
        ids.presets_workflow(stage.account),
    )


async def test_what_a_folder_said_is_remembered_by_its_place(stage: Any) -> None:
    held = stage.folder.script.hold("watch_presets")
    presets = await start_presets(stage)
    other = EMA.model_copy(update={"preset_hash": "v9"})

    await presets.signal("report", news(EMA))
    await presets.signal("report", news(other, place=THERE))
    await presets.signal("report", news(EMA.model_copy(update={"name": "rsi"})))
    found: Folders = await presets.query(PresetsWorkflow.folders)
    held.let_go(0)

    assert [each.place for each in found.folders] == [HERE, THERE]
    assert [each.name for each in found.of(HERE).presets] == ["ema", "rsi"]
    assert found.of(THERE).presets == (other,)
    assert found.of("nowhere:/").presets == ()


async def test_a_watcher_that_ends_or_fails_is_run_again(stage: Any, failure: Failure) -> None:
    stage.folder.script.answer("watch_presets", failure("a bug", final=True), failure("reset"))
    held = stage.folder.script.hold("watch_presets")

    await start_presets(stage)
    asked = await stage.folder.script.called("watch_presets", 3)
    held.let_go(0)

    assert asked == stage.account


async def test_a_person_hears_that_nobody_watches_and_that_somebody_does_again(
    stage: Any, failure: Failure, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    stage.folder.script.answer("watch_presets", failure("a bug", final=True))
    held = stage.folder.script.hold("watch_presets")
    presets = await start_presets(stage)
    await stage.folder.script.called("watch_presets", 2)
    before = await presets.query(PresetsWorkflow.folders)

    await presets.signal("report", news(EMA))
    heard = await until(notifier, "heard", lambda heard: len(heard) == 2)
    held.let_go(0)

    assert "a bug" in before.needs_operator
    assert [(n["title"], n["resolved"]) for _, n in heard] == [
        ("edited presets are not applied", False),
        ("edited presets are applied again", True),
    ]


async def test_a_person_hears_once_of_each_fault_and_of_its_end(stage: Any, until: Until) -> None:
    held = stage.folder.script.hold("watch_presets")
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    presets = await start_presets(stage)
    empty = "folder /strategies is empty; what runs goes on, put the presets back"

    for told in (
        *(news(EMA, faults=(WRONG,)), news(EMA, faults=(WRONG,)), news(EMA)),
        *(news(left()), news(left()), news(EMA)),
        *(news(fault=empty), news(fault=empty), news()),
    ):
        await presets.signal("report", told)
    heard = await until(notifier, "heard", lambda heard: len(heard) == 6)
    found = await presets.query(PresetsWorkflow.folders)
    held.let_go(0)

    notices = [notice for _, notice in heard]
    assert [(n["title"], n["resolved"]) for n in notices] == [
        ("preset file ema.yaml is not valid: ema goes on as it was", False),
        ("preset file ema.yaml is in order again", True),
        ("ema: what ema.yaml says is not applied", False),
        ("ema: ema.yaml is applied, but not all of it", True),
        ("the folder of presets cannot be used", False),
        ("the presets are back", True),
    ]
    assert notices[0]["text"] == WRONG.text
    assert found.needs_operator == ""


async def test_the_page_shows_every_mistake_with_its_place(stage: Any) -> None:
    held = stage.folder.script.hold("watch_presets")
    presets = await start_presets(stage)

    await presets.signal("report", news(left(), faults=(WRONG,), waiting="preset rsi: nobody"))
    found = await presets.query(PresetsWorkflow.folders)
    told = await presets.query("__temporal_workflow_metadata")
    held.let_go(0)

    page = told.current_details
    assert found.needs_operator == "invalid: ema.yaml; what ran goes on"
    assert "### Watches `here:/strategies`" in page
    assert WRONG.text in page
    assert "- `ema` **not applied**: version `v1`, ema.yaml; version v2 replaced this one" in page
    assert "- **waits:** preset rsi: nobody" in page


@pytest.mark.parametrize(("name", "argument"), [("report", {"place": HERE}), ("reload", {})])
async def test_what_cannot_be_read_is_told(stage: Any, name: str, argument: Any) -> None:
    held = stage.folder.script.hold("watch_presets")
    presets = await start_presets(stage)

    await presets.signal(name, argument)
    found = await presets.query(PresetsWorkflow.folders)
    held.let_go(0)

    assert f"signal {name} was not understood" in found.needs_operator


async def test_a_cancel_ends_the_watcher(stage: Any) -> None:
    stage.folder.script.hold("watch_presets")
    presets = await start_presets(stage)
    await stage.folder.script.called("watch_presets")

    await presets.cancel()

    with pytest.raises(WorkflowFailureError):
        await presets.result()
    assert (await presets.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_busy_folder_is_remembered_through_continue_as_new(
    impatient_stage: Any, until: Until
) -> None:
    stage = impatient_stage
    started = await start_presets(stage)
    presets = stage.client.get_workflow_handle(started.id)
    first = stage.folder.script.hold("watch_presets")
    second = stage.folder.script.hold("watch_presets")
    await stage.folder.script.called("watch_presets")

    for number in range(40):
        entry = EMA.model_copy(update={"preset_hash": f"v{number}"})
        await presets.signal("report", news(entry))
    first.let_go(0)
    await stage.folder.script.called("watch_presets", 2)
    described = await presets.describe()
    found = await presets.query(PresetsWorkflow.folders, result_type=Folders)
    second.let_go(0)

    assert described.run_id != started.first_execution_run_id
    assert [each.preset_hash for each in found.of(HERE).presets] == ["v39"]


async def test_it_is_deterministic_where_nothing_of_ours_passes(strict_stage: Any) -> None:
    held = strict_stage.folder.script.hold("watch_presets")
    presets = await start_presets(strict_stage)

    await presets.signal("report", news(left(), faults=(WRONG,)))
    found = await presets.query("folders")
    held.let_go(0)

    assert found["folders"][0]["place"] == HERE
