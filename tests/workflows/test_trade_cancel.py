"""Request Cancellation in every phase, and an exchange that does not answer."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from temporalio.client import (
    WorkflowExecutionStatus,
)
from temporalio.exceptions import ApplicationError

from tests.workflows.life import (
    is_open,
    journaled_states,
    needs_operator,
    result_of,
    status_of,
)
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    Executed,
    StopMoved,
    TradeState,
)
from tradewright.ports import TradeEvents
from workflows.trade import ExitWish

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


# --- Request Cancellation -------------------------------------------------------------------------


async def test_cancelled_before_anything_was_sent_nothing_is_sent(
    temporal_env: Any, make_instrument: Any, stage: Any
) -> None:
    # Its first task finds the cancel, for nobody served the queue before
    other = type(stage)(temporal_env, make_instrument())
    handle = await other.start_trade(other.plan())
    await handle.cancel()

    async with other.running():
        status = await status_of(handle)

    assert status is WorkflowExecutionStatus.CANCELED
    assert not other.exchange.script.calls
    assert journaled_states(other)[-1] == "rejected"


async def test_cancelled_before_the_entry_is_answered_it_waits_and_flattens(stage: Any) -> None:
    plan = stage.plan()
    held = stage.exchange.script.hold("place_entry")
    handle = await stage.start_trade(plan)
    await stage.exchange.script.called("place_entry")

    await handle.cancel()
    link = ids.order_link(plan.trade_id, "e", 1)
    stage.exchange.execute(plan, plan.side, link=link)
    held.let_go(EntryPlaced(order_id="o"))

    assert await status_of(handle) is WorkflowExecutionStatus.CANCELED
    assert stage.exchange.held == 0
    assert journaled_states(stage)[-1] == "closed"
    assert [name for name, _ in stage.exchange.script.calls] == [
        *("place_entry", "flatten", "settle"),
    ]


async def test_cancelled_while_the_entry_waits_for_its_fill(stage: Any, until: Until) -> None:
    stage.exchange.script.answer("place_entry", EntryPlaced(order_id="o"))
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", lambda view: view["trade"]["entry_order_id"] == "o")

    await handle.cancel()

    assert await status_of(handle) is WorkflowExecutionStatus.CANCELED
    assert journaled_states(stage)[-1] == "cancelled"


async def test_cancelled_while_open_it_is_flattened_and_journaled(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.cancel(reason="holidays")

    assert await status_of(handle) is WorkflowExecutionStatus.CANCELED
    last = stage.journal.events[-1].data["trade"]
    assert (last["state"], last["exit_reason"], last["exit_note"]) == (
        *("closed", "cancelled", "holidays"),
    )
    assert stage.exchange.held == 0


async def test_a_second_cancel_changes_nothing(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    held = stage.exchange.script.hold("flatten")

    await handle.cancel()
    order = await stage.exchange.script.called("flatten")
    await handle.cancel()
    execution = stage.exchange.execute(order.plan, Side.SELL, link="x")
    await handle.signal("report", Executed(execution=execution))
    held.let_go()

    assert await status_of(handle) is WorkflowExecutionStatus.CANCELED
    assert journaled_states(stage)[-1] == "closed"
    assert stage.exchange.held == 0


# --- an exchange that does not answer -------------------------------------------------------------


async def test_silence_about_an_entry_is_broken_after_five_seconds_then_later(stage: Any) -> None:
    stage.exchange.script.answer("place_entry", EntryPlaced(order_id="o"))
    quiet = TradeEvents()
    stage.exchange.script.answer("look_up", *(quiet for _ in range(5)))
    handle = await stage.start_trade(stage.plan())
    stage.exchange.script.answer("look_up", TradeEvents(events=(EntryEnded(order_id="o"),)))

    await result_of(handle)
    history = await handle.fetch_history()

    waits = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.HasField("timer_started_event_attributes")
        and event.HasField("user_metadata")
        and b"silent" in event.user_metadata.summary.data
    ]
    assert waits == [5, 10, 20, 40, 60, 60]


async def test_an_activity_that_fails_for_good_is_told_and_tried_again(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.exchange.script.answer("verify_stop", failure("no such symbol", final=True))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)
    history = await handle.fetch_history()

    assert trade.state is TradeState.CLOSED
    told = [
        event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        for event in history.events
    ]
    assert [fields["NeedsOperator"].data for fields in told if "NeedsOperator" in fields] == [
        *(b"true", b"false"),
    ]


async def test_a_wish_to_leave_does_not_wait_for_a_read_that_hangs(
    stage: Any, until: Until
) -> None:
    stage.exchange.script.hold("verify_stop")
    handle = await stage.start_trade(stage.plan())
    await stage.exchange.script.called("verify_stop")

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.OPERATOR)


async def test_a_wish_to_leave_does_not_wait_for_a_stop_that_cannot_be_set(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.exchange.script.answer("set_stop", *(failure("denied") for _ in range(20)))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", StopMoved(price=Decimal(49_600), reason="trailing"))
    view = await until(handle, "trade", needs_operator)
    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert "set_stop has been tried for 30 s" in view["needs_operator"]
    assert trade.state is TradeState.CLOSED


async def test_an_entry_that_failed_for_good_gives_way_to_a_cancel(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.exchange.script.answer("place_entry", failure("a bug", final=True))
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", needs_operator)

    await handle.cancel()

    assert await status_of(handle) is WorkflowExecutionStatus.CANCELED
    assert journaled_states(stage)[-1] == "cancelled"
    assert [name for name, _ in stage.exchange.script.calls] == [
        *("place_entry", "flatten", "settle"),
    ]
