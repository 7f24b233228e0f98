"""What the settings and people say about differences, and what a reconciliation does then."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.workflows.difference import (
    about_trade,
    case_about,
    case_of,
    comparison,
    foreign_order,
    is_there,
    orphan,
    reconciled,
    unknown_order,
)
from tradewright import ids
from tradewright.domain.case import CaseState
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.reconciliation import Kind, Policies
from tradewright.domain.trade import Adopted
from tradewright.ports import Adoption
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow

Until = Callable[..., Any]
Failure = Callable[..., Any]


async def test_to_ask_opens_a_case_and_blocks_its_symbol(stage: Any, until: Until) -> None:
    """B2: what differs is no fill that is made up, but a case."""
    both = comparison(foreign_order())
    stage.reconciliation.script.answer("compare", both, both)

    report, told = await reconciled(stage)
    case = await until(case_of(stage, Kind.FOREIGN_ORDER), "case", lambda _: True)

    assert (case["state"], case["opening"]["choices"]) == ("open", ["fix", "ignore"])
    assert [block["symbol"] for block in told["blocks"]] == ["BTCUSDT"]
    assert not stage.reconciliation.script.count("cancel_unknown")
    assert "a person decides in case/" in report["asked"][0]
    assert not report["mended"]


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


@pytest.mark.parametrize(
    ("tighter", "told"),
    [(True, ("stop_confirmed", "49950")), (False, ("stop_lost", None))],
    ids=["tighter", "looser"],
)
async def test_a_stop_that_somebody_tightened_becomes_the_trades_own_and_a_looser_one_is_set_again(
    stage: Any, tighter: bool, told: tuple[str, str | None]
) -> None:
    trade = await stage.listen_as(about_trade(stage, Kind.WRONG_STOP).workflow_id)
    held = orphan().position
    assert held is not None
    wrong = about_trade(stage, Kind.WRONG_STOP).model_copy(
        update={
            "position": held.model_copy(update={"stop_loss": Decimal(49_950)}),
            "tighter": tighter,
        }
    )
    both = comparison(wrong)
    stage.reconciliation.script.answer("compare", both, both)

    await reconciled(stage)

    [(_, event)] = await trade.query("heard")
    assert (event["kind"], event.get("price")) == told


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
