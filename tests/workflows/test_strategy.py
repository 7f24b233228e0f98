"""One preset's workflow: candles in, trades out."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)

from tradewright import ids
from tradewright.domain.account import LeaveWish, RefusalCode, Refused
from tradewright.domain.event import EventKind
from tradewright.domain.market import Side
from tradewright.ports import ApplyWish, CandleClosed, PauseWish, Proposals
from workflows.strategy import StrategyWorkflow
from workflows.trade import ExitWish

Until = Callable[..., Any]
Failure = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def candle(minute: int = 0, *, acknowledge: bool = False) -> CandleClosed:
    return CandleClosed(
        symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        close_time=NOON + timedelta(minutes=minute),
        acknowledge=acknowledge,
    )


def candles_are(count: int) -> Callable[[Any], bool]:
    return lambda status: bool(status["candles"] == count)


async def is_cancelled(handle: Any) -> bool:
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    return bool((await handle.describe()).status is WorkflowExecutionStatus.CANCELED)


def trade_of(stage: Any) -> Any:
    proposal = stage.proposal()
    workflow_id = ids.trade_workflow(proposal.symbol, proposal.trade_id)
    handle = stage.client.get_workflow_handle(workflow_id)
    stage.keep(handle)
    return handle


async def test_a_candle_becomes_a_trade(stage: Any, until: Until) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))
    trade = trade_of(stage)
    view = await until(trade, "trade", lambda view: view["trade"]["state"] == "open")

    assert (status["approved"], status["refused"]) == (1, 0)
    [asked] = stage.market.script.of("evaluate")
    assert asked.symbols == ("BTCUSDT", "ETHUSDT")
    assert view["trade"]["plan"]["preset"] == stage.preset
    described = await trade.describe()
    assert await described.static_summary() == f"Buy 0.1 BTCUSDT · {stage.preset}"
    told = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert (told["Symbol"], told["Side"], told["Live"]) == ("BTCUSDT", "Buy", True)


async def test_a_repeated_candle_is_decided_once_even_while_it_is_decided(
    stage: Any, until: Until
) -> None:
    hanging = stage.market.script.hold("evaluate")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.market.script.called("evaluate")

    await strategy.signal("candle", candle())
    hanging.let_go()
    await strategy.signal("candle", candle(minute=-1))
    await strategy.signal("candle", candle(minute=1))
    await until(strategy, "status", candles_are(2))

    asked = [evaluation.close_time for evaluation in stage.market.script.of("evaluate")]
    assert asked == [NOON, NOON + timedelta(minutes=1)]


async def test_a_trade_that_was_started_already_is_no_fault(stage: Any, until: Until) -> None:
    trade = await stage.start_trade(stage.plan(trade_id=stage.proposal().trade_id))
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert status["approved"] == 1
    assert stage.exchange.script.count("place_entry") == 1
    assert (await trade.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_a_trade_that_has_ended_is_not_run_again(stage: Any, until: Until) -> None:
    trade = await stage.start_trade(stage.plan(trade_id=stage.proposal().trade_id))
    await until(trade, "trade", lambda view: view["trade"]["state"] == "open")
    await trade.signal("exit", ExitWish(by="ann"))
    await trade.result()
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    assert stage.exchange.script.count("place_entry") == 1


async def test_a_refusal_is_noted(stage: Any, until: Until) -> None:
    refusal = Refused(code=RefusalCode.COOLDOWN, reason="rests until noon")
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    stage.desk.script.answer("reserve", refusal)
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert status["note"] == "BTCUSDT refused, cooldown: rests until noon"
    assert (status["approved"], status["refused"]) == (0, 1)


async def test_a_candle_that_cannot_be_evaluated_is_noted_and_the_next_one_is(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.market.script.answer("evaluate", failure("no data", final=True))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    first = await until(strategy, "status", candles_are(1))
    await strategy.signal("candle", candle(minute=1))
    second = await until(strategy, "status", candles_are(2))

    fault = "candle 12:00 was not evaluated: TestFailure: no data"
    assert first["note"] == fault
    assert first["needs_operator"] == f"it cannot decide: {fault}"
    assert (second["note"], second["needs_operator"]) == ("", "")


async def test_a_desk_that_does_not_decide_is_noted(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    stage.desk.script.answer("reserve", failure("away", final=True))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert status["note"] == "BTCUSDT: the desk did not decide: TestFailure: away"


async def test_a_paused_preset_enters_nothing_and_goes_on_after(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy()
    await strategy.signal("pause", {"reason": "news", "by": "ann"})
    await strategy.signal("candle", candle())
    paused = await until(strategy, "status", candles_are(1))

    await strategy.execute_update(StrategyWorkflow.resume_by_update, PauseWish(by="ann"))
    await strategy.signal("candle", candle(minute=1))
    resumed = await until(strategy, "status", candles_are(2))

    assert (paused["paused"], paused["pause_reason"]) == (True, "news")
    assert not resumed["paused"]
    # What is held is left by its rules all the same
    assert [asked.exits_only for asked in stage.market.script.of("evaluate")] == [True, False]


@pytest.mark.parametrize("paused", [False, True])
async def test_what_the_strategy_wants_left_is_told_to_the_desk(
    stage: Any, until: Until, paused: bool
) -> None:
    desk = await stage.start_account()
    wish = LeaveWish(preset=stage.preset, symbol="BTCUSDT", side=Side.BUY, reason="over")
    stage.market.script.answer("evaluate", Proposals(exits=(wish,)))
    strategy = await stage.start_strategy()
    if paused:
        await strategy.signal("pause", {"by": "ann"})

    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    told = [
        json.loads(event.workflow_execution_signaled_event_attributes.input.payloads[0].data)
        async for event in desk.fetch_history_events()
        if event.workflow_execution_signaled_event_attributes.signal_name == "leave"
    ]
    assert told == [wish.model_dump(mode="json")]


async def test_a_desk_that_cannot_be_told_to_leave_is_noted(stage: Any, until: Until) -> None:
    wish = LeaveWish(preset=stage.preset, symbol="BTCUSDT")
    stage.market.script.answer("evaluate", Proposals(exits=(wish,)))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert status["note"].startswith("BTCUSDT not left: the desk could not be told")


async def test_a_strategy_that_fails_calls_a_person_until_it_works_again(
    stage: Any, until: Until
) -> None:
    """E5: a failing plugin is seen, with its reason."""
    fault = "BTCUSDT: the strategy failed: ZeroDivisionError: volume is zero"
    stage.market.script.answer("evaluate", Proposals(note=fault, fault=fault))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle())
    failing = await until(strategy, "status", candles_are(1))
    await strategy.signal("candle", candle(minute=1))
    works = await until(strategy, "status", candles_are(2))

    assert failing["needs_operator"] == f"it cannot decide: {fault}"
    assert works["needs_operator"] == ""


async def test_earlier_versions_are_asked_for_the_trades_that_they_opened(
    stage: Any, until: Until
) -> None:
    strategy = await stage.start_strategy()
    first = (await until(strategy, "status", candles_are(0)))["preset_hash"]
    applied = stage.applied()

    for version in ("v1", "v2", "v3", "v4", "v5", "v6", "v2"):
        wish = ApplyWish(applied=applied.model_copy(update={"preset_hash": version}))
        status = await strategy.execute_update(StrategyWorkflow.apply, wish)
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    assert first not in status.earlier
    [asked] = stage.market.script.of("evaluate")
    assert (asked.preset_hash, asked.earlier) == ("v2", ("v1", "v3", "v4", "v5", "v6"))


async def test_many_saves_do_not_push_out_the_version_that_has_a_trade(
    stage: Any, until: Until
) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))
    trade_of(stage)

    for number in range(12):
        wish = ApplyWish(applied=stage.applied(preset_hash=f"v{number}"))
        status = await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert status.earlier == ("c0ffee", "v6", "v7", "v8", "v9", "v10")


async def test_a_pause_while_a_candle_is_evaluated_keeps_its_trade_away(
    stage: Any, until: Until
) -> None:
    hanging = stage.market.script.hold("evaluate")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.market.script.called("evaluate")

    await strategy.execute_update(StrategyWorkflow.pause_by_update, PauseWish(by="ann"))
    hanging.let_go(Proposals(proposals=(stage.proposal(),)))
    status = await until(strategy, "status", candles_are(1))

    assert not stage.desk.script.count("reserve")
    assert (status["paused"], status["note"]) == (True, "BTCUSDT not entered: paused")


async def test_a_pause_while_the_desk_decides_is_kept(stage: Any, until: Until) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    hanging = stage.desk.script.hold("reserve")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.desk.script.called("reserve")

    await strategy.signal("pause", {"reason": "news", "by": "ann"})
    hanging.let_go()
    status = await until(strategy, "status", candles_are(1))

    assert (status["approved"], status["paused"]) == (0, True)


async def test_cancelled_while_deciding_the_decision_comes_to_its_end(
    stage: Any, until: Until
) -> None:
    market = await stage.listen_as(ids.market_workflow(stage.account))
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    hanging = stage.desk.script.hold("reserve")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle(acknowledge=True))
    await stage.desk.script.called("reserve")

    await strategy.cancel(reason="retired")
    hanging.let_go()

    assert await is_cancelled(strategy)
    await until(trade_of(stage), "trade", lambda view: view["trade"]["state"] == "open")
    assert stage.market.script.count("done") == 1
    assert [name for name, _ in await market.query("heard")] == ["watch", "unwatch"]
    changes = [e for e in stage.journal.events if e.kind is EventKind.STRATEGY_CHANGED]
    last = changes[-1].data
    assert (last["change"], last["reason"]) == ("stopped", "retired")


async def test_a_version_that_comes_while_it_stops_is_refused_and_not_lost(
    stage: Any, until: Until
) -> None:
    hanging = stage.market.script.hold("evaluate")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.market.script.called("evaluate")
    await strategy.cancel()
    # In one task with the cancel the update would be first
    await strategy.query("status")

    wish = ApplyWish(applied=stage.applied(preset_hash="beef"))
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await strategy.execute_update(StrategyWorkflow.apply, wish)
    hanging.let_go()

    assert "is being stopped" in str(failure.value.cause)
    assert await is_cancelled(strategy)


async def test_a_trade_outlives_its_strategy(stage: Any, until: Until) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))
    trade = trade_of(stage)
    await until(trade, "trade", lambda view: view["trade"]["state"] == "open")

    await strategy.cancel()

    assert await is_cancelled(strategy)
    page = await strategy.query("__temporal_workflow_metadata")
    assert ": cancelled" in str(page)
    await trade.signal("exit", ExitWish(by="ann"))
    assert (await trade.result())["state"] == "closed"


async def test_a_strategy_that_is_started_again_writes_other_events(
    stage: Any, until: Until
) -> None:
    first = await stage.start_strategy()
    await first.cancel()
    assert await is_cancelled(first)

    second = await stage.start_strategy(preset_hash="beef")
    await second.cancel()
    assert await is_cancelled(second)

    assert len(stage.journal.events) == 4
    assert len({event.event_id for event in stage.journal.events}) == 4


async def test_an_acknowledged_candle_is_done_even_when_paused(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy()
    await strategy.signal("pause", {"by": "ann"})

    await strategy.signal("candle", candle(acknowledge=True))
    done = await stage.market.script.called("done")

    assert (done.preset, done.close_time) == (stage.preset, NOON)


async def test_an_acknowledgement_that_fails_for_good_does_not_end_the_strategy(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.market.script.answer("done", failure("no such barrier", final=True))
    strategy = await stage.start_strategy()

    await strategy.signal("candle", candle(acknowledge=True))
    status = await until(strategy, "status", lambda s: bool(s["needs_operator"]))
    await strategy.signal("candle", candle(minute=1, acknowledge=True))
    await until(strategy, "status", candles_are(2))

    assert "candle 12:00 not acknowledged" in status["needs_operator"]


async def test_another_version_is_applied_and_told_to_the_market(stage: Any, until: Until) -> None:
    market = await stage.listen_as(ids.market_workflow(stage.account))
    strategy = await stage.start_strategy()
    await until(market, "heard", lambda heard: len(heard) == 1)
    applied = stage.applied(preset_hash="beef", symbols=("SOLUSDT",), by="bob")

    await strategy.execute_update(
        StrategyWorkflow.apply, ApplyWish(applied=applied, expected_hash="c0ffee")
    )
    await until(market, "heard", lambda heard: len(heard) == 2)
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    [asked] = stage.market.script.of("evaluate")
    assert (asked.preset_hash, asked.symbols) == ("beef", ("SOLUSDT",))
    watches = [watch["symbols"] for _, watch in await market.query("heard")]
    assert watches == [["BTCUSDT", "ETHUSDT"], ["SOLUSDT"]]


@pytest.mark.parametrize(
    ("changes", "expected_hash", "told"),
    [
        ({}, "dead", "runs version c0ffee, not dead"),
        ({"account": "other"}, "", "cancel the strategy first"),
        ({"preset": "other"}, "", "preset other is not"),
    ],
)
async def test_a_version_that_does_not_belong_here_is_refused(
    stage: Any, changes: dict[str, str], expected_hash: str, told: str
) -> None:
    strategy = await stage.start_strategy()
    wish = ApplyWish(applied=stage.applied(**changes), expected_hash=expected_hash)

    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert told in str(failure.value.cause)


@pytest.mark.parametrize(
    ("name", "argument", "told"),
    [
        ("candle", {"symbols": ["BTCUSDT"]}, "close_time: Field required"),
        ("pause", {"reson": "news"}, "unknown keys were ignored: reson"),
        ("paus", {}, "signal paus was not understood"),
        ("resume", 7, "signal resume was not understood"),
    ],
)
async def test_what_cannot_be_read_is_told(
    stage: Any, until: Until, name: str, argument: Any, told: str
) -> None:
    strategy = await stage.start_strategy()

    await strategy.signal(name, argument)
    status = await until(strategy, "status", lambda s: bool(s["needs_operator"]))

    assert told in status["needs_operator"]
    assert status["paused"] == (name == "pause")


async def test_continue_as_new_loses_no_candle(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    started = await stage.start_strategy()
    strategy = stage.client.get_workflow_handle(started.id)
    await strategy.signal("pause", {"reason": "news", "by": "ann"})
    await strategy.signal("resume")

    for minute in range(30):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(30))

    described = await strategy.describe()
    assert described.run_id != started.first_execution_run_id
    assert status["preset_hash"] == "c0ffee"
    asked = [evaluation.close_time for evaluation in stage.market.script.of("evaluate")]
    assert asked == [NOON + timedelta(minutes=minute) for minute in range(30)]
