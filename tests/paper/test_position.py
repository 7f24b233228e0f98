"""Positions through pybit: stops, leverage, margin."""

from decimal import Decimal

import pytest

from tests.paper.conftest import FLAT, Desk, Open, WriteCandles, eventually

TICK = Decimal("0.1")


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


async def test_leverage_is_set_once(desk: Desk) -> None:
    both = {"symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"}

    await desk.call("set_leverage", **both)
    again = await desk.refusal("set_leverage", **both)

    assert (await desk.position())["leverage"] == "5"
    assert again[0] == 110043


async def test_a_settle_coin_lists_only_what_is_held(desk: Desk) -> None:
    assert await desk.rows("get_positions", settleCoin="USDT") == []

    await desk.buy()

    assert [p["symbol"] for p in await desk.rows("get_positions", settleCoin="USDT")] == ["BTCUSDT"]


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


async def test_partial_stops_are_added_and_full_ones_are_moved(desk: Desk) -> None:
    await desk.buy("0.3")

    await desk.stop(tpslMode="Full", stopLoss="49000")
    await desk.stop(tpslMode="Full", stopLoss="49100")
    for price in ("49300", "49400"):
        await desk.stop(tpslMode="Partial", stopLoss=price, slSize="0.1")
    await desk.stop(
        tpslMode="Partial",
        takeProfit="51000",
        tpSize="0.1",
        tpOrderType="Limit",
        tpLimitPrice="50990",
    )

    waiting = await desk.rows("get_open_orders", symbol="BTCUSDT", orderFilter="StopOrder")
    told = {(o["stopOrderType"], o["triggerPrice"], o["qty"], o["tpslMode"]) for o in waiting}
    assert told == {
        ("StopLoss", "49100", "0.3", "Full"),
        ("PartialStopLoss", "49300", "0.1", "Partial"),
        ("PartialStopLoss", "49400", "0.1", "Partial"),
        ("PartialTakeProfit", "51000", "0.1", "Partial"),
    }
    (target,) = (o for o in waiting if o["stopOrderType"] == "PartialTakeProfit")
    assert (target["orderType"], target["price"]) == ("Limit", "50990")


async def test_margin_is_added_to_and_taken_from_an_isolated_position(desk: Desk) -> None:
    await desk.ask("set_margin_mode", setMarginMode="ISOLATED_MARGIN")
    await desk.buy()
    before = await desk.position()

    added = await desk.call("add_or_reduce_margin", symbol="BTCUSDT", margin="100")
    await desk.call("add_or_reduce_margin", symbol="BTCUSDT", margin="-50.5")
    await desk.call("set_auto_add_margin", symbol="BTCUSDT", autoAddMargin=1, positionIdx=0)

    after = await desk.position()
    assert float(added["positionIM"]) == pytest.approx(float(before["positionIM"]) + 100)
    assert float(after["positionIM"]) == pytest.approx(float(before["positionIM"]) + 49.5)
    assert float(added["liqPrice"]) < float(after["liqPrice"]) < float(before["liqPrice"])
    assert (before["autoAddMargin"], after["autoAddMargin"]) == (0, 1)


async def test_a_liquidation_price_is_on_the_tick(desk: Desk) -> None:
    await desk.ask("set_margin_mode", setMarginMode="ISOLATED_MARGIN")
    await desk.buy("0.007")
    held = await desk.position()

    exact = desk.paper.exchange.engine.accounts["main"].liq_price("BTCUSDT")
    assert exact is not None
    assert exact % TICK
    assert Decimal(held["liqPrice"]) == exact - exact % TICK


async def test_cross_positions_take_no_margin_of_their_own(desk: Desk) -> None:
    await desk.buy()

    added = await desk.refusal("add_or_reduce_margin", symbol="BTCUSDT", margin="100")
    automatic = await desk.refusal("set_auto_add_margin", symbol="BTCUSDT", autoAddMargin=1)

    assert (added[0], automatic[0]) == (110015, 110076)


async def test_one_way_mode_is_set_for_a_coin_though_it_is_set_already(desk: Desk) -> None:
    assert await desk.call("switch_position_mode", coin="USDT", mode=0) == {}

    refusal = await desk.refusal("switch_position_mode", coin="USDT", mode=3)
    assert refusal[0] == 110029


async def test_leverage_is_told_of_every_symbol(desk: Desk) -> None:
    await desk.call("set_leverage", symbol="BTCUSDT", buyLeverage="5", sellLeverage="5")

    answer = await desk.ask("/v5/position/symbol-info", category="linear")

    assert answer["result"]["list"] == [
        {"symbol": "BTCUSDT", "leverage": "5", "side": "", "positionIdx": 0}
    ]


async def test_a_flat_position_is_told_as_bybit_tells_it(desk: Desk) -> None:
    row = await desk.position()

    assert {name: row[name] for name in FLAT_ROW} == FLAT_ROW
    assert (row["openTime"], row["seq"], row["createdTime"]) == (0, -1, "0")


FLAT_ROW = {
    "side": "",
    "size": "0",
    "avgPrice": "0",
    "liqPrice": "",
    "positionValue": "",
    "unrealisedPnl": "",
    "positionIM": "0",
    "positionMM": "0",
    "takeProfit": "",
    "stopLoss": "",
    "trailingStop": "0",
    "positionStatus": "Normal",
    "tpslMode": "Full",
    "tradeMode": 0,
}


async def test_a_position_opened_between_two_pages_hides_no_other(open_desk: Open) -> None:
    desk = await open_desk(speed=1, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    for symbol in ("ETHUSDT", "SOLUSDT"):
        await desk.buy("1", symbol=symbol)

    first = await desk.call("get_positions", settleCoin="USDT", limit=1)
    await desk.buy("0.001")
    cursor = first["nextPageCursor"]
    second = await desk.call("get_positions", settleCoin="USDT", limit=1, cursor=cursor)

    shown = [row["symbol"] for row in first["list"] + second["list"]]
    assert shown == ["ETHUSDT", "SOLUSDT"]
    assert second["nextPageCursor"] == ""
