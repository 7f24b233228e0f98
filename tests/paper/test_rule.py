"""Every refusal by a rule of trading, with Bybit's code and text."""

from decimal import Decimal

from tests.paper.conftest import Desk
from tests.paper.test_refusal import (
    BTC,
    GONE,
    LIMIT,
    MARKET,
    STOP,
    Refusal,
    differing,
    refusal,
    wrong,
)

RULES: list[Refusal] = [
    ("place_order", MARKET | {"orderLinkId": "x" * 37}, 10001, wrong("orderLinkId")),
    ("place_order", MARKET | {"orderLinkId": "a b"}, 10001, wrong("orderLinkId")),
    ("place_order", MARKET | {"qty": ""}, 110017, "orderQty will be truncated to zero."),
    ("place_order", MARKET | {"qty": "0.0001"}, 110017, "orderQty will be truncated to zero."),
    ("place_order", MARKET | {"qty": "0.1005"}, 10001, "Qty invalid"),
    ("place_order", MARKET | {"qty": "5001"}, 10001, "exceeds maximum limit allowed"),
    ("place_order", MARKET | {"qty": "30"}, 110007, "ab not enough for new order"),
    ("place_order", MARKET | {"reduceOnly": True}, 110017, "current position is zero"),
    ("place_order", LIMIT | {"qty": "0.001", "price": "1000"}, 110094, "minimum order value 5USDT"),
    ("place_order", LIMIT | {"price": ""}, 10001, "Price invalid"),
    ("place_order", LIMIT | {"price": "49000.05"}, 10001, "Price invalid"),
    ("place_order", LIMIT | {"timeInForce": "RPI"}, 110119, "approved market makers only"),
    ("place_order", LIMIT | {"bboSideType": "Mine", "bboLevel": "1"}, 10001, wrong("bboSideType")),
    ("place_order", LIMIT | {"bboSideType": "Queue", "bboLevel": "6"}, 10001, wrong("bboLevel")),
    ("place_order", MARKET | {"stopLoss": "50001"}, 10001, "expect Falling, but trigger_price"),
    ("place_order", MARKET | {"takeProfit": "49999"}, 10001, "expect Rising, but trigger_price"),
    ("place_order", MARKET | {"stopLoss": "49000.05"}, 10001, "StopLoss invalid"),
    (
        "place_order",
        MARKET | {"takeProfit": "51000", "tpOrderType": "Limit", "tpLimitPrice": "51000"},
        10001,
        "tpslMode Full only supports Market",
    ),
    (
        "place_order",
        MARKET | {"tpslMode": "Partial", "takeProfit": "51000", "tpOrderType": "Limit"},
        10001,
        "LimitPrice invalid",
    ),
    ("place_order", MARKET | {"triggerPrice": "51000"}, 10001, wrong("triggerDirection")),
    (
        "place_order",
        MARKET | {"triggerPrice": "49000", "triggerDirection": 1},
        110092,
        "expect Rising, but trigger_price[49000] <= current[50000]??LastPrice",
    ),
    (
        "place_order",
        MARKET | {"triggerPrice": "51000", "triggerDirection": 2},
        110093,
        "expect Falling, but trigger_price[51000] >= current[50000]??LastPrice",
    ),
    (
        "place_order",
        MARKET | {"slippageToleranceType": "TickSize", "slippageTolerance": "10001"},
        110108,
        "Allowable range: 1 to 10000 tick size",
    ),
    (
        "place_order",
        MARKET | {"slippageToleranceType": "Percent", "slippageTolerance": "0.001"},
        110109,
        "Allowable range: 0.01% to 10%",
    ),
]
RESTING: list[Refusal] = [
    ("place_order", LIMIT | {"orderLinkId": "r-1"}, 110072, "OrderLinkedID is duplicate"),
    ("amend_order", BTC | {"orderLinkId": "r-1"}, 10001, "The order remains unchanged"),
    (
        "amend_order",
        BTC | {"orderLinkId": "r-1", "price": "49000"},
        10001,
        "The order remains unchanged",
    ),
    (
        "amend_order",
        BTC | {"orderLinkId": "r-1", "qty": "0"},
        110064,
        "cannot be less than or equal to the filled",
    ),
    ("amend_order", BTC | {"orderLinkId": "r-1", "qty": "0.1005"}, 10001, "Qty invalid"),
    ("amend_order", BTC | {"orderLinkId": "r-1", "qty": "30"}, 110007, "ab not enough"),
    ("amend_order", BTC | {"orderLinkId": "r-1", "price": "1.23"}, 10001, "Price invalid"),
    (
        "amend_order",
        BTC | {"orderLinkId": "r-1", "triggerPrice": "49500"},
        10001,
        "TriggerPrice invalid",
    ),
    ("amend_order", BTC | {"orderLinkId": "r-1", "stopLoss": "49001"}, 10001, "expect Falling"),
    ("amend_order", BTC | {"orderLinkId": "r-1", "symbol": "ETHUSDT"}, 110001, GONE),
]
HELD: list[Refusal] = [
    ("set_trading_stop", STOP, 34040, "not modified"),
    ("set_trading_stop", STOP | {"stopLoss": "0"}, 34040, "not modified"),
    ("set_trading_stop", STOP | {"stopLoss": "50001"}, 10001, "expect Falling, but trigger_price"),
    ("set_trading_stop", STOP | {"takeProfit": "49999"}, 10001, "expect Rising"),
    ("set_trading_stop", STOP | {"trailingStop": "0.05"}, 10001, "TrailingStop invalid"),
    (
        "set_trading_stop",
        STOP
        | {
            "tpslMode": "Partial",
            "stopLoss": "49000",
            "takeProfit": "51000",
            "slSize": "0.1",
            "tpSize": "0.05",
        },
        10001,
        "tpSize must equal slSize",
    ),
    ("add_or_reduce_margin", BTC | {"margin": "10"}, 110015, "The position is in cross margin"),
    (
        "set_auto_add_margin",
        BTC | {"autoAddMargin": 1},
        110076,
        "Only isolated mode can set auto-add-margin",
    ),
    ("set_leverage", BTC | {"buyLeverage": "2.005", "sellLeverage": "2.005"}, 10001, "leverage"),
]


async def test_what_the_rules_forbid_is_refused(desk: Desk) -> None:
    assert await differing(desk, RULES) == []
    assert await desk.rows("get_order_history") == []


async def test_what_a_resting_order_cannot_become_is_refused(desk: Desk) -> None:
    await desk.limit("49000", orderLinkId="r-1")

    assert await differing(desk, RESTING) == []
    (order,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    assert (order["qty"], order["price"], order["stopLoss"]) == ("0.1", "49000", "")


async def test_what_a_position_cannot_have_is_refused(desk: Desk) -> None:
    await desk.buy()

    assert await differing(desk, HELD) == []
    assert await desk.rows("get_open_orders", symbol="BTCUSDT") == []


async def test_a_price_outside_the_band_is_moved_or_refused_as_the_owner_wants(
    desk: Desk,
) -> None:
    high, low = (
        LIMIT | {"price": "60000", "side": "Buy"},
        LIMIT | {"price": "10", "side": "Sell", "qty": "1"},
    )
    await desk.call("set_limit_price_action", modifyEnable=False)
    refused = [await refusal(desk, "place_order", order) for order in (high, low)]
    await desk.call("set_limit_price_action", modifyEnable=True)
    moved = await refusal(desk, "place_order", high)

    assert [code for code, _ in refused] == [110003, 110003]
    assert moved[0] == 0
    limit = (await desk.ask("get_price_limit", **BTC))["result"]["buyLmt"]
    (order,) = await desk.rows("get_order_history")
    assert Decimal(order["price"]) == Decimal(limit)


async def test_only_so_many_stops_may_wait(desk: Desk) -> None:
    await desk.buy("0.3")
    waiting = MARKET | {"qty": "0.01", "triggerDirection": 1}
    partial = STOP | {"tpslMode": "Partial", "slSize": "0.01"}

    conditional = [
        await refusal(desk, "place_order", waiting | {"triggerPrice": str(51_000 + n)})
        for n in range(11)
    ]
    partials = [
        await refusal(desk, "set_trading_stop", partial | {"stopLoss": str(49_000 + n)})
        for n in range(21)
    ]

    assert [code for code, _ in conditional] == [0] * 10 + [110009]
    assert [code for code, _ in partials] == [0] * 20 + [110061]
