"""What ccxt reads of the market over REST."""

import time
from typing import Any

from tests.clients.conftest import BTC
from tests.paper.conftest import START, Desk

START_MS = int(START.timestamp() * 1000)
MINUTE_MS = 60_000


async def test_the_markets_are_perpetuals_with_their_rules(bybit: Any) -> None:
    market = bybit.market(BTC)

    assert (market["id"], market["type"], market["settle"]) == ("BTCUSDT", "swap", "USDT")
    assert (market["linear"], market["active"], market["contractSize"]) == (True, True, 1)
    assert market["precision"] == {"amount": 0.001, "price": 0.1, **_unset(market["precision"])}
    assert market["limits"]["amount"]["min"] == 0.001
    assert market["limits"]["cost"]["min"] == 5
    assert market["limits"]["leverage"] == {"min": 1, "max": 100}
    assert {m["type"] for m in bybit.markets.values()} == {"swap"}


def _unset(precision: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in precision.items() if value is None}


async def test_the_coins_are_listed_with_their_networks(bybit: Any) -> None:
    tether = bybit.currencies["USDT"]

    assert tether["networks"]
    assert all(network["precision"] for network in tether["networks"].values())


async def test_the_exchange_says_that_it_is_up_and_what_time_it_is(bybit: Any) -> None:
    assert (await bybit.fetch_status())["status"] == "ok"
    assert abs(await bybit.fetch_time() - time.time() * 1000) < 5000


async def test_the_ticker_agrees_with_the_book(bybit: Any) -> None:
    ticker = await bybit.fetch_ticker(BTC)
    book = await bybit.fetch_order_book(BTC, limit=50)

    assert ticker["last"] == ticker["markPrice"] == ticker["indexPrice"] == 50_000
    assert (ticker["bid"], ticker["ask"]) == (book["bids"][0][0], book["asks"][0][0])
    assert (ticker["bidVolume"], ticker["askVolume"]) == (book["bids"][0][1], book["asks"][0][1])
    assert 49_999 <= ticker["bid"] <= 50_000 <= ticker["ask"] <= 50_001
    assert [p for p, _ in book["bids"]] == sorted((p for p, _ in book["bids"]), reverse=True)
    assert [p for p, _ in book["asks"]] == sorted(p for p, _ in book["asks"])


async def test_all_tickers_come_at_once(bybit: Any) -> None:
    tickers = await bybit.fetch_tickers()

    assert tickers.keys() == bybit.markets.keys()
    assert tickers[BTC]["symbol"] == BTC
    assert (await bybit.fetch_bids_asks([BTC]))[BTC]["bid"] == tickers[BTC]["bid"]


async def test_candles_of_all_four_kinds(desk: Desk, bybit: Any) -> None:
    await desk.step(2)

    traded = await bybit.fetch_ohlcv(BTC, "1m", since=START_MS + MINUTE_MS, limit=2)
    marked = await bybit.fetch_ohlcv(BTC, "1m", params={"price": "mark"})
    indexed = await bybit.fetch_ohlcv(BTC, "1m", params={"price": "index"})
    premium = await bybit.fetch_ohlcv(BTC, "1m", params={"price": "premiumIndex"})

    flat, fall = traded
    assert flat == [START_MS + MINUTE_MS, 50_000, 50_000, 50_000, 50_000, 10.5]
    assert fall == [START_MS + 2 * MINUTE_MS, 50_000, 50_100, 49_000, 50_050, 10.5]
    assert [c[:5] for c in marked if c[0] == fall[0]] == [fall[:5]]
    assert [c[:5] for c in indexed if c[0] == fall[0]] == [fall[:5]]
    assert {price for candle in premium for price in candle[1:5]} == {0}


async def test_longer_candles_are_put_together(desk: Desk, bybit: Any) -> None:
    await desk.step(2)

    (candle,) = await bybit.fetch_ohlcv(BTC, "5m", limit=1)

    assert candle == [START_MS, 50_000, 50_100, 49_000, 50_050, 31.5]


async def test_the_tape_shows_what_was_traded(desk: Desk, bybit: Any) -> None:
    await bybit.create_order(BTC, "market", "buy", 0.25)
    (fill,) = await bybit.fetch_my_trades(BTC)

    trades = await bybit.fetch_trades(BTC)

    assert (fill["price"], 0.25, "buy") in [(t["price"], t["amount"], t["side"]) for t in trades]
    assert [t["timestamp"] for t in trades] == sorted(t["timestamp"] for t in trades)


async def test_funding_is_quoted_and_remembered(bybit: Any) -> None:
    rate = await bybit.fetch_funding_rate(BTC)
    history = await bybit.fetch_funding_rate_history(BTC)

    assert abs(rate["fundingRate"]) < 0.01
    assert rate["fundingTimestamp"] > START_MS
    assert rate["fundingTimestamp"] % (8 * 3600 * 1000) == 0
    assert rate["interval"] == "8h"
    assert all(abs(past["fundingRate"]) < 0.01 for past in history)
    assert (await bybit.fetch_funding_rates([BTC]))[BTC]["fundingRate"] == rate["fundingRate"]


async def test_open_interest_and_the_ratio_of_accounts(bybit: Any) -> None:
    interest = await bybit.fetch_open_interest(BTC)
    past = await bybit.fetch_open_interest_history(BTC, "1h")
    ratio = await bybit.fetch_long_short_ratio_history(BTC, "1h")

    assert interest["symbol"] == BTC
    assert interest["openInterestAmount"] >= 0
    assert past[-1]["openInterestAmount"] == interest["openInterestAmount"]
    assert all(row["longShortRatio"] > 0 for row in ratio)


async def test_leverage_falls_and_margin_rises_with_the_tiers(bybit: Any) -> None:
    tiers = await bybit.fetch_leverage_tiers()
    rungs = tiers[BTC]

    assert tiers.keys() == bybit.markets.keys()
    assert (rungs[0]["minNotional"], rungs[0]["maxLeverage"]) == (0, 100)
    assert [t["maxLeverage"] for t in rungs] == sorted(
        (t["maxLeverage"] for t in rungs), reverse=True
    )
    rates = [t["maintenanceMarginRate"] for t in rungs]
    assert rates == sorted(rates)
    assert [t["minNotional"] for t in rungs[1:]] == [t["maxNotional"] for t in rungs[:-1]]
    alone = await bybit.fetch_market_leverage_tiers(BTC)
    assert [_bare(t) for t in alone] == [_bare(t) for t in rungs]


def _bare(tier: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tier.items() if key != "info"}
