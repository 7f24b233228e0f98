"""`strategy promote|demote|show` and `trade list --shadow`, as a person calls them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from tests.cli.conftest import make_plan
from tradewright import ids
from tradewright.domain.plan import Mode
from workflows.attributes import attributes
from workflows.shadow import ShadowStart, ShadowWorkflow
from workflows.trade_page import plan_attributes

WritePreset = Callable[..., Path]
System = Any


@pytest.fixture
async def in_shadow(working: System, write_preset: WritePreset) -> str:
    name = f"shy-{working.account}"
    shadow = ("mode: trade", "mode: shadow")
    applied = await working.call(
        "apply", write_preset(name, account=working.account, replace=shadow)
    )
    assert applied.code == 0, applied.err
    return name


async def test_a_strategy_in_the_shadow_is_promoted_by_name_and_reason(
    working: System, in_shadow: str
) -> None:
    before = await working.call("strategy", "list", "-o", "json")
    unnamed = await working.call("strategy", "promote", in_shadow, "--by", "ann")
    done = await working.call(
        "strategy", "promote", in_shadow, "--by", "ann", "--reason", "40 virtual trades"
    )
    again = await working.call("strategy", "promote", in_shadow, "--by", "ann", "--reason", "x")
    shown = await working.call("strategy", "show", in_shadow, "-o", "json")

    (line,) = before.document["strategies"]
    assert line["state"] == "shadow"
    assert unnamed.code == 2
    assert (done.code, f"{in_shadow}: trade from now on" in done.out) == (0, True)
    assert f"refused: preset {in_shadow} is in mode trade already" in again.err
    strategy = shown.document["strategy"]
    assert (strategy["state"], strategy["status"]["mode"]) == ("trading", "trade")


@pytest.mark.parametrize("in_between", ["nothing", "disabled", "stopped"])
async def test_what_is_applied_once_more_stays_as_it_was_promoted(
    working: System, write_preset: WritePreset, in_shadow: str, in_between: str
) -> None:
    who = ("--by", "ann", "--reason", "40 virtual trades")
    await working.call("strategy", "promote", in_shadow, *who)
    await working.noted(ids.strategy_workflow(in_shadow), 2)
    shadow = ("mode: trade", "mode: shadow")
    if in_between == "disabled":
        other = write_preset(f"other-{working.account}", account=working.account)
        await working.listed(f"Account = '{working.account}' AND WorkflowType = 'StrategyWorkflow'")
        pruned = await working.call("apply", other, "--prune")
        assert f"{in_shadow}: takes no more entries" in pruned.out
    if in_between == "stopped":
        await working.call("strategy", "stop", in_shadow)
        handle = working.client.get_workflow_handle(ids.strategy_workflow(in_shadow))
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    path = write_preset(in_shadow, account=working.account, replace=shadow)

    planned = await working.call("plan", path)
    again = await working.call("apply", path)
    shown = await working.call("strategy", "show", in_shadow, "-o", "json")

    told = "it trades, as a person has promoted it, though its document says shadow"
    assert told in planned.out
    assert told in again.out
    assert shown.document["strategy"]["state"] == "trading"


async def test_an_edit_of_the_document_lowers_what_was_promoted_and_says_so(
    working: System, write_preset: WritePreset, in_shadow: str
) -> None:
    await working.call("strategy", "promote", in_shadow, "--by", "ann", "--reason", "good")
    path = write_preset(in_shadow, account=working.account, replace=("mode: trade", "mode: shadow"))
    path.write_text(path.read_text().replace("fraction: 0.01", "fraction: 0.02"))

    planned = await working.call("plan", path)
    edited = await working.call("apply", path)
    shown = await working.call("strategy", "show", in_shadow, "-o", "json")

    told = "it traded until now, and its document says shadow: it sends nothing any more"
    assert told in planned.out
    assert told in edited.out
    assert shown.document["strategy"]["state"] == "shadow"


async def test_a_version_that_was_not_looked_at_is_not_promoted(
    working: System, in_shadow: str
) -> None:
    refused = await working.call(
        "strategy", "promote", in_shadow, "--by", "ann", "--reason", "x", "--expect", "dead"
    )

    assert refused.code != 0
    assert "not dead; look at it first" in refused.err


async def test_a_strategy_is_demoted_and_shows_what_it_is(working: System, in_shadow: str) -> None:
    done = await working.call(
        *("strategy", "demote", in_shadow, "--to", "alert", "--by", "ann", "--reason", "noisy")
    )
    shown = await working.call("strategy", "show", in_shadow)

    assert done.code == 0
    assert "alert" in shown.out
    assert "BTCUSDT" in shown.out


async def start_virtual(working: System) -> Any:
    plan = make_plan(working.account, "shy").model_copy(update={"mode": Mode.SHADOW})
    with working.env.with_time_skipping_disabled():
        handle = await working.client.start_workflow(
            ShadowWorkflow.run,
            ShadowStart(plan=plan),
            id=ids.shadow_workflow(plan.symbol, plan.trade_id),
            task_queue=ids.QUEUE_TRADING,
            search_attributes=attributes(*plan_attributes(plan)),
        )
    await working.listed(f"Account = '{working.account}' AND WorkflowType = 'ShadowWorkflow'")
    return handle


async def test_virtual_trades_are_listed_apart(working: System) -> None:
    handle = await start_virtual(working)
    workflow_id = handle.id

    virtual = await working.call("trade", "list", "--shadow", "-o", "json")
    real = await working.call("trade", "list", "-o", "json")
    await handle.terminate()

    (line,) = virtual.document["trades"]
    assert (line["workflow_id"], line["preset"]) == (workflow_id, "shy")
    assert real.document["trades"] == []


async def test_a_virtual_trade_is_shown_and_exited_and_that_is_all(working: System) -> None:
    handle = await start_virtual(working)
    trade_id = handle.id.rpartition("/")[2]
    who = ("--by", "ann", "--reason", "why")

    shown = await working.call("trade", "show", trade_id[:8])
    stopped = await working.call("trade", "stop", trade_id, "99.5", "--by", "ann")
    moved = await working.call("trade", "migrate", trade_id, *who)
    resolved = await working.call("trade", "resolve", trade_id, "retry", *who)
    left = await working.call(
        "trade", "exit", trade_id, "--wait", "--by", "ann", "--note", "enough"
    )
    ended = await working.call("trade", "show", handle.id, "-o", "json")

    assert shown.code == 0
    assert "nothing of it is at the exchange" in shown.out
    for refused in (stopped, moved, resolved):
        assert (refused.code, "it is virtual" in refused.err) == (6, True)
    assert left.code == 0
    assert f"{trade_id}: closed, PnL" in left.out
    page = ended.document["trade"]
    assert page["workflow_id"] == handle.id
    told = page["trade"]
    assert (told["state"], told["exit_note"], told["exit_by"]) == ("closed", "enough", "ann")


async def test_a_virtual_trade_that_has_ended_is_found_in_the_journal(working: System) -> None:
    handle = await start_virtual(working)
    trade_id = handle.id.rpartition("/")[2]
    await working.call("trade", "exit", handle.id, "--wait", "--by", "ann")
    await handle.result()

    shown = await working.call("trade", "show", trade_id, "-o", "json")

    page = shown.document["trade"]
    assert (page["workflow_id"], page["line"]["state"], page["live"]) == (
        *(handle.id, "closed"),
        False,
    )
    assert {moment["kind"] for moment in page["history"]} == {"shadow_changed"}
