"""Trading through pybit, as the product does."""

from typing import Any

import pytest

from tests.paper.conftest import Desk, Open, WriteCandles, eventually

FLAT = (50_000, 50_000, 50_000, 50_000)


async def test_a_bought_position_is_stopped_out_and_the_ledger_balances(desk: Desk) -> None:
    stream = await desk.private()
    entry = await desk.buy(stopLoss="49500", takeProfit="51000", orderLinkId="a-1")
    held = await desk.position()
    await desk.step(2)

    flat = await desk.position()
    entered, stopped = await desk.executions()
    assert (held["side"], held["size"], held["stopLoss"]) == ("Buy", "0.1", "49500")
    assert (flat["side"], flat["size"]) == ("", "0")
    assert (entered["orderId"], entered["orderLinkId"]) == (entry["orderId"], "a-1")
    assert {k: stopped[k] for k in ("orderLinkId", "createType", "stopOrderType", "side")} == {
        "orderLinkId": "",
        "createType": "CreateByStopLoss",
        "stopOrderType": "StopLoss",
        "side": "Sell",
    }
    assert (stopped["execPrice"], stopped["closedSize"]) == ("49499.9", "0.1")
    assert (stopped["isMaker"], stopped["execType"]) == (False, "Trade")
    (closed,) = await desk.rows("get_closed_pnl", symbol="BTCUSDT")
    assert closed["closedPnl"] == "-55.4925"
    ledger = await desk.get("/paper/ledger")
    assert ledger["balanced"]
    assert ledger["wallet"] == "99944.5075"
    assert (await desk.wallet())["totalWalletBalance"] == "99944.5075"

    await eventually(lambda: len(stream.rows("execution")) == 2)
    told = stream.rows("order")
    states = [o["orderStatus"] for o in told if o["orderId"] == stopped["orderId"]]
    assert states == ["Untriggered", "Triggered", "New", "Filled"]
    assert told[-1]["cancelType"] == "CancelByTpSlTsClear"
    assert {o["parentOrderLinkId"] for o in told if o["stopOrderType"]} == {"a-1"}
    assert stream.rows("execution")[-1]["execPnl"] == "-50.02"
    assert stream.rows("position")[-1]["size"] == "0"


async def test_the_stops_of_a_position_are_set_moved_and_removed(desk: Desk) -> None:
    await desk.buy()

    await desk.stop(stopLoss="49500", takeProfit="52000")
    await desk.stop(stopLoss="49900")
    moved = await desk.rows("get_open_orders", symbol="BTCUSDT", orderFilter="StopOrder")
    unchanged = await desk.refused_stop(stopLoss="49900")
    await desk.stop(stopLoss="0", trailingStop="300", activePrice="50500")
    final = await desk.rows("get_open_orders", symbol="BTCUSDT")

    assert {o["stopOrderType"]: o["triggerPrice"] for o in moved} == {
        "StopLoss": "49900",
        "TakeProfit": "52000",
    }
    assert {o["orderStatus"] for o in moved} == {"Untriggered"}
    assert unchanged[0] == 34040
    assert {o["stopOrderType"]: o["triggerPrice"] for o in final} == {
        "TakeProfit": "52000",
        "TrailingStop": "50500",
    }
    assert (await desk.position())["trailingStop"] == "300"


async def test_the_stops_of_a_flat_position_cannot_be_set(desk: Desk) -> None:
    code, text = await desk.refused_stop(stopLoss="49500")

    assert code == 10001
    assert "zero position" in text


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
        ({"tpslMode": "Partial", "stopLoss": "49000"}, 10001, "Full"),
    ],
)
async def test_a_wrong_order_is_refused_with_its_code(
    desk: Desk, params: dict[str, Any], code: int, text: str
) -> None:
    refusal = await desk.refused_buy(**params)

    assert refusal[0] == code
    assert text in refusal[1]
    assert await desk.rows("get_order_history") == []


async def test_leverage_is_set_once(desk: Desk) -> None:
    both = {"symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"}

    await desk.call("set_leverage", **both)
    again = await desk.refusal("set_leverage", **both)

    assert (await desk.position())["leverage"] == "5"
    assert again[0] == 110043


async def test_all_of_a_position_is_closed_with_quantity_zero(desk: Desk) -> None:
    await desk.buy("0.123")

    await desk.buy("0", side="Sell", reduceOnly=True, closeOnTrigger=True)

    assert (await desk.position())["size"] == "0"


async def test_lists_come_in_pages_newest_first(desk: Desk) -> None:
    links = [f"a-{n}" for n in range(7)]
    for link in links:
        await desk.limit("49000", orderLinkId=link)

    found: list[str] = []
    cursor = ""
    for expected in (3, 3, 1):
        answer = await desk.call("get_open_orders", symbol="BTCUSDT", limit=3, cursor=cursor)
        assert len(answer["list"]) == expected
        found += [o["orderLinkId"] for o in answer["list"]]
        cursor = answer["nextPageCursor"]

    assert found == links[::-1]
    assert cursor == ""


async def test_closed_orders_are_found_in_history_and_among_the_recent(desk: Desk) -> None:
    await desk.buy(orderLinkId="a-1")

    (history,) = await desk.rows("get_order_history", symbol="BTCUSDT")
    (recent,) = await desk.rows("get_open_orders", symbol="BTCUSDT", openOnly=1)

    assert history["orderLinkId"] == recent["orderLinkId"] == "a-1"
    assert (history["orderStatus"], history["avgPrice"]) == ("Filled", "50000.1")


async def test_a_settle_coin_lists_only_what_is_held(desk: Desk) -> None:
    assert await desk.rows("get_positions", settleCoin="USDT") == []

    await desk.buy()

    assert [p["symbol"] for p in await desk.rows("get_positions", settleCoin="USDT")] == ["BTCUSDT"]


async def test_a_limit_order_that_the_candle_reaches_fills_as_maker(desk: Desk) -> None:
    await desk.limit("49200")

    await desk.step(2)

    (execution,) = await desk.executions()
    assert (execution["execPrice"], execution["isMaker"]) == ("49200", True)
    assert execution["feeRate"] == "0.0002"


async def test_a_trailing_stop_follows_the_market(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    data = write_candles(FLAT, FLAT, (50_000, 51_000, 49_990, 50_900))
    desk = await open_desk(market=data)
    await desk.step()
    await desk.buy()
    await desk.stop(trailingStop="50")

    await desk.step(2)

    assert (await desk.executions())[-1]["execPrice"] == "50949.9"
    assert (await desk.executions())[-1]["createType"] == "CreateByTrailingStop"


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
        ({"qty": "600"}, 110007),
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


@pytest.mark.parametrize("method", ["get_order_history", "get_executions", "get_closed_pnl"])
async def test_a_history_is_of_the_time_asked_for_by_the_market_clock(
    desk: Desk, method: str
) -> None:
    await desk.buy()
    await desk.buy(side="Sell", reduceOnly=True)
    now_ms = desk.paper.exchange.clock.now_ms()

    assert await desk.rows(method, startTime=now_ms - 1000, endTime=now_ms)
    assert await desk.rows(method, startTime=now_ms - 1000)
    assert await desk.rows(method, endTime=now_ms - 1000) == []
    assert await desk.rows(method, startTime=now_ms + 1) == []
    too_long = await desk.refusal(method, startTime=now_ms - 8 * 86_400_000, endTime=now_ms)
    assert too_long[0] == 10001


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get_open_orders", {}),
        ("get_open_orders", {"symbol": "BTCUSDT", "limit": 51}),
        ("get_open_orders", {"symbol": "BTCUSDT", "limit": "x"}),
        ("get_open_orders", {"symbol": "BTCUSDT", "cursor": "x"}),
        ("get_positions", {}),
        ("cancel_all_orders", {"symbol": "BTCUSDT", "orderFilter": "None"}),
        ("cancel_order", {"symbol": "BTCUSDT"}),
        ("set_leverage", {"symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "6"}),
        ("set_leverage", {"symbol": "BTCUSDT", "buyLeverage": "500", "sellLeverage": "500"}),
        ("set_trading_stop", {"symbol": "BTCUSDT", "tpslMode": "Partial", "stopLoss": "49000"}),
        ("get_instruments_info", {"symbol": "NOPEUSDT"}),
    ],
)
async def test_parameters_that_do_not_fit_are_refused(
    desk: Desk, method: str, params: dict[str, Any]
) -> None:
    assert (await desk.refusal(method, **params))[0] == 10001


async def test_base_coin_chooses_the_symbols(desk: Desk) -> None:
    await desk.limit("49000")

    assert len(await desk.rows("get_open_orders", baseCoin="BTC")) == 1
    assert await desk.rows("get_open_orders", baseCoin="ETH") == []


async def test_executions_are_found_by_order_and_by_link(desk: Desk) -> None:
    first = await desk.buy(orderLinkId="a-1")
    await desk.buy(orderLinkId="a-2")

    by_id = await desk.rows("get_executions", orderId=first["orderId"])
    by_link = await desk.rows("get_executions", orderLinkId="a-2")

    assert [e["orderLinkId"] for e in by_id + by_link] == ["a-1", "a-2"]
    assert await desk.rows("get_executions", symbol="BTCUSDT", execType="Funding") == []
