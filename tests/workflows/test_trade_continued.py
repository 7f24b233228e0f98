"""A trade whose history grows too long goes on in another run."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from temporalio.exceptions import ApplicationError

from tests.workflows.life import (
    is_open,
    journaled_states,
    needs_operator,
    numbers,
    result_of,
    run_ids_of,
)
from tradewright.domain.execution import ExitReason
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    PositionRead,
    StopMoved,
    TradeState,
)
from tradewright.ports import TradeEvents
from workflows.attributes import SYMBOL
from workflows.trade import ExitWish

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


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
    assert [order.number for order in stage.exchange.script.of("flatten")] == list(range(2, 15))


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
