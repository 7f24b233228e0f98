"""What anybody may read, by pybit."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.paper.conftest import START, Desk, Open, WriteCandles
from tradewright.domain.market import Side
from tradewright.paper.exchange import Exchange

START_MS = int(START.timestamp() * 1000)
HOUR_MS = 3_600_000
BTC = {"symbol": "BTCUSDT"}
MANY = tuple(f"{name}USDT" for name in ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "ADA", "AVAX"))


@pytest.fixture
async def day(open_desk: Open, write_candles: WriteCandles) -> Desk:
    """An exchange with ten hours behind it, in each of which the price rose by 60."""
    rows = [(n, n + 2, n - 2, n + 1) for n in range(50_000, 50_601)]
    return await open_desk(market=write_candles(*rows), data_from=START + timedelta(hours=10))


def exchange_of(desk: Desk) -> Exchange:
    return desk.paper.exchange


async def candles(desk: Desk, method: str, interval: str, **params: Any) -> list[list[str]]:
    result = await desk.call(method, symbol="BTCUSDT", interval=interval, **params)
    return list(result["list"])


async def pages(desk: Desk, method: str, **params: Any) -> list[list[dict[str, Any]]]:
    """Return all pages of a list, found by its cursors."""
    found: list[list[dict[str, Any]]] = []
    cursor = ""
    while not found or cursor:
        result = await desk.call(method, cursor=cursor, **params)
        found.append(result["list"])
        cursor = result["nextPageCursor"]
    return found


async def test_instruments_come_in_pages(open_desk: Open) -> None:
    desk = await open_desk(symbols=MANY)

    listed = await pages(desk, "get_instruments_info", limit=3)

    assert [len(page) for page in listed] == [3, 3, 2]
    assert [row["symbol"] for page in listed for row in page] == list(MANY)
    assert [row["symbolId"] for page in listed for row in page] == list(range(1, 9))


@pytest.mark.parametrize(
    ("params", "symbols"),
    [
        ({"baseCoin": "ETH"}, ["ETHUSDT"]),
        ({"status": "Trading"}, list(MANY)),
        ({"status": "PreLaunch"}, []),
        ({"symbolType": "innovation"}, []),
        ({"symbol": "SOLUSDT"}, ["SOLUSDT"]),
    ],
)
async def test_instruments_are_filtered(
    open_desk: Open, params: dict[str, str], symbols: list[str]
) -> None:
    desk = await open_desk(symbols=MANY)

    found = await desk.rows("get_instruments_info", **params)

    assert [row["symbol"] for row in found] == symbols


async def test_risk_limits_come_fifteen_symbols_to_a_page(open_desk: Open) -> None:
    desk = await open_desk()

    listed = await pages(desk, "get_risk_limit")
    (one,) = await pages(desk, "get_risk_limit", symbol="ETHUSDT")

    symbols = [list(dict.fromkeys(row["symbol"] for row in page)) for page in listed]
    assert all(len(page) == 15 for page in symbols[:-1])
    assert [s for page in symbols for s in page] == list(exchange_of(desk).engine.markets)
    assert {row["symbol"] for row in one} == {"ETHUSDT"}
    rows = [row for page in listed for row in page]
    assert len({row["id"] for row in rows}) == len(rows)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        tiers = [row for row in rows if row["symbol"] == symbol]
        assert [row["isLowestRisk"] for row in tiers] == [1] + [0] * (len(tiers) - 1)
        limits = [Decimal(row["riskLimitValue"]) for row in tiers]
        assert limits == sorted(set(limits))


@pytest.mark.parametrize("category", ["spot", "inverse", "option"])
@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("instruments-info", {"limit": "1000"}),
        ("instruments-info", {"status": "PreLaunch"}),
        ("tickers", {}),
        ("risk-limit", {}),
    ],
)
async def test_what_is_not_traded_is_an_empty_list(
    desk: Desk, category: str, path: str, params: dict[str, str]
) -> None:
    answer = await desk.get(f"/v5/market/{path}", category=category, **params)

    assert (answer["retCode"], answer["retMsg"]) == (0, "OK")
    assert (answer["result"]["category"], answer["result"]["list"]) == (category, [])


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        ("kline", {"symbol": "NOPEUSDT", "interval": "1"}, "Not supported symbols"),
        ("kline", BTC | {"interval": "1", "category": "spot"}, "Not supported symbols"),
        ("kline", BTC | {"interval": "7"}, "Invalid period!"),
        ("kline", BTC, "Invalid period!"),
        ("kline", BTC | {"interval": "1", "start": "x"}, "params error: start invalid"),
        ("mark-price-kline", BTC | {"interval": ""}, "Invalid period!"),
        ("index-price-kline", {"symbol": "", "interval": "1"}, "Not supported symbols"),
        ("tickers", {}, "Illegal category"),
        ("tickers", {"category": "LINEAR"}, "Illegal category"),
        ("tickers", {"category": "linear", "symbol": "btcusdt"}, "params error: symbol invalid"),
        ("orderbook", {"category": "linear"}, "params error: symbol invalid"),
        ("orderbook", {"category": "spot"} | BTC, "params error: symbol invalid"),
        ("recent-trade", {"category": "linear"}, "params error: symbol invalid"),
        ("price-limit", {"symbol": "NOPEUSDT"}, "params error: symbol invalid"),
        ("risk-limit", {"category": "linear", "symbol": "X"}, "params error: symbol invalid"),
        ("risk-limit", {"category": "linear", "cursor": "x"}, "params error: cursor invalid"),
        ("instruments-info", {"category": "linear", "status": "?"}, "params error: status invalid"),
        (
            "open-interest",
            {"category": "linear", "intervalTime": "1min"} | BTC,
            "params error: intervalTime invalid",
        ),
        (
            "account-ratio",
            {"category": "linear", "period": "1h", "cursor": "?"} | BTC,
            "params error: cursor invalid",
        ),
        (
            "funding/history",
            {"category": "linear", "startTime": "1"} | BTC,
            "params error: endTime is required with startTime",
        ),
    ],
)
async def test_what_is_asked_wrongly_is_refused(
    desk: Desk, path: str, params: dict[str, str], text: str
) -> None:
    answer = await desk.get(f"/v5/market/{path}", **params)

    assert (answer["retCode"], answer["retMsg"]) == (10001, text)
    assert answer["result"] == {}


@pytest.mark.parametrize(
    ("path", "most", "params"),
    [
        ("kline", 1000, {"interval": "1"}),
        ("premium-index-price-kline", 1000, {"interval": "1"}),
        ("orderbook", 1000, {}),
        ("recent-trade", 1000, {}),
        ("instruments-info", 1000, {}),
        ("funding/history", 200, {}),
        ("open-interest", 200, {"intervalTime": "5min"}),
        ("account-ratio", 500, {"period": "5min"}),
    ],
)
async def test_limits_are_those_of_the_documentation(
    desk: Desk, path: str, most: int, params: dict[str, str]
) -> None:
    asked = {"category": "linear"} | BTC | params

    codes = [
        (await desk.get(f"/v5/market/{path}", limit=limit, **asked))["retCode"]
        for limit in (0, 1, most, most + 1)
    ]

    assert codes == [10001, 0, 0, 10001]


async def test_a_market_without_marks_has_those_of_its_last_price(day: Desk) -> None:
    last = await day.klines("60", limit=3)

    for method in ("get_mark_price_kline", "get_index_price_kline"):
        found = await candles(day, method, "60", limit=3)
        assert found == [row[:5] for row in last]
    premium = await candles(day, "get_premium_index_price_kline", "60", limit=3)
    assert premium == [[row[0], "0", "0", "0", "0"] for row in last]


async def test_marks_of_the_market_are_shown_where_they_are_known(day: Desk) -> None:
    exchange_of(day).feed.refer("BTCUSDT", Decimal(50_700), Decimal(50_000), Decimal("0.0003"))

    (mark,) = await candles(day, "get_mark_price_kline", "D")
    (premium,) = await candles(day, "get_premium_index_price_kline", "D")
    (ticker,) = await day.rows("get_tickers", symbol="BTCUSDT")

    assert mark[1:] == ["50700"] * 4
    assert premium[1:] == ["0.014"] * 4
    assert ticker["fundingRate"] == "0.0003"


async def test_the_last_trades_are_those_that_were_told(day: Desk) -> None:
    await day.step()

    newest = await day.rows("get_public_trade_history", symbol="BTCUSDT", limit=3)

    told = list(exchange_of(day).quotes["BTCUSDT"].prints)[-3:][::-1]
    assert [row["execId"] for row in newest] == [p.trade_id("BTCUSDT") for p in told]
    assert [Decimal(row["price"]) for row in newest] == [p.price for p in told]
    assert [row["side"] for row in newest] == [p.side.value for p in told]


async def test_what_an_account_takes_from_the_book_is_a_trade_for_all(day: Desk) -> None:
    await day.buy("0.2")

    (newest,) = await day.rows("get_public_trade_history", symbol="BTCUSDT", limit=1)
    (execution,) = await day.executions()

    assert (newest["side"], newest["size"]) == ("Buy", "0.200")
    assert Decimal(newest["price"]) == Decimal(execution["execPrice"])


async def test_an_order_that_rests_is_in_the_book_of_all(day: Desk) -> None:
    price = "50590.00"
    await day.limit(price, qty="0.7")

    book = await day.call("get_orderbook", symbol="BTCUSDT", limit=500)

    before = await day.call("get_orderbook", symbol="BTCUSDT", limit=1)
    assert before["seq"] > book["seq"]
    own = Decimal(dict(book["b"])[price])
    await day.call("cancel_all_orders", symbol="BTCUSDT")
    after = await day.call("get_orderbook", symbol="BTCUSDT", limit=500)
    assert own - Decimal(dict(after["b"])[price]) == Decimal("0.7")


async def test_funding_is_known_as_far_back_as_candles_are(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    rows = [(100, 100, 100, 100)] * 1500
    desk = await open_desk(
        market=write_candles(*rows), data_from=START + timedelta(hours=24), funding_rate="0.0001"
    )
    times = [START_MS + hours * HOUR_MS for hours in (24, 16, 8, 0)]
    exchange_of(desk).feed.fund("BTCUSDT", Decimal("-0.0002"), times[1])

    async def found(**params: Any) -> list[tuple[int, str]]:
        listed = await desk.rows("get_funding_rate_history", symbol="BTCUSDT", **params)
        return [(int(row["fundingRateTimestamp"]), row["fundingRate"]) for row in listed]

    rates = ["0.0001", "-0.0002", "0.0001", "0.0001"]
    paid = list(zip(times, rates, strict=True))
    assert await found() == paid
    assert await found(limit=2) == paid[:2]
    assert await found(endTime=times[1]) == paid[1:]
    assert await found(startTime=times[2], endTime=times[1]) == paid[1:3]


async def test_open_interest_follows_what_was_traded(day: Desk) -> None:
    listed = await pages(day, "get_open_interest", symbol="BTCUSDT", intervalTime="1h", limit=4)
    (ticker,) = await day.rows("get_tickers", symbol="BTCUSDT")

    rows = [row for page in listed for row in page]
    assert [len(page) for page in listed] == [4, 4, 3]
    assert [int(row["timestamp"]) for row in rows] == [
        START_MS + hours * HOUR_MS for hours in range(10, -1, -1)
    ]
    assert [Decimal(row["openInterest"]) for row in rows] == [
        Decimal("10.5") * 60 * hours for hours in range(10, -1, -1)
    ]
    assert ticker["openInterest"] == rows[0]["openInterest"]
    assert Decimal(rows[0]["singleOpenInterest"]) * 2 == Decimal(rows[0]["openInterest"])


async def test_those_who_are_long_and_short_are_all(day: Desk) -> None:
    listed = await pages(day, "get_long_short_ratio", symbol="BTCUSDT", period="4h", limit=2)

    rows = [row for page in listed for row in page]
    assert [int(row["timestamp"]) for row in rows] == [
        START_MS + hours * HOUR_MS for hours in (8, 4, 0)
    ]
    assert all(Decimal(r["buyRatio"]) + Decimal(r["sellRatio"]) == 1 for r in rows)
    # The price rose, and fewer stay long
    assert Decimal(rows[0]["buyRatio"]) < Decimal("0.5") == Decimal(rows[-1]["buyRatio"])


async def test_price_limits_stand_around_the_mark(day: Desk) -> None:
    answer = await day.call("get_price_limit", symbol="BTCUSDT")
    (ticker,) = await day.rows("get_tickers", symbol="BTCUSDT")

    mark = Decimal(ticker["markPrice"])
    assert Decimal(answer["sellLmt"]) < mark < Decimal(answer["buyLmt"])
    assert int(answer["ts"]) == exchange_of(day).clock.now_ms()


async def test_a_print_of_the_market_counts_once(day: Desk) -> None:
    feed = exchange_of(day).feed
    before = len(exchange_of(day).quotes["BTCUSDT"].prints)

    feed.trade("BTCUSDT", Side.SELL, Decimal(50_600), Decimal("0.3"))

    (newest,) = await day.rows("get_public_trade_history", symbol="BTCUSDT", limit=1)
    assert len(exchange_of(day).quotes["BTCUSDT"].prints) == before + 1
    assert (newest["side"], newest["price"], newest["size"]) == ("Sell", "50600.00", "0.300")


@pytest.mark.parametrize("interval", ["1", "D", "W", "M"])
async def test_times_beyond_all_calendars_find_what_there_is(day: Desk, interval: str) -> None:
    everything = await day.klines(interval, start=0, end=10**14, limit=1000)
    nothing = await day.klines(interval, start=10**14)

    assert everything == await day.klines(interval, limit=1000)
    assert nothing == []
