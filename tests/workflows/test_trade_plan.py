"""What a plan may ask beyond entry and stop: limits, targets, trailing, break-even."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from tests.workflows.life import is_open, result_of
from tests.workflows.script import NOON
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side, Timeframe
from tradewright.domain.plan import ExitRules, LimitEntry, Target, TrailedBy, Trailing
from tradewright.domain.trade import (
    EntryExpired,
    Executed,
    Funded,
    PositionRead,
    StopKept,
    TradeState,
    TrailingRefused,
)
from tradewright.ports import TradeEvents
from workflows.trade import StopWish, TradeWorkflow

Until = Callable[..., Any]

UNTIL = NOON + timedelta(hours=1)
RESTING = {"entry": LimitEntry(rest_until=UNTIL)}
TARGETS = {
    "targets": (
        Target(price=Decimal(50_500), fraction=Decimal("0.5")),
        Target(price=Decimal(51_000), fraction=Decimal("0.25")),
    ),
    "take_profit": Decimal(52_000),
}


def rests(view: Any) -> bool:
    return view["trade"]["entry_order_id"] != "" and not view["busy"]


def commands(stage: Any) -> list[str]:
    return [name for name, _ in stage.exchange.script.calls]


async def start_resting(stage: Any, until: Until, **changes: Any) -> Any:
    with stage.env.with_time_skipping_disabled():
        handle = await stage.start_trade(stage.plan(**RESTING | changes))
    await until(handle, "trade", rests)
    return handle


async def fill_entry(stage: Any, handle: Any, qty: str) -> None:
    plan = stage.plan()
    link = ids.order_link(plan.trade_id, "e", 1)
    execution = stage.exchange.execute(plan, plan.side, link=link, qty=Decimal(qty))
    await handle.signal("report", Executed(execution=execution))


async def test_an_entry_that_rests_too_long_is_cancelled(stage: Any, until: Until) -> None:
    handle = await start_resting(stage, until)

    await handle.signal("report", EntryExpired(reason="not filled until 13:00 UTC"))
    trade = await result_of(handle)

    assert (trade.state, trade.exit_note) == (TradeState.CANCELLED, "not filled until 13:00 UTC")
    assert commands(stage) == ["place_entry", "cancel_entry", "settle"]


async def test_silence_itself_brings_the_end_of_an_entry_that_rests(
    stage: Any, until: Until
) -> None:
    late = PositionRead(qty=Decimal(0), at=UNTIL)
    stage.exchange.script.answer("look_up", TradeEvents(events=(late,)))

    handle = await stage.start_trade(stage.plan(**RESTING))
    trade = await result_of(handle)

    assert trade.state is TradeState.CANCELLED
    assert commands(stage) == ["place_entry", "look_up", "cancel_entry", "settle"]


async def test_what_was_filled_of_an_expired_entry_stays_open_with_its_stop(
    stage: Any, until: Until
) -> None:
    handle = await start_resting(stage, until)

    await fill_entry(stage, handle, "0.04")
    await until(handle, "trade", is_open)
    await handle.signal("report", EntryExpired(reason="late"))
    view = await until(handle, "trade", lambda v: v["trade"]["entry_ended"] and is_open(v))

    assert view["trade"]["stop"] == "49500"
    assert commands(stage) == ["place_entry", "verify_stop", "cancel_entry"]


async def test_targets_are_placed_once_when_the_entry_is_complete_and_its_stop_was_seen(
    stage: Any, until: Until
) -> None:
    handle = await start_resting(stage, until, **TARGETS)

    await fill_entry(stage, handle, "0.04")
    await until(handle, "trade", is_open)
    assert "place_targets" not in commands(stage)
    await fill_entry(stage, handle, "0.06")
    view = await until(handle, "trade", lambda v: v["trade"]["targets_placed"])

    placed = view["trade"]["targets"]
    trade_id = stage.plan().trade_id
    assert [(o["order_link_id"], o["qty"]) for o in placed] == [
        (f"{trade_id}-t2", "0.050"),
        (f"{trade_id}-t3", "0.025"),
    ]
    assert commands(stage).count("place_targets") == 1


async def test_a_target_takes_its_part_and_the_next_order_has_the_next_number(
    stage: Any, until: Until
) -> None:
    plan = stage.plan(**TARGETS)
    handle = await stage.start_trade(plan)
    view = await until(handle, "trade", lambda v: v["trade"]["targets_placed"] and is_open(v))

    link = view["trade"]["targets"][0]["order_link_id"]
    fill = stage.exchange.execute(plan, Side.SELL, link=link, qty=Decimal("0.05"))
    stage.exchange.stop = plan.stop_loss
    await handle.signal("report", Executed(execution=fill))
    view = await until(handle, "trade", lambda v: len(v["trade"]["executions"]) == 2 and is_open(v))
    assert view["trade"]["state"] == "open"
    assert commands(stage)[-1] == "verify_stop"

    await handle.signal("exit", {"by": "ann"})
    trade = await result_of(handle)

    assert trade.exit_links == (ids.order_link(plan.trade_id, "x", 4),)
    assert trade.exit_reason is ExitReason.OPERATOR
    assert trade.exit_qty == trade.entry_qty


async def test_the_stop_goes_to_the_entry_when_the_target_is_reached(
    stage: Any, until: Until
) -> None:
    notifier = await stage.listen_as(ids.notifier_workflow(stage.account))
    exits = ExitRules(timeframe=Timeframe.M1, break_even_after_target=1)
    plan = stage.plan(**TARGETS, exits=exits)
    handle = await stage.start_trade(plan)
    view = await until(handle, "trade", lambda v: v["trade"]["targets_placed"] and is_open(v))

    link = view["trade"]["targets"][0]["order_link_id"]
    for part in ("0.02", "0.03"):
        fill = stage.exchange.execute(plan, Side.SELL, link=link, qty=Decimal(part))
        await handle.signal("report", Executed(execution=fill))
    view = await until(handle, "trade", lambda v: v["trade"]["stop"] == "50000" and is_open(v))

    assert stage.exchange.script.of("set_stop")[-1].price == Decimal(50_000)
    assert commands(stage).count("set_stop") == 1
    heard = await until(notifier, "heard", lambda told: len(told) == 2)
    assert "reached target 1 of 2" in heard[1][1]["title"]


async def test_the_exchange_trails_the_stop_from_its_gain_on(stage: Any, until: Until) -> None:
    trailing = Trailing(after_r=Decimal(1), distance=Decimal(200), by=TrailedBy.EXCHANGE)
    exits = ExitRules(timeframe=Timeframe.M1, trailing=trailing)
    handle = await stage.start_trade(stage.plan(exits=exits))

    view = await until(handle, "trade", lambda v: v["trade"]["trailed_by"] and is_open(v))

    assert view["trade"]["trailed_by"] == "exchange"
    assert stage.exchange.script.of("set_trailing")[0].price == Decimal(50_500)
    assert commands(stage)[-2:] == ["verify_stop", "set_trailing"]


async def test_a_stop_that_the_exchange_will_not_trail_is_moved_at_candles(
    stage: Any, until: Until
) -> None:
    trailing = Trailing(after_r=Decimal(1), distance=Decimal(200), by=TrailedBy.EXCHANGE)
    exits = ExitRules(timeframe=Timeframe.M1, trailing=trailing)
    stage.exchange.script.answer("set_trailing", TrailingRefused(reason="not allowed"))
    handle = await stage.start_trade(stage.plan(exits=exits))

    view = await until(handle, "trade", lambda v: v["trade"]["trailed_by"] and is_open(v))

    assert view["trade"]["trailed_by"] == "candle"


async def test_a_person_hears_that_the_exchange_does_not_take_a_stop_and_the_trade_stays(
    stage: Any, until: Until
) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    kept = StopKept(price=Decimal(49_500), reason="the price is there (retCode 110093)")
    stage.exchange.script.answer("set_stop", kept)

    wish = StopWish(price=Decimal(49_900), by="ann")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(TradeWorkflow.move_stop, wish)

    assert "49500 stands: the price is there" in str(refused.value.cause)
    assert stage.exchange.script.of("set_stop")[0].wished_by == "ann"
    view = await until(handle, "trade", is_open)
    assert (view["trade"]["state"], view["trade"]["wanted_stop"]) == ("open", "49500")


async def test_funding_belongs_to_the_result(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    paid = Funded(exec_id="f1", amount=Decimal("-1.25"), at=NOON)

    for _ in range(2):
        await handle.signal("report", paid)
    await handle.signal("exit", {"by": "ann"})
    trade = await result_of(handle)

    assert trade.funding == Decimal("-1.25")
    assert trade.pnl == Decimal(10) - trade.fees - Decimal("1.25")


async def test_an_entry_that_rests_is_placed_with_its_terms(stage: Any, until: Until) -> None:
    handle = await start_resting(stage, until)

    order = stage.exchange.script.of("place_entry")[0]
    view = await until(handle, "trade", rests)

    assert order.plan.rest_until == UNTIL
    assert view["trade"]["state"] == "entering"
