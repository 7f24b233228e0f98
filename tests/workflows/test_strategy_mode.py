"""What comes of a signal: a trade, a virtual one, a word to a person, or nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.plan import Mode
from tradewright.ports import ApplyWish, CandleClosed, ModeWish, PauseWish, Proposals, Refusal
from workflows.strategy import StrategyWorkflow

Until = Callable[..., Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def candle(minute: int = 0) -> CandleClosed:
    return CandleClosed(symbols=("BTCUSDT", "ETHUSDT"), close_time=NOON + timedelta(minutes=minute))


def candles_are(count: int) -> Callable[[Any], bool]:
    return lambda status: bool(status["candles"] == count)


def changes(stage: Any) -> list[tuple[str, str, str]]:
    found = [e.data for e in stage.journal.events if e.kind is EventKind.STRATEGY_CHANGED]
    return [(data["change"], data["by"], data["reason"]) for data in found]


async def test_in_alert_a_person_is_told_and_nothing_else_happens(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    proposal = stage.proposal()
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy(mode=Mode.ALERT)

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))
    heard = await until(notifier, "heard", lambda heard: len(heard) == 1)

    assert (status["alerted"], status["approved"]) == (1, 0)
    assert heard[0][1]["title"] == f"{stage.preset}: BTCUSDT long"
    assert heard[0][1]["text"] == "at 50000, stop 49500\ntest"
    assert not stage.desk.script.calls
    assert not stage.exchange.script.calls
    await until(strategy, "status", lambda _: bool(stage.journal.events))
    kinds = [e.kind for e in stage.journal.events]
    await stage.journal.script.called("record")
    assert EventKind.SIGNAL_APPROVED not in kinds


async def test_the_journal_keeps_what_was_alerted(stage: Any, until: Until) -> None:
    proposal = stage.proposal()
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy(mode=Mode.ALERT)

    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))
    await strategy.cancel()
    await until(strategy, "status", lambda _: any(c[0] == "stopped" for c in changes(stage)))

    [kept] = [e for e in stage.journal.events if e.kind is EventKind.SIGNAL_ALERTED]
    assert kept.data["proposal"]["mode"] == "alert"
    assert (kept.trade_id, kept.symbol) == (proposal.trade_id, "BTCUSDT")


async def test_a_disabled_preset_enters_nothing_and_still_leaves(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy(enabled=False)

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    [asked] = stage.market.script.of("evaluate")
    assert asked.exits_only
    assert not status["enabled"]


async def test_a_preset_that_is_disabled_while_it_decides_enters_nothing(
    stage: Any, until: Until
) -> None:
    await stage.listen_as(ids.market_workflow(stage.account))
    hanging = stage.market.script.hold("evaluate")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.market.script.called("evaluate")

    wish = ApplyWish(applied=stage.applied(enabled=False, reason="deleted"))
    await strategy.execute_update(StrategyWorkflow.apply, wish)
    hanging.let_go(Proposals(proposals=(stage.proposal(),)))
    status = await until(strategy, "status", candles_are(1))

    assert not stage.desk.script.count("reserve")
    assert status["note"] == "BTCUSDT not entered: disabled"
    await until(strategy, "status", lambda _: len(changes(stage)) == 2)
    assert changes(stage)[1] == ("applied", "ann", "deleted")


@pytest.mark.parametrize("change", ["demoted", "disabled", "paused"])
async def test_what_the_desk_approves_too_late_is_given_back(
    stage: Any, until: Until, change: str
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    await stage.listen_as(ids.market_workflow(stage.account))
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    hanging = stage.desk.script.hold("reserve")
    strategy = await stage.start_strategy()
    await strategy.signal("candle", candle())
    await stage.desk.script.called("reserve")

    if change == "demoted":
        lower = ModeWish(mode=Mode.SHADOW, by="ann", reason="news")
        await strategy.execute_update(StrategyWorkflow.set_mode, lower)
    elif change == "paused":
        await strategy.execute_update(StrategyWorkflow.pause_by_update, PauseWish(by="ann"))
    else:
        wish = ApplyWish(applied=stage.applied(enabled=False))
        await strategy.execute_update(StrategyWorkflow.apply, wish)
    hanging.let_go()
    status = await until(strategy, "status", candles_are(1))

    trade_id = stage.proposal().trade_id
    with pytest.raises(RPCError):
        await stage.client.get_workflow_handle(ids.trade_workflow("BTCUSDT", trade_id)).describe()
    assert status["approved"] == 0
    assert status["note"].startswith("BTCUSDT not entered: ")
    heard = await desk.query("heard")
    assert [(name, told["trade_id"]) for name, told in heard] == [("release", trade_id)]


async def test_one_that_is_enabled_again_enters(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy(enabled=False)
    wish = ApplyWish(applied=stage.applied())

    await strategy.execute_update(StrategyWorkflow.apply, wish)
    await strategy.signal("candle", candle())
    await until(strategy, "status", candles_are(1))

    [asked] = stage.market.script.of("evaluate")
    assert not asked.exits_only


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ALERT])
async def test_no_version_of_a_document_raises_a_preset_to_trade(
    stage: Any, until: Until, mode: Mode
) -> None:
    strategy = await stage.start_strategy(mode=mode)
    wish = ApplyWish(applied=stage.applied(mode=Mode.TRADE, preset_hash="beef"))

    status = await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert (status.preset_hash, status.mode) == ("beef", mode)


async def test_a_version_may_lower_what_a_preset_does(stage: Any, until: Until) -> None:
    strategy = await stage.start_strategy()
    wish = ApplyWish(applied=stage.applied(mode=Mode.SHADOW, preset_hash="beef"))

    status = await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert status.mode is Mode.SHADOW


async def test_a_version_that_was_promoted_is_lowered_by_no_repeat_of_its_document(
    stage: Any, until: Until
) -> None:
    strategy = await stage.start_strategy(mode=Mode.SHADOW)
    promotion = ModeWish(mode=Mode.TRADE, by="ann", reason="40 virtual trades")
    await strategy.execute_update(StrategyWorkflow.set_mode, promotion)
    wish = ApplyWish(applied=stage.applied(mode=Mode.SHADOW, enabled=False))

    status = await strategy.execute_update(StrategyWorkflow.apply, wish)

    assert (status.enabled, status.mode) == (False, Mode.TRADE)


async def test_a_virtual_trade_that_ran_before_holds_nothing_for_ever(
    stage: Any, until: Until
) -> None:
    proposal = stage.proposal()
    shadow_id = ids.shadow_workflow(proposal.symbol, proposal.trade_id)
    ended = await stage.listen_as(shadow_id)
    await ended.terminate("as if it had ended")
    await stage.listen_as(ids.market_workflow(stage.account))
    stage.market.script.answer("evaluate", Proposals(proposals=(proposal,)))
    strategy = await stage.start_strategy(mode=Mode.SHADOW)

    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert stage.desk.script.count("rehearse") == 1
    assert status["shadows"] == []


async def test_a_named_person_promotes_and_is_in_the_journal(stage: Any, until: Until) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy(mode=Mode.SHADOW)
    wish = ModeWish(mode=Mode.TRADE, by="ann", reason="40 virtual trades", expected_hash="c0ffee")

    raised = await strategy.execute_update(StrategyWorkflow.set_mode, wish)
    await strategy.signal("candle", candle())
    status = await until(strategy, "status", candles_are(1))

    assert raised.mode is Mode.TRADE
    assert status["approved"] == 1
    [reserved] = stage.desk.script.of("reserve")
    assert reserved.mode is Mode.TRADE
    await until(strategy, "status", lambda _: len(changes(stage)) == 2)
    assert changes(stage)[1] == ("mode", "ann", "shadow -> trade: 40 virtual trades")


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (ModeWish(mode=Mode.SHADOW, by="ann", reason="why"), "is in mode shadow already"),
        (
            ModeWish(mode=Mode.TRADE, by="ann", reason="why", expected_hash="dead"),
            "runs version c0ffee, not dead",
        ),
    ],
)
async def test_a_promotion_of_something_else_is_refused(
    stage: Any, wish: ModeWish, told: str
) -> None:
    strategy = await stage.start_strategy(mode=Mode.SHADOW)

    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await strategy.execute_update(StrategyWorkflow.set_mode, wish)

    assert told in str(failure.value.cause)


@pytest.mark.parametrize("missing", ["by", "reason"])
async def test_nobody_promotes_without_name_and_reason(stage: Any, missing: str) -> None:
    strategy = await stage.start_strategy(mode=Mode.SHADOW)
    wish = {"mode": "trade", "by": "ann", "reason": "why"} | {missing: ""}

    with pytest.raises(WorkflowUpdateFailedError):
        await strategy.execute_update("set_mode", wish)

    assert (await strategy.query("status"))["mode"] == "shadow"


async def test_a_mode_survives_a_continue_as_new(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    strategy = await stage.start_strategy(mode=Mode.SHADOW)
    handle = stage.client.get_workflow_handle(strategy.id)
    await strategy.execute_update(StrategyWorkflow.pause_by_update, PauseWish(by="ann"))

    for minute in range(30):
        await handle.signal("candle", candle(minute))
    status = await until(handle, "status", candles_are(30))

    assert (await handle.describe()).run_id != strategy.first_execution_run_id
    assert (status["mode"], status["paused"]) == ("shadow", True)


async def test_a_refusal_is_shown_and_journaled_when_it_begins_and_when_it_meets_a_signal(
    stage: Any, until: Until
) -> None:
    stale = Refusal(symbol="BTCUSDT", code="stale_candles", reason="9 minutes old")
    outside = Refusal(
        symbol="ETHUSDT",
        code="outside_session",
        reason="22:00 is outside",
        proposal=stage.proposal(symbol="ETHUSDT"),
    )
    for _ in range(3):
        stage.market.script.answer("evaluate", Proposals(refusals=(stale, outside)))
    strategy = await stage.start_strategy()

    for minute in range(3):
        await strategy.signal("candle", candle(minute))
    status = await until(strategy, "status", candles_are(3))
    await strategy.signal("candle", candle(3))
    clean = await until(strategy, "status", candles_are(4))
    await strategy.cancel()
    await until(strategy, "status", lambda _: any(c[0] == "stopped" for c in changes(stage)))

    assert [(r["symbol"], r["code"]) for r in status["refusals"]] == [
        ("BTCUSDT", "stale_candles"),
        ("ETHUSDT", "outside_session"),
    ]
    assert status["refused"] == 3
    assert clean["refusals"] == []
    kept = [e for e in stage.journal.events if e.kind is EventKind.SIGNAL_REFUSED]
    codes = [(e.symbol, e.data["code"], "proposal" in e.data) for e in kept]
    assert codes == [
        ("BTCUSDT", "stale_candles", False),
        *[("ETHUSDT", "outside_session", True)] * 3,
    ]
    page = str(await strategy.query("__temporal_workflow_metadata"))
    assert "cancelled" in page
