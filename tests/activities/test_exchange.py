"""What a trade reads and sets at the exchange while it is in the market."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.lookup import ReadsDisagree
from tradewright import ids
from tradewright.domain.errors import (
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    Executed,
    PositionRead,
    StopConfirmed,
    StopMissing,
    StopRefused,
    Trade,
    TradeState,
)
from tradewright.ports import TradeOrder


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def test_the_stop_is_read_back(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    # Reads may lag: a position that is not shown yet is not a flat one
    bench.line.spoil("get_executions", bench.faults.empty_list)
    flat = {"symbol": "BTCUSDT", "side": "", "size": "0", "avgPrice": "0", "stopLoss": ""}
    bench.line.spoil("get_positions", lambda send: rows(send, flat))

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert shown == StopConfirmed(price=plan.stop_loss)


def rows(send: Any, *shown: dict[str, Any]) -> Any:
    answer, elapsed, headers = send()
    answer["result"]["list"] = list(shown)
    return answer, elapsed, headers


async def test_a_stop_that_does_not_show_in_time_is_missing(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: a deadline, not a hope."""
    monkeypatch.setattr("activities.stops.STOP_DEADLINE", 0.3)
    plan = make_plan()
    await bench.enter(plan)
    bench.paper.exchange.change(
        lambda now: bench.paper.exchange.engine.cancel_all("main", {"BTCUSDT"}, now)
    )

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert shown == StopMissing()
    assert bench.line.count("get_positions") > 1


async def test_the_deadline_of_a_stop_does_not_begin_anew_with_every_attempt(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    order, faults = TradeOrder(plan=plan), bench.faults
    # Every attempt sees no stop, and is then stopped by a limit
    bench.line.spoil("get_positions", faults.naked, faults.answers(10006), faults.naked)
    with pytest.raises(RateLimited):
        await bench.run(bench.exchange.verify_stop, order)

    shown = await bench.run(bench.exchange.verify_stop, order, attempt=2, waited=5.1)

    assert shown == StopMissing()


async def test_a_stop_that_is_looked_for_late_is_given_a_second_look(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("get_positions", bench.faults.naked)

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan), waited=60)

    assert shown == StopConfirmed(price=plan.stop_loss)


async def test_a_position_read_that_lags_long_does_not_end_the_look_for_its_stop(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.stops.STOP_DEADLINE", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    bench.line.always["get_positions"] = bench.faults.flat
    order = TradeOrder(plan=plan)

    with pytest.raises(ReadsDisagree):
        await bench.run(bench.exchange.verify_stop, order)
    read = await bench.run(bench.exchange.verify_stop, order, attempt=9, waited=61)

    assert (type(read), read.qty) == (PositionRead, 0)


async def test_a_stop_that_was_hit_at_once_reads_flat(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.move("BTCUSDT", plan.stop_loss - 10)

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert isinstance(shown, PositionRead)
    assert shown.qty == 0
    assert bench.line.count("get_positions") == 1


async def test_the_stop_is_amended_in_place_and_the_target_stays(
    bench: Any, make_plan: Any
) -> None:
    """C4, C11: amended at the position, which knows it without an id of ours."""
    plan = make_plan()
    await bench.enter(plan)
    price = plan.stop_loss + 100

    shown = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=price))
    again = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=price))

    assert shown == again == StopConfirmed(price=price)
    stops = {o.stop.value: o.trigger_price for o in bench.open_orders()}
    assert stops == {"StopLoss": price, "TakeProfit": plan.take_profit}


async def test_a_stop_beyond_the_price_is_refused(bench: Any, make_plan: Any) -> None:
    """C1: the price has passed it; the trade leaves instead."""
    plan = make_plan()
    await bench.enter(plan)

    refused = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=plan.price + 50))

    assert isinstance(refused, StopRefused)


async def test_a_stop_that_does_not_show_after_it_was_set_is_set_again(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.stops.STOP_DEADLINE", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    order = TradeOrder(plan=plan, price=plan.stop_loss + 100)
    bench.line.spoil("set_trading_stop", lambda send: ({"retCode": 0, "result": {}}, None, {}))
    with pytest.raises(OutcomeUnknown, match=f"the stop shown is {plan.stop_loss.normalize():f}"):
        await bench.run(bench.exchange.set_stop, order)

    shown = await bench.run(bench.exchange.set_stop, order, attempt=2)

    assert shown == StopConfirmed(price=plan.stop_loss + 100)


async def test_a_stop_that_is_malformed_is_not_one_that_was_passed(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)

    with pytest.raises(OrderRejected, match="tick size"):
        await bench.run(
            bench.exchange.set_stop,
            TradeOrder(plan=plan, price=plan.stop_loss + Decimal("0.01")),
        )


async def test_a_stop_for_nothing_reads_flat(bench: Any, make_plan: Any) -> None:
    flat = await bench.run(bench.exchange.set_stop, TradeOrder(plan=make_plan()))

    assert (type(flat), flat.qty) == (PositionRead, 0)


# --- looking up -------------------------------------------------------------------------------


async def test_a_look_up_finds_the_entry_its_fill_and_the_position(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("get_executions", bench.faults.empty_list)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    placed, executed, ended, read = found.events
    assert isinstance(placed, EntryPlaced)
    assert isinstance(ended, EntryEnded)
    assert (executed.execution.order_link_id, read.qty) == (entry_link(plan), plan.qty)


async def test_a_look_up_does_not_end_an_entry_whose_fills_do_not_show(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.reading.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    bench.line.always["get_executions"] = bench.faults.empty_list

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    assert [type(e) for e in found.events] == [EntryPlaced]


async def test_a_look_up_tells_of_a_flat_position_whose_end_nobody_shows(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.reading.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    bench.move("BTCUSDT", plan.stop_loss - 1)
    # Adopted at a moment after its stop was hit, by a clock that is ahead
    late = await bench.pace.market_now() + timedelta(seconds=1)
    adopted = plan.model_copy(update={"origin": Origin.ADOPTED, "trigger": late})
    trade = Trade(plan=adopted).after(Adopted(qty=plan.qty, price=plan.price, at=late))

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=adopted, since=late))

    (read,) = found.events
    assert trade.after(read).state is TradeState.SETTLING
    assert bench.line.count("get_positions") > 1


async def test_one_flat_read_against_the_executions_is_not_told(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.reading.READS_LAG", 0.0)
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("get_positions", bench.faults.flat)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    assert [e.qty for e in found.events if isinstance(e, PositionRead)] == [plan.qty]


async def test_the_last_trade_of_the_symbol_is_not_counted_to_this_one(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.order("BTCUSDT", "Buy", "0.3")
    await bench.order("BTCUSDT", "Sell", "0.3", reduceOnly=True)
    await bench.enter(plan)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    executions = [e.execution for e in found.events if isinstance(e, Executed)]
    assert [e.order_link_id for e in executions] == [entry_link(plan)]
