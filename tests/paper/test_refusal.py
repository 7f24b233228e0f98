"""Every refusal that a request can meet by itself, with Bybit's code and text."""

from typing import Any

import pytest
from pybit.exceptions import InvalidRequestError

from tests.paper.conftest import Desk

Params = dict[str, Any]
Refusal = tuple[str, Params, int, str]

UUID = "42c0cfb0-6bca-4242-bc76-4e6df6cbab16"
BTC: Params = {"category": "linear", "symbol": "BTCUSDT"}
MARKET: Params = BTC | {"side": "Buy", "orderType": "Market", "qty": "0.1"}
LIMIT: Params = MARKET | {"orderType": "Limit", "price": "49000"}
STOP: Params = BTC | {"positionIdx": 0, "tpslMode": "Full"}
MOVE: Params = {
    "transferId": UUID,
    "coin": "USDT",
    "amount": "5",
    "fromAccountType": "UNIFIED",
    "toAccountType": "FUND",
}
ILLEGAL = "Illegal category"
NO_SYMBOL = "params error: symbol invalid"
MISSING = "Missing some parameters that must be filled in, "
IDX = "position idx not match position mode"
TOO_LONG = "The time range between startTime and endTime cannot exceed 7 days"
GONE = "order not exists or too late to cancel"


def wrong(name: str) -> str:
    return f"params error: {name} invalid"


def required(name: str) -> str:
    return f"params error: {name} is required"


PLACING: list[Refusal] = [
    ("place_order", MARKET | {"category": ""}, 10001, ILLEGAL),
    ("place_order", MARKET | {"category": "futures"}, 10001, ILLEGAL),
    ("place_order", MARKET | {"category": "spot"}, 170121, "Invalid symbol."),
    ("place_order", MARKET | {"category": "inverse"}, 10001, NO_SYMBOL),
    ("place_order", MARKET | {"category": "option"}, 10001, NO_SYMBOL),
    ("place_order", MARKET | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    ("place_order", MARKET | {"symbol": ""}, 10001, NO_SYMBOL),
    ("place_order", MARKET | {"side": "Up"}, 10001, wrong("side")),
    ("place_order", MARKET | {"side": ""}, 10001, wrong("side")),
    ("place_order", MARKET | {"orderType": "Stop"}, 10001, wrong("orderType")),
    ("place_order", LIMIT | {"timeInForce": "GTX"}, 10001, wrong("timeInForce")),
    ("place_order", MARKET | {"qty": "a lot"}, 10001, wrong("qty")),
    ("place_order", MARKET | {"qty": "-1"}, 10001, wrong("qty")),
    ("place_order", MARKET | {"qty": "NaN"}, 10001, wrong("qty")),
    ("place_order", MARKET | {"qty": "1e999999"}, 10001, wrong("qty")),
    ("place_order", LIMIT | {"price": "Infinity"}, 10001, wrong("price")),
    ("place_order", MARKET | {"positionIdx": 1}, 10001, IDX),
    ("place_order", MARKET | {"positionIdx": 2}, 10001, IDX),
    ("place_order", MARKET | {"tpslMode": "Half"}, 10001, wrong("tpslMode")),
    ("place_order", MARKET | {"triggerBy": "Bid"}, 10001, wrong("triggerBy")),
    ("place_order", MARKET | {"tpTriggerBy": "Bid"}, 10001, wrong("tpTriggerBy")),
    ("place_order", MARKET | {"slOrderType": "Stop"}, 10001, wrong("slOrderType")),
    (
        "place_order",
        MARKET | {"slippageToleranceType": "Bps"},
        10001,
        wrong("slippageToleranceType"),
    ),
    ("pre_check_order", MARKET | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    ("pre_check_order", MARKET | {"category": "spot"}, 170121, "Invalid symbol."),
    ("set_dcp", {"timeWindow": 10}, 10005, "Permission denied, please check your API key"),
    ("get_borrow_quota", BTC | {"category": "spot", "side": "Buy"}, 170121, "Invalid symbol."),
    ("get_borrow_quota", BTC | {"side": "Buy"}, 10001, "category only supports spot"),
]
CHANGING: list[Refusal] = [
    ("amend_order", BTC | {"qty": "1"}, 10001, required("orderId or orderLinkId")),
    ("amend_order", BTC | {"orderLinkId": "none", "qty": "1"}, 110001, GONE),
    ("amend_order", BTC | {"orderLinkId": "none", "category": "spot"}, 170121, "Invalid symbol."),
    ("cancel_order", BTC, 10001, required("orderId or orderLinkId")),
    ("cancel_order", BTC | {"orderId": "none"}, 110001, GONE),
    ("cancel_order", {"category": "linear", "orderId": "none"}, 110001, GONE),
    (
        "cancel_all_orders",
        {"category": "linear"},
        10001,
        f"{MISSING}symbol or settleCoin or baseCoin",
    ),
    ("cancel_all_orders", BTC | {"orderFilter": "All"}, 10001, wrong("orderFilter")),
    ("cancel_all_orders", BTC | {"stopOrderType": "Stop"}, 10001, wrong("stopOrderType")),
    ("cancel_all_orders", BTC | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    ("place_batch_order", {"category": "linear"}, 10001, wrong("request")),
    ("place_batch_order", {"category": "linear", "request": []}, 10001, wrong("request")),
    ("place_batch_order", {"category": "spot", "request": [{}]}, 170121, "Invalid symbol."),
    (
        "cancel_batch_order",
        {"category": "linear", "request": [{"symbol": "BTCUSDT"}] * 21},
        10001,
        "more than 20 orders",
    ),
]
POSITIONS: list[Refusal] = [
    ("get_positions", {"category": "linear"}, 10001, f"{MISSING}symbol or settleCoin"),
    ("get_positions", BTC | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    ("get_positions", BTC | {"limit": 201}, 10001, "limit must be between 1 and 200"),
    (
        "set_leverage",
        BTC | {"buyLeverage": "5", "sellLeverage": "6"},
        10001,
        "buy leverage invalid",
    ),
    ("set_leverage", BTC | {"buyLeverage": "5"}, 10001, wrong("leverage")),
    (
        "set_leverage",
        BTC | {"buyLeverage": "10", "sellLeverage": "10"},
        110043,
        "leverage not modified",
    ),
    ("set_leverage", BTC | {"buyLeverage": "0", "sellLeverage": "0"}, 10001, "leverage invalid"),
    (
        "set_leverage",
        BTC | {"buyLeverage": "500", "sellLeverage": "500"},
        110013,
        "cannot set leverage [50000] gt maxLeverage [10000] by risk limit",
    ),
    ("set_trading_stop", STOP | {"stopLoss": "49000"}, 10001, "zero position"),
    ("set_trading_stop", STOP | {"positionIdx": 1, "stopLoss": "49000"}, 10001, IDX),
    ("set_trading_stop", STOP | {"tpslMode": "Half"}, 10001, wrong("tpslMode")),
    ("add_or_reduce_margin", BTC | {"margin": "0"}, 10001, wrong("margin")),
    ("add_or_reduce_margin", BTC | {"margin": "1.23456"}, 10001, wrong("margin")),
    ("add_or_reduce_margin", BTC | {"margin": "1", "positionIdx": 2}, 10001, IDX),
    ("set_auto_add_margin", BTC | {"autoAddMargin": 2}, 10001, wrong("autoAddMargin")),
    ("switch_position_mode", BTC | {"mode": 0}, 110025, "Position mode is not modified"),
    ("switch_position_mode", BTC | {"mode": 3}, 110029, "Hedge mode is not supported"),
    ("switch_position_mode", BTC | {"mode": 1}, 10001, wrong("mode")),
    (
        "switch_position_mode",
        {"category": "linear", "coin": "BTC", "mode": 0},
        10001,
        wrong("coin"),
    ),
    ("confirm_new_risk_limit", BTC, 110082, "You cannot lift Reduce-Only restrictions"),
]
RECORDS: list[Refusal] = [
    (
        "get_open_orders",
        {"category": "linear"},
        10001,
        f"{MISSING}symbol or settleCoin or baseCoin",
    ),
    (
        "get_open_orders",
        {"category": "linear", "orderId": "a-1"},
        10001,
        f"{MISSING}symbol or settleCoin or baseCoin",
    ),
    ("get_open_orders", BTC | {"category": ""}, 10001, ILLEGAL),
    ("get_open_orders", BTC | {"limit": 51}, 10001, "limit must be between 1 and 50"),
    ("get_open_orders", BTC | {"limit": 0}, 10001, "limit must be between 1 and 50"),
    ("get_open_orders", BTC | {"limit": "x"}, 10001, wrong("limit")),
    ("get_open_orders", BTC | {"limit": "9" * 30}, 10001, wrong("limit")),
    ("get_open_orders", BTC | {"cursor": "x"}, 10001, wrong("cursor")),
    ("get_open_orders", BTC | {"orderFilter": "None"}, 10001, wrong("orderFilter")),
    ("get_order_history", BTC | {"cursor": "x"}, 10001, wrong("cursor")),
    ("get_order_history", BTC | {"orderStatus": "Open"}, 10001, wrong("orderStatus")),
    ("get_order_history", BTC | {"startTime": 0, "endTime": 604800001}, 10001, TOO_LONG),
    (
        "get_order_history",
        BTC | {"startTime": 2, "endTime": 1},
        10001,
        "startTime needs to be smaller than endTime",
    ),
    ("get_executions", BTC | {"limit": 101}, 10001, "limit must be between 1 and 100"),
    ("get_executions", BTC | {"startTime": "soon"}, 10001, wrong("startTime")),
    ("get_executions", BTC | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    ("get_closed_pnl", BTC | {"limit": 101}, 10001, "limit must be between 1 and 100"),
    ("get_transaction_log", {"accountType": "FUND"}, 10001, "accountType only support UNIFIED"),
    ("get_transaction_log", {"limit": 51}, 10001, "limit must be between 1 and 50"),
    ("get_transaction_log", {"category": "futures"}, 10001, ILLEGAL),
]
ACCOUNT: list[Refusal] = [
    ("get_wallet_balance", {"accountType": "SPOT"}, 10001, "accountType only support UNIFIED"),
    ("get_fee_rates", {"category": "futures"}, 10001, ILLEGAL),
    ("get_fee_rates", BTC | {"symbol": "NOPEUSDT"}, 10001, NO_SYMBOL),
    (
        "get_account_instruments_info",
        BTC | {"limit": 201},
        10001,
        "limit must be between 1 and 200",
    ),
    ("set_margin_mode", {"setMarginMode": "CROSS"}, 10001, wrong("setMarginMode")),
    ("set_margin_mode", {"setMarginMode": "PORTFOLIO_MARGIN"}, 3400045, "Set margin mode failed"),
    (
        "set_collateral_coin",
        {"coin": "USDT", "collateralSwitch": "OFF"},
        182111,
        "does not support switching",
    ),
    (
        "set_collateral_coin",
        {"coin": "NOPE", "collateralSwitch": "ON"},
        182204,
        "Coin does not exist",
    ),
    (
        "set_collateral_coin",
        {"coin": "BTC", "collateralSwitch": "on"},
        10001,
        wrong("collateralSwitch"),
    ),
    ("set_limit_price_action", {"category": "spot", "modifyEnable": True}, 10001, ILLEGAL),
    ("set_limit_price_action", {"category": "linear"}, 10001, wrong("modifyEnable")),
    ("get_transferable_amount", {"coinName": ""}, 10001, required("coinName")),
    ("/v5/account/demo-apply-money", {"adjustType": 2}, 10001, wrong("utaDemoApplyMoney")),
    (
        "/v5/account/demo-apply-money",
        {"utaDemoApplyMoney": [{"coin": "BTC", "amountStr": "1"}]},
        10001,
        wrong("coin"),
    ),
    (
        "/v5/account/demo-apply-money",
        {"utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "100001"}]},
        10001,
        wrong("amountStr"),
    ),
    (
        "/v5/account/demo-apply-money",
        {"adjustType": 1, "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "100000"}] * 2},
        131212,
        "Insufficient balance",
    ),
]
ASSETS: list[Refusal] = [
    ("create_internal_transfer", MOVE | {"transferId": "1"}, 131203, "Request parameter error"),
    ("create_internal_transfer", MOVE | {"coin": "BTC"}, 131203, "Request parameter error"),
    ("create_internal_transfer", MOVE | {"amount": "0"}, 131215, "Amount error"),
    ("create_internal_transfer", MOVE | {"amount": "-1"}, 131215, "Amount error"),
    ("create_internal_transfer", MOVE | {"amount": "1e20"}, 131215, "Amount error"),
    (
        "create_internal_transfer",
        MOVE | {"amount": "1.123456789"},
        131210,
        "Amount accuracy error",
    ),
    (
        "create_internal_transfer",
        MOVE | {"toAccountType": "UNIFIED"},
        131211,
        "fromAccountType can't be the same as toAccountType",
    ),
    (
        "create_internal_transfer",
        MOVE | {"toAccountType": "SPOT"},
        131231,
        "Transfers into this account are not supported",
    ),
    (
        "create_internal_transfer",
        MOVE | {"fromAccountType": "CONTRACT"},
        131232,
        "Transfers out this account are not supported",
    ),
    ("create_internal_transfer", MOVE | {"toAccountType": "MINE"}, 131207, "Account not exist"),
    ("create_internal_transfer", MOVE | {"amount": "100001"}, 131212, "Insufficient balance"),
    (
        "create_internal_transfer",
        MOVE | {"fromAccountType": "FUND", "toAccountType": "UNIFIED"},
        131212,
        "Insufficient balance",
    ),
    ("get_coin_balance", {"accountType": "MINE", "coin": "USDT"}, 131207, "Account not exist"),
    ("get_coin_balance", {"accountType": "UNIFIED"}, 10001, required("coin")),
    ("get_coins_balance", {"accountType": "UNIFIED"}, 131203, "Request parameter error"),
    ("get_coins_balance", {"accountType": "SPOT"}, 131204, "Account info error"),
]


@pytest.mark.parametrize(
    "refusals",
    [PLACING, CHANGING, POSITIONS, RECORDS, ACCOUNT, ASSETS],
    ids=["placing", "changing", "positions", "records", "account", "assets"],
)
async def test_what_cannot_be_is_refused_with_its_code_and_text(
    desk: Desk, refusals: list[Refusal]
) -> None:
    assert await differing(desk, refusals) == []
    assert await desk.rows("get_order_history") == []
    assert (await desk.wallet())["totalWalletBalance"] == "100000"


async def differing(desk: Desk, refusals: list[Refusal]) -> list[Any]:
    found = []
    for method, params, code, text in refusals:
        told = await refusal(desk, method, params)
        if told[0] != code or text not in told[1]:
            found.append((method, params, code, text, told))
    return found


async def refusal(desk: Desk, method: str, params: Params) -> tuple[int, str]:
    try:
        answer = await desk.ask(method, **params)
    except InvalidRequestError as error:
        return error.status_code, error.message
    return answer["retCode"], answer["retMsg"]
