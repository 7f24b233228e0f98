"""Every field that Bybit documents, in its documented JSON type, and no other."""

import asyncio
import csv
import json
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.paper.conftest import Desk, Open, WriteCandles, eventually, signed_auth
from tests.paper.documentation import FACTS, lacks, linear_samples, mismatches, tree
from tradewright.domain.market import Side
from tradewright.paper.routes import ROUTES

pytestmark = pytest.mark.skipif(
    not FACTS.exists(), reason="the tables of Bybit's documentation are not on this machine"
)

# Where the tables are wrong of linear contracts, and why we do not follow them
EXCEPTIONS = {
    "/v5/account/fee-rate: category is missing": "the table says that derivatives have none",
    "/v5/account/fee-rate: list.baseCoin is missing": "the table says that derivatives have none",
    "/v5/market/risk-limit: list.maintenanceMargin is a str, documented as number": (
        "samples and recorded answers have a string"
    ),
    "/v5/market/risk-limit: list.initialMargin is a str, documented as number": (
        "samples and recorded answers have a string"
    ),
    "/v5/user/query-api: permissions.FiatGlobalPay is not documented": "the sample has it",
    "/v5/user/query-api: userIDInt64 is not documented": "the sample has it",
    "/v5/user/query-api: inviterIDInt64 is not documented": "the sample has it",
    "/v5/user/query-api: affiliateIDInt64 is not documented": "the sample has it",
    "allLiquidation.BTCUSDT: data is a list, documented as object": "the sample has a list",
    "execution: data.marketUnit is not documented": "the sample has it",
}
# What samples show that linear contracts in one-way mode do not have, and why
NOT_OURS = {
    "GET_v5_position_list_0: list.mmrSysUpdateTime": "a slip: the table has mmrSysUpdatedTime",
}
ROWS = ("list", "rows", "accounts", "balance", "dcpInfos")
SILENT = {
    "/v5/account/borrow-history": "nothing is ever borrowed",
    "/v5/system/status": "no maintenance is planned",
    "/v5/account/query-dcp-info": "the protection is for institutions",
}


@pytest.fixture
async def busy(open_desk: Open, write_candles: WriteCandles) -> Desk:
    """An exchange with something of every kind to show."""
    flat, fall = (50_000, 50_100, 49_900, 50_000), (50_000, 50_100, 49_000, 49_500)
    desk = await open_desk(market=write_candles(flat, flat, fall, flat))
    await desk.step(2)
    await desk.buy(stopLoss="49800", orderLinkId="a-1")
    await desk.step()
    await desk.buy(stopLoss="48000", takeProfit="52000")
    await desk.limit("48000")
    return desk


UUID = "42c0cfb0-6bca-4242-bc76-4e6df6cbab16"
BTC: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT"}
USDT = {"accountType": "UNIFIED", "coin": "USDT"}
ORDER = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "48000"}
LIMIT: dict[str, Any] = {"category": "linear"} | ORDER
LINK = {"orderLinkId": "c-1"}
LINKED = {"symbol": "BTCUSDT", "orderLinkId": "c-2"}
LEVERAGE = {"buyLeverage": "3", "sellLeverage": "3"}
ONE_WAY = BTC | {"positionIdx": 0}
Params = dict[str, Any]
# In an order in which each has something to show; None where pybit has no method
CALLS: dict[str, tuple[str | None, Params]] = {
    "/v5/market/time": ("get_server_time", {}),
    "/v5/market/instruments-info": ("get_instruments_info", BTC),
    "/v5/market/kline": ("get_kline", BTC | {"interval": "1"}),
    "/v5/market/mark-price-kline": ("get_mark_price_kline", BTC | {"interval": "1"}),
    "/v5/market/index-price-kline": ("get_index_price_kline", BTC | {"interval": "1"}),
    "/v5/market/premium-index-price-kline": (
        "get_premium_index_price_kline",
        BTC | {"interval": "1"},
    ),
    "/v5/market/tickers": ("get_tickers", BTC),
    "/v5/market/orderbook": ("get_orderbook", BTC),
    "/v5/market/recent-trade": ("get_public_trade_history", BTC),
    "/v5/market/price-limit": ("get_price_limit", BTC),
    "/v5/market/funding/history": ("get_funding_rate_history", BTC),
    "/v5/market/open-interest": ("get_open_interest", BTC | {"intervalTime": "5min"}),
    "/v5/market/account-ratio": ("get_long_short_ratio", BTC | {"period": "5min"}),
    "/v5/market/risk-limit": ("get_risk_limit", BTC),
    "/v5/system/status": ("get_system_status", {}),
    "/v5/order/create": ("place_order", LIMIT | LINK),
    "/v5/order/create-batch": (
        "place_batch_order",
        {"category": "linear", "request": [ORDER | {"orderLinkId": "c-2"}]},
    ),
    "/v5/order/amend": ("amend_order", BTC | LINK | {"price": "48001"}),
    "/v5/order/amend-batch": (
        "amend_batch_order",
        {"category": "linear", "request": [LINKED | {"price": "48002"}]},
    ),
    "/v5/order/pre-check": ("pre_check_order", LIMIT),
    "/v5/order/realtime": ("get_open_orders", BTC),
    "/v5/order/history": ("get_order_history", BTC),
    "/v5/execution/list": ("get_executions", BTC),
    "/v5/position/list": ("get_positions", BTC),
    "/v5/position/symbol-info": (None, BTC),
    "/v5/position/set-leverage": ("set_leverage", BTC | LEVERAGE),
    "/v5/position/trading-stop": (
        "set_trading_stop",
        ONE_WAY | {"tpslMode": "Full", "stopLoss": "48500"},
    ),
    "/v5/position/closed-pnl": ("get_closed_pnl", BTC),
    "/v5/account/wallet-balance": ("get_wallet_balance", {"accountType": "UNIFIED"}),
    "/v5/account/fee-rate": ("get_fee_rates", BTC),
    "/v5/account/info": ("get_account_info", {}),
    "/v5/account/instruments-info": ("get_account_instruments_info", BTC),
    "/v5/account/collateral-info": ("get_collateral_info", {}),
    "/v5/account/borrow-history": ("get_borrow_history", {}),
    "/v5/account/user-setting-config": ("get_user_setting_config", {}),
    "/v5/account/smp-group": ("get_smp_group", {}),
    "/v5/account/query-dcp-info": ("query_dcp_info", {}),
    "/v5/account/withdrawal": ("get_transferable_amount", {"coinName": "USDT,BTC"}),
    "/v5/account/set-limit-px-action": (
        "set_limit_price_action",
        {"category": "linear", "modifyEnable": False},
    ),
    "/v5/account/demo-apply-money": (
        None,
        {"adjustType": 0, "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "100"}]},
    ),
    "/v5/asset/transfer/inter-transfer": (
        "create_internal_transfer",
        {
            "transferId": UUID,
            "coin": "USDT",
            "amount": "5",
            "fromAccountType": "UNIFIED",
            "toAccountType": "FUND",
        },
    ),
    "/v5/asset/transfer/query-inter-transfer-list": ("get_internal_transfer_records", {}),
    "/v5/asset/transfer/query-account-coin-balance": ("get_coin_balance", USDT),
    "/v5/asset/transfer/query-account-coins-balance": ("get_coins_balance", USDT),
    "/v5/asset/coin/query-info": ("get_coin_info", {}),
    "/v5/account/transaction-log": ("get_transaction_log", {}),
    "/v5/user/query-api": ("get_api_key_information", {}),
    "/v5/user/get-member-type": ("get_uid_wallet_type", {}),
    "/v5/order/cancel": ("cancel_order", BTC | LINK),
    "/v5/order/cancel-batch": ("cancel_batch_order", {"category": "linear", "request": [LINKED]}),
    "/v5/order/cancel-all": ("cancel_all_orders", BTC),
    "/v5/account/set-margin-mode": ("set_margin_mode", {"setMarginMode": "ISOLATED_MARGIN"}),
    "/v5/position/add-margin": ("add_or_reduce_margin", ONE_WAY | {"margin": "10"}),
    "/v5/position/set-auto-add-margin": ("set_auto_add_margin", ONE_WAY | {"autoAddMargin": 1}),
}
# What is always refused is so for reasons that its own tests prove
REFUSED = {
    "/v5/order/spot-borrow-check",
    "/v5/order/disconnected-cancel-all",
    "/v5/position/switch-mode",
    "/v5/position/confirm-pending-mmr",
    "/v5/account/set-collateral-switch",
}
TOPICS = {
    "order": "private/order",
    "execution": "private/execution",
    "execution.fast": "private/fast-execution",
    "position": "private/position",
    "wallet": "private/wallet",
    "tickers.BTCUSDT": "public/ticker",
    "kline.1.BTCUSDT": "public/kline",
    "orderbook.1.BTCUSDT": "public/orderbook",
    "orderbook.50.BTCUSDT": "public/orderbook",
    "orderbook.200.BTCUSDT": "public/orderbook",
    "orderbook.1000.BTCUSDT": "public/orderbook",
    "publicTrade.BTCUSDT": "public/trade",
    "priceLimit.BTCUSDT": "public/order-price-limit",
    "allLiquidation.BTCUSDT": "public/all-liquidation",
}


def test_every_route_has_its_contract() -> None:
    assert {path for _, path in ROUTES} == CALLS.keys() | REFUSED
    assert not CALLS.keys() & REFUSED


def test_every_endpoint_that_a_trading_client_uses_is_served() -> None:
    with (FACTS / "endpoints.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["core_for_bot"] == "Y"]

    assert {(row["method"], row["path"]) for row in rows} == ROUTES.keys()


async def answers(desk: Desk) -> dict[str, dict[str, Any]]:
    found = {}
    for path, (name, params) in CALLS.items():
        found[path] = await desk.ask(name or path, **params)
        assert found[path]["retCode"] == 0
    return found


async def test_every_answer_has_the_documented_fields_and_types(busy: Desk) -> None:
    documented = json.loads((FACTS / "endpoints_core.json").read_text())
    methods = {path: method for method, path in ROUTES}
    found = []

    for path, answer in (await answers(busy)).items():
        assert answer.keys() == {"retCode", "retMsg", "result", "retExtInfo", "time"}
        assert [type(v) for v in answer.values()] == [int, str, dict, dict, int]
        expected = tree(documented[f"{methods[path]} {path}"]["response"])
        rows = [answer["result"].get(name) for name in ROWS]
        assert path in SILENT or [] not in rows, f"{path} shows nothing"
        # The tables of some endpoints begin one level higher than the others
        told = {k: answer[k] for k in expected} if "result" in expected else answer["result"]
        found += [f"{path}: {m}" for m in mismatches(told, expected)]

    wrong = dict.fromkeys(found)
    assert [m for m in wrong if m not in EXCEPTIONS] == []
    assert {m for m in EXCEPTIONS if m.startswith("/")} <= wrong.keys()


async def test_every_sample_is_part_of_our_answer(busy: Desk) -> None:
    methods = {path: method for method, path in ROUTES}
    found = []

    for path, answer in (await answers(busy)).items():
        stem = f"{methods[path]}_{path.strip('/').replace('/', '_')}"
        for sample in linear_samples(stem):
            shown = json.loads(sample.read_text()).get("result") or {}
            found += [f"{sample.stem}: {m}" for m in lacks(answer["result"], shown)]

    wrong = dict.fromkeys(found)
    assert [m for m in wrong if m not in NOT_OURS] == []
    assert NOT_OURS.keys() <= wrong.keys()


async def test_every_message_has_the_documented_fields_and_types(busy: Desk) -> None:
    documented = json.loads((FACTS / "ws_topics.json").read_text())
    frames = await bare_frames(busy)
    found = []

    for topic, page in TOPICS.items():
        expected = tree(documented[f"docs/v5/websocket/{page}.mdx"]["fields"])
        message = next(f for f in frames if f.get("topic") == topic)
        found += [f"{topic}: {m}" for m in mismatches(message, expected)]

    wrong = dict.fromkeys(found)
    assert [m for m in wrong if m not in EXCEPTIONS] == []
    assert {m for m in EXCEPTIONS if not m.startswith("/")} <= wrong.keys()


PRIVATE_SAMPLES = ("order", "execution", "position", "wallet", "fast-execution")


async def test_every_sample_of_a_private_message_is_part_of_ours(busy: Desk) -> None:
    topics = {page.partition("/")[2]: topic for topic, page in TOPICS.items()}
    frames = await bare_frames(busy)
    found = []

    for page in PRIVATE_SAMPLES:
        sample = json.loads((FACTS / "samples" / f"WS_private_{page}_1.json").read_text())
        message = next(f for f in frames if f.get("topic") == topics[page])
        found += [f"{page}: {m}" for m in lacks(message, sample)]

    assert found == []


async def bare_frames(desk: Desk) -> list[dict[str, Any]]:
    """Return what the streams say about an order and a candle, as it stands on the wire."""
    private = [t for t in TOPICS if TOPICS[t].startswith("private")]
    public = [t for t in TOPICS if t not in private]
    async with (
        connect(f"{desk.paper.stream_url}/private", proxy=None, max_queue=None) as account,
        connect(f"{desk.paper.stream_url}/public/linear", proxy=None, max_queue=None) as market,
    ):
        await account.send(json.dumps(signed_auth()))
        await account.send(json.dumps({"op": "subscribe", "args": private}))
        await market.send(json.dumps({"op": "subscribe", "args": public}))
        feed = desk.paper.exchange.feed
        await eventually(lambda: feed.hub.topics >= TOPICS.keys())
        await desk.buy(stopLoss="48000")
        feed.liquidation("BTCUSDT", Side.BUY, Decimal("0.1"), Decimal(45_000))
        await desk.step()
        frames: list[dict[str, Any]] = []
        for socket, topics in ((account, private), (market, public)):
            missing = set(topics)
            while missing:
                frame = json.loads(await asyncio.wait_for(socket.recv(), 30))
                missing.discard(frame.get("topic"))
                frames.append(frame)
    return frames
