"""The unified account: wallet, fees, log of its cash, and how it trades."""

from tradewright.matching import MarginMode, RequestRejected
from tradewright.paper.call import Answer, Call
from tradewright.paper.holding import wallet_row
from tradewright.paper.rest.instrument import instrument_row
from tradewright.paper.rest.page import limit_of, page
from tradewright.paper.rest.param import invalid, needed, symbol_of, text
from tradewright.paper.wire import COIN, Row, num

_MARGIN_MODES = ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN")


def wallet_balance(call: Call) -> Row:
    if text(call.params, "accountType") != "UNIFIED":
        raise RequestRejected(10001, "accountType only support UNIFIED.")
    row = wallet_row(call.exchange.view.account(call.account))
    if coins := text(call.params, "coin"):
        row["coin"] = [c for c in row["coin"] if c["coin"] in coins.split(",")]
    return {"list": [row]}


def account_info(call: Call) -> Row:
    return {
        "unifiedMarginStatus": 5,
        "marginMode": call.exchange.view.account(call.account).profile.margin_mode.value,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "updatedTime": str(call.exchange.source.begins_ms),
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
    }


def fee_rate(call: Call) -> Row:
    markets, params = call.exchange.engine.markets, call.params
    fees = call.exchange.view.account(call.account).profile.fees
    symbols = [symbol_of(markets, params)] if text(params, "symbol") else list(markets)
    taker, maker = num(fees.taker), num(fees.maker)
    return {"list": [{"symbol": s, "takerFeeRate": taker, "makerFeeRate": maker} for s in symbols]}


def instruments_info(call: Call) -> Row:
    """List what the account may trade: all of it, without the extras for market makers."""
    markets, params = call.exchange.engine.markets, call.params
    limit = limit_of(params, 200, 200)
    wanted = symbol_of(markets, params) if text(params, "symbol") else ""
    found = [market for symbol, market in markets.items() if wanted in ("", symbol)]
    listed, cursor = page(found, params, limit)
    rows = [instrument_row(call.exchange, market) for market in listed]
    for row in rows:
        del row["forbidUplWithdrawal"]
        row["isPublicRpi"] = row["myRpiPermission"] = False
    return {"category": "linear", "nextPageCursor": cursor, "list": rows}


def collateral_info(call: Call) -> Row:
    coins = [COIN] if text(call.params, "currency") in ("", COIN) else []
    return {"list": [_collateral(coin) for coin in coins]}


def _collateral(coin: str) -> Row:
    return {
        "currency": coin,
        "hourlyBorrowRate": "0",
        "maxBorrowingAmount": "0",
        "freeBorrowingLimit": "0",
        "freeBorrowAmount": "0",
        "borrowAmount": "0",
        "otherBorrowAmount": "0",
        "availableToBorrow": "0",
        "borrowable": False,
        "borrowUsageRate": "0",
        "marginCollateral": True,
        "collateralSwitch": True,
        "collateralRatio": "1",
        "freeBorrowingAmount": "",
    }


def borrow_history(call: Call) -> Row:
    limit_of(call.params, 20, 50)
    return {"list": [], "nextPageCursor": ""}


def set_margin_mode(call: Call) -> Row | Answer:
    exchange, wish = call.exchange, text(call.params, "setMarginMode")
    if wish not in _MARGIN_MODES:
        raise invalid("setMarginMode")
    if wish == "PORTFOLIO_MARGIN":
        return _mode_refused((("3400071", "The net asset is not satisfied"),))
    mode = MarginMode(wish)
    if exchange.engine.accounts[call.account].profile.margin_mode is mode:
        return {"reasons": []}
    try:
        exchange.change(lambda now: exchange.engine.set_margin_mode(call.account, mode, now))
    except RequestRejected as rejection:
        return _mode_refused(rejection.reasons or ((str(rejection.code), rejection.text),))
    return {"reasons": []}


def _mode_refused(reasons: tuple[tuple[str, str], ...]) -> Answer:
    rows = [{"reasonCode": code, "reasonMsg": message} for code, message in reasons]
    return Answer({"reasons": rows}, code=3400045, text="Set margin mode failed")


def set_collateral_switch(call: Call) -> Row:
    coin = needed(call.params, "coin")
    if text(call.params, "collateralSwitch") not in ("ON", "OFF"):
        raise invalid("collateralSwitch")
    if coin in (COIN, "USDC"):
        raise RequestRejected(
            182111,
            "The requested currency has a non guaranteed gold currency or does not support "
            "switching status currencies",
        )
    raise RequestRejected(182204, "Coin does not exist")


def set_limit_action(call: Call) -> Row:
    exchange, wish = call.exchange, call.params.get("modifyEnable")
    if text(call.params, "category") not in ("linear", "inverse"):
        raise RequestRejected(10001, "Illegal category")
    if wish not in (True, False, "true", "false"):
        raise invalid("modifyEnable")
    rejects = wish in (False, "false")
    exchange.change(lambda now: exchange.engine.set_limit_action(call.account, rejects, now))
    return {}


def user_settings(call: Call) -> Row:
    profile = call.exchange.view.account(call.account).profile
    return {
        "lpaSpot": False,
        "lpaPerp": profile.rejects_outside_band,
        "deltaEnable": False,
        "smsef": False,
        "fmsef": False,
    }


def smp_group(call: Call) -> Row:
    del call
    return {"smpGroup": 0}


def protections(call: Call) -> Row:
    del call
    return {"dcpInfos": []}
