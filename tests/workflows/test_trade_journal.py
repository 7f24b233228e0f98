"""A trade beside a journal, a desk and a market that may be away."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from temporalio.exceptions import ApplicationError

from tests.workflows.life import (
    fill_by_stream,
    is_open,
    journaled_states,
    needs_operator,
    numbers,
    result_of,
)
from tradewright import ids
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
    Executed,
    TradeState,
)
from tradewright.ports import TradeEvents
from workflows.trade import ExitWish

Until = Callable[..., Any]
Failure = Callable[..., ApplicationError]


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


async def test_a_burst_of_fills_brings_the_trade_once_and_every_fill(
    stage: Any, until: Until
) -> None:
    plan = stage.plan()
    link = ids.order_link(plan.trade_id, "e", 1)
    fills = [
        Executed(execution=stage.exchange.execute(plan, plan.side, link=link, qty=Decimal("0.02")))
        for _ in range(5)
    ]
    # The last one comes twice, as it does when a read brings it too
    answer = TradeEvents(events=(EntryPlaced(order_id="o"), *fills, fills[-1]))
    stage.exchange.script.answer("place_entry", EntryPlaced(order_id="o"))
    stage.exchange.script.answer("look_up", answer)
    handle = await stage.start_trade(plan)

    view = await until(handle, "trade", lambda v: is_open(v) and v["trade"]["entry_ended"])
    await handle.signal("exit", ExitWish(by="ann"))
    await result_of(handle)

    assert len(view["trade"]["executions"]) == 5
    told = [
        e.data for e in stage.journal.events if e.data.get("event", {}).get("kind") == "executed"
    ]
    entries = [data for data in told if data["event"]["execution"]["order_link_id"] == link]
    assert len(entries) == 5
    # The first one opens the trade, the last one ends the burst
    assert ["trade" in data for data in entries] == [True, False, False, False, True]
