"""A person moves an open trade to the exits of the version that runs: told to all, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.exceptions import ApplicationError

from tests.workflows.life import is_open, result_of
from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.market import Timeframe
from tradewright.domain.plan import ExitRules, Trailing
from tradewright.domain.trade import TradeState
from tradewright.ports import ExitTerms
from workflows.trade import ExitWish, MigrateWish, TradeWorkflow

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]

ACCEPTED = WorkflowUpdateStage.ACCEPTED
RULES = ExitRules(timeframe=Timeframe.M1, max_candles=7)
TERMS = ExitTerms(preset_hash="beef", exits=RULES)
WISH = MigrateWish(by="ann", reason="calmer exits")


async def refusal(handle: Any, wish: MigrateWish = WISH) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(TradeWorkflow.migrate, wish)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "NotMigrated"
    return refused.value.cause.message


async def test_a_moved_trade_is_journaled_shown_and_known_to_the_desk(
    stage: Any, until: Until
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.market.script.answer("reckon_exits", TERMS)

    view = await handle.execute_update(TradeWorkflow.migrate, WISH)
    heard = await until(desk, "heard", lambda told: any(name == "migrated" for name, _ in told))

    assert view.trade.plan.exits == RULES
    asked = stage.market.script.of("reckon_exits")
    assert [wish.plan for wish in asked] == [
        stage.plan().model_copy(
            update={"decided_at": asked[0].plan.decided_at, "expires_at": asked[0].plan.expires_at}
        )
    ]
    (told,) = [plan for name, plan in heard if name == "migrated"]
    assert (told["trade_id"], told["preset_hash"]) == (stage.plan().trade_id, "beef")
    described = await handle.describe()
    assert described.search_attributes["PresetHash"] == ["beef"]
    page = await handle.query("__temporal_workflow_metadata")
    assert "exits of version `beef` instead of `c0ffee`, by ann: calmer exits" in str(page)
    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)
    assert (trade.state, trade.plan.preset_hash) == (TradeState.CLOSED, "beef")
    changes = [e.data["event"] for e in stage.journal.events if e.kind is EventKind.TRADE_CHANGED]
    (moved,) = [event for event in changes if event["kind"] == "migrated"]
    assert (moved["preset_hash"], moved["by"], moved["reason"]) == ("beef", "ann", "calmer exits")


async def test_what_cannot_be_moved_is_refused_and_nothing_changes(
    stage: Any, until: Until, failure: Failure
) -> None:
    handle = await stage.start_trade(stage.plan())
    before = await until(handle, "trade", is_open)
    stage.market.script.answer(
        "reckon_exits",
        ExitTerms(fault="preset ema does not run"),
        failure("no candles", final=True),
        ExitTerms(preset_hash="beef", exits=RULES, take_profit=stage.plan().price),
    )

    reasons = [await refusal(handle) for _ in range(3)]

    assert reasons[0] == "preset ema does not run"
    assert reasons[1].endswith("no candles; ask again")
    assert reasons[2].endswith("keep its targets")
    assert await handle.query("trade") == before


async def test_what_is_kept_is_not_moved(stage: Any, until: Until) -> None:
    trailing = Trailing(after_r="1", distance="100", by="candle")
    plan = stage.plan(take_profit="51000", exits=RULES.model_copy(update={"trailing": trailing}))
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    stage.market.script.answer("reckon_exits", TERMS)
    wish = WISH.model_copy(update={"keep": ("targets", "trailing")})

    view = await handle.execute_update(TradeWorkflow.migrate, wish)

    moved = view.trade.plan
    assert moved.preset_hash == "beef"
    assert (moved.take_profit, moved.exits.trailing) == (plan.take_profit, trailing)


async def test_only_an_open_trade_is_moved(stage: Any, until: Until) -> None:
    held = stage.exchange.script.hold("place_entry")
    handle = await stage.start_trade(stage.plan())
    await stage.exchange.script.called("place_entry")

    reason = await refusal(handle)
    held.let_go()

    assert reason == "the trade is entering, and only an open one is moved"
    assert stage.market.script.count("reckon_exits") == 0


async def test_a_trade_that_leaves_while_its_exits_are_reckoned_is_not_moved(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    reckoning = stage.market.script.hold("reckon_exits")
    leaving = stage.exchange.script.hold("flatten")
    moving = await handle.start_update(TradeWorkflow.migrate, WISH, wait_for_stage=ACCEPTED)
    await stage.market.script.called("reckon_exits")

    await handle.signal("exit", ExitWish(by="ann"))
    await stage.exchange.script.called("flatten")
    reckoning.let_go(TERMS)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await moving.result()
    leaving.let_go()

    assert "busy" in str(refused.value.cause)
    assert (await result_of(handle)).plan.preset_hash == "c0ffee"
