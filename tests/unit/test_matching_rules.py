"""What the engine accepts: price bands, limits of size and number, amendments, links."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.matching import (
    BTC,
    MAIN,
    NOW,
    OTHER,
    TICK,
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
from tradewright.domain.market import Side
from tradewright.matching import (
    Change,
    Engine,
    Market,
    Order,
    OrderChanged,
    OrderStatus,
    Profile,
    RequestRejected,
    TpslMode,
    TriggerDirection,
)

RISE = TriggerDirection.RISE


def test_the_price_band_lies_around_mark_and_index() -> None:
    engine = make_engine()
    assert engine.price_limit("BTCUSDT") == (D("50500"), D("49500"))

    engine.refer("BTCUSDT", NOW, mark=D(50_000), index=D(49_900))
    assert engine.price_limit("BTCUSDT") == (D("50600"), D("49500"))

    engine.refer("BTCUSDT", NOW, mark=D(50_000), index=D(52_000))
    assert engine.price_limit("BTCUSDT") == (D("51000"), D("49000"))


@given(st.integers(1_000, 10_000_000), st.integers(-300, 300))
def test_the_price_band_never_leaves_the_outer_limit(ticks: int, premium: int) -> None:
    mark = ticks * TICK
    engine = make_engine(str(mark))
    engine.refer("BTCUSDT", NOW, mark=mark, index=max(mark + premium * TICK, TICK))

    highest, lowest = engine.price_limit("BTCUSDT")

    assert mark * D("0.98") <= lowest <= mark <= highest <= mark * D("1.02")


@pytest.mark.parametrize(
    ("price", "side", "placed_at"),
    [
        ("60000", Side.BUY, "50500"),
        ("40000", Side.SELL, "49500"),
        ("40000", Side.BUY, "40000"),
        ("60000", Side.SELL, "60000"),
    ],
)
def test_a_price_outside_the_band_is_moved_to_it(price: str, side: Side, placed_at: str) -> None:
    engine = make_engine()

    assert placed(engine, limit(price, side)).price == D(placed_at)


def test_who_wants_that_is_refused_outside_the_band() -> None:
    engine = make_engine()
    engine.set_limit_action(MAIN, True, NOW)

    assert rejection(engine, limit("60000")).code == 110003
    assert placed(engine, limit("50400")).status is OrderStatus.FILLED
    assert account(engine).profile.rejects_outside_band


def test_an_amended_price_is_held_within_the_band() -> None:
    engine = make_engine()
    order = placed(engine, limit("40000", Side.BUY))
    engine.set_limit_action(MAIN, True, NOW)

    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, Change(price=D(60_000)), NOW)

    assert failure.value.code == 110003
    assert account(engine).open_orders() == [order]


def test_five_hundred_active_orders_are_enough() -> None:
    engine = make_engine(cash="10000000")
    for number in range(500):
        place(engine, limit(f"{40_000 + number}", qty="0.001"))

    assert rejection(engine, limit("49000")).code == 110020
    conditional = make_request(trigger_price="50500", trigger_direction=RISE)
    assert placed(engine, conditional).status is OrderStatus.UNTRIGGERED


def test_ten_conditional_orders_are_enough() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    request = make_request(trigger_price="50500", trigger_direction=RISE)
    for _ in range(10):
        place(engine, request)
    place(engine, make_request(stop_loss="49000"))

    assert rejection(engine, request).code == 110009
    assert placed(engine, request, OTHER).status is OrderStatus.UNTRIGGERED
    assert placed(engine, limit("49000")).status is OrderStatus.NEW


def test_a_link_is_unique_within_its_account_alone() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, limit("49000", link="a-1"))

    assert rejection(engine, limit("49000", link="a-1")).code == 110072
    assert placed(engine, limit("49000", link="a-1"), OTHER).link == "a-1"


def test_links_may_be_kept_elsewhere() -> None:
    class Archive:
        def __init__(self) -> None:
            self.known = {(MAIN, "old")}

        def __contains__(self, link: object) -> bool:
            return link in self.known

        def add(self, link: tuple[str, str]) -> None:
            self.known.add(link)

    archive = Archive()
    engine = Engine([Market(BTC)], links=archive)
    engine.open_account(Profile(account=MAIN, uid=1), D(10_000))
    play(engine, "50000")

    assert rejection(engine, make_request(link="old")).code == 110072
    place(engine, make_request(link="new"))
    assert (MAIN, "new") in archive.known


def test_a_refused_order_does_not_use_up_its_link() -> None:
    engine = make_engine()

    assert rejection(engine, make_request(link="a-1", qty="40")).code == 110007

    assert placed(engine, make_request(link="a-1")).status is OrderStatus.FILLED


def test_what_reduces_more_than_an_order_may_is_split() -> None:
    engine = make_engine(cash="1000000000")
    for _ in range(3):
        place(engine, make_request(qty="45"))

    events = place(engine, sell(qty="200", reduce_only=True, link="close"))

    orders = list(states(events).values())
    assert [(o.qty, o.link) for o in orders] == [(D(50), "close"), (D(50), ""), (D(35), "")]
    assert all(o.status is OrderStatus.FILLED for o in orders)
    assert account(engine).positions["BTCUSDT"].size == 0


def test_no_quantity_closes_all_if_it_may_only_close() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.3"))

    events = place(engine, sell(qty="0", reduce_only=True, close_on_trigger=True))

    assert [e.closed_size for e in executions(events)] == [D("0.3")]


def test_resting_reduce_only_orders_never_turn_the_position() -> None:
    engine = make_engine()
    place(engine, make_request(qty="0.1"))
    place(engine, limit("50500", Side.SELL, qty="0.1", reduce_only=True))
    place(engine, limit("50500", Side.SELL, qty="0.1", reduce_only=True))

    events = play(engine, "50000", "51000")

    assert fills(events) == [(D(50_500), D("0.1"))]
    assert account(engine).positions["BTCUSDT"].size == 0
    assert account(engine).open_orders() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slippage_type": "TickSize", "slippage": "0"}, 110108),
        ({"slippage_type": "TickSize", "slippage": "1.5"}, 110108),
        ({"slippage_type": "TickSize", "slippage": "10001"}, 110108),
        ({"slippage_type": "Percent", "slippage": "0.001"}, 110109),
        ({"slippage_type": "Percent", "slippage": "0.015"}, 110109),
        ({"slippage_type": "Percent", "slippage": "10.01"}, 110109),
        ({"slippage_type": "Guess", "slippage": "1"}, 10001),
        ({"tpsl_mode": TpslMode.FULL, "stop_loss": "49000", "sl_order_type": "Limit"}, 10001),
        ({"trigger_price": "50500", "trigger_direction": 3}, 10001),
        ({"trigger_price": "50500.05", "trigger_direction": RISE}, 10001),
        ({"qty": "0", "reduce_only": True}, 110017),
    ],
)
def test_wrong_details_are_refused_with_their_code(changes: dict[str, Any], code: int) -> None:
    engine = make_engine()

    assert rejection(engine, make_request(**changes)).code == code
    assert account(engine).open_orders() == []


def test_an_account_without_money_is_told_so() -> None:
    engine = make_engine(cash="0")

    assert rejection(engine, make_request()).code == 110004


def test_an_order_beyond_the_leverage_of_its_tier_is_refused() -> None:
    engine = make_engine(cash="10000000", tiers=TIERS, leverage=D(100))

    assert placed(engine, make_request(qty="1.5")).status is OrderStatus.FILLED
    refusal = rejection(engine, make_request(qty="1"))

    assert refusal.code == 110090
    assert "adjust your leverage to 50" in refusal.text


def test_resting_orders_count_towards_the_tier() -> None:
    engine = make_engine(cash="10000000", tiers=TIERS, leverage=D(100))
    place(engine, limit("49000", qty="1.5"))

    assert account(engine).tier_of("BTCUSDT") == TIERS[0]
    assert rejection(engine, limit("49000", qty="1")).code == 110090


def test_a_position_beyond_all_tiers_is_refused() -> None:
    engine = make_engine(cash="10000000", tiers=TIERS)

    assert rejection(engine, make_request(qty="50")).code == 110089


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Change(qty=D("0.1")), 110064),
        (Change(qty=D("0.05")), 110064),
        (Change(price=D(10)), 110094),
        (Change(stop_loss=D(49_000)), 110059),
        (Change(take_profit=D(52_000)), 110059),
        (Change(price=D("50000.05")), 10001),
        (Change(trigger_price=D(51_000)), 10001),
        (Change(), 10001),
    ],
)
def test_a_wrong_amendment_is_refused(change: Change, code: int) -> None:
    engine = make_engine(names=(MAIN, OTHER))
    order = placed(engine, limit("50000", qty="0.3"))
    place(engine, sell(qty="0.1"), OTHER)
    (before,) = account(engine).open_orders()

    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, change, NOW)

    assert failure.value.code == code
    assert account(engine).open_orders() == [before]


def test_an_amendment_that_cannot_be_paid_is_refused() -> None:
    engine = make_engine()
    order = placed(engine, limit("49000"))

    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, Change(qty=D(40)), NOW)

    assert failure.value.code == 110007


def test_an_amendment_beyond_the_leverage_of_its_tier_is_refused() -> None:
    engine = make_engine(cash="10000000", tiers=TIERS, leverage=D(100))
    order = placed(engine, limit("49000", qty="1"))

    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, Change(qty=D(3)), NOW)

    assert failure.value.code == 110090


def test_the_stops_of_an_unfilled_order_can_be_amended() -> None:
    engine = make_engine()
    order = placed(engine, limit("49000", stop_loss="48000"))

    (event,) = engine.amend(MAIN, order.order_id, Change(stop_loss=D(48_500)), NOW)

    assert isinstance(event, OrderChanged)
    assert event.order.stop_loss == 48_500


def test_a_conditional_order_can_be_moved_before_it_is_triggered() -> None:
    engine = make_engine()
    order = placed(engine, limit("50600", trigger_price="50500", trigger_direction=RISE))

    change = Change(trigger_price=D(50_700), price=D(50_400), qty=D("0.2"))
    engine.amend(MAIN, order.order_id, change, NOW)

    (moved,) = account(engine).open_orders()
    assert (moved.trigger_price, moved.price, moved.qty) == (D(50_700), D(50_400), D("0.2"))
    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, Change(trigger_price=D(49_000)), NOW)
    assert failure.value.code == 110092


def test_cancel_all_ends_the_orders_of_one_account_and_symbol() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, limit("49000"))
    place(engine, limit("49000"), OTHER)
    place(engine, limit("3900", symbol="ETHUSDT", qty="1"))

    events = engine.cancel_all(MAIN, {"BTCUSDT"}, NOW)

    ended = [e.order for e in events if isinstance(e, OrderChanged)]
    assert [(o.account, o.symbol, o.cancel_type) for o in ended] == [
        (MAIN, "BTCUSDT", "CancelByUser")
    ]


@given(st.lists(st.integers(1, 40).map(lambda n: n * D("0.01")), max_size=8), st.booleans())
def test_orders_that_only_reduce_never_do_more(qtys: list[Decimal], resting: bool) -> None:
    engine = make_engine(cash="1000000")
    place(engine, make_request(qty="1"))
    sent: list[Order] = []
    for qty in qtys:
        request = limit("50100" if resting else "49900", Side.SELL, qty=qty, reduce_only=True)
        if account(engine).positions["BTCUSDT"].size:
            sent.append(placed(engine, request))

    closed = executions(play(engine, "50000", "50200")) if resting else []

    position = account(engine).positions["BTCUSDT"]
    total = sum((o.filled for o in sent), D(0)) + sum((e.qty for e in closed), D(0))
    assert position.side is Side.BUY
    assert position.size == 1 - total == max(1 - sum(qtys, D(0)), D(0))


def test_a_conditional_price_is_not_moved_to_a_band_it_does_not_meet_yet() -> None:
    engine = make_engine()
    order = placed(engine, limit("60100", trigger_price="60000", trigger_direction=RISE))

    engine.amend(MAIN, order.order_id, Change(price=D(60_200)), NOW)

    (moved,) = account(engine).open_orders()
    assert moved.price == 60_200


def test_stops_of_a_conditional_order_are_measured_from_where_it_triggers() -> None:
    engine = make_engine()
    order = placed(
        engine, make_request(trigger_price="60000", trigger_direction=RISE, stop_loss="58000")
    )

    engine.amend(MAIN, order.order_id, Change(stop_loss=D(57_000)), NOW)

    (moved,) = account(engine).open_orders()
    assert moved.stop_loss == 57_000


def test_a_conditional_market_order_grows_to_what_a_market_order_may_be() -> None:
    engine = make_engine()
    order = placed(engine, make_request(trigger_price="60000", trigger_direction=RISE))

    with pytest.raises(RequestRejected) as failure:
        engine.amend(MAIN, order.order_id, Change(qty=D("50.001")), NOW)

    assert failure.value.code == 10001


@pytest.mark.parametrize("price", ["60000", "1200000"])
def test_a_position_that_outgrew_its_tier_can_be_closed(price: str) -> None:
    engine = make_engine(cash="10000000", tiers=TIERS, leverage=D(100))
    place(engine, make_request(qty="1.9"))
    place(engine, limit("49000", qty="0.01"))
    play(engine, price)

    assert rejection(engine, make_request(qty="0.01")).code in (110089, 110090)
    (order,) = account(engine).open_orders()
    engine.amend(MAIN, order.order_id, Change(qty=D("0.005")), NOW)
    assert placed(engine, sell(qty="1.9")).status is OrderStatus.FILLED
