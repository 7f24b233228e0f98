"""One trade's workflow, on a real server, against a scripted exchange."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError

from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin, TradePlan
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
    Trade,
    TradeState,
)
from tradewright.ports import TradeEvents
from workflows.attributes import SYMBOL
from workflows.trade import ExitWish, StopWish, TradeWorkflow

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


def is_open(view: Any) -> bool:
    return view["trade"]["state"] == "open" and not view["busy"]


def needs_operator(view: Any) -> bool:
    return bool(view["needs_operator"])


async def result_of(handle: Any) -> Trade:
    return Trade.model_validate(await handle.result(), from_attributes=True)


async def status_of(handle: Any) -> WorkflowExecutionStatus:
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    found = await handle.describe()
    assert isinstance(found.status, WorkflowExecutionStatus)
    return found.status


def journaled_states(stage: Any) -> list[str]:
    changes = [e for e in stage.journal.events if e.kind is EventKind.TRADE_CHANGED]
    return [event.data["trade"]["state"] for event in changes]


def numbers(stage: Any) -> list[int]:
    return [int(event.event_id.rsplit("/", 1)[1]) for event in stage.journal.events]


def fill_by_stream(stage: Any, plan: TradePlan) -> Callable[[Any], Any]:
    """Accept the entry only after the stream has told of its fill."""

    async def place(order: Any) -> EntryPlaced:
        link = ids.order_link(plan.trade_id, "e", 1)
        execution = stage.exchange.execute(plan, plan.side, link=link)
        handle = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
        await handle.signal("report", Executed(execution=execution))
        return EntryPlaced(order_id=execution.order_id)

    return place


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
    assert [order.number for order in stage.exchange.script.of("flatten")] == [1, 2]


async def test_a_settling_that_ends_without_a_read_is_not_the_end(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    stage.exchange.script.answer("settle", TradeEvents())
    asked = stage.exchange.script.count("look_up")

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.exchange.script.count("look_up") == asked + 1


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


# --- messages -------------------------------------------------------------------------------------


async def test_a_misspelled_key_is_told_and_the_trade_leaves_all_the_same(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    held = stage.exchange.script.hold("flatten")

    await handle.signal("exit", {"note": "news", "bye": "ann"})
    view = await until(handle, "trade", needs_operator)
    held.let_go()
    trade = await result_of(handle)

    assert view["needs_operator"] == "signal exit was taken, but unknown keys were ignored: bye"
    assert (trade.exit_note, trade.exit_by) == ("news", "operator")


@pytest.mark.parametrize("args", [[], [None], [{}], [{"note": "a"}, {"note": "b"}, 3]])
async def test_no_number_of_arguments_keeps_a_trade_from_leaving(
    stage: Any, until: Until, args: list[Any]
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", args=args)

    assert (await result_of(handle)).exit_reason is ExitReason.OPERATOR


@pytest.mark.parametrize(
    "argument",
    [
        "please",
        [1, 2],
        {"note": {"deep": 1}},
        RawValue(Payload(metadata={"encoding": b"binary/plain"}, data=b"\xff\xfe")),
    ],
)
async def test_an_exit_that_says_nothing_is_told_and_wedges_nothing(
    stage: Any, until: Until, argument: Any
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", argument)
    view = await until(handle, "trade", needs_operator)
    await handle.signal("exit", ExitWish(by="ann"))

    assert "signal exit was not understood" in view["needs_operator"]
    assert (await result_of(handle)).state is TradeState.CLOSED


async def test_an_event_that_cannot_be_read_lets_the_trade_ask_the_exchange(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    asked = stage.exchange.script.count("look_up")

    await handle.signal("report", {"kind": "executed", "execution": {"exec_id": "e9"}})
    await stage.exchange.script.called("look_up", asked + 1)
    view = await until(handle, "trade", is_open)

    assert "executed.execution.price: Field required" in view["needs_operator"]


async def test_an_event_of_a_newer_sender_is_counted(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    execution = stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    event = Executed(execution=execution).model_dump(mode="json")
    event["execution"]["liquidity"] = "added"

    await handle.signal("report", event)
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.STOP)


async def test_an_unknown_signal_is_told(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exti", {"note": "typo"})
    view = await until(handle, "trade", needs_operator)

    assert "signal exti was not understood" in view["needs_operator"]


async def test_an_event_that_does_not_fit_the_state_is_journaled_and_changes_nothing(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", {"kind": "started"})
    await until(handle, "trade", needs_operator)
    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert [e.kind for e in stage.journal.events].count(EventKind.MESSAGE_REFUSED) == 1


# --- the journal and the desk ---------------------------------------------------------------------


async def test_a_journal_that_is_away_holds_no_exit_up_and_gets_everything_in_the_end(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.journal.script.answer("record", *(failure("database is away") for _ in range(12)))
    plan = stage.plan()
    stage.exchange.script.answer("place_entry", fill_by_stream(stage, plan))
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)

    await handle.signal("exit", ExitWish(by="ann"))
    await stage.exchange.script.called("settle")
    written_before_the_exit = len(stage.journal.batches)
    trade = await result_of(handle)

    assert trade.state is TradeState.CLOSED
    assert stage.journal.script.count("record") > 12
    assert written_before_the_exit <= 1
    assert numbers(stage) == list(range(1, len(stage.journal.events) + 1))
    assert journaled_states(stage)[-1] == "closed"


async def test_a_journal_that_refuses_is_told_and_tried_again(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.journal.script.answer("record", failure("another venue", final=True))
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan())
    stage.exchange.script.answer("look_up", TradeEvents())

    view = await until(handle, "trade", needs_operator)
    await handle.signal("exit", ExitWish(by="ann"))
    await until(handle, "trade", lambda view: view["trade"]["state"] == "closed")

    assert "the journal takes nothing: TestFailure: another venue" in view["needs_operator"]


async def test_the_risk_is_given_back(stage: Any, until: Until) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    plan = stage.plan(cooldown=timedelta(minutes=3))
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)

    await handle.signal("exit", ExitWish(by="ann"))
    trade = await result_of(handle)

    [(name, release)] = await desk.query("heard")
    assert (name, release["trade_id"]) == ("release", plan.trade_id)
    assert Decimal(release["pnl"]) == trade.pnl
    assert release["cooldown"] == "PT3M"


async def test_a_trade_that_never_opened_starts_no_cooldown(stage: Any) -> None:
    desk = await stage.listen_as(ids.account_workflow(stage.account))
    stage.exchange.script.answer("place_entry", EntryRejected(code="expired", reason="late"))
    handle = await stage.start_trade(stage.plan(cooldown=timedelta(minutes=3)))

    await result_of(handle)

    [(_, release)] = await desk.query("heard")
    assert release["cooldown"] == "PT0S"


async def test_a_market_that_is_away_does_not_keep_the_end_from_the_journal(
    stage: Any, until: Until, failure: Failure
) -> None:
    stage.market.script.answer("observe", failure("no candles"), failure("no candles"))
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("exit", ExitWish(by="ann"))
    await result_of(handle)

    assert journaled_states(stage)[-1] == "closed"
    assert "view" not in stage.journal.events[-1].data


# --- continue as new ------------------------------------------------------------------------------


async def run_ids_of(stage: Any, handle: Any) -> list[str]:
    """Follow the chain of runs."""
    found, run_id = [], handle.first_execution_run_id
    while run_id:
        found.append(run_id)
        history = await stage.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
        last = history.events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def test_continue_as_new_carries_everything(impatient_stage: Any, until: Until) -> None:
    stage = impatient_stage
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    latest = stage.client.get_workflow_handle(handle.id)
    await until(latest, "trade", is_open)

    for step in range(1, 9):
        price = Decimal(49_500 + 10 * step)
        await latest.signal("report", StopMoved(price=price, reason="trailing"))
        await stage.exchange.script.called("set_stop", step)
    await latest.signal("report", {"kind": "executed"})
    await until(latest, "trade", needs_operator)
    await until(latest, "trade", is_open)
    await latest.signal("exit", ExitWish(by="ann"))
    trade = await result_of(latest)

    runs = await run_ids_of(stage, handle)
    assert len(runs) > 2
    assert (trade.state, trade.stops_set, trade.exit_by) == (TradeState.CLOSED, 8, "ann")
    assert [len(trade.entries), len(trade.exits)] == [1, 1]
    assert sorted(set(numbers(stage))) == list(range(1, max(numbers(stage)) + 1))
    assert len({event.event_id for event in stage.journal.events}) == max(numbers(stage))
    described = await latest.describe()
    assert described.typed_search_attributes.get(SYMBOL) == plan.symbol


async def test_a_cancelled_trade_goes_on_flattening_in_the_next_run(
    impatient_stage: Any, until: Until
) -> None:
    stage = impatient_stage
    handle = await stage.start_trade(stage.plan())
    latest = stage.client.get_workflow_handle(handle.id)
    await until(latest, "trade", is_open)
    still = TradeEvents(
        events=(PositionRead(qty=Decimal("0.1"), at=stage.plan().trigger),),
    )
    stage.exchange.script.answer("settle", *(still for _ in range(12)))

    await latest.cancel()
    trade = await result_of(latest)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.CANCELLED)
    assert len(await run_ids_of(stage, handle)) > 2
    assert journaled_states(stage)[-1] == "closed"
    assert [order.number for order in stage.exchange.script.of("flatten")] == list(range(1, 14))


async def test_a_command_that_fails_for_good_goes_on_in_the_next_run(
    impatient_stage: Any, until: Until, failure: Failure
) -> None:
    stage = impatient_stage
    handle = await stage.start_trade(stage.plan())
    latest = stage.client.get_workflow_handle(handle.id)
    await until(latest, "trade", is_open)
    stage.exchange.script.answer("flatten", *(failure("denied", final=True) for _ in range(12)))

    await latest.signal("exit", ExitWish(by="ann"))
    trade = await result_of(latest)

    assert trade.state is TradeState.CLOSED
    assert len(await run_ids_of(stage, handle)) > 2
    assert stage.exchange.held == 0


async def test_an_entry_that_stays_silent_for_days_is_still_asked_for(
    impatient_stage: Any, until: Until
) -> None:
    stage = impatient_stage
    stage.exchange.script.answer("place_entry", EntryPlaced(order_id="o"))
    stage.exchange.script.answer("look_up", *(TradeEvents() for _ in range(30)))
    handle = await stage.start_trade(stage.plan())
    stage.exchange.script.answer("look_up", TradeEvents(events=(EntryEnded(order_id="o"),)))

    trade = await result_of(stage.client.get_workflow_handle(handle.id))

    assert (trade.state, trade.rechecks) == (TradeState.CANCELLED, 31)
    assert len(await run_ids_of(stage, handle)) > 3


async def test_a_recheck_finds_a_position_that_was_closed_unheard(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    stage.exchange.execute(plan, Side.SELL, cause=ExitReason.LIQUIDATION)

    await handle.signal("report", RecheckRequested(reason="the books differ"))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.LIQUIDATION)


async def test_manage_closes_by_time(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)

    await handle.signal("report", ExitRequested(reason=ExitReason.TIME_STOP, by="manage"))

    assert (await result_of(handle)).exit_reason is ExitReason.TIME_STOP
