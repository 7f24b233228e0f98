"""Lists and histories through pybit: filters, windows, pages."""

from decimal import Decimal
from typing import Any

import pytest

from tests.paper.conftest import Desk


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


async def test_orders_that_end_between_two_pages_show_no_other_twice(desk: Desk) -> None:
    links = [f"a-{n}" for n in range(6)]
    for link in links:
        await desk.limit("49000", orderLinkId=link)

    first = await desk.call("get_open_orders", symbol="BTCUSDT", limit=2)
    await desk.limit("49000", orderLinkId="b-0")
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-4")
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-0")
    cursor = first["nextPageCursor"]
    second = await desk.call("get_open_orders", symbol="BTCUSDT", limit=5, cursor=cursor)

    assert [o["orderLinkId"] for o in first["list"]] == ["a-5", "a-4"]
    assert [o["orderLinkId"] for o in second["list"]] == ["a-3", "a-2", "a-1"]


async def test_closed_orders_are_found_in_history_and_among_the_recent(desk: Desk) -> None:
    await desk.buy(orderLinkId="a-1")

    (history,) = await desk.rows("get_order_history", symbol="BTCUSDT")
    (recent,) = await desk.rows("get_open_orders", symbol="BTCUSDT", openOnly=1)

    assert history["orderLinkId"] == recent["orderLinkId"] == "a-1"
    assert (history["orderStatus"], history["avgPrice"]) == ("Filled", "50000.1")


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


async def test_what_ended_without_a_fill_is_forgotten_after_a_day(desk: Desk) -> None:
    await desk.limit("49000", orderLinkId="a-1")
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-1")
    await desk.buy(orderLinkId="a-2")
    clock = desk.paper.exchange.clock
    cancelled_ms = clock.now_ms()

    shown = []
    for later_ms in (86_399_999, 86_400_000, 7 * 86_400_000 + 1):
        clock.stand(cancelled_ms + later_ms)
        rows = await desk.rows("get_order_history")
        shown.append({o["orderLinkId"] for o in rows})

    # What was filled is kept, but the last seven days are shown if nothing else is asked for
    assert shown == [{"a-1", "a-2"}, {"a-2"}, set()]
    (found,) = await desk.rows("get_order_history", startTime=cancelled_ms)
    assert found["orderLinkId"] == "a-2"


@pytest.mark.parametrize(
    ("params", "links"),
    [
        ({}, {"filled", "cancelled"}),
        ({"orderStatus": "Filled"}, {"filled"}),
        ({"orderStatus": "Cancelled"}, {"cancelled"}),
        ({"orderStatus": "Rejected"}, set()),
        ({"orderStatus": "Deactivated"}, set()),
        ({"orderFilter": "Order"}, {"filled"}),
        ({"orderFilter": "StopOrder"}, {"cancelled"}),
        ({"orderFilter": "tpslOrder"}, set()),
        ({"orderLinkId": "filled"}, {"filled"}),
        ({"symbol": "BTCUSDT"}, {"filled", "cancelled"}),
        ({"settleCoin": "USDC"}, set()),
    ],
)
async def test_history_shows_what_its_filters_name(
    desk: Desk, params: dict[str, Any], links: set[str]
) -> None:
    await desk.buy(orderLinkId="filled")
    await desk.buy(triggerPrice="49800", triggerDirection=2, orderLinkId="cancelled")
    await desk.call("cancel_all_orders", symbol="BTCUSDT")

    rows = await desk.rows("get_order_history", **params)

    assert {o["orderLinkId"] for o in rows} == links


async def test_histories_come_in_pages_that_nothing_new_shifts(desk: Desk) -> None:
    for n in range(5):
        await desk.buy("0.01", orderLinkId=f"a-{n}")

    first = await desk.call("get_executions", limit=2)
    await desk.buy("0.01", orderLinkId="late")
    second = await desk.call("get_executions", limit=2, cursor=first["nextPageCursor"])
    third = await desk.call("get_executions", limit=2, cursor=second["nextPageCursor"])

    found = [e["orderLinkId"] for page in (first, second, third) for e in page["list"]]
    assert found == ["a-4", "a-3", "a-2", "a-1", "a-0"]
    assert third["nextPageCursor"] == ""


async def test_every_line_of_the_log_adds_up_to_the_wallet(desk: Desk) -> None:
    await desk.buy("0.2")
    await desk.buy("0.1", side="Sell", reduceOnly=True)
    exchange = desk.paper.exchange
    exchange.change(lambda now: exchange.engine.fund("BTCUSDT", Decimal("0.0001"), now))
    await desk.ask("create_internal_transfer", **MOVE)

    log = (await desk.ask("get_transaction_log"))["result"]["list"]

    assert [row["type"] for row in log] == ["TRANSFER_OUT", "SETTLEMENT", "TRADE", "TRADE"]
    for row, before in zip(log, [*(r["cashBalance"] for r in log[1:]), "100000"], strict=True):
        flow, funding, fee = (Decimal(row[n] or 0) for n in ("cashFlow", "funding", "fee"))
        assert Decimal(row["change"]) == flow + funding - fee
        assert Decimal(row["cashBalance"]) == Decimal(before) + Decimal(row["change"])
    assert log[0]["cashBalance"] == (await desk.wallet())["totalWalletBalance"]
    assert [row["size"] for row in log[1:]] == ["0.1", "0.1", "0.2"]
    # Paid by the long: half of 0.1 BTC's 5,000 per ten thousand
    assert (log[1]["funding"], log[1]["fee"], log[1]["feeRate"]) == ("-0.5", "0", "0.0001")
    assert (log[1]["side"], log[1]["tradePrice"]) == ("Buy", "50000")


@pytest.mark.parametrize(
    ("params", "types"),
    [
        ({"type": "TRADE"}, ["TRADE"]),
        ({"type": "TRANSFER_OUT"}, ["TRANSFER_OUT"]),
        ({"type": "TRANSFER_IN"}, []),
        ({"type": "SETTLEMENT"}, []),
        ({"type": "AIRDROP"}, []),
        ({"currency": "USDT"}, ["TRANSFER_OUT", "TRADE"]),
        ({"currency": "BTC"}, []),
        ({"baseCoin": "BTC"}, ["TRADE"]),
        ({"baseCoin": "ETH"}, []),
        ({"category": "linear"}, ["TRADE"]),
        ({"category": "linear", "type": "TRANSFER_OUT"}, []),
        ({"category": "spot"}, []),
        ({"transSubType": "movePosition"}, []),
    ],
)
async def test_the_log_shows_what_its_filters_name(
    desk: Desk, params: dict[str, Any], types: list[str]
) -> None:
    await desk.buy()
    await desk.ask("create_internal_transfer", **MOVE)

    log = (await desk.ask("get_transaction_log", **params))["result"]["list"]

    assert [row["type"] for row in log] == types


async def test_funding_is_an_execution_of_no_order(desk: Desk) -> None:
    await desk.buy(side="Sell")
    exchange = desk.paper.exchange
    exchange.change(lambda now: exchange.engine.fund("BTCUSDT", Decimal("0.0001"), now))

    (row,) = await desk.rows("get_executions", execType="Funding")

    told = ("orderType", "execType", "execPrice", "execQty", "execFee", "isMaker", "side")
    assert [row[name] for name in told] == [
        "UNKNOWN",
        "Funding",
        "50000",
        "0.1",
        "-0.5",
        False,
        "Sell",
    ]
    assert len(await desk.rows("get_executions", execType="Trade")) == 1
    assert await desk.rows("get_executions", execType="BustTrade") == []


async def test_reads_lag_and_changes_do_not(desk: Desk) -> None:
    desk.paper.exchange.view.lag_ms = 60_000
    await desk.buy(orderLinkId="a-1", stopLoss="49000")
    await desk.limit("49000", orderLinkId="a-2")

    lists = ("get_open_orders", "get_order_history", "get_executions", "get_closed_pnl")
    seen = [row for method in lists for row in await desk.rows(method, symbol="BTCUSDT")]
    by_link = await desk.rows("get_open_orders", symbol="BTCUSDT", orderLinkId="a-1")
    late = (await desk.position(), await desk.wallet())
    await desk.call("cancel_order", symbol="BTCUSDT", orderLinkId="a-2")
    # The very same request within a millisecond would be taken for a copy of it
    again = await desk.refusal(
        "cancel_order", symbol="BTCUSDT", orderLinkId="a-2", orderFilter="Order"
    )

    assert (seen, by_link) == ([], [])
    assert (late[0]["size"], late[1]["totalWalletBalance"]) == ("0", "100000")
    assert again[0] == 110001


MOVE = {
    "transferId": "42c0cfb0-6bca-4242-bc76-4e6df6cbab16",
    "coin": "USDT",
    "amount": "5",
    "fromAccountType": "UNIFIED",
    "toAccountType": "FUND",
}
