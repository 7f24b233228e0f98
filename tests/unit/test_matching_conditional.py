"""Conditional orders: what sets them off, and what becomes of them then."""

import pytest

from tests.unit.matching import (
    MAIN,
    NOW,
    TIERS,
    D,
    account,
    executions,
    fills,
    limit,
    make_engine,
    make_request,
    place,
    placed,
    play,
    rejection,
    sell,
    states,
)
from tradewright.matching import (
    OrderChanged,
    OrderStatus,
    TriggerDirection,
)

RISE, FALL = TriggerDirection.RISE, TriggerDirection.FALL


@pytest.mark.parametrize(
    ("by", "direction", "trigger", "mark", "index"),
    [
        ("MarkPrice", RISE, "50500", "50500", "49000"),
        ("MarkPrice", FALL, "49500", "49500", "51000"),
        ("IndexPrice", RISE, "50500", "49000", "50500"),
        ("IndexPrice", FALL, "49500", "51000", "49500"),
    ],
)
def test_a_conditional_order_waits_for_the_price_it_names(
    by: str, direction: int, trigger: str, mark: str, index: str
) -> None:
    engine = make_engine()
    order = placed(
        engine, make_request(trigger_price=trigger, trigger_direction=direction, trigger_by=by)
    )
    engine.refer("BTCUSDT", NOW, D(50_000), D(50_000))

    crossed = play(engine, "50000", "52000", "48000", "50000")
    events = engine.refer("BTCUSDT", NOW, D(mark), D(index))

    assert order.status is OrderStatus.UNTRIGGERED
    assert crossed == []
    assert states(events)[order.order_id].status is OrderStatus.FILLED


def test_a_trigger_by_mark_follows_the_last_price_until_the_mark_is_set() -> None:
    engine = make_engine()
    place(
        engine, make_request(trigger_price="50500", trigger_direction=RISE, trigger_by="MarkPrice")
    )

    (execution,) = executions(play(engine, "50000", "51000"))

    assert execution.price == D("50500.1")


def test_the_direction_is_checked_against_the_price_that_triggers() -> None:
    engine = make_engine()
    engine.refer("BTCUSDT", NOW, mark=D(51_000))
    request = {"trigger_price": "50500", "trigger_direction": RISE}

    assert rejection(engine, make_request(**request, trigger_by="MarkPrice")).code == 110092
    assert placed(engine, make_request(**request)).status is OrderStatus.UNTRIGGERED


def test_a_triggered_limit_order_rests_until_its_price_comes() -> None:
    engine = make_engine()
    order = placed(engine, limit("49000", trigger_price="49500", trigger_direction=FALL))

    triggered = play(engine, "50000", "49400")
    filled = play(engine, "49400", "48900")

    assert states(triggered)[order.order_id].status is OrderStatus.NEW
    assert fills(filled) == [(D(49_000), D("0.1"))]


def test_what_cannot_be_paid_when_triggered_is_cancelled() -> None:
    engine = make_engine(cash="600")
    order = placed(engine, make_request(trigger_price="50500", trigger_direction=RISE))
    place(engine, make_request(qty="0.1"))

    events = play(engine, "50000", "50600")

    ended = states(events)[order.order_id]
    assert ended.cancel_type == "CancelByCannotAffordOrderCost"
    assert executions(events) == []


@pytest.mark.parametrize("rejects", [True, False])
def test_a_triggered_price_outside_the_band_is_as_the_account_wants_it(*, rejects: bool) -> None:
    engine = make_engine()
    engine.set_limit_action(MAIN, rejects, NOW)
    order = placed(engine, limit("60000", trigger_price="50500", trigger_direction=RISE))

    ended = states(play(engine, "50000", "50500"))[order.order_id]

    if rejects:
        assert (ended.status, ended.reject_reason) == (
            OrderStatus.REJECTED,
            "EC_ReachRiskPriceLimit",
        )
    else:
        assert (ended.status, ended.price) == (OrderStatus.FILLED, D("51005"))


def test_what_exceeds_its_tier_when_triggered_is_rejected() -> None:
    engine = make_engine(cash="10000000", tiers=TIERS, leverage=D(100))
    wish = make_request(qty="1.5", trigger_price="50500", trigger_direction=RISE)
    first, second = placed(engine, wish), placed(engine, wish)

    ended = states(play(engine, "50000", "50600"))

    assert ended[first.order_id].status is OrderStatus.FILLED
    assert ended[second.order_id].status is OrderStatus.REJECTED
    assert account(engine).positions["BTCUSDT"].size == D("1.5")


def test_a_triggered_order_still_has_all_to_trade() -> None:
    engine = make_engine()
    place(engine, make_request(trigger_price="50500", trigger_direction=RISE))

    events = play(engine, "50000", "50600")

    told = [(o.status, o.leaves) for e in events if isinstance(e, OrderChanged) for o in [e.order]]
    assert told[0] == (OrderStatus.TRIGGERED, D("0.1"))
    assert told[-1] == (OrderStatus.FILLED, D(0))


def test_close_on_trigger_is_cut_to_the_position() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.1"))
    order = placed(
        engine,
        sell(qty="5", trigger_price="49500", trigger_direction=FALL, close_on_trigger=True),
    )

    events = play(engine, "50000", "49000")

    assert fills(events) == [(D("49499.9"), D("0.1"))]
    ended = states(events)[order.order_id]
    assert (ended.status, ended.qty) == (OrderStatus.FILLED, D("0.1"))


def test_close_on_trigger_without_a_position_is_cancelled() -> None:
    engine = make_engine()
    order = placed(
        engine,
        sell(qty="5", trigger_price="49500", trigger_direction=FALL, close_on_trigger=True),
    )

    events = play(engine, "50000", "49000")

    assert states(events)[order.order_id].cancel_type == "CancelByReduceOnly"


def test_a_waiting_reduce_only_order_outlives_its_position() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.1"))
    order = placed(
        engine, sell(qty="0.3", trigger_price="49500", trigger_direction=FALL, reduce_only=True)
    )
    place(engine, sell(qty="0.1"))
    kept = account(engine).open_orders()
    place(engine, make_request(qty="0.2"))

    events = play(engine, "50000", "49000")

    assert kept == [order]
    assert fills(events) == [(D("49499.9"), D("0.2"))]
    assert account(engine).positions["BTCUSDT"].size == 0
