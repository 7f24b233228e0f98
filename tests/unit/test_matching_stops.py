"""Stops of a whole position and of a part of it, by last price, mark and index."""

from decimal import Decimal

import pytest

from tests.unit.matching import (
    MAIN,
    NOW,
    OTHER,
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
    sell,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import (
    Change,
    Engine,
    Order,
    OrderStatus,
    OrderType,
    RequestRejected,
    StopKind,
    StopRequest,
    TpslMode,
    TriggerDirection,
)


def partial(**changes: str | OrderType) -> StopRequest:
    fields = {k: D(v) if not isinstance(v, OrderType) else v for k, v in changes.items()}
    return StopRequest(tpsl_mode=TpslMode.PARTIAL, **fields)  # type: ignore[arg-type]


def set_stops(engine: Engine, request: StopRequest) -> dict[str, Order]:
    return states(engine.set_stops(MAIN, "BTCUSDT", request, NOW))


def test_a_stop_by_mark_ignores_the_last_price() -> None:
    engine = make_engine()
    place(engine, make_request(stop_loss="49500", sl_trigger_by="MarkPrice"))
    engine.refer("BTCUSDT", NOW, mark=D(50_000))

    assert executions(play(engine, "50000", "49000")) == []
    (closing,) = executions(engine.refer("BTCUSDT", NOW, mark=D(49_500)))

    assert (closing.stop, closing.price) == (StopKind.STOP_LOSS, D("48999.9"))


def test_a_target_by_index_ignores_the_last_price() -> None:
    engine = make_engine()
    place(engine, make_request(take_profit="50500", tp_trigger_by="IndexPrice"))
    engine.refer("BTCUSDT", NOW, index=D(50_000))

    assert executions(play(engine, "50000", "51000")) == []
    (closing,) = executions(engine.refer("BTCUSDT", NOW, index=D(50_600)))

    assert closing.stop is StopKind.TAKE_PROFIT


def test_partial_stops_add_up_and_keep_their_size() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    set_stops(engine, partial(stop_loss="49500", sl_size="0.1"))
    set_stops(engine, partial(stop_loss="49000", sl_size="0.05"))

    place(engine, sell(qty="0.12", reduce_only=True))
    kept = [(o.trigger_price, o.qty) for o in account(engine).partial_stops("BTCUSDT")]
    events = play(engine, "50000", "48900")

    assert kept == [(D(49_500), D("0.1")), (D(49_000), D("0.05"))]
    assert fills(events) == [(D("49499.9"), D("0.1")), (D("48999.9"), D("0.05"))]
    assert account(engine).positions["BTCUSDT"].size == D("0.03")
    assert {e.stop for e in executions(events)} == {StopKind.PARTIAL_STOP_LOSS}


def test_a_partial_stop_is_cut_to_what_is_left_of_the_position() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    set_stops(engine, partial(stop_loss="49500", sl_size="0.3"))
    place(engine, sell(qty="0.2", reduce_only=True))

    events = play(engine, "50000", "49000")

    assert fills(events) == [(D("49499.9"), D("0.1"))]
    assert account(engine).open_orders() == []


def test_a_partial_target_may_be_a_limit_order() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    set_stops(
        engine,
        partial(
            take_profit="50500",
            tp_size="0.1",
            tp_order_type=OrderType.LIMIT,
            tp_limit_price="50600",
        ),
    )

    triggered = play(engine, "50000", "50550")
    filled = play(engine, "50550", "50700")

    (order,) = states(triggered).values()
    assert (order.status, order.order_type) == (OrderStatus.NEW, OrderType.LIMIT)
    (execution,) = executions(filled)
    assert (execution.price, execution.is_maker) == (D(50_600), True)


def test_stops_of_a_part_end_with_the_position() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    both = {"stop_loss": "49500", "sl_size": "0.3", "take_profit": "51000", "tp_size": "0.3"}
    set_stops(engine, partial(**both))

    events = place(engine, sell(qty="0.3", reduce_only=True))

    ended = [o for o in states(events).values() if o.stop.is_partial]
    assert [o.cancel_type for o in ended] == ["CancelByTpSlTsClear"] * 2
    assert account(engine).open_orders() == []


def test_more_than_twenty_partial_stops_are_refused() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    for number in range(20):
        set_stops(engine, partial(stop_loss=f"{49000 + number}", sl_size="0.1"))

    with pytest.raises(RequestRejected) as failure:
        set_stops(engine, partial(stop_loss="48000", sl_size="0.1"))

    assert failure.value.code == 110061
    assert len(account(engine).partial_stops("BTCUSDT")) == 20


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (partial(stop_loss="49500", sl_size="0.1", take_profit="51000", tp_size="0.2"), 10001),
        (partial(stop_loss="49500", sl_size="0.4"), 110058),
        (partial(stop_loss="49500", sl_size="0.0001"), 10001),
        (partial(stop_loss="49500", sl_order_type=OrderType.LIMIT), 10001),
        (partial(stop_loss="50500"), 10001),
        (partial(stop_loss="0"), 10001),
        (partial(stop_loss="49500"), 10001),
        (partial(stop_loss="49500", sl_size="0.1", take_profit="51000"), 10001),
        (
            StopRequest(
                take_profit=D(51_000), tp_order_type=OrderType.LIMIT, tp_limit_price=D(51_000)
            ),
            10001,
        ),
    ],
)
def test_a_wrong_partial_stop_is_refused(request_: StopRequest, code: int) -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))

    with pytest.raises(RequestRejected) as failure:
        engine.set_stops(MAIN, "BTCUSDT", request_, NOW)

    assert failure.value.code == code
    assert account(engine).open_orders() == []


def test_an_attached_partial_stop_has_the_size_of_what_was_filled() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    order = placed(
        engine,
        limit("50000", qty="0.3", stop_loss="49500", tpsl_mode=TpslMode.PARTIAL, link="a-1"),
    )
    place(engine, sell(qty="0.1"), OTHER)
    first = account(engine).partial_stops("BTCUSDT")
    place(engine, sell(qty="0.15"), OTHER)
    second = account(engine).partial_stops("BTCUSDT")

    assert [o.qty for o in first] == [D("0.1")]
    assert [(o.order_id, o.qty) for o in second] == [(first[0].order_id, D("0.25"))]
    assert (second[0].parent_link, second[0].parent_id) == ("a-1", order.order_id)


@pytest.mark.parametrize(
    ("price", "ends"),
    [
        ("51100", "CancelByOCOSlCanceledByTpTriggered"),
        ("49400", "CancelByOCOTpCanceledBySlTriggered"),
    ],
)
@pytest.mark.parametrize("is_attached", [True, False])
def test_a_partial_stop_takes_its_counterpart_with_it(
    price: str, ends: str, *, is_attached: bool
) -> None:
    engine = make_engine()
    prices = {"stop_loss": "49500", "take_profit": "51000"}
    if is_attached:
        place(engine, make_request(qty="0.2"))
        place(engine, make_request(qty="0.1", tpsl_mode=TpslMode.PARTIAL, **prices))
    else:
        place(engine, make_request(qty="0.3"))
        set_stops(engine, partial(sl_size="0.1", tp_size="0.1", **prices))
    set_stops(engine, partial(stop_loss="48000", sl_size="0.05"))

    events = play(engine, "50000", price)

    ended = [o.cancel_type for o in states(events).values() if o.status is OrderStatus.CANCELLED]
    assert len(executions(events)) == 1
    assert account(engine).positions["BTCUSDT"].size == D("0.2")
    assert ended == [ends]
    assert [o.trigger_price for o in account(engine).open_orders()] == [D(48_000)]


def test_a_partial_stop_is_cancelled_with_its_counterpart() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    both = {"stop_loss": "49500", "sl_size": "0.1", "take_profit": "51000", "tp_size": "0.1"}
    (loss, target) = set_stops(engine, partial(**both)).values()
    (alone,) = set_stops(engine, partial(stop_loss="48000", sl_size="0.05")).values()

    ended = states(engine.cancel(MAIN, target.order_id, NOW))

    assert [ended[o.order_id].cancel_type for o in (target, loss)] == ["CancelByUser"] * 2
    assert account(engine).open_orders() == [alone]


def test_an_attached_full_stop_follows_the_whole_position() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, make_request(qty="0.1"))
    place(engine, limit("50000", qty="0.3", stop_loss="49500"))

    place(engine, sell(qty="0.1"), OTHER)

    (stop,) = account(engine).stops("BTCUSDT").values()
    assert (stop.stop, stop.qty) == (StopKind.STOP_LOSS, D("0.2"))


def test_an_attached_partial_limit_target_keeps_its_limit_price() -> None:
    engine = make_engine()
    request = make_request(
        take_profit="50500",
        tpsl_mode=TpslMode.PARTIAL,
        tp_order_type=OrderType.LIMIT,
        tp_limit_price="50490",
    )
    place(engine, request)

    (execution,) = executions(play(engine, "50000", "50600"))

    assert execution.stop is StopKind.PARTIAL_TAKE_PROFIT
    assert execution.order_price == 50_490
    assert execution.price == D("50499.9")


def test_a_stop_that_finds_too_little_leaves_the_rest_of_the_position() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, make_request(qty="0.3", stop_loss="49500"))
    bids, asks = [(D(49_490), D("0.1")), (D(40_000), D(9))], [(D(50_001), D(1))]
    engine.depth("BTCUSDT", bids, asks, NOW, snapshot=True)

    events = engine.trade("BTCUSDT", Side.SELL, D(49_500), D(1), NOW)

    assert fills(events) == [(D(49_490), D("0.1"))]
    (order,) = states(events).values()
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, D("0.1"))
    assert account(engine).positions["BTCUSDT"].size == D("0.2")


def test_a_waiting_stop_can_be_amended() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))
    (stop,) = set_stops(engine, partial(stop_loss="49500", sl_size="0.1")).values()

    change = Change(trigger_price=D(49_600), qty=D("0.2"))
    events = engine.amend(MAIN, stop.order_id, change, NOW)

    (moved,) = states(events).values()
    assert (moved.trigger_price, moved.qty) == (D(49_600), D("0.2"))
    assert fills(play(engine, "50000", "49000")) == [(D("49599.9"), D("0.2"))]


def test_a_trailing_stop_waits_for_its_activation_price() -> None:
    engine = make_engine()
    place(engine, sell())
    trailing = StopRequest(trailing_stop=D(100), active_price=D(49_800))
    (order,) = set_stops(engine, trailing).values()

    assert executions(play(engine, "50000", "49801", "50300")) == []
    events = play(engine, "50300", "49700", "50000")

    assert order.trigger_price == D(49_800)
    assert fills(events) == [(D("49800.1"), D("0.1"))]


def test_stops_stay_while_prices_do_not_reach_them() -> None:
    engine = make_engine()
    place(engine, make_request(stop_loss="49500", take_profit="50500"))

    play(engine, "50000", "50499.9", "49500.1")

    assert len(account(engine).stops("BTCUSDT")) == 2
    assert account(engine).positions["BTCUSDT"].size == Decimal("0.1")


def test_a_stop_that_is_moved_is_checked_against_the_price_that_triggers_it() -> None:
    engine = make_engine()
    place(engine, make_request(stop_loss="49000", sl_trigger_by="MarkPrice"))
    engine.refer("BTCUSDT", NOW, mark=D(49_500))

    with pytest.raises(RequestRejected) as failure:
        set_stops(engine, StopRequest(stop_loss=D(49_600)))

    assert failure.value.code == 10001
    assert account(engine).positions["BTCUSDT"].size == D("0.1")


def test_a_stop_that_would_trigger_by_another_price_at_once_is_refused() -> None:
    engine = make_engine()
    place(engine, make_request(stop_loss="49900"))
    order = placed(
        engine, make_request(trigger_price="50500", trigger_direction=TriggerDirection.RISE)
    )
    engine.refer("BTCUSDT", NOW, mark=D(49_500), index=D(51_000))

    with pytest.raises(RequestRejected) as failure:
        set_stops(engine, StopRequest(sl_trigger_by="MarkPrice"))
    with pytest.raises(RequestRejected) as other:
        engine.amend(MAIN, order.order_id, Change(trigger_by="IndexPrice"), NOW)

    assert (failure.value.code, other.value.code) == (10001, 110092)
    assert account(engine).positions["BTCUSDT"].size == D("0.1")
    assert len(account(engine).open_orders()) == 2


@pytest.mark.parametrize("is_amended", [True, False])
def test_a_trailing_stop_with_a_new_activation_price_waits_for_it(*, is_amended: bool) -> None:
    engine = make_engine()
    place(engine, make_request())
    (stop,) = set_stops(engine, StopRequest(trailing_stop=D(100))).values()
    play(engine, "50000", "50500")

    if is_amended:
        engine.amend(MAIN, stop.order_id, Change(trigger_price=D(52_000)), NOW)
    else:
        set_stops(engine, StopRequest(active_price=D(52_000)))
    waited = play(engine, "50500", "50000", "52010")
    events = play(engine, "52010", "51000")

    assert executions(waited) == []
    assert fills(events) == [(D("51909.9"), D("0.1"))]
