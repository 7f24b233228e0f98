"""One trade's workflow, on a real server, against a scripted exchange."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import (
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError

from tests.workflows.life import (
    fill_by_stream,
    is_open,
    journaled_states,
    numbers,
    result_of,
)
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    PositionRead,
    RecheckRequested,
    StopLost,
    StopMissing,
    StopMoved,
    StopRefused,
    TradeState,
)
from tradewright.ports import TradeEvents
from workflows.trade import ExitWish, StopWish, TradeWorkflow

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


# --- the ways of a life ---------------------------------------------------------------------------


async def test_a_trade_lives_from_its_plan_to_flat(stage: Any, until: Until) -> None:
    plan = stage.plan()
    stage.exchange.script.answer("place_entry", fill_by_stream(stage, plan))
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)

    execution = stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    await handle.signal("report", Executed(execution=execution))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason, trade.stop) == (
        TradeState.CLOSED,
        ExitReason.STOP,
        Decimal(49_500),
    )
    commands = [name for name, _ in stage.exchange.script.calls]
    assert commands == ["place_entry", "verify_stop", "settle"]
    assert journaled_states(stage) == [
        *("entering", "open", "open", "open", "settling", "closed"),
    ]
    assert numbers(stage) == [1, 2, 3, 4, 5, 6]
    assert len(stage.journal.batches) < 6


async def test_an_entry_that_is_rejected_ends_the_trade(stage: Any) -> None:
    stage.exchange.script.answer(
        "place_entry", EntryRejected(code="bybit_110007", reason="not enough balance")
    )
    handle = await stage.start_trade(stage.plan())

    trade = await result_of(handle)

    assert trade.state is TradeState.REJECTED
    assert [name for name, _ in stage.exchange.script.calls] == ["place_entry"]
    assert journaled_states(stage) == ["entering", "rejected"]


async def test_an_entry_that_ends_without_a_fill_cancels_the_trade(stage: Any) -> None:
    stage.exchange.script.answer("place_entry", EntryPlaced(order_id="o"))
    stage.exchange.script.answer(
        "look_up", TradeEvents(events=(EntryEnded(order_id="o", reason="CancelByUser"),))
    )
    handle = await stage.start_trade(stage.plan())

    trade = await result_of(handle)

    assert (trade.state, trade.exit_note) == (TradeState.CANCELLED, "CancelByUser")
    assert not trade.executions


async def test_a_fill_that_the_end_of_its_order_overtakes_stays_open(
    stage: Any, until: Until
) -> None:
    plan = stage.plan()

    async def fill_partly(order: Any) -> EntryPlaced:
        stage.exchange.execute(plan, plan.side, link=ids.order_link(plan.trade_id, "e", 1))
        handle = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
        await handle.signal("report", EntryEnded(order_id="o", reason="PartiallyFilledCanceled"))
        return EntryPlaced(order_id="o")

    stage.exchange.script.answer("place_entry", fill_partly)
    handle = await stage.start_trade(plan)

    view = await until(handle, "trade", is_open)

    assert view["trade"]["exit_reason"] is None
    assert [name for name, _ in stage.exchange.script.calls] == [
        *("place_entry", "settle", "verify_stop"),
    ]


async def test_a_position_without_its_stop_is_flattened(stage: Any) -> None:
    stage.exchange.script.answer("verify_stop", StopMissing())
    handle = await stage.start_trade(stage.plan())

    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.NAKED)
    assert stage.exchange.script.count("flatten") == 1


async def test_a_stop_is_moved_by_a_message_and_by_an_update(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", StopMoved(price=Decimal(49_600), reason="trailing"))
    await until(handle, "trade", lambda view: view["trade"]["stop"] == "49600")
    await handle.execute_update(TradeWorkflow.move_stop, StopWish(price=Decimal(49_700), by="ann"))
    await until(handle, "trade", lambda view: view["trade"]["stop"] == "49700")
    await handle.signal("report", StopMoved(price=Decimal(49_650), reason="trailing"))
    await until(handle, "trade", is_open)

    assert [order.price for order in stage.exchange.script.of("set_stop")] == [49_600, 49_700]


@pytest.mark.parametrize("price", ["49400", "49600.05"])
async def test_a_stop_that_loosens_or_fits_no_tick_is_not_accepted(
    stage: Any, until: Until, price: str
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(TradeWorkflow.move_stop, StopWish(price=Decimal(price)))

    assert "tighter than 49500" in str(failure.value.cause)
    assert not stage.exchange.script.count("set_stop")


async def test_a_stop_that_the_price_has_passed_closes_the_trade(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.exchange.script.answer("set_stop", StopRefused(reason="should be lower"))

    await handle.signal("report", StopMoved(price=Decimal(49_600), reason="trailing"))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.STOP_PASSED)


async def test_a_stop_that_was_lost_is_set_again(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", StopLost())
    order = await stage.exchange.script.called("set_stop")

    assert order.price == Decimal(49_500)
    assert (await until(handle, "trade", is_open))["trade"]["stop"] == "49500"


async def test_an_adopted_position_gets_its_stop_and_counts_only_what_follows(
    stage: Any, until: Until
) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    before = stage.exchange.execute(plan, Side.BUY)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=before.at + timedelta(seconds=1))
    handle = await stage.start_trade(plan, adopted=adopted)
    await until(handle, "trade", is_open)

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert stage.exchange.script.calls[0][0] == "set_stop"
    assert trade.state is TradeState.CLOSED
    assert [trade.entry_qty, trade.open_qty] == [plan.qty, 0]


# --- leaving --------------------------------------------------------------------------------------


async def test_an_operator_leaves_by_signal(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", {"note": "news", "by": "ann"})
    trade = await result_of(handle)

    assert (trade.exit_reason, trade.exit_note, trade.exit_by) == (
        ExitReason.OPERATOR,
        "news",
        "ann",
    )
    assert stage.exchange.held == 0


async def test_an_operator_leaves_by_update_and_is_told_when_it_is_too_late(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    held = stage.journal.script.hold("record")

    view = await handle.execute_update(TradeWorkflow.exit_by_update, ExitWish(by="ann"))
    await until(handle, "trade", lambda view: view["trade"]["state"] == "closed")
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(TradeWorkflow.exit_by_update, ExitWish(by="ann"))
    held.let_go()

    assert view.busy
    assert "closed already" in str(failure.value.cause)
    assert (await result_of(handle)).state is TradeState.CLOSED


async def test_a_position_that_is_still_held_is_flattened_again(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    still = PositionRead(qty=Decimal("0.05"), at=stage.plan().trigger)
    stage.exchange.script.answer("settle", TradeEvents(events=(still,)))

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert [order.number for order in stage.exchange.script.of("flatten")] == [2, 3]


async def test_a_settling_that_ends_without_a_read_is_not_the_end(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.exchange.script.answer("settle", TradeEvents())

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.exchange.script.count("settle") == 2


async def test_a_recheck_finds_a_position_that_was_closed_unheard(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    stage.exchange.execute(plan, Side.SELL, cause=ExitReason.LIQUIDATION)

    await handle.signal("report", RecheckRequested(reason="the books differ"))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.LIQUIDATION)


async def test_asking_again_and_again_does_not_put_off_the_end(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    settling = stage.exchange.script.hold("settle")
    stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    await handle.signal("report", RecheckRequested(reason="the books differ"))
    await stage.exchange.script.called("settle")

    for _ in range(5):
        await handle.signal("report", RecheckRequested(reason="the books still differ"))
    settling.let_go()
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.exchange.script.count("settle") == 2


async def test_manage_closes_by_time(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", ExitRequested(reason=ExitReason.TIME_STOP, by="manage"))

    assert (await result_of(handle)).exit_reason is ExitReason.TIME_STOP
