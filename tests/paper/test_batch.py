"""Several orders in one request, through pybit."""

from typing import Any

from tests.paper.conftest import FLAT, Desk, Open, WriteCandles

ORDER = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "49000"}


async def ask(desk: Desk, method: str, *orders: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    answer = await desk.ask(method, category="linear", request=list(orders))
    assert answer["retCode"] == 0
    codes = [outcome["code"] for outcome in answer["retExtInfo"]["list"]]
    return list(zip(codes, answer["result"]["list"], strict=True))


async def test_each_order_of_a_batch_succeeds_or_fails_by_itself(desk: Desk) -> None:
    placed = await ask(
        desk,
        "place_batch_order",
        ORDER | {"orderLinkId": "a-1"},
        ORDER | {"orderLinkId": "a-1"},
        ORDER | {"symbol": "NOPEUSDT", "orderLinkId": "a-2"},
        ORDER | {"orderLinkId": "a-3"},
    )
    amended = await ask(
        desk,
        "amend_batch_order",
        {"symbol": "BTCUSDT", "orderLinkId": "a-1", "price": "48000"},
        {"symbol": "BTCUSDT", "orderLinkId": "a-2", "price": "48000"},
    )
    cancelled = await ask(
        desk,
        "cancel_batch_order",
        {"symbol": "BTCUSDT", "orderLinkId": "a-3"},
        {"symbol": "BTCUSDT", "orderId": "none"},
    )

    assert [code for code, _ in placed] == [0, 110072, 10001, 0]
    assert [code for code, _ in amended] == [0, 110001]
    assert [code for code, _ in cancelled] == [0, 110001]
    assert placed[1][1] == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "",
        "orderLinkId": "a-1",
        "createAt": "",
    }
    (left,) = await desk.rows("get_open_orders", symbol="BTCUSDT")
    assert (left["orderLinkId"], left["price"]) == ("a-1", "48000")
    assert left["orderId"] == placed[0][1]["orderId"]


async def test_orders_of_a_batch_count_one_by_one_against_their_limit(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT), rate_limits="bybit")
    await desk.step()

    placed = await ask(desk, "place_batch_order", *[ORDER] * 12)

    assert [code for code, _ in placed] == [0] * 10 + [10006] * 2
    # Single orders have a limit of their own
    await desk.limit("49000")
    assert len(await desk.rows("get_open_orders", symbol="BTCUSDT")) == 11
