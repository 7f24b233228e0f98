"""The reconciliation's workflow: it looks twice, mends what both looks saw, and tells the desk."""

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from tests.workflows.difference import about_trade, comparison, orphan, reconciled, unknown_order
from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.reconciliation import Kind, Policies
from tradewright.domain.trade import Adopted
from tradewright.ports import Adoption

Until = Callable[..., Any]
Failure = Callable[..., Any]


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


async def test_a_position_that_is_let_be_still_bars_its_symbol(stage: Any) -> None:
    """No trade may become one with a position that it does not know."""
    policies = Policies(orphan_position="ignore")
    stage.reconciliation.script.answer("compare", comparison(orphan(), policies=policies))

    report, told = await reconciled(stage)

    assert (report["mended"], report["ignored"]) == ((), ("nobody owns it",))
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
