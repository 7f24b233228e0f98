"""Depth: what takers get, who rests in which place, what the market's trades give."""

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
    rejection,
    sell,
    states,
)
from tradewright.domain.market import Side
from tradewright.matching import Change, Engine, OrderStatus, StopKind, TimeInForce

Levels = list[tuple[str, str]]


def told(levels: Levels) -> list[tuple[Decimal, Decimal]]:
    return [(D(price), D(qty)) for price, qty in levels]


def make_recorded(bids: Levels, asks: Levels, **options: object) -> Engine:
    """Return an engine at 50,000 with a recorded book."""
    engine = make_engine(**{"names": (MAIN, OTHER), **options})  # type: ignore[arg-type]
    engine.depth("BTCUSDT", told(bids), told(asks), NOW, snapshot=True)
    return engine


def test_a_taker_walks_the_ladder_level_by_level() -> None:
    engine = make_engine(depth="15000")

    order = placed(engine, make_request(qty="0.35"))

    assert engine.levels("BTCUSDT", 1)[1] == [(D("50000.3"), D("0.25"))]
    assert order.status is OrderStatus.FILLED
    assert order.filled_value == D("0.1") * D("50000.1") + D("0.2") * D("50000.2") + D("0.05") * D(
        "50000.3"
    )


def test_what_is_taken_is_gone_until_the_price_moves() -> None:
    engine = make_engine(depth="15000")
    fresh = engine.levels("BTCUSDT", 3)
    placed(engine, make_request(qty="0.15"))
    taken = engine.levels("BTCUSDT", 3)

    play(engine, "50000")
    still = engine.levels("BTCUSDT", 3)
    play(engine, "50000.1", "50000")

    assert taken[0] == fresh[0]
    assert taken[1][0] == (D("50000.2"), D("0.15"))
    assert still == taken
    assert engine.levels("BTCUSDT", 3) == fresh


def test_each_level_is_an_execution_of_its_own() -> None:
    engine = make_recorded([("49999", "1")], [("50000", "0.1"), ("50010", "0.2"), ("50020", "1")])

    events = place(engine, make_request(qty="0.35"))

    assert fills(events) == told([("50000", "0.1"), ("50010", "0.2"), ("50020", "0.05")])
    assert [o.status for o in states(events).values()] == [OrderStatus.FILLED]


def test_a_market_order_goes_no_further_than_one_per_cent() -> None:
    engine = make_recorded([("49999", "1")], [("50100", "0.1"), ("50501", "5")])

    order = placed(engine, make_request(qty="0.3"))

    assert order.price == 50_500
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, D("0.1"))
    assert order.reject_reason == "EC_NoImmediateQtyToFill"


@pytest.mark.parametrize(
    ("kind", "slippage", "filled"),
    [("TickSize", "9", "0.1"), ("TickSize", "10", "0.3"), ("Percent", "0.01", "0.3")],
)
def test_a_market_order_goes_as_far_as_it_tolerates(kind: str, slippage: str, filled: str) -> None:
    engine = make_recorded([("49999", "1")], [("50000", "0.1"), ("50001", "0.2"), ("50006", "9")])

    order = placed(engine, make_request(qty="0.5", slippage_type=kind, slippage=slippage))

    assert order.filled == D(filled)
    assert order.status is OrderStatus.CANCELLED


def test_nothing_trades_on_an_empty_side() -> None:
    engine = make_recorded([("49999", "1")], [])

    order = placed(engine, make_request())

    assert (order.status, order.filled) == (OrderStatus.CANCELLED, D(0))


def test_the_rest_of_a_limit_order_that_takes_stays_in_the_book() -> None:
    engine = make_recorded([("49999", "1")], [("50000", "0.1"), ("50010", "1")])

    order = placed(engine, limit("50005", qty="0.4"))

    assert (order.status, order.filled) == (OrderStatus.PARTIALLY_FILLED, D("0.1"))
    assert engine.levels("BTCUSDT", 1) == (told([("50005", "0.3")]), told([("50010", "1")]))


@pytest.mark.parametrize(
    ("time_in_force", "qty", "filled", "reason"),
    [
        (TimeInForce.IOC, "0.4", "0.1", "EC_NoImmediateQtyToFill"),
        (TimeInForce.FOK, "0.4", "0", "EC_NoEnoughQtyToFill"),
        (TimeInForce.FOK, "0.1", "0.1", "EC_NoError"),
        (TimeInForce.POST_ONLY, "0.4", "0", "EC_PostOnlyWillTakeLiquidity"),
    ],
)
def test_time_in_force_says_what_may_be_filled(
    time_in_force: TimeInForce, qty: str, filled: str, reason: str
) -> None:
    engine = make_recorded([("49999", "1")], [("50000", "0.1"), ("50010", "1")])

    order = placed(engine, limit("50005", qty=qty, time_in_force=time_in_force))

    assert (order.filled, order.reject_reason) == (D(filled), reason)
    assert not order.is_open


def test_fill_or_kill_counts_the_orders_of_accounts() -> None:
    engine = make_recorded([], [("50000", "0.1")])
    place(engine, limit("50001", Side.SELL, qty="0.1"), OTHER)

    whole = placed(engine, limit("50005", qty="0.2", time_in_force=TimeInForce.FOK))

    assert whole.status is OrderStatus.FILLED
    assert whole.filled_value == D("0.1") * 50_000 + D("0.1") * 50_001


def test_accounts_trade_with_each_other() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, limit("50000", qty="0.3"))

    events = place(engine, sell(qty="0.1"), OTHER)

    assert fills(events, OTHER) == fills(events, MAIN) == told([("50000", "0.1")])
    assert [e.is_maker for e in executions(events)] == [False, True]
    assert account(engine, OTHER).positions["BTCUSDT"].side is Side.SELL
    assert account(engine, MAIN).positions["BTCUSDT"].side is Side.BUY


def test_at_one_price_the_earlier_order_goes_first() -> None:
    engine = make_engine(names=(MAIN, OTHER, "taker"))
    first = placed(engine, limit("50000", qty="0.1"), OTHER)
    second = placed(engine, limit("50000", qty="0.1"))

    events = place(engine, sell(qty="0.15"), "taker")

    makers = [(e.order_id, e.qty) for e in executions(events) if e.is_maker]
    assert makers == [(first.order_id, D("0.1")), (second.order_id, D("0.05"))]


@pytest.mark.parametrize(
    ("change", "keeps"),
    [
        (Change(qty=D("0.05")), True),
        (Change(qty=D("0.2")), False),
        (Change(price=D("49999.9")), False),
    ],
)
def test_who_asks_for_more_or_another_price_goes_to_the_end(change: Change, keeps: bool) -> None:
    engine = make_recorded([], [], names=(MAIN, OTHER))
    price = "50000" if change.price is None else "49999.9"
    early = placed(engine, limit("50000", qty="0.1"))
    late = placed(engine, limit(price, qty="0.1"), OTHER)
    engine.amend(MAIN, early.order_id, change, NOW)

    events = place(engine, sell(qty="0.01"), OTHER)

    (maker,) = [e for e in executions(events) if e.is_maker]
    assert maker.order_id == (early if keeps else late).order_id


def test_the_market_was_there_first() -> None:
    engine = make_recorded([("50000", "0.5")], [("50010", "1")])
    order = placed(engine, limit("50000", qty="0.1"))

    before = place(engine, sell(qty="0.4"), OTHER)
    after = place(engine, sell(qty="0.2"), OTHER)

    assert order.ahead == D("0.5")
    assert fills(before, MAIN) == []
    assert fills(after, MAIN) == told([("50000", "0.1")])
    assert fills(after, OTHER) == told([("50000", "0.1"), ("50000", "0.1")])


def test_a_trade_gives_those_at_its_price_what_is_left_after_those_in_front() -> None:
    engine = make_recorded([("50000", "0.5")], [("50010", "1")])
    place(engine, limit("50000", qty="0.3"))

    first = engine.trade("BTCUSDT", Side.SELL, D(50_000), D("0.4"), NOW)
    second = engine.trade("BTCUSDT", Side.SELL, D(50_000), D("0.25"), NOW)

    assert fills(first) == []
    assert fills(second) == told([("50000", "0.15")])
    assert engine.last["BTCUSDT"] == 50_000


def test_a_trade_beyond_an_order_fills_it_first() -> None:
    engine = make_recorded([("49990", "5")], [("50010", "1")])
    place(engine, limit("50000", qty="0.3"))

    events = engine.trade("BTCUSDT", Side.SELL, D(49_990), D("0.2"), NOW)

    assert fills(events) == told([("50000", "0.2")])


def test_a_trade_of_buyers_leaves_bids_alone() -> None:
    engine = make_recorded([], [("50010", "1")])
    place(engine, limit("50000", qty="0.3"))

    assert engine.trade("BTCUSDT", Side.BUY, D(49_990), D("0.2"), NOW) == []


def test_who_leaves_in_front_lets_others_move_up() -> None:
    engine = make_recorded([("50000", "0.5")], [("50010", "1")])
    order = placed(engine, limit("50000", qty="0.3"))

    events = engine.depth("BTCUSDT", told([("50000", "0.1")]), [], NOW, snapshot=False)

    assert states(events)[order.order_id].ahead == D("0.1")
    assert engine.depth("BTCUSDT", told([("50000", "4")]), [], NOW, snapshot=False) == []


def test_a_book_that_crosses_an_order_fills_it_at_its_price() -> None:
    engine = make_recorded([], [("50010", "1")])
    place(engine, limit("50000", qty="0.3"))

    events = engine.depth("BTCUSDT", [], told([("49990", "0.2")]), NOW, snapshot=False)

    assert fills(events) == told([("50000", "0.2")])
    assert executions(events)[0].is_maker
    assert engine.levels("BTCUSDT", 2)[1] == told([("50010", "1")])


def test_a_delta_changes_only_what_it_names() -> None:
    engine = make_recorded([("49999", "1"), ("49998", "2")], [("50001", "1")])

    engine.depth("BTCUSDT", told([("49999", "0"), ("49997", "3")]), [], NOW, snapshot=False)

    bids, asks = engine.levels("BTCUSDT", 5)
    assert bids == told([("49998", "2"), ("49997", "3")])
    assert asks == told([("50001", "1")])


def test_a_recorded_book_without_trades_begins_in_its_middle() -> None:
    engine = Engine(make_engine().markets.values())

    engine.depth("BTCUSDT", told([("100", "1")]), told([("101", "1")]), NOW, snapshot=True)

    assert engine.last["BTCUSDT"] == engine.mark["BTCUSDT"] == D("100.5")


def test_volume_bounds_what_resting_orders_get() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    place(engine, limit("49990", qty="0.3"))
    place(engine, limit("49990", qty="0.3"), OTHER)

    first = engine.glide("BTCUSDT", D(49_980), NOW, volume=D("0.4"))
    second = engine.glide("BTCUSDT", D(49_985), NOW, volume=D("0.1"))
    third = engine.glide("BTCUSDT", D(49_985), NOW)

    assert [(e.account, e.qty) for e in executions(first)] == [
        (MAIN, D("0.3")),
        (OTHER, D("0.1")),
    ]
    assert fills(second, OTHER) == told([("49990", "0.1")])
    assert fills(third, OTHER) == told([("49990", "0.1")])


def test_volume_serves_those_in_front_first() -> None:
    engine = make_engine(depth="15000")
    order = placed(engine, limit("49999.9", qty="0.3"))

    events = engine.glide("BTCUSDT", D("49999.9"), NOW, volume=D("0.25"))

    assert order.ahead == D("0.1")
    assert fills(events) == told([("49999.9", "0.15")])


def test_what_overlaps_an_unfilled_order_is_not_shown() -> None:
    engine = make_engine()
    place(engine, limit("49990", qty="0.3"))

    engine.glide("BTCUSDT", D(49_980), NOW, volume=D("0.1"))

    bids, asks = engine.levels("BTCUSDT", 1)
    assert bids == told([("49990", "0.2")])
    assert asks[0][0] > 49_990


def test_a_stop_does_not_trade_with_what_the_market_jumps_over() -> None:
    engine = make_engine()
    place(engine, make_request(stop_loss="49500"))
    place(engine, limit("49400"))

    events = play(engine, "49000")

    stopped, bought = executions(events)
    assert (stopped.stop, stopped.price) == (StopKind.STOP_LOSS, D("48999.9"))
    assert (bought.price, bought.is_maker) == (D(49_400), True)


def test_a_cancelled_order_leaves_the_book() -> None:
    engine = make_recorded([], [])
    order = placed(engine, limit("50000"))

    engine.cancel(MAIN, order.order_id, NOW)

    assert engine.levels("BTCUSDT", 5) == ([], [])
    assert executions(place(engine, sell(), OTHER)) == []


def test_the_order_of_another_account_is_not_found() -> None:
    engine = make_engine(names=(MAIN, OTHER))
    order = placed(engine, limit("49000"))

    with pytest.raises(Exception, match="not exists"):
        engine.cancel(OTHER, order.order_id, NOW)


def test_who_is_unknown_has_no_symbol_to_trade() -> None:
    engine = make_engine()

    assert rejection(engine, make_request(symbol="NOPEUSDT")).code == 10001


def test_a_book_made_up_anew_stands_where_it_is_told() -> None:
    engine = make_engine()

    engine.board.widen("BTCUSDT", 10, D(15_000))

    assert engine.levels("BTCUSDT", 1) == (told([("49999.5", "0.1")]), told([("50000.5", "0.1")]))


def test_a_recorded_book_is_not_made_up_anew() -> None:
    engine = make_recorded([("49999", "1")], [("50001", "1")])

    engine.board.widen("BTCUSDT", 100, None)

    assert engine.levels("BTCUSDT", 1) == (told([("49999", "1")]), told([("50001", "1")]))


def test_a_halted_market_takes_no_orders() -> None:
    engine = make_engine()
    engine.board.halt("BTCUSDT", halted=True)

    assert rejection(engine, make_request()).code == 110074
    engine.board.halt("BTCUSDT", halted=False)
    assert placed(engine, make_request()).status is OrderStatus.FILLED
