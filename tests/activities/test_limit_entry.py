"""An entry that waits at the exchange for its price: sent once, withdrawn with what it came to."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.lookup import ReadsDisagree
from tradewright.domain.account.refusal import EXPLANATIONS
from tradewright.domain.errors import OutcomeUnknown
from tradewright.domain.plan import LimitEntry, TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    EntryRejected,
    Executed,
    Trade,
    TradeState,
)
from tradewright.ports import TradeEvents, TradeOrder

HOUR = timedelta(hours=1)


@pytest.fixture
async def make_limit(bench: Any, make_plan: Any) -> Any:
    """A plan that waits a per cent below the market, or above it for a sell."""
    now = await bench.pace.market_now()

    def make(away: str = "0.01", *, post_only: bool = False, **changes: Any) -> TradePlan:
        plan: TradePlan = make_plan(**changes)
        sign, price = plan.side.sign, bench.price(plan.symbol)
        limit = plan.instrument.floor_price(price * (1 - sign * Decimal(away)))
        entry = LimitEntry(post_only=post_only, rest_until=now + HOUR)
        return plan.model_copy(update={"price": limit, "entry": entry})

    return make


def kinds(found: TradeEvents) -> list[str]:
    return [event.kind for event in found.events]


def filled(found: TradeEvents) -> Decimal:
    return sum((e.execution.qty for e in found.events if isinstance(e, Executed)), Decimal(0))


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_a_limit_entry_rests_and_carries_its_stop_and_its_target(
    bench: Any, make_limit: Any, side: str
) -> None:
    plan = make_limit(side=side)

    await bench.enter(plan)

    (order,) = bench.open_orders()
    assert (order.price, order.time_in_force, order.qty) == (plan.price, "GTC", plan.qty)
    assert (order.stop_loss, order.take_profit) == (plan.stop_loss, plan.take_profit)
    bench.move("BTCUSDT", plan.price - plan.side.sign * 10)
    assert bench.held() == plan.qty * plan.side.sign
    assert {k: o.trigger_price for k, o in bench.stops().items()} == {
        "StopLoss": plan.stop_loss,
        "TakeProfit": plan.take_profit,
    }


async def test_a_limit_entry_is_sent_however_far_the_price_is_from_it(
    bench: Any, make_limit: Any
) -> None:
    plan = make_limit("0.015")
    bench.move("BTCUSDT", plan.price * Decimal("1.05"))

    await bench.enter(plan)

    assert [o.link for o in bench.open_orders()] == [f"{plan.trade_id}-e1"]


async def test_a_limit_entry_whose_stop_does_not_protect_is_not_sent(
    bench: Any, make_limit: Any
) -> None:
    beyond = make_limit("0.03")
    passed = make_limit("0.01", symbol="ETHUSDT")
    bench.move("ETHUSDT", passed.stop_loss - 1)

    wrong = await bench.run(bench.exchange.place_entry, TradeOrder(plan=beyond))
    late = await bench.run(bench.exchange.place_entry, TradeOrder(plan=passed))

    assert (wrong.code, late.code) == ("stop_wrong_side", "price_moved")
    assert bench.line.count("place_order") == 0


async def test_a_limit_entry_is_not_sent_when_its_time_to_wait_is_over(
    bench: Any, make_limit: Any
) -> None:
    plan = make_limit()
    over = plan.entry.model_copy(update={"rest_until": await bench.pace.market_now()})

    refused = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan.model_copy(update={"entry": over}))
    )

    assert (refused.code, bench.line.count("place_order")) == ("expired", 0)


async def test_a_post_only_entry_that_would_cross_is_rejected_by_its_name(
    bench: Any, make_limit: Any
) -> None:
    crossing, resting = (
        make_limit("-0.01", post_only=True),
        make_limit(post_only=True, symbol="ETHUSDT"),
    )

    rejected = await bench.run(bench.exchange.place_entry, TradeOrder(plan=crossing))
    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=resting))

    assert rejected == EntryRejected(
        code="post_only_would_take", reason="EC_PostOnlyWillTakeLiquidity"
    )
    assert rejected.code in EXPLANATIONS
    assert isinstance(placed, EntryPlaced)
    assert bench.held() == 0
    assert [o.time_in_force for o in bench.open_orders()] == ["PostOnly"]


async def test_a_lost_answer_never_rests_a_limit_entry_twice(bench: Any, make_limit: Any) -> None:
    plan = make_limit()
    await bench.fault("reset", when={"endpoint": "/v5/order/create", "times": 1})
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    (order,) = bench.open_orders()
    assert placed == EntryPlaced(order_id=order.order_id)


async def test_a_look_up_of_a_partly_filled_entry_does_not_end_it(
    bench: Any, make_limit: Any
) -> None:
    plan = make_limit("-0.005")
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": "*-e1"})
    await bench.enter(plan)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    assert kinds(found) == ["entry_placed", "executed", "position_read"]
    assert 0 < filled(found) == found.events[-1].qty < plan.qty


async def test_a_cancel_of_the_entry_tells_what_was_filled(bench: Any, make_limit: Any) -> None:
    """A6: what was filled before the cancel is read after it."""
    plan, untouched = make_limit("-0.005"), make_limit(symbol="ETHUSDT")
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": f"{plan.trade_id}-e1"})
    await bench.enter(plan)
    await bench.enter(untouched)

    part = await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan))
    nothing = await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=untouched))

    assert kinds(part) == ["entry_placed", "executed", "entry_ended", "position_read"]
    assert filled(part) == part.events[-1].qty == bench.held()
    assert kinds(nothing) == ["entry_ended", "position_read"]
    assert set(bench.stops()) == {"StopLoss", "TakeProfit"}
    assert all(o.stop for o in bench.open_orders())


async def test_a_fill_that_overtakes_the_cancel_is_told(bench: Any, make_limit: Any) -> None:
    """A6: an order that was to be cancelled, and was filled first, is a position."""
    plan = make_limit()
    await bench.enter(plan)

    def fill_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.price - 10)
        return send()

    bench.line.spoil("cancel_order", fill_first)

    found = await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan))

    assert kinds(found) == ["entry_placed", "executed", "entry_ended", "position_read"]
    assert found.events[-1].qty == plan.qty


async def test_a_cancel_is_not_over_before_the_exchange_says_so(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    monkeypatch.setattr("activities.reading.READS_LAG", 0.2)
    plan = make_limit()
    await bench.enter(plan)
    # It says that it was cancelled, and it works on
    bench.line.spoil("cancel_order", lambda send: ({"retCode": 0, "result": {}}, None, {}))

    with pytest.raises(ReadsDisagree, match="the entry was cancelled and is New"):
        await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan))
    found = await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan), attempt=2)

    assert kinds(found) == ["entry_ended", "position_read"]


async def test_a_resting_entry_is_withdrawn_before_its_trade_reads_flat(
    bench: Any, make_limit: Any
) -> None:
    plan = make_limit()
    await bench.enter(plan)
    bench.line.spoil("cancel_order", bench.faults.answers(10006))

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan, number=2))
    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert sent.order_link_id == ""
    assert (settled.events[-1].qty, bench.open_orders()) == (0, [])


async def test_a_fill_between_flat_and_the_cancel_of_the_entry_is_not_missed(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: flat is said only by a read that follows the cancel."""
    monkeypatch.setattr("activities.exits.READS_LAG", 0.5)
    plan = make_limit()
    await bench.enter(plan)

    def fill_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.price - 10)
        return send()

    bench.line.spoil("cancel_order", fill_first)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert settled.events[-1].qty == plan.qty
    # Nobody has wished to leave: what is held is the trade's, and keeps its stop
    trade = Trade(plan=plan, state=TradeState.SETTLING)
    for event in settled.events:
        trade = trade.after(event)
    assert (trade.state, trade.entry_qty) == (TradeState.OPEN, plan.qty)
    assert set(bench.stops()) == {"StopLoss", "TakeProfit"}


async def test_the_rest_of_an_entry_whose_stop_was_hit_is_not_filled_any_more(
    bench: Any, make_limit: Any
) -> None:
    plan = make_limit("-0.005")
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": "*-e1"})
    await bench.enter(plan)
    half = bench.held()
    bench.move("BTCUSDT", plan.price + 100)
    await bench.order("BTCUSDT", "Sell", str(half), reduceOnly=True)
    assert [o.link for o in bench.open_orders()] == [f"{plan.trade_id}-e1"]

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert (filled(settled), settled.events[-1].qty) == (2 * half, 0)
    assert bench.open_orders() == []


async def test_the_rest_of_an_entry_that_is_filled_after_its_part_was_closed_is_not_missed(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: the part was flat by every read, and the rest came before its cancel."""
    monkeypatch.setattr("activities.exits.READS_LAG", 0.5)
    plan = make_limit("-0.005")
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": "*-e1"})
    await bench.enter(plan)
    half = bench.held()
    bench.move("BTCUSDT", plan.price + 100)
    await bench.order("BTCUSDT", "Sell", str(half), reduceOnly=True)

    def fill_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.price - 10)
        return send()

    bench.line.spoil("cancel_order", fill_first)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert settled.events[-1].qty == bench.held() == plan.qty - half


async def test_flat_by_reads_that_lag_behind_the_cancel_of_the_entry_is_not_believed(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B2: the position and the executions tell one story, that of a moment ago."""
    monkeypatch.setattr("activities.exits.READS_LAG", 0.5)
    plan = make_limit("-0.005")
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": "*-e1"})
    await bench.enter(plan)
    half = bench.held()
    bench.move("BTCUSDT", plan.price + 100)
    await bench.order("BTCUSDT", "Sell", str(half), reduceOnly=True)

    def fill_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.price - 10)
        bench.line.spoil("get_positions", bench.faults.flat)
        bench.line.spoil("get_executions", bench.faults.rows(lambda rows: rows[-2:]))
        return send()

    bench.line.spoil("cancel_order", fill_first)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert settled.events[-1].qty == bench.held() == plan.qty - half


async def test_an_entry_that_the_exchange_has_forgotten_has_ended(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.reading.READS_LAG", 0.2)
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    plan = make_limit()
    old = plan.model_copy(update={"expires_at": plan.expires_at - timedelta(days=2)})

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=old))
    with pytest.raises(ReadsDisagree, match="shown nowhere"):
        await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan))

    assert kinds(found) == ["entry_ended", "position_read"]


async def test_an_entry_that_never_landed_has_ended_once_its_absence_is_believed(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: it is shown nowhere and there is nothing to cancel, for as long as reads may lag."""
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    order = TradeOrder(plan=make_limit())

    with pytest.raises(ReadsDisagree, match="shown nowhere"):
        await bench.run(bench.exchange.cancel_entry, order, waited=59)
    found = await bench.run(bench.exchange.cancel_entry, order, waited=61)

    assert kinds(found) == ["entry_ended", "position_read"]
    assert found.events[0].reason == "the exchange does not know it"
    trade = Trade(plan=order.plan, state=TradeState.SETTLING)
    assert trade.is_working
    assert not trade.after(found.events[0]).is_working


async def test_an_entry_that_was_there_to_be_cancelled_is_not_taken_for_absent(
    bench: Any, make_limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    monkeypatch.setattr("activities.reading.READS_LAG", 0.2)
    plan = make_limit()
    await bench.enter(plan)
    for read in ("get_open_orders", "get_order_history", "get_executions"):
        bench.line.always[read] = bench.faults.empty_list

    with pytest.raises(ReadsDisagree, match="shown nowhere"):
        await bench.run(bench.exchange.cancel_entry, TradeOrder(plan=plan), waited=61)
