"""pybit: every HTTP method that has a route here, and every topic."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from pybit.exceptions import InvalidRequestError

from tests.paper.conftest import Desk, Open, Row, WriteCandles, eventually
from tradewright.paper.routes import ROUTES

NOT_IN_PYBIT = {
    ("GET", "/v5/position/symbol-info"),
    # Only for a session of Bybit's own demo, whose URL it is bound to
    ("POST", "/v5/account/demo-apply-money"),
}

S: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT"}
LIMIT: dict[str, Any] = S | {"side": "Buy", "orderType": "Limit", "qty": "0.1"}
MARKET: dict[str, Any] = S | {"side": "Buy", "orderType": "Market", "qty": "0.1"}

Result = dict[str, Any]
Call = tuple[str, dict[str, Any], Callable[[Result], object]]


def prices(result: Result) -> list[list[str]]:
    return [row[1:5] for row in result["list"]]


MARKET_DATA: tuple[Call, ...] = (
    ("get_server_time", {}, lambda r: r["timeNano"].startswith(r["timeSecond"])),
    ("get_system_status", {}, lambda r: r["list"] == []),
    ("get_instruments_info", S, lambda r: r["list"][0]["priceFilter"]["tickSize"] == "0.10"),
    ("get_instruments_info", {"category": "spot"}, lambda r: r["list"] == []),
    ("get_tickers", S, lambda r: float(r["list"][0]["lastPrice"]) == 50_000),
    ("get_orderbook", S | {"limit": 1}, lambda r: (r["b"][0][0], r["a"][0][0])),
    ("get_kline", S | {"interval": 1}, lambda r: len(r["list"][0]) == 7),
    ("get_mark_price_kline", S | {"interval": 1}, lambda r: len(r["list"][0]) == 5),
    ("get_index_price_kline", S | {"interval": 1}, lambda r: len(r["list"][0]) == 5),
    ("get_premium_index_price_kline", S | {"interval": 1}, lambda r: len(r["list"][0]) == 5),
    ("get_funding_rate_history", S, lambda r: r["category"] == "linear"),
    ("get_public_trade_history", S, lambda r: r["category"] == "linear"),
    ("get_open_interest", S | {"intervalTime": "5min"}, lambda r: r["symbol"] == "BTCUSDT"),
    ("get_risk_limit", S, lambda r: r["list"][0]["isLowestRisk"] == 1),
    ("get_long_short_ratio", S | {"period": "1h"}, lambda r: isinstance(r["list"], list)),
    ("get_price_limit", S, lambda r: float(r["sellLmt"]) < 50_000 < float(r["buyLmt"])),
)

ACCOUNT: tuple[Call, ...] = (
    ("get_api_key_information", {}, lambda r: (r["uta"], r["readOnly"]) == (1, 0)),
    ("get_uid_wallet_type", {}, lambda r: "UNIFIED" in r["accounts"][0]["accountType"]),
    ("get_account_info", {}, lambda r: r["marginMode"] == "REGULAR_MARGIN"),
    ("get_wallet_balance", {"accountType": "UNIFIED"}, lambda r: wealth(r) == 100_000),
    ("get_transferable_amount", {"coinName": "USDT"}, lambda r: r["availableWithdrawal"]),
    ("get_fee_rates", S, lambda r: r["list"][0]["takerFeeRate"] == "0.00055"),
    ("get_collateral_info", {"currency": "USDT"}, lambda r: r["list"][0]["marginCollateral"]),
    ("get_borrow_history", {"currency": "USDT"}, lambda r: r["list"] == []),
    ("get_account_instruments_info", S, lambda r: r["list"][0]["symbol"] == "BTCUSDT"),
    ("query_dcp_info", {}, lambda r: r["dcpInfos"] == []),
    ("get_smp_group", {}, lambda r: r["smpGroup"] == 0),
    ("get_user_setting_config", {}, lambda r: r["lpaPerp"] is False),
    ("set_limit_price_action", {"category": "linear", "modifyEnable": True}, lambda r: True),
    ("set_margin_mode", {"setMarginMode": "ISOLATED_MARGIN"}, lambda r: r["reasons"] == []),
    ("get_coin_info", {"coin": "USDT"}, lambda r: r["rows"][0]["coin"] == "USDT"),
    (
        "create_internal_transfer",
        {
            "transferId": str(uuid.UUID(int=7)),
            "coin": "USDT",
            "amount": "10",
            "fromAccountType": "UNIFIED",
            "toAccountType": "FUND",
        },
        lambda r: r["status"] == "SUCCESS",
    ),
    (
        "get_internal_transfer_records",
        {"coin": "USDT"},
        lambda r: r["list"][0]["transferId"] == str(uuid.UUID(int=7)),
    ),
    (
        "get_coins_balance",
        {"accountType": "FUND", "coin": "USDT"},
        lambda r: float(r["balance"][0]["walletBalance"]) == 10,
    ),
    (
        "get_coin_balance",
        {"accountType": "UNIFIED", "coin": "USDT"},
        lambda r: float(r["balance"]["walletBalance"]) == 99_990,
    ),
)

POSITIONS: tuple[Call, ...] = (
    (
        "set_leverage",
        S | {"buyLeverage": "5", "sellLeverage": "5"},
        lambda r: r == {},
    ),
    ("switch_position_mode", {"category": "linear", "coin": "USDT", "mode": 0}, lambda r: r == {}),
    ("pre_check_order", MARKET, lambda r: r["postImrE4"] > r["preImrE4"]),
    ("place_order", MARKET, lambda r: r["orderId"]),
    (
        "get_positions",
        S,
        lambda r: float(r["list"][0]["size"]) == 0.1 and float(r["list"][0]["leverage"]) == 5,
    ),
    ("add_or_reduce_margin", S | {"margin": "50"}, lambda r: r["symbol"] == "BTCUSDT"),
    ("set_auto_add_margin", S | {"autoAddMargin": 1}, lambda r: r == {}),
    (
        "set_trading_stop",
        S | {"stopLoss": "46000", "tpslMode": "Full", "positionIdx": 0},
        lambda r: r == {},
    ),
    ("get_open_orders", S, lambda r: r["list"][0]["stopOrderType"] == "StopLoss"),
    ("get_executions", S, lambda r: float(r["list"][0]["execQty"]) == 0.1),
    ("place_order", MARKET | {"side": "Sell", "reduceOnly": True}, lambda r: r["orderId"]),
    ("get_closed_pnl", S, lambda r: float(r["list"][0]["closedSize"]) == 0.1),
    ("get_transaction_log", {"currency": "USDT"}, lambda r: r["list"][0]["type"] == "TRADE"),
)


def entry(price: str, link: str) -> dict[str, Any]:
    return {k: v for k, v in LIMIT.items() if k != "category"} | {
        "price": price,
        "orderLinkId": link,
    }


def change(link: str, **fields: str) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "orderLinkId": link, **fields}


def batch(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"category": "linear", "request": list(rows)}


ORDERS: tuple[Call, ...] = (
    ("place_order", LIMIT | entry("49000", "a"), lambda r: r["orderLinkId"] == "a"),
    ("amend_order", S | {"orderLinkId": "a", "price": "49100"}, lambda r: r["orderId"]),
    ("get_open_orders", S, lambda r: [float(o["price"]) for o in r["list"]] == [49_100]),
    ("cancel_order", S | {"orderLinkId": "a"}, lambda r: r["orderLinkId"] == "a"),
    (
        "get_order_history",
        S | {"orderLinkId": "a"},
        lambda r: r["list"][0]["orderStatus"] == "Cancelled",
    ),
    (
        "place_batch_order",
        batch(entry("49000", "b"), entry("48000", "c")),
        lambda r: [o["orderLinkId"] for o in r["list"]] == ["b", "c"],
    ),
    (
        "amend_batch_order",
        batch(change("b", qty="0.2")),
        lambda r: r["list"][0]["orderLinkId"] == "b",
    ),
    ("cancel_batch_order", batch(change("b")), lambda r: r["list"][0]["orderLinkId"] == "b"),
    ("cancel_all_orders", S, lambda r: [o["orderLinkId"] for o in r["list"]] == ["c"]),
)

# An account of one coin, one-way mode and no special terms has no use for these
REFUSED: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("set_collateral_coin", {"coin": "BTC", "collateralSwitch": "ON"}, 182204),
    ("get_borrow_quota", {"category": "spot", "symbol": "BTCUSDT", "side": "Buy"}, 170121),
    ("confirm_new_risk_limit", S, 110082),
    ("set_dcp", {"timeWindow": 40}, 10005),
)


def wealth(result: Result) -> float:
    (account,) = result["list"]
    (usdt,) = [coin for coin in account["coin"] if coin["coin"] == "USDT"]
    return float(usdt["walletBalance"])


def asked_of(desk: Desk) -> set[tuple[str, str]]:
    """Return the routes that pybit asks from now on, as a set that grows."""
    asked: set[tuple[str, str]] = set()

    def note(answer: requests.Response, *_: Any, **__: Any) -> None:
        asked.add((str(answer.request.method), urlsplit(str(answer.request.url)).path))

    desk.http.client.hooks["response"].append(note)
    return asked


async def test_pybit_has_a_word_for_every_route(desk: Desk) -> None:
    asked = asked_of(desk)

    for name, params, is_right in (*MARKET_DATA, *ACCOUNT, *POSITIONS, *ORDERS):
        answer = await asyncio.to_thread(getattr(desk.http, name), **params)
        assert answer["retCode"] == 0, name
        assert is_right(answer["result"]), (name, answer["result"])
    for name, params, code in REFUSED:
        with pytest.raises(InvalidRequestError) as failure:
            await asyncio.to_thread(getattr(desk.http, name), **params)
        assert failure.value.status_code == code, name

    assert set(ROUTES) - asked <= NOT_IN_PYBIT


class Topic(NamedTuple):
    method: str
    arguments: tuple[Any, ...]
    topic: str


PUBLIC = (
    Topic("kline_stream", (1, "BTCUSDT"), "kline.1.BTCUSDT"),
    Topic("ticker_stream", ("BTCUSDT",), "tickers.BTCUSDT"),
    Topic("trade_stream", ("BTCUSDT",), "publicTrade.BTCUSDT"),
    Topic("orderbook_stream", (1, "BTCUSDT"), "orderbook.1.BTCUSDT"),
    Topic("orderbook_stream", (50, "BTCUSDT"), "orderbook.50.BTCUSDT"),
    Topic("orderbook_stream", (200, "BTCUSDT"), "orderbook.200.BTCUSDT"),
    Topic("orderbook_stream", (1000, "BTCUSDT"), "orderbook.1000.BTCUSDT"),
    Topic("all_liquidation_stream", ("BTCUSDT",), "allLiquidation.BTCUSDT"),
    Topic("price_limit_stream", ("BTCUSDT",), "priceLimit.BTCUSDT"),
)
PRIVATE = ("order", "execution", "position", "wallet", "execution.fast")

FLAT: Row = (50_000, 50_000, 50_000, 50_000)
CRASH: Row = (50_000, 50_000, 40_000, 41_000)


@pytest.fixture
async def falling(open_desk: Open, write_candles: WriteCandles) -> Desk:
    """An exchange whose next candle takes a long position of ten times its margin."""
    return await open_desk(market=write_candles(FLAT, CRASH, CRASH))


async def test_pybit_hears_every_public_topic(falling: Desk) -> None:
    stream = await falling.public(*((t.method, t.arguments) for t in PUBLIC))
    await asyncio.to_thread(falling.http.set_margin_mode, setMarginMode="ISOLATED_MARGIN")
    await falling.buy("0.1")

    await falling.step(3)

    for topic in PUBLIC:
        await eventually(lambda topic=topic: stream.of(topic.topic))  # type: ignore[misc]
    for topic in PUBLIC:
        # A price limit is told whole each time, and does not say so
        assert stream.of(topic.topic)[0].get("type", "snapshot") == "snapshot"
    (liquidated,) = stream.rows("allLiquidation.BTCUSDT")
    assert (liquidated["s"], liquidated["S"], float(liquidated["v"])) == ("BTCUSDT", "Buy", 0.1)


async def test_pybit_hears_every_private_topic(falling: Desk) -> None:
    stream = await falling.private()
    await asyncio.to_thread(stream.socket.fast_execution_stream, stream.messages.append)
    await eventually(lambda: "execution.fast" in falling.paper.exchange.feed.hub.topics)

    await falling.buy("0.1")

    for topic in PRIVATE:
        await eventually(lambda topic=topic: stream.rows(topic))  # type: ignore[misc]
    (executed,) = stream.rows("execution")
    (fast,) = stream.rows("execution.fast")
    assert executed["execId"] == fast["execId"]
    assert (float(fast["execQty"]), fast["side"]) == (0.1, "Buy")
    assert float(stream.rows("position")[-1]["size"]) == 0.1
    assert stream.rows("wallet")[-1]["accountType"] == "UNIFIED"
    assert stream.rows("order")[-1]["orderStatus"] == "Filled"
