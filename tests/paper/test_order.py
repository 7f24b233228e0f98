"""Orders through pybit, as the product places them."""

from typing import Any

import pytest

from tests.paper.conftest import FLAT, Desk, Open, WriteCandles, eventually


async def test_an_order_is_amended_and_cancelled_by_its_link(desk: Desk) -> None:
    await desk.limit("49000", orderLinkId="a-1")

    await desk.call("amend_order", symbol="BTCUSDT", orderLinkId="a-1", price="49100", qty="0.2")
    (amended,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-1")
    again = await desk.refusal("cancel_order", symbol="BTCUSDT", orderLinkId="a-1")

    assert (amended["price"], amended["qty"], amended["leavesQty"]) == ("49100", "0.2", "0.2")
    assert again[0] == 110001
    # A query by id finds what is closed, too
    (found,) = await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId="a-1", openOnly=0)
    assert (found["orderStatus"], found["cancelType"]) == ("Cancelled", "CancelByUser")


async def test_cancel_all_without_a_filter_takes_the_stops_too(desk: Desk) -> None:
    await desk.buy(stopLoss="49500")
    await desk.limit("49000")

    active = await desk.call("cancel_all_orders", symbol="BTCUSDT", orderFilter="Order")
    kept = await desk.rows("get_open_orders", symbol="BTCUSDT")
    rest = await desk.call("cancel_all_orders", settleCoin="USDT")

    assert (len(active["list"]), len(kept), len(rest["list"])) == (1, 1, 1)
    assert kept[0]["stopOrderType"] == "StopLoss"


async def test_a_used_link_is_refused_for_ever(desk: Desk) -> None:
    await desk.limit("49000", orderLinkId="a-1")
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-1")

    code, _ = await desk.refused_buy(orderLinkId="a-1")

    assert code == 110072


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"symbol": "NOPEUSDT"}, 10001, "symbol"),
        ({"qty": "1000"}, 10001, "maximum"),
        ({"qty": "499"}, 110007, "not enough"),
        ({"qty": "a lot"}, 10001, "qty"),
        ({"qty": "-1"}, 10001, "qty"),
        ({"side": "Up"}, 10001, "side"),
        ({"stopLoss": "50001"}, 10001, "expect Falling, but trigger_price"),
        ({"reduceOnly": True}, 110017, "reduce-only"),
        ({"positionIdx": 1}, 10001, "position idx not match position mode"),
        ({"orderType": "Limit", "price": "50000.05"}, 10001, "Price"),
    ],
)
async def test_a_wrong_order_is_refused_with_its_code(
    desk: Desk, params: dict[str, Any], code: int, text: str
) -> None:
    refusal = await desk.refused_buy(**params)

    assert refusal[0] == code
    assert text in refusal[1]
    assert await desk.rows("get_order_history") == []


async def test_all_of_a_position_is_closed_with_quantity_zero(desk: Desk) -> None:
    await desk.buy("0.123")

    await desk.buy("0", side="Sell", reduceOnly=True, closeOnTrigger=True)

    assert (await desk.position())["size"] == "0"


async def test_a_limit_order_that_the_candle_reaches_fills_as_maker(desk: Desk) -> None:
    await desk.limit("49200")

    await desk.step(2)

    (execution,) = await desk.executions()
    assert (execution["execPrice"], execution["isMaker"]) == ("49200", True)
    assert execution["feeRate"] == "0.0002"


async def test_a_conditional_order_is_a_stop_order_until_it_is_triggered(desk: Desk) -> None:
    await desk.buy(triggerPrice="49800", triggerDirection=2, orderLinkId="a-1")

    (waiting,) = await desk.rows("get_open_orders", symbol="BTCUSDT", orderFilter="StopOrder")
    await desk.call("amend_order", symbol="BTCUSDT", orderLinkId="a-1", triggerPrice="49700")
    await desk.step(2)

    assert (waiting["orderStatus"], waiting["stopOrderType"]) == ("Untriggered", "Stop")
    (execution,) = await desk.executions()
    assert execution["execPrice"] == "49700.1"
    assert execution["createType"] == "CreateByStopOrder"
    assert [
        o["orderLinkId"] for o in await desk.rows("get_order_history", orderFilter="Order")
    ] == ["a-1"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": "0.1"}, 10001),
        ({"qty": "0.0001"}, 110017),
        ({"qty": "30"}, 110007),
        ({"price": "49000.05"}, 10001),
        ({"triggerPrice": "49500"}, 10001),
        ({"stopLoss": "49000"}, 10001),
        ({}, 10001),
    ],
)
async def test_a_wrong_amendment_is_refused(desk: Desk, change: dict[str, str], code: int) -> None:
    await desk.limit("49000", orderLinkId="a-1")

    refusal = await desk.refusal("amend_order", symbol="BTCUSDT", orderLinkId="a-1", **change)

    (order,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    assert refusal[0] == code
    assert (order["qty"], order["price"], order["stopLoss"]) == ("0.1", "49000", "")


async def test_a_stop_is_moved_and_cancelled_by_its_order_id(desk: Desk) -> None:
    await desk.buy(stopLoss="49500")
    (stop,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    which = {"symbol": "BTCUSDT", "orderId": stop["orderId"]}

    await desk.call("amend_order", **which, triggerPrice="49600")
    moved = await desk.position()
    await desk.call("cancel_order", **which)

    assert moved["stopLoss"] == "49600"
    assert (await desk.position())["stopLoss"] == ""


async def test_what_belongs_to_limit_orders_is_ignored_of_a_market_order(desk: Desk) -> None:
    await desk.buy(price="1.23456", timeInForce="GTC", orderLinkId="a-1")

    (order,) = await desk.rows("get_order_history")
    assert (order["timeInForce"], order["orderStatus"]) == ("IOC", "Filled")
    assert order["price"] == "50500"


async def test_unknown_and_empty_parameters_are_ignored(desk: Desk) -> None:
    extras = {"clientOrderId": "x", "position_idx": 0, "takeProfit": "", "orderLinkId": None}

    await desk.limit("49000", **extras)

    (order,) = await desk.rows("get_open_orders", symbol="BTCUSDT", orderId="", orderLinkId="")
    assert (order["takeProfit"], order["orderLinkId"]) == ("", "")


async def test_an_order_id_counts_before_a_link(desk: Desk) -> None:
    first = await desk.limit("49000", orderLinkId="a-1")
    await desk.limit("49000", orderLinkId="a-2")

    await desk.call("cancel_order", symbol="BTCUSDT", orderId=first["orderId"], orderLinkId="a-2")

    (left,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    assert left["orderLinkId"] == "a-2"


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ({"symbol": "BTCUSDT"}, set()),
        ({"baseCoin": "BTC"}, set()),
        ({"settleCoin": "USDT"}, set()),
        ({"baseCoin": "ETH"}, {"active", "conditional", "StopLoss"}),
        ({"settleCoin": "USDC"}, {"active", "conditional", "StopLoss"}),
        # A symbol counts before a coin
        ({"symbol": "BTCUSDT", "baseCoin": "ETH"}, set()),
        ({"symbol": "BTCUSDT", "orderFilter": "Order"}, {"conditional", "StopLoss"}),
        ({"symbol": "BTCUSDT", "orderFilter": "OpenOrder"}, {"conditional", "StopLoss"}),
        ({"symbol": "BTCUSDT", "orderFilter": "StopOrder"}, {"active"}),
        (
            {"symbol": "BTCUSDT", "orderFilter": "StopOrder", "stopOrderType": "Stop"},
            {"active", "StopLoss"},
        ),
    ],
)
async def test_cancel_all_takes_what_its_scope_names(
    desk: Desk, scope: dict[str, str], left: set[str]
) -> None:
    await desk.buy(stopLoss="49500")
    await desk.limit("49000", orderLinkId="active")
    await desk.buy(triggerPrice="49800", triggerDirection=2, orderLinkId="conditional")

    answer = await desk.call("cancel_all_orders", **scope)

    open_ones = await desk.rows("get_open_orders", symbol="BTCUSDT")
    assert {o["orderLinkId"] or o["stopOrderType"] for o in open_ones} == left
    assert (len(answer["list"]), answer["success"]) == (3 - len(left), "1")


async def test_a_check_beforehand_tells_margin_rates_and_places_nothing(desk: Desk) -> None:
    fields = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}

    check = await desk.call("pre_check_order", **fields)

    assert (check["preImrE4"], check["preMmrE4"]) == (0, 0)
    # A tenth of 50,000 and both fees on an equity of 100,000
    assert check["postImrE4"] == 505
    assert 0 < check["postMmrE4"] < check["postImrE4"]
    assert await desk.rows("get_order_history") == []


async def test_a_cancel_that_a_fill_outran_is_accepted_and_told_in_a_second_message(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT), read_lag_ms=60_000)
    await desk.step()
    view = desk.paper.exchange.view
    view.lag_ms = 0
    await desk.limit("49000", orderLinkId="a-1")
    view.lag_ms = 60_000
    stream = await desk.private()
    await desk.call("amend_order", symbol="BTCUSDT", orderLinkId="a-1", price="50100")

    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-1")

    await eventually(lambda: len(stream.rows("order")) >= 3)
    told = [(o["orderStatus"], o["cancelType"], o["rejectReason"]) for o in stream.rows("order")]
    assert told[-2:] == [
        ("Filled", "UNKNOWN", "EC_NoError"),
        ("Filled", "CancelByUser", "EC_OrigClOrdIDDoesNotExist"),
    ]


@pytest.mark.parametrize(
    ("kind", "level", "price"),
    [
        ("Queue", "1", "49999.9"),
        ("Queue", "3", "49999.7"),
        ("Counterparty", "1", "50000.1"),
        ("Counterparty", "2", "50000.2"),
    ],
)
async def test_a_limit_order_takes_its_price_from_a_level_of_the_book(
    open_desk: Open, write_candles: WriteCandles, kind: str, level: str, price: str
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT), depth=1_000_000)
    await desk.step()

    await desk.limit("1", bboSideType=kind, bboLevel=level, orderLinkId="a-1")

    (order,) = await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId="a-1")
    assert order["price"] == price
