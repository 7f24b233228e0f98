"""Orders through ccxt."""

import asyncio
from typing import Any

import ccxt
import pytest

from tests.clients.conftest import BTC, OpenCcxt
from tests.paper.conftest import FLAT, Desk, Open, WriteCandles

ASK, BID = 50_000.1, 49_999.9


async def state(client: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Return the *order* as the exchange has it now."""
    found: dict[str, Any] = await client.fetch_order(order["id"], BTC, {"acknowledged": True})
    return found


async def test_a_limit_order_rests_until_it_is_cancelled(bybit: Any) -> None:
    placed = await bybit.create_order(
        BTC, "limit", "buy", 0.1, 49_500, {"clientOrderId": "my-order-1"}
    )

    (resting,) = await bybit.fetch_open_orders(BTC)
    assert (resting["id"], resting["clientOrderId"]) == (placed["id"], "my-order-1")
    assert (resting["status"], resting["type"], resting["side"]) == ("open", "limit", "buy")
    assert (resting["price"], resting["amount"]) == (49_500, 0.1)
    assert (resting["filled"], resting["remaining"], resting["timeInForce"]) == (0, 0.1, "GTC")
    assert await bybit.fetch_open_order(placed["id"], BTC) == resting
    assert await bybit.fetch_open_orders() == [resting]

    await bybit.cancel_order(placed["id"], BTC)

    assert await bybit.fetch_open_orders(BTC) == []
    assert (await state(bybit, placed))["status"] == "canceled"
    assert [o["id"] for o in await bybit.fetch_canceled_orders(BTC)] == [placed["id"]]
    assert await bybit.fetch_closed_orders(BTC) == []


async def test_an_order_is_cancelled_by_the_name_that_its_owner_gave_it(bybit: Any) -> None:
    await bybit.create_order(BTC, "limit", "buy", 0.1, 49_500, {"clientOrderId": "mine"})

    await bybit.cancel_order(None, BTC, {"orderLinkId": "mine"})

    assert await bybit.fetch_open_orders(BTC) == []


async def test_a_market_order_fills_at_the_touch(bybit: Any) -> None:
    placed = await bybit.create_order(BTC, "market", "buy", 0.1)

    filled = await bybit.fetch_closed_order(placed["id"], BTC)
    (trade,) = await bybit.fetch_order_trades(placed["id"], BTC)
    assert (filled["status"], filled["filled"], filled["remaining"]) == ("closed", 0.1, 0)
    assert filled["average"] == trade["price"] == ASK
    assert filled["cost"] == trade["cost"] == pytest.approx(5000.01)
    assert (trade["side"], trade["takerOrMaker"]) == ("buy", "taker")
    assert trade["fee"] == {"cost": pytest.approx(5000.01 * 0.00055), **_usdt(0.00055)}
    assert await bybit.fetch_my_trades(BTC) == [trade]
    assert [o["id"] for o in await bybit.fetch_closed_orders(BTC)] == [placed["id"]]
    assert [o["id"] for o in await bybit.fetch_canceled_and_closed_orders(BTC)] == [placed["id"]]


def _usdt(rate: float) -> dict[str, Any]:
    return {"currency": "USDT", "rate": rate}


async def test_a_resting_order_fills_as_maker_when_the_price_comes(desk: Desk, bybit: Any) -> None:
    placed = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_500)

    await desk.step(2)

    assert (await state(bybit, placed))["status"] == "closed"
    (trade,) = await bybit.fetch_my_trades(BTC)
    assert (trade["price"], trade["takerOrMaker"]) == (49_500, "maker")
    assert trade["fee"]["cost"] == pytest.approx(4950 * 0.0002)


async def test_post_only_never_takes(bybit: Any) -> None:
    crossing = await bybit.create_order(BTC, "limit", "buy", 0.1, 50_010, {"postOnly": True})
    waiting = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_990, {"postOnly": True})

    assert (await state(bybit, crossing))["status"] in {"canceled", "rejected"}
    assert (await state(bybit, waiting))["status"] == "open"
    assert (await state(bybit, waiting))["postOnly"] is True
    assert await bybit.fetch_my_trades(BTC) == []


@pytest.mark.parametrize("time_in_force", ["IOC", "FOK"])
async def test_an_immediate_order_fills_now_or_never(bybit: Any, time_in_force: str) -> None:
    asked = {"timeInForce": time_in_force}
    through = await bybit.create_order(BTC, "limit", "buy", 0.1, 50_010, asked)
    away = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_900, asked)

    filled, missed = await state(bybit, through), await state(bybit, away)
    assert (filled["status"], filled["average"]) == ("closed", ASK)
    assert (filled["timeInForce"], missed["timeInForce"]) == (time_in_force, time_in_force)
    assert (missed["status"], missed["filled"]) == ("canceled", 0)


async def test_reduce_only_closes_and_never_opens(bybit: Any) -> None:
    with pytest.raises(ccxt.BaseError, match="110017"):
        await bybit.create_order(BTC, "market", "sell", 0.1, None, {"reduceOnly": True})
    await bybit.create_order(BTC, "market", "buy", 0.1)

    await bybit.create_order(BTC, "market", "sell", 0.3, None, {"reduceOnly": True})

    assert (
        await bybit.fetch_positions([BTC]) == []
        or (await bybit.fetch_position(BTC))["contracts"] == 0
    )
    assert [t["amount"] for t in await bybit.fetch_my_trades(BTC)] == [0.1, 0.1]


async def test_a_trigger_order_waits_for_its_price(desk: Desk, bybit: Any) -> None:
    falling = {"triggerPrice": 49_400, "triggerDirection": "descending"}
    rising = {"triggerPrice": 50_050, "triggerDirection": "ascending"}
    market = await bybit.create_order(BTC, "market", "sell", 0.1, None, falling)
    limit = await bybit.create_order(BTC, "limit", "sell", 0.2, 50_090, rising)

    waiting = await bybit.fetch_open_orders(BTC, params={"trigger": True})
    assert {o["id"]: (o["status"], o["triggerPrice"]) for o in waiting} == {
        market["id"]: ("open", 49_400),
        limit["id"]: ("open", 50_050),
    }
    assert (await bybit.fetch_position(BTC))["contracts"] == 0

    await desk.step(2)

    assert {(o["id"], o["status"]) for o in await bybit.fetch_closed_orders(BTC)} == {
        (market["id"], "closed"),
        (limit["id"], "closed"),
    }
    # Down to 49,000 first, then up to 50,100
    first, second = await bybit.fetch_my_trades(BTC)
    assert (first["amount"], first["takerOrMaker"]) == (0.1, "taker")
    assert first["price"] == pytest.approx(49_400, abs=0.2)
    assert (second["amount"], second["price"], second["takerOrMaker"]) == (0.2, 50_090, "maker")


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ({"stopLossPrice": 49_500}, "stopLossPrice"),
        ({"takeProfitPrice": 50_080}, "takeProfitPrice"),
    ],
)
async def test_a_stop_or_target_of_its_own_closes_the_position(
    desk: Desk, bybit: Any, asked: dict[str, float], seen: str
) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)
    order = await bybit.create_order(BTC, "market", "sell", 0.1, None, asked)
    (waiting,) = await bybit.fetch_open_orders(BTC, params={"trigger": True})
    assert (waiting["id"], waiting["reduceOnly"]) == (order["id"], True)
    assert waiting[seen] == waiting["triggerPrice"] == asked[seen]

    await desk.step(2)

    assert (await bybit.fetch_position(BTC))["contracts"] == 0
    assert (await bybit.fetch_my_trades(BTC))[-1]["price"] == pytest.approx(asked[seen], abs=0.2)


async def test_a_stop_of_its_own_outlives_the_position_and_then_does_nothing(
    desk: Desk, bybit: Any
) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)
    stop = await bybit.create_order(BTC, "market", "sell", 0.1, None, {"stopLossPrice": 49_500})
    await bybit.create_order(BTC, "market", "sell", 0.1, None, {"reduceOnly": True})

    # Clients cancel it themselves when they have closed
    assert (await state(bybit, stop))["status"] == "open"

    await desk.step(2)

    assert (await state(bybit, stop))["status"] == "canceled"
    assert (await bybit.fetch_position(BTC))["contracts"] == 0


async def test_attached_stop_and_target_protect_what_was_filled(desk: Desk, bybit: Any) -> None:
    protected = {"stopLoss": {"triggerPrice": 49_200}, "takeProfit": {"triggerPrice": 52_000}}
    entry = await bybit.create_order(BTC, "limit", "buy", 0.1, 50_010, protected)

    position = await bybit.fetch_position(BTC)
    assert (position["stopLossPrice"], position["takeProfitPrice"]) == (49_200, 52_000)
    assert (await state(bybit, entry))["stopLossPrice"] == 49_200
    exits = await bybit.fetch_open_orders(BTC)
    assert sorted(o["triggerPrice"] for o in exits) == [49_200, 52_000]

    await desk.step(2)

    assert (await bybit.fetch_position(BTC))["contracts"] == 0
    assert await bybit.fetch_open_orders(BTC) == []


async def test_a_stop_and_a_target_together_are_one_pair(desk: Desk, bybit: Any) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)
    pair = {"stopLossPrice": 49_500, "takeProfitPrice": 52_000}
    await bybit.create_order(BTC, "market", "sell", 0.1, None, pair)
    assert {o["triggerPrice"] for o in await bybit.fetch_open_orders(BTC)} == {49_500, 52_000}

    await desk.step(2)

    assert (await bybit.fetch_position(BTC))["contracts"] == 0
    assert await bybit.fetch_open_orders(BTC) == []


async def test_a_trailing_stop_follows_the_best_price(desk: Desk, bybit: Any) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.1)
    await bybit.create_order(BTC, "market", "sell", 0.1, None, {"trailingAmount": "300"})

    await desk.step(2)

    assert (await bybit.fetch_position(BTC))["contracts"] == 0
    assert (await bybit.fetch_my_trades(BTC))[-1]["price"] == pytest.approx(49_700, abs=0.2)


async def test_a_batch_says_of_each_order_what_became_of_it(bybit: Any) -> None:
    good = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.1, "price": 49_000}
    dear = good | {"amount": 100, "price": 48_000}

    placed, refused, other = await bybit.create_orders([good, dear, good | {"price": 48_500}])

    assert refused["status"] == "rejected"
    assert refused["info"]["code"] == 110007
    resting = await bybit.fetch_open_orders(BTC)
    assert {o["id"]: o["price"] for o in resting} == {placed["id"]: 49_000, other["id"]: 48_500}

    edit = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.2, "price": 48_900}
    await bybit.edit_orders([edit | {"id": placed["id"]}])
    assert (await state(bybit, placed))["price"] == 48_900

    await bybit.cancel_orders([placed["id"], other["id"]], BTC)
    assert await bybit.fetch_open_orders(BTC) == []


async def test_an_edited_order_keeps_its_id(bybit: Any) -> None:
    placed = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000)

    edited = await bybit.edit_order(placed["id"], BTC, "limit", "buy", 0.3, 49_100)

    assert edited["id"] == placed["id"]
    (resting,) = await bybit.fetch_open_orders(BTC)
    assert (resting["id"], resting["amount"], resting["price"]) == (placed["id"], 0.3, 49_100)


async def test_cancelling_all_leaves_nothing(bybit: Any) -> None:
    trigger = {"triggerPrice": 52_000, "triggerDirection": "ascending"}
    for price in (49_000, 49_100):
        await bybit.create_order(BTC, "limit", "buy", 0.1, price)
    await bybit.create_order(BTC, "market", "buy", 0.1, None, trigger)

    gone = await bybit.cancel_all_orders(BTC)

    assert len(gone) == 3
    assert await bybit.fetch_open_orders(BTC) == []
    await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000)
    assert len(await bybit.cancel_all_orders()) == 1


async def test_orders_are_cancelled_across_symbols(bybit: Any) -> None:
    placed = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000)

    await bybit.cancel_orders_for_symbols([{"id": placed["id"], "symbol": BTC}])

    assert (await state(bybit, placed))["status"] == "canceled"


async def test_each_refusal_has_its_own_error(bybit: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        await bybit.create_order(BTC, "limit", "buy", 100, 49_000)
    with pytest.raises(ccxt.OrderNotFound):
        await bybit.cancel_order("3c0a0a3e-0000-4000-8000-000000000000", BTC)
    with pytest.raises(ccxt.OrderNotFound):
        await bybit.fetch_open_order("3c0a0a3e-0000-4000-8000-000000000000", BTC)
    await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000, {"clientOrderId": "once"})
    with pytest.raises(ccxt.InvalidOrder, match="110072"):
        await bybit.create_order(BTC, "limit", "buy", 0.1, 49_100, {"clientOrderId": "once"})
    with pytest.raises(ccxt.BaseError, match="110094"):
        await bybit.create_order(BTC, "limit", "buy", 0.001, 49_00)


async def test_too_many_orders_a_second_are_told_as_such(
    open_desk: Open, write_candles: WriteCandles, open_ccxt: OpenCcxt
) -> None:
    desk = await open_desk(market=write_candles(FLAT, FLAT), rate_limits="bybit")
    bybit = await open_ccxt(desk)
    prices = range(49_000, 49_030)

    answers = await asyncio.gather(
        *(bybit.create_order(BTC, "limit", "buy", 0.001, price) for price in prices),
        return_exceptions=True,
    )

    assert {type(a) for a in answers} == {dict, ccxt.RateLimitExceeded}
    placed = [a["id"] for a in answers if isinstance(a, dict)]
    assert {o["id"] for o in await bybit.fetch_open_orders(BTC, limit=50)} == set(placed)
