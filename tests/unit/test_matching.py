"""Orders, stops, fills and margin on given prices."""

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.matching import (
    MAIN,
    NOW,
    account,
    executions,
    limit,
    make_engine,
    make_request,
    play,
    rejection,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Change,
    OrderChanged,
    OrderStatus,
    RequestRejected,
    StopKind,
    StopRequest,
    TimeInForce,
    TriggerDirection,
)


def test_a_market_order_pays_half_the_spread_and_the_taker_fee() -> None:
    engine = make_engine()

    (execution,) = executions(engine.place(MAIN, make_request(), NOW))

    assert execution.price == Decimal("50000.1")
    assert execution.fee == Decimal("2.7500055")
    assert not execution.is_maker
    assert account(engine).positions["BTCUSDT"].avg_price == Decimal("50000.1")


def test_a_resting_limit_order_fills_at_its_price_as_maker() -> None:
    engine = make_engine()
    engine.place(MAIN, limit("49900"), NOW)

    assert executions(play(engine, "50000", "49900.1")) == []
    (execution,) = executions(play(engine, "49900.1", "49900"))

    assert execution.price == 49900
    assert execution.is_maker
    assert execution.fee_rate == Decimal("0.0002")


def test_a_limit_order_that_crosses_the_book_takes_at_the_book_price() -> None:
    engine = make_engine()

    (execution,) = executions(engine.place(MAIN, limit("51000"), NOW))

    assert execution.price == Decimal("50000.1")
    assert not execution.is_maker


@pytest.mark.parametrize(
    ("time_in_force", "price", "reason"),
    [
        (TimeInForce.IOC, "49000", "EC_NoImmediateQtyToFill"),
        (TimeInForce.FOK, "49000", "EC_NoEnoughQtyToFill"),
        (TimeInForce.POST_ONLY, "51000", "EC_PostOnlyWillTakeLiquidity"),
    ],
)
def test_what_its_time_in_force_forbids_is_cancelled_with_the_reason(
    time_in_force: TimeInForce, price: str, reason: str
) -> None:
    engine = make_engine()

    events = engine.place(MAIN, limit(price, time_in_force=time_in_force), NOW)

    (order,) = states(events).values()
    assert (order.status, order.reject_reason) == (OrderStatus.CANCELLED, reason)
    assert executions(events) == []


def test_an_entry_brings_its_stops_and_they_close_it() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(link="a-1", stop_loss="49500", take_profit="51000"), NOW)
    stops = account(engine).stops("BTCUSDT")
    assert {k: s.trigger_price for k, s in stops.items()} == {
        StopKind.STOP_LOSS: 49500,
        StopKind.TAKE_PROFIT: 51000,
    }
    assert {s.parent_link for s in stops.values()} == {"a-1"}

    events = play(engine, "50000", "49000")

    (closing,) = executions(events)
    assert closing.price == Decimal("49499.9")
    assert (closing.side, closing.closed_size, closing.stop) == (
        Side.SELL,
        Decimal("0.1"),
        StopKind.STOP_LOSS,
    )
    ended = {o.stop: o for o in states(events).values()}
    assert ended[StopKind.STOP_LOSS].status is OrderStatus.FILLED
    assert ended[StopKind.TAKE_PROFIT].cancel_type == "CancelByTpSlTsClear"
    assert account(engine).open_orders() == []


def test_a_gap_fills_a_stop_where_the_price_lands() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)

    (closing,) = executions(play(engine, "48000", "48500"))

    assert closing.price == Decimal("47999.9")


def test_a_short_is_stopped_above() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(side=Side.SELL, stop_loss="50500", take_profit="49000"), NOW)

    (closing,) = executions(play(engine, "50000", "51000"))

    assert (closing.side, closing.price) == (Side.BUY, Decimal("50500.1"))


def test_the_stop_goes_before_the_target_where_a_jump_reaches_both_orders() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)
    engine.place(MAIN, limit("49500", reduce_only=True, side=Side.SELL, qty="0.05"), NOW)
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)
    engine.place(MAIN, limit("50100", reduce_only=True, side=Side.SELL, qty="0.05"), NOW)

    events = play(engine, "49000", "50200")

    assert [e.stop for e in executions(events)] == [StopKind.STOP_LOSS]


def test_a_full_stop_follows_the_size_of_the_position() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)

    engine.place(MAIN, make_request(qty="0.05"), NOW)
    grown = account(engine).stops("BTCUSDT")[StopKind.STOP_LOSS].qty
    engine.place(MAIN, make_request(side=Side.SELL, qty="0.1", reduce_only=True), NOW)
    shrunk = account(engine).stops("BTCUSDT")[StopKind.STOP_LOSS].qty

    assert (grown, shrunk) == (Decimal("0.15"), Decimal("0.05"))


def test_a_trailing_stop_follows_the_best_price_and_fires_at_its_distance() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(), NOW)
    engine.set_stops(
        MAIN, "BTCUSDT", StopRequest(trailing_stop=Decimal(100), active_price=Decimal(50_200)), NOW
    )

    assert executions(play(engine, "50000", "50199", "49900")) == []
    (closing,) = executions(play(engine, "49900", "50500", "50000"))

    assert closing.price == Decimal("50399.9")
    assert closing.stop is StopKind.TRAILING


def test_stops_are_moved_in_place_and_removed_with_zero() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)
    before = account(engine).stops("BTCUSDT")[StopKind.STOP_LOSS]

    engine.set_stops(MAIN, "BTCUSDT", StopRequest(stop_loss=Decimal(49_900)), NOW)
    moved = account(engine).stops("BTCUSDT")[StopKind.STOP_LOSS]
    engine.set_stops(MAIN, "BTCUSDT", StopRequest(stop_loss=Decimal(0)), NOW)

    assert moved.order_id == before.order_id
    assert moved.trigger_price == 49900
    assert account(engine).stops("BTCUSDT") == {}


def test_stops_that_stay_as_they_are_are_refused_as_not_modified() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)

    with pytest.raises(RequestRejected) as failure:
        engine.set_stops(MAIN, "BTCUSDT", StopRequest(stop_loss=Decimal(49_500)), NOW)

    assert failure.value.code == 34040


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"qty": "0.0001"}, 110017, "truncated"),
        ({"qty": "0.0015"}, 10001, "Qty invalid"),
        ({"qty": "51"}, 10001, "maximum limit"),
        ({"stop_loss": "50000"}, 10001, "expect Falling, but trigger_price"),
        ({"stop_loss": "49000.05"}, 10001, "StopLoss invalid"),
        ({"take_profit": "49000"}, 10001, "expect Rising, but trigger_price"),
        ({"side": Side.SELL, "stop_loss": "49000"}, 10001, "expect Rising"),
        ({"reduce_only": True}, 110017, "current position is zero"),
        ({"link": "x" * 37}, 10001, "orderLinkId"),
        ({"link": "a b"}, 10001, "orderLinkId"),
        ({"qty": "40"}, 110007, "not enough"),
        ({"symbol": "NOPEUSDT"}, 10001, "symbol"),
        (
            {"trigger_price": "49000", "trigger_direction": TriggerDirection.RISE},
            110092,
            "expect Rising",
        ),
        (
            {"trigger_price": "51000", "trigger_direction": TriggerDirection.FALL},
            110093,
            "expect Falling",
        ),
    ],
)
def test_what_breaks_a_rule_is_rejected_with_its_code(
    changes: dict[str, Any], code: int, text: str
) -> None:
    engine = make_engine()

    failure = rejection(engine, make_request(**changes))

    assert failure.code == code
    assert text in failure.text
    assert engine.seq == 0


def test_an_order_below_the_least_notional_is_rejected() -> None:
    engine = make_engine("1000")

    assert rejection(engine, make_request(qty="0.004")).code == 110094


def test_an_order_link_is_unique_for_ever() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(link="a-1"), NOW)
    engine.place(MAIN, make_request(side=Side.SELL, reduce_only=True), NOW)

    assert rejection(engine, make_request(link="a-1")).code == 110072


def test_a_conditional_order_waits_for_its_trigger() -> None:
    engine = make_engine()
    request = make_request(trigger_price="50500", trigger_direction=TriggerDirection.RISE)
    (event, *_) = engine.place(MAIN, request, NOW)
    assert isinstance(event, OrderChanged)
    assert event.order.status is OrderStatus.UNTRIGGERED

    events = play(engine, "50000", "51000")

    (execution,) = executions(events)
    assert execution.price == Decimal("50500.1")
    assert account(engine).positions["BTCUSDT"].size == Decimal("0.1")


def test_an_amended_order_that_crosses_fills() -> None:
    engine = make_engine()
    (event, *_) = engine.place(MAIN, limit("49000"), NOW)
    assert isinstance(event, OrderChanged)

    events = engine.amend(MAIN, event.order.order_id, Change(price=Decimal(50_100)), NOW)

    assert [e.price for e in executions(events)] == [Decimal("50000.1")]


def test_an_amendment_that_changes_nothing_is_refused() -> None:
    engine = make_engine()
    (event, *_) = engine.place(MAIN, limit("49000"), NOW)
    assert isinstance(event, OrderChanged)

    with pytest.raises(RequestRejected, match="remains unchanged"):
        engine.amend(MAIN, event.order.order_id, Change(price=Decimal(49_000)), NOW)


def test_an_ended_order_cannot_be_cancelled() -> None:
    engine = make_engine()
    (event, *_) = engine.place(MAIN, make_request(), NOW)
    assert isinstance(event, OrderChanged)

    with pytest.raises(RequestRejected) as failure:
        engine.cancel(MAIN, event.order.order_id, NOW)

    assert failure.value.code == 110001


def test_cancel_all_takes_the_stops_unless_only_active_orders_are_meant() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)
    engine.place(MAIN, limit("49000"), NOW)

    engine.cancel_all(MAIN, {"BTCUSDT"}, NOW, {StopKind.NONE})
    kept = [o.stop for o in account(engine).open_orders()]
    engine.cancel_all(MAIN, {"BTCUSDT"}, NOW)

    assert kept == [StopKind.STOP_LOSS]
    assert account(engine).open_orders() == []


def test_a_triggered_order_that_rests_is_an_active_one() -> None:
    engine = make_engine()
    waits = limit("49000", trigger_price="49500", trigger_direction=TriggerDirection.FALL)
    engine.place(MAIN, waits, NOW)
    engine.play("BTCUSDT", [Decimal(49_400)], NOW)

    engine.cancel_all(MAIN, {"BTCUSDT"}, NOW, set(StopKind) - {StopKind.NONE})
    kept = account(engine).open_orders()
    engine.cancel_all(MAIN, {"BTCUSDT"}, NOW, {StopKind.NONE})

    assert [o.status for o in kept] == [OrderStatus.NEW]
    assert account(engine).open_orders() == []


def test_closing_more_than_is_held_turns_the_position_and_clears_its_stops() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(stop_loss="49500"), NOW)

    events = engine.place(MAIN, make_request(side=Side.SELL, qty="0.3"), NOW)

    position = account(engine).positions["BTCUSDT"]
    assert (position.side, position.size) == (Side.SELL, Decimal("0.2"))
    assert position.avg_price == Decimal("49999.9")
    assert executions(events)[0].closed_size == Decimal("0.1")
    assert account(engine).stops("BTCUSDT") == {}


def test_resting_reduce_only_orders_end_with_the_position() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(), NOW)
    engine.place(MAIN, limit("51000", side=Side.SELL, reduce_only=True), NOW)

    events = engine.place(MAIN, make_request(side=Side.SELL, reduce_only=True), NOW)

    assert [o.cancel_type for o in states(events).values() if not o.filled] == [
        "CancelByReduceOnly"
    ]


def test_the_price_of_averaging_is_exact() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(qty="0.1"), NOW)
    play(engine, "50600")

    engine.place(MAIN, make_request(qty="0.2"), NOW)
    after_adding = account(engine).positions["BTCUSDT"].avg_price
    engine.place(MAIN, make_request(side=Side.SELL, qty="0.15", reduce_only=True), NOW)

    assert round(after_adding, 4) == Decimal("50400.1000")
    assert round(account(engine).positions["BTCUSDT"].avg_price, 4) == Decimal("50400.1000")


def test_leverage_sets_the_margin_and_repeating_it_is_refused() -> None:
    engine = make_engine()
    engine.place(MAIN, make_request(), NOW)
    at_ten = account(engine).position_margin()

    engine.set_leverage(MAIN, "BTCUSDT", Decimal(20), NOW)

    assert account(engine).position_margin() < at_ten
    with pytest.raises(RequestRejected) as failure:
        engine.set_leverage(MAIN, "BTCUSDT", Decimal(20), NOW)
    assert failure.value.code == 110043
