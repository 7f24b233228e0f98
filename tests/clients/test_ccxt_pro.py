"""ccxt.pro's watch methods."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import ccxt
import pytest

from tests.clients.conftest import BTC, OpenCcxt
from tests.paper.conftest import START, Desk, Open, Row, WriteCandles, eventually

ASK, BID = 50_000.1, 49_999.9
START_MS = int(START.timestamp() * 1000)


async def soon(wait: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(wait, 30)


async def watching(desk: Desk, *topics: str) -> None:
    """Return when the exchange has taken the subscriptions."""
    hub = desk.paper.exchange.feed.hub
    await eventually(lambda: hub.topics >= set(topics))


async def test_a_ticker_is_watched(desk: Desk, bybit: Any) -> None:
    first = await soon(bybit.watch_ticker(BTC))
    assert (first["last"], first["bid"], first["ask"]) == (50_000, BID, ASK)

    second = asyncio.create_task(bybit.watch_tickers([BTC]))
    await desk.step(2)

    assert (await soon(second))[BTC]["symbol"] == BTC
    await eventually(lambda: bybit.tickers[BTC]["last"] == 50_050)
    # Not part of the changes, so it is kept from the snapshot
    assert bybit.tickers[BTC]["info"]["fundingRate"] == first["info"]["fundingRate"]


async def test_the_book_is_watched_at_every_depth(desk: Desk, bybit: Any) -> None:
    asked = await bybit.fetch_order_book(BTC, limit=50)

    for depth in (1, 50, 200, 1000):
        book = await soon(bybit.watch_order_book(BTC, depth))
        assert book["bids"][0] == asked["bids"][0]
        assert book["asks"][0] == asked["asks"][0]
        await bybit.un_watch_order_book(BTC, {"limit": depth})


async def test_an_order_of_ours_comes_into_the_book_and_goes(bybit: Any) -> None:
    def bid() -> float:
        return float(dict(map(tuple, bybit.orderbooks[BTC]["bids"])).get(49_998.5, 0))

    await soon(bybit.watch_order_book(BTC, 50))
    before = bid()

    order = await bybit.create_order(BTC, "limit", "buy", 0.123, 49_998.5)
    await eventually(lambda: bid() == pytest.approx(before + 0.123))
    await bybit.cancel_order(order["id"], BTC)
    await eventually(lambda: bid() == pytest.approx(before))


async def test_best_prices_are_watched(bybit: Any) -> None:
    best = await soon(bybit.watch_bids_asks([BTC]))

    assert (best[BTC]["bid"], best[BTC]["ask"]) == (BID, ASK)


async def test_trades_are_watched(desk: Desk, bybit: Any) -> None:
    watch = asyncio.create_task(bybit.watch_trades(BTC))
    await watching(desk, "publicTrade.BTCUSDT")

    await bybit.create_order(BTC, "market", "buy", 0.25)

    trade = (await soon(watch))[-1]
    assert (trade["side"], trade["amount"], trade["price"]) == ("buy", 0.25, ASK)


async def test_candles_are_watched(desk: Desk, bybit: Any) -> None:
    watch = asyncio.create_task(bybit.watch_ohlcv(BTC, "1m"))
    await watching(desk, "kline.1.BTCUSDT")

    await desk.step(2)

    await soon(watch)
    candle = await _closed(bybit)
    assert candle == [START_MS + 60_000, 50_000, 50_000, 50_000, 50_000, 10.5]


async def _closed(bybit: Any) -> list[float]:
    stored = bybit.ohlcvs[BTC]["1m"]
    await eventually(lambda: any(row[0] == START_MS + 60_000 and row[5] == 10.5 for row in stored))
    return list(next(row for row in stored if row[0] == START_MS + 60_000))


async def test_orders_and_their_trades_are_watched(desk: Desk, bybit: Any) -> None:
    orders = asyncio.create_task(bybit.watch_orders(BTC))
    trades = asyncio.create_task(bybit.watch_my_trades(BTC))
    await watching(desk, "order", "execution")

    placed = await bybit.create_order(BTC, "market", "buy", 0.1, None, {"clientOrderId": "seen"})

    order = (await soon(orders))[-1]
    (trade,) = await soon(trades)
    assert (order["id"], order["clientOrderId"], order["symbol"]) == (placed["id"], "seen", BTC)
    await eventually(lambda: bybit.orders[-1]["status"] == "closed")
    assert (bybit.orders[-1]["filled"], bybit.orders[-1]["average"]) == (0.1, ASK)
    assert (trade["order"], trade["amount"], trade["price"]) == (placed["id"], 0.1, ASK)
    assert trade["fee"]["cost"] == pytest.approx(5000.01 * 0.00055)


async def test_a_cancel_is_watched(desk: Desk, bybit: Any) -> None:
    first = asyncio.create_task(bybit.watch_orders())
    await watching(desk, "order")
    placed = await bybit.create_order(BTC, "limit", "buy", 0.1, 49_000)
    assert (await soon(first))[-1]["status"] == "open"

    gone = asyncio.create_task(bybit.watch_orders())
    await bybit.cancel_order(placed["id"], BTC)

    (order,) = await soon(gone)
    assert (order["id"], order["status"]) == (placed["id"], "canceled")


async def test_positions_and_the_balance_are_watched(desk: Desk, bybit: Any) -> None:
    assert await soon(bybit.watch_positions()) == []
    positions = asyncio.create_task(bybit.watch_positions([BTC]))
    balance = asyncio.create_task(bybit.watch_balance())
    await watching(desk, "position", "wallet")

    await bybit.create_order(BTC, "market", "sell", 0.1)

    (position,) = await soon(positions)
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("short", 0.1, BID)
    usdt = (await soon(balance))["USDT"]
    assert usdt["total"] == pytest.approx(100_000 - 4999.99 * 0.00055 - 0.01)


async def test_a_liquidation_is_seen_by_all(
    open_desk: Open, write_candles: WriteCandles, open_ccxt: OpenCcxt
) -> None:
    flat: Row = (50_000, 50_000, 50_000, 50_000)
    crash: Row = (50_000, 50_000, 40_000, 41_000)
    desk = await open_desk(market=write_candles(flat, flat, crash, crash), data_from=START)
    bybit = await open_ccxt(desk)
    await bybit.set_margin_mode("isolated", BTC, {"leverage": 10})
    await bybit.create_order(BTC, "market", "buy", 0.1)
    liquidations = asyncio.create_task(bybit.watch_liquidations(BTC))
    await watching(desk, "allLiquidation.BTCUSDT")

    await desk.step(3)

    (liquidation,) = await soon(liquidations)
    assert (liquidation["symbol"], liquidation["contracts"]) == (BTC, 0.1)
    assert liquidation["side"] == "buy"
    # The price of bankruptcy: the whole margin is gone
    assert liquidation["price"] == pytest.approx(45_000, rel=0.002)
    assert await bybit.fetch_positions() == []
    (mine,) = await bybit.fetch_my_liquidations(BTC)
    assert (mine["contracts"], mine["price"]) == (0.1, liquidation["price"])


async def test_a_refused_login_says_so(desk: Desk, open_ccxt: OpenCcxt, bybit: Any) -> None:
    bybit.secret = "wrong"

    with pytest.raises(ccxt.BaseError):
        await soon(bybit.watch_orders())


async def test_after_a_lost_connection_watching_goes_on(desk: Desk, bybit: Any) -> None:
    await soon(bybit.watch_ticker(BTC))
    waiting = asyncio.create_task(bybit.watch_ticker(BTC))
    await asyncio.sleep(0)

    for connection in list(desk.paper.exchange.feed.hub.connections):
        connection.abort()

    with pytest.raises(ccxt.NetworkError):
        await soon(waiting)
    assert (await soon(bybit.watch_ticker(BTC)))["last"] == 50_000
