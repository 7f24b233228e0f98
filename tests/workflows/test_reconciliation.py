"""The reconciliation's workflow: it looks twice, mends what both looks saw, and tells the desk."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from tradewright import ids
from tradewright.domain.account import Position
from tradewright.domain.case import Case, CaseState, Choice, Decision
from tradewright.domain.event import EventKind
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.reconciliation import Discrepancy, Kind, Policies
from tradewright.domain.ruling import opening_of
from tradewright.domain.trade import Adopted
from tradewright.ports import Adoption, Comparison
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]


def comparison(*discrepancies: Discrepancy, **changes: Any) -> Comparison:
    return Comparison(at=datetime.now(UTC), discrepancies=discrepancies, **changes)


def orphan(qty: str = "0.1") -> Discrepancy:
    position = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
    )
    return Discrepancy(
        kind=Kind.ORPHAN_POSITION, symbol="BTCUSDT", detail="nobody owns it", position=position
    )


def about_trade(stage: Any, kind: Kind) -> Discrepancy:
    plan = stage.plan()
    return Discrepancy(
        kind=kind,
        symbol=plan.symbol,
        detail="they differ",
        trade_id=plan.trade_id,
        workflow_id=ids.trade_workflow(plan.symbol, plan.trade_id),
    )


def unknown_order(number: int = 1) -> Discrepancy:
    return Discrepancy(
        kind=Kind.UNKNOWN_ORDER, symbol="BTCUSDT", detail="unknown", order_id=f"o{number}"
    )


async def reconciled(stage: Any) -> tuple[dict[str, Any], Any]:
    """Run one reconciliation; return its report and what the desk was told."""
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    run = await stage.reconcile()
    report = await run.result()
    heard = [message for name, message in await desk.query("heard") if name == "reconciled"]
    return report.model_dump(), heard[-1]


async def test_books_that_agree_take_one_pass(stage: Any) -> None:
    report, told = await reconciled(stage)

    assert (report["found"], report["mended"], report["left"]) == (0, (), ())
    assert [name for name, _ in stage.reconciliation.script.calls] == ["compare"]
    assert (told["blocks"], told["unreserved"], told["released"]) == ([], [], [])
    assert not stage.journal.events


async def test_an_orphan_is_adopted_by_a_trade_with_a_stop(stage: Any, until: Until) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    stage.exchange.execute(plan, Side.BUY)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=plan.trigger)
    stage.reconciliation.script.answer("compare", comparison(orphan()), comparison(orphan()))
    stage.reconciliation.script.answer("plan_adoption", Adoption(plan=plan, adopted=adopted))

    report, told = await reconciled(stage)
    trade = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
    stage.keep(trade)
    view = await until(trade, "trade", lambda view: view["trade"]["stop"] is not None)

    assert view["trade"]["state"] == "open"
    assert report["mended"] == (f"nobody owns it: adopted by trade {plan.trade_id}",)
    assert [held["trade_id"] for held in told["unreserved"]] == [plan.trade_id]
    assert told["blocks"] == []
    [event] = [e for e in stage.journal.events if e.kind is EventKind.DISCREPANCY]
    assert event.data["remedy"] == f"adopted by trade {plan.trade_id}"


async def test_a_position_may_be_adopted_again_after_its_trade_was_terminated(
    stage: Any, until: Until
) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    stage.exchange.execute(plan, Side.BUY)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=plan.trigger)
    first = await stage.start_trade(plan, adopted=adopted)
    await until(first, "trade", lambda view: view["trade"]["stop"] is not None)
    await first.terminate("by mistake")
    stage.reconciliation.script.answer("compare", comparison(orphan()), comparison(orphan()))
    stage.reconciliation.script.answer("plan_adoption", Adoption(plan=plan, adopted=adopted))

    await reconciled(stage)
    second = stage.client.get_workflow_handle(first.id)
    await until(second, "trade", lambda view: view["trade"]["stop"] is not None)

    assert (await second.describe()).run_id != first.first_execution_run_id
    assert len({e.event_id for e in stage.journal.events}) == len(stage.journal.events)


async def test_an_orphan_that_is_gone_is_left_alone(stage: Any) -> None:
    stage.reconciliation.script.answer("compare", comparison(orphan()), comparison(orphan()))

    report, told = await reconciled(stage)

    assert report["mended"] == ("nobody owns it: the position is gone",)
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]


async def test_what_only_one_pass_saw_is_not_acted_on(stage: Any) -> None:
    stage.reconciliation.script.answer("compare", comparison(orphan()), comparison(orphan("0.2")))

    report, told = await reconciled(stage)

    assert not stage.reconciliation.script.count("plan_adoption")
    assert (report["mended"], report["left"]) == ((), ("nobody owns it",))
    assert told["blocks"] == [
        {"symbol": "BTCUSDT", "reason": "orphan_position: nobody owns it"},
    ]


async def test_what_was_on_its_way_blocks_nothing(stage: Any) -> None:
    stage.reconciliation.script.answer("compare", comparison(orphan()))

    report, told = await reconciled(stage)

    assert (report["found"], report["mended"], report["left"]) == (0, (), ())
    assert told["blocks"] == []


async def test_the_passes_are_ten_seconds_apart(stage: Any) -> None:
    stage.reconciliation.script.answer("compare", comparison(orphan()))
    run = await stage.reconcile()
    await run.result()
    history = await run.fetch_history()

    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert timers == [10]


@pytest.mark.parametrize("kind", [Kind.GHOST_TRADE, Kind.SIZE_MISMATCH, Kind.SIDE_MISMATCH])
async def test_a_trade_that_differs_is_told_to_ask(stage: Any, kind: Kind) -> None:
    trade = await stage.listen_as(about_trade(stage, kind).workflow_id)
    both = comparison(about_trade(stage, kind))
    stage.reconciliation.script.answer("compare", both, both)

    report, told = await reconciled(stage)

    [(name, event)] = await trade.query("heard")
    assert (name, event["kind"], event["reason"]) == ("report", "recheck_requested", "they differ")
    assert report["mended"] == ("they differ: trade asks the exchange",)
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]


async def test_a_stop_that_is_missing_is_set_again(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", lambda view: view["trade"]["stop"] is not None)
    both = comparison(about_trade(stage, Kind.MISSING_STOP))
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)
    order = await stage.exchange.script.called("set_stop")

    assert order.price == stage.plan().stop_loss


async def test_a_trade_that_cannot_be_told_is_reported(stage: Any) -> None:
    both = comparison(about_trade(stage, Kind.GHOST_TRADE))
    stage.reconciliation.script.answer("compare", both, both)

    report, _ = await reconciled(stage)

    assert "the trade could not be told" in report["mended"][0]


async def test_what_was_mended_is_told_to_a_person(stage: Any, until: Until) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    both = comparison(unknown_order())
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)

    [(name, notice)] = await notifier.query("heard")
    assert (name, notice["priority"]) == ("tell", 2)
    assert (notice["title"], notice["text"]) == (
        "unknown order on BTCUSDT: fix",
        "unknown: order cancelled",
    )


async def test_an_unknown_order_is_cancelled(stage: Any) -> None:
    both = comparison(unknown_order())
    stage.reconciliation.script.answer("compare", both, both)

    report, _ = await reconciled(stage)

    assert stage.reconciliation.script.of("cancel_unknown") == [unknown_order()]
    assert report["mended"] == ("unknown: order cancelled",)


async def test_one_that_cannot_be_mended_does_not_keep_the_others(
    stage: Any, failure: Failure
) -> None:
    both = comparison(unknown_order(1), unknown_order(2))
    stage.reconciliation.script.answer("compare", both, both)
    stage.reconciliation.script.answer("cancel_unknown", *(failure("denied") for _ in range(3)))

    report, told = await reconciled(stage)

    assert report["mended"] == (
        "unknown: it could not be mended: TestFailure: denied",
        "unknown: order cancelled",
    )
    assert len(told["blocks"]) == 2


async def test_released_and_unreserved_trades_are_passed_on(stage: Any) -> None:
    found = comparison(released=("tw" + "a" * 16,), unreserved=(stage.plan(),))
    stage.reconciliation.script.answer("compare", found)

    _, told = await reconciled(stage)

    assert told["released"] == ["tw" + "a" * 16]
    assert [plan["trade_id"] for plan in told["unreserved"]] == [stage.plan().trade_id]


async def test_a_read_that_fails_is_repeated_and_never_taken_for_flat(
    stage: Any, failure: Failure
) -> None:
    stage.reconciliation.script.answer("compare", failure("away"), failure("away"))

    report, _ = await reconciled(stage)

    assert report["found"] == 0
    assert stage.reconciliation.script.count("compare") == 3


async def test_a_read_that_fails_for_good_tells_the_desk_nothing(
    stage: Any, failure: Failure
) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    stage.reconciliation.script.answer("compare", failure("bug", final=True))

    run = await stage.reconcile()
    with pytest.raises(WorkflowFailureError):
        await run.result()

    assert await desk.query("heard") == []


async def test_a_journal_that_is_away_does_not_keep_the_next_run_from_looking(
    stage: Any, failure: Failure
) -> None:
    stage.journal.script.answer("record", *(failure("away") for _ in range(50)))
    both = comparison(unknown_order())
    stage.reconciliation.script.answer("compare", both, both)

    report, _ = await reconciled(stage)

    assert report["mended"] == ("unknown: order cancelled",)
    assert stage.journal.script.count("record") < 20


async def test_a_desk_that_is_away_does_not_fail_the_run(stage: Any) -> None:
    run = await stage.reconcile()

    assert (await run.result()).found == 0


# --- policies and cases -------------------------------------------------------------------------


def foreign_order(number: int = 1) -> Discrepancy:
    return Discrepancy(
        kind=Kind.FOREIGN_ORDER, symbol="BTCUSDT", detail="not ours", order_id=f"o{number}"
    )


def case_about(
    stage: Any, *subjects: Discrepancy, state: CaseState = CaseState.OPEN, **changes: Any
) -> Case:
    now = datetime.now(UTC) - timedelta(minutes=1)
    opening = opening_of(stage.account, subjects or (foreign_order(),), now)
    decision = Decision(choice=Choice.IGNORE, by="ann")
    fields = {
        "opening": opening,
        "state": state,
        "since": now,
        "asked_at": now,
        "decision": None if state is CaseState.OPEN else decision,
        "acted_at": None if state is CaseState.OPEN else now,
    }
    return Case.model_validate(fields | changes)


def case_of(stage: Any, kind: Kind, symbol: str = "BTCUSDT") -> Any:
    handle = stage.client.get_workflow_handle(ids.case_workflow(stage.account, symbol, kind))
    stage.keep(handle)
    return handle


async def is_there(handle: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RPCError):
                await handle.describe()
                return


async def test_to_ask_opens_a_case_and_blocks_its_symbol(stage: Any, until: Until) -> None:
    """B2: what differs is no fill that is made up, but a case."""
    both = comparison(foreign_order())
    stage.reconciliation.script.answer("compare", both, both)

    report, told = await reconciled(stage)
    case = await until(case_of(stage, Kind.FOREIGN_ORDER), "case", lambda _: True)

    assert (case["state"], case["opening"]["choices"]) == ("open", ["fix", "ignore"])
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]
    assert not stage.reconciliation.script.count("cancel_unknown")
    assert "a person decides in case/" in report["mended"][0]


async def test_what_one_pass_saw_is_not_entered_until_the_second_has_looked(stage: Any) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    stage.reconciliation.script.answer("compare", comparison(orphan()))
    run = await stage.reconcile()
    await run.result()

    told = [m["blocks"] for name, m in await desk.query("heard") if name == "reconciled"]
    assert [[block["symbol"] for block in blocks] for blocks in told] == [["BTCUSDT"], []]


async def test_what_a_person_has_ignored_takes_one_pass_and_blocks_nothing(stage: Any) -> None:
    listener = await stage.listen_as(
        ids.case_workflow(stage.account, "BTCUSDT", Kind.FOREIGN_ORDER)
    )
    ignored = case_about(stage, state=CaseState.IGNORED)
    stage.reconciliation.script.answer("compare", comparison(foreign_order(), cases=(ignored,)))

    _, told = await reconciled(stage)

    assert stage.reconciliation.script.count("compare") == 1
    assert told["blocks"] == []
    assert await listener.query("heard") == []


async def test_an_ignored_difference_that_has_changed_is_told_to_its_case(stage: Any) -> None:
    listener = await stage.listen_as(
        ids.case_workflow(stage.account, "BTCUSDT", Kind.FOREIGN_ORDER)
    )
    ignored = case_about(stage, state=CaseState.IGNORED)
    both = comparison(foreign_order(), foreign_order(2), cases=(ignored,))
    stage.reconciliation.script.answer("compare", both, both)

    _, told = await reconciled(stage)

    [(name, sighting)] = await listener.query("heard")
    assert (name, len(sighting["opening"]["subjects"])) == ("compared", 2)
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT", "BTCUSDT"]


async def test_a_case_whose_difference_is_gone_hears_of_it_and_keeps_its_block(
    stage: Any,
) -> None:
    listener = await stage.listen_as(
        ids.case_workflow(stage.account, "BTCUSDT", Kind.FOREIGN_ORDER)
    )
    stage.reconciliation.script.answer("compare", comparison(cases=(case_about(stage),)))

    _, told = await reconciled(stage)

    [(name, sighting)] = await listener.query("heard")
    assert (name, sighting["opening"]) == ("compared", None)
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]


async def test_a_decision_that_is_verified_lifts_the_block_at_once(stage: Any) -> None:
    await stage.listen_as(ids.case_workflow(stage.account, "BTCUSDT", Kind.FOREIGN_ORDER))
    decided = case_about(stage, state=CaseState.DECIDED)
    stage.reconciliation.script.answer("compare", comparison(cases=(decided,)))

    _, told = await reconciled(stage)

    assert told["blocks"] == []


@pytest.mark.parametrize("blind", [{"uncompared": ("BTCUSDT",)}, {"unlooked": (Kind.WRONG_STOP,)}])
async def test_what_was_not_compared_is_not_taken_for_gone(
    stage: Any, blind: dict[str, Any]
) -> None:
    about = about_trade(stage, Kind.WRONG_STOP)
    listener = await stage.listen_as(ids.case_workflow(stage.account, "BTCUSDT", Kind.WRONG_STOP))
    decided = case_about(stage, about, state=CaseState.DECIDED)
    stage.reconciliation.script.answer("compare", comparison(cases=(decided,), **blind))

    _, told = await reconciled(stage)

    assert await listener.query("heard") == []
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]


async def test_to_ignore_by_policy_is_to_do_nothing(stage: Any) -> None:
    policies = Policies(foreign_order="ignore")
    stage.reconciliation.script.answer("compare", comparison(foreign_order(), policies=policies))

    report, told = await reconciled(stage)

    assert (report["mended"], told["blocks"]) == ((), [])
    assert stage.reconciliation.script.count("compare") == 1


async def test_to_close_is_to_leave_by_the_trade_that_owns_the_position(stage: Any) -> None:
    trade = await stage.listen_as(about_trade(stage, Kind.SIZE_MISMATCH).workflow_id)
    policies = Policies(size_mismatch="close")
    both = comparison(about_trade(stage, Kind.SIZE_MISMATCH), policies=policies)
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)

    [(name, event)] = await trade.query("heard")
    assert (name, event["kind"], event["by"]) == ("report", "exit_requested", "reconciliation")


async def test_to_close_an_orphan_is_to_adopt_it_and_to_leave(stage: Any, until: Until) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    stage.exchange.execute(plan, Side.BUY)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=plan.trigger)
    both = comparison(orphan(), policies=Policies(orphan_position="close"))
    stage.reconciliation.script.answer("compare", both, both)
    stage.reconciliation.script.answer("plan_adoption", Adoption(plan=plan, adopted=adopted))

    report, told = await reconciled(stage)
    trade = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
    stage.keep(trade)
    await stage.exchange.script.called("flatten")

    assert "has adopted it and leaves the market" in report["mended"][0]
    assert [held["trade_id"] for held in told["unreserved"]] == [plan.trade_id]


async def test_a_difference_that_must_not_be_trips_the_kill_switch_once(
    stage: Any, until: Until
) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    side = about_trade(stage, Kind.SIDE_MISMATCH)
    both = comparison(side, policies=Policies(side_mismatch="trip"))
    stage.reconciliation.script.answer("compare", both, both)

    report, _ = await reconciled(stage)

    [(name, wish)] = await switch.query("heard")
    assert (name, wish["by"]) == ("trip", "reconciliation")
    assert wish["reason"] == "side_mismatch: they differ"
    assert report["memory"]["tripped"] == (side.fingerprint,)


async def test_an_account_that_is_halted_is_not_tripped_again_but_asked_about(
    stage: Any, until: Until
) -> None:
    switch = await stage.listen_as(ids.kill_switch_workflow(stage.account))
    side = about_trade(stage, Kind.SIDE_MISMATCH)
    both = comparison(side, policies=Policies(side_mismatch="trip"), halted=True)
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)
    await until(case_of(stage, Kind.SIDE_MISMATCH), "case", lambda _: True)

    assert await switch.query("heard") == []


async def test_a_stop_is_set_again_even_while_a_person_is_asked(stage: Any) -> None:
    missing = about_trade(stage, Kind.MISSING_STOP)
    trade = await stage.listen_as(missing.workflow_id)
    both = comparison(missing, cases=(case_about(stage, missing),))
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)

    assert [event["kind"] for _, event in await trade.query("heard")] == ["stop_lost"]


async def test_what_a_few_remedies_do_not_mend_becomes_a_case(stage: Any, until: Until) -> None:
    """B4: attempts are bounded, then a person decides; each run knows of those before."""
    both = comparison(unknown_order())
    stage.reconciliation.script.answer("compare", *(both for _ in range(12)))
    handle = await stage.client.start_workflow(
        ReconciliationWorkflow.run,
        ReconciliationStart(account=stage.account),
        id=f"{ids.reconciliation_workflow(stage.account)}-again-and-again",
        task_queue=stage.queue("trading"),
        # As a schedule does, it hands each run what the last one left
        cron_schedule="* * * * *",
    )
    stage.keep(handle)

    await is_there(asked := case_of(stage, Kind.UNKNOWN_ORDER))
    case = await until(asked, "case", lambda _: True)

    assert stage.reconciliation.script.count("cancel_unknown") == 3
    assert case["opening"]["detail"] == "unknown; 3 remedies did not mend it"
