"""`plan`, `diff`, `apply --prune` and `strategy history`: what a person sees before and after."""

from datetime import UTC, datetime

import pytest
from temporalio.client import WorkflowFailureError

from tests.cli.conftest import System, WritePreset
from tradewright import ids, preset
from tradewright.domain.folder import Remembered, Standing
from tradewright.domain.plan import Mode
from tradewright.ports import FileFault, FolderNews, StrategyStatus
from workflows.presets import PresetsStart, PresetsWorkflow

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


async def test_a_plan_says_what_would_start_change_and_stay(
    working: System, write_preset: WritePreset
) -> None:
    account = working.account
    for name in ("alpha", "beta"):
        await working.call("apply", write_preset(name, account=account))
    before = preset.load(write_preset("alpha", account=account)).hash
    changed = write_preset("alpha", account=account, timeframe="5m", symbols="BTCUSDT, ETHUSDT")
    write_preset("gamma", account=account)

    planned = await working.call("plan", changed.parent)
    status = await working.call("strategy", "list")

    after = preset.load(changed).hash
    assert planned.code == 0, planned
    assert f"~ alpha: {before} -> {after}  ({changed})" in planned.out
    assert "    trigger.timeframe: 1m -> 5m" in planned.out
    assert "market.symbols: [BTCUSDT] -> [BTCUSDT, ETHUSDT]" in planned.out
    assert "from the next candle on" in planned.out
    assert "= beta: " in planned.out
    assert "+ gamma: " in planned.out
    assert "plan: 1 to start, 1 to change, 0 to stop, 1 unchanged" in planned.out
    assert before in status.out, "nothing was applied"


async def test_a_plan_says_when_only_the_plugin_has_changed(
    working: System, write_preset: WritePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_preset("alpha", account=working.account)
    loaded = preset.load(path)
    await working.call("apply", path)

    monkeypatch.setattr(type(loaded.strategy), "version", "another")
    planned = await working.call("plan", path)
    unapplied = await working.call("diff", path, "--exit-code")
    await working.call("apply", path)
    await working.noted(ids.strategy_workflow("alpha"), 2)
    versions = await working.call("diff", "alpha")
    history = await working.call("strategy", "history", "alpha", "--output", "json")

    after = preset.load(path).hash
    assert f"~ alpha: {loaded.hash} -> {after}" in planned.out
    name = loaded.preset.strategy.plugin
    told = f"the plugin {name} has another version now; the values are the same"
    assert told in planned.out
    assert told in unapplied.out
    assert unapplied.code == 2
    assert told in versions.out
    assert [line["note"] for line in history.document["history"]] == [told, ""]


async def test_the_exit_code_of_a_plan_says_whether_there_are_changes(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account)

    new = await working.call("plan", path, "--exit-code", "--output", "json")
    await working.call("apply", path)
    same = await working.call("plan", path, "--exit-code")
    write_preset(
        "alpha", account=working.account, replace=("version: 1", "version: 1  # of the format")
    )
    remark = await working.call("plan", path, "--exit-code")
    write_preset("alpha", account=working.account, replace=("version: 1", "version: 9"))
    wrong = await working.call("plan", path, "--exit-code")

    assert [answer.code for answer in (new, same, remark, wrong)] == [2, 0, 0, 3]
    assert (new.document["kind"], new.document["changes"]) == ("plan", True)
    assert same.out.splitlines()[-1] == "nothing to apply: 1 unchanged"
    assert f"{path}:1:" in wrong.out


async def test_a_plan_stops_nothing_whose_file_is_only_not_valid(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account)
    await working.call("apply", path)
    await working.listed(f"Account = '{working.account}' AND WorkflowType = 'StrategyWorkflow'", 1)
    write_preset("alpha", account=working.account, replace=("version: 1", "version: 9"))

    planned = await working.call("plan", path.parent, "--prune")

    assert planned.code == 3
    assert "? alpha: runs, and no valid file here declares it; it is left alone" in planned.out
    assert "nothing to apply: 0 unchanged" in planned.out


async def test_a_plan_without_files_takes_the_folder_here(
    working: System, write_preset: WritePreset
) -> None:
    write_preset("alpha", account=working.account)

    planned = await working.call("plan")

    assert "+ alpha: " in planned.out


async def test_what_no_file_declares_is_told_and_stopped_only_when_asked(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account)
    other = write_preset("beta", account=working.account)
    for each in (path, other):
        await working.call("apply", each)
    await working.listed(f"Account = '{working.account}' AND WorkflowType = 'StrategyWorkflow'", 2)

    alone = await working.call("plan", path, "--exit-code")
    other.rename(other.with_suffix(".away"))
    folder = await working.call("plan", path.parent, "--exit-code")
    other.with_suffix(".away").rename(other)
    pruned = await working.call("plan", path, "--prune", "--exit-code")
    applied = await working.call("apply", path, "--prune", "--by", "ann", "--reason", "moved away")
    again = await working.call("plan", path, "--prune", "--exit-code")
    back = await working.call("apply", other)

    assert (alone.code, pruned.code, again.code) == (0, 2, 0), (alone, pruned, again)
    assert "beta" not in alone.out, "who names a file asks about no other"
    assert "? beta: runs, and no file here declares it; it is left alone" in folder.out
    assert "- beta: " in pruned.out
    assert "plan: 0 to start, 0 to change, 1 to stop, 1 unchanged" in pruned.out
    assert "beta: takes no more entries" in applied.out
    assert "beta: changed from version" in back.out


async def test_a_plan_says_that_no_file_lets_a_shadow_trade(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account, replace=("mode: trade", "mode: shadow"))
    await working.call("apply", path)
    path = write_preset("alpha", account=working.account)

    planned = await working.call("plan", path)
    applied = await working.call("apply", path)

    told = "it stays in mode shadow: `tradewright strategy promote alpha --by NAME"
    assert told in planned.out
    assert "it stays in mode shadow" in applied.out


async def test_a_stop_in_between_lets_no_shadow_trade_either(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account, replace=("mode: trade", "mode: shadow"))
    await working.call("apply", path)
    path = write_preset("alpha", account=working.account)
    await working.call("apply", path)
    await working.noted(ids.strategy_workflow("alpha"), 2)
    await working.call("strategy", "stop", "alpha")
    handle = working.client.get_workflow_handle(ids.strategy_workflow("alpha"))
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    planned = await working.call("plan", path)
    started = await working.call("apply", path)
    status = await handle.query("status", result_type=StrategyStatus)

    assert "it stays in mode shadow" in planned.out
    assert "started with version" in started.out
    assert "it stays in mode shadow" in started.out
    assert status.mode is Mode.SHADOW


async def test_what_the_watcher_could_not_apply_is_told_by_plan_and_list(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account)
    presets = await working.client.start_workflow(
        PresetsWorkflow.run,
        PresetsStart(account=working.account),
        id=ids.presets_workflow(working.account),
        task_queue=ids.QUEUE_TRADING,
    )
    left = Remembered(
        name="beta", file="beta.yaml", preset_hash="v1", standing=Standing.LEFT, note="v2 runs"
    )
    fault = FileFault(file="gamma.yaml", text="gamma.yaml:3:1: error: name: too short")
    news = FolderNews(place="here:/x", at=NOON, presets=(left,), faults=(fault,))
    await presets.signal("report", news)

    planned = await working.call("plan", path)
    listed = await working.call("strategy", "list")
    await presets.terminate()

    for answer in (planned, listed):
        assert "the watcher of presets says:" in answer.out
        assert fault.text in answer.out
        assert "beta.yaml: beta: v2 runs" in answer.out


async def test_the_difference_of_a_file_and_of_versions(
    working: System, write_preset: WritePreset
) -> None:
    path = write_preset("alpha", account=working.account)
    await working.call("apply", path)
    first = preset.load(path).hash
    path = write_preset("alpha", account=working.account, timeframe="5m")

    unapplied = await working.call("diff", path, "--exit-code")
    await working.call("apply", path)
    applied = await working.call("diff", path, "--exit-code")
    second = preset.load(path).hash
    versions = await working.call("diff", "alpha")
    named = await working.call("diff", "alpha", "--from", second[:6], "--to", first[:6])
    lines = await working.call("diff", "alpha", "--text")
    unknown = await working.call("diff", "alpha", "--from", "ffffff")
    never = await working.call("diff", "nobody")

    assert (unapplied.code, applied.code, unknown.code, never.code) == (2, 0, 4, 4)
    assert f"alpha {first} -> {path}" in unapplied.out
    assert "trigger.timeframe: 1m -> 5m" in unapplied.out
    assert "nothing differs in meaning" in applied.out
    assert f"alpha {first} -> alpha {second}" in versions.out
    assert "trigger.timeframe: 5m -> 1m" in named.out
    assert "+trigger: {on: candle, timeframe: 5m}" in lines.out


async def test_the_history_says_who_applied_what_when_and_why(
    working: System, write_preset: WritePreset
) -> None:
    for timeframe, by, reason in (("1m", "ann", "a first try"), ("5m", "bob", "too noisy")):
        path = write_preset("alpha", account=working.account, timeframe=timeframe)
        await working.call("apply", path, "--by", by, "--reason", reason)
    await working.call("strategy", "pause", "alpha", "--by", "eve", "--reason", "holidays")
    await working.noted(ids.strategy_workflow("alpha"), 3)

    shown = await working.call("strategy", "history", "alpha")
    told = await working.call("strategy", "history", "alpha", "--output", "json")
    unknown = await working.call("strategy", "history", "nobody")

    second = preset.load(path).hash
    lines = told.document["history"]
    assert [(line["change"], line["by"], line["reason"]) for line in lines] == [
        ("paused", "eve", "holidays"),
        ("applied", "bob", "too noisy"),
        ("applied", "ann", "a first try"),
    ]
    assert lines[1]["version"] == second
    assert second in shown.out
    assert "trigger.timeframe: 1m -> 5m" in shown.out
    assert unknown.code == 4
