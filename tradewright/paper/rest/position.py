"""Positions: what is held, its leverage, margin and stops."""

from tradewright.matching import OrderType, RequestRejected, StopRequest, TpslMode
from tradewright.paper.call import Call
from tradewright.paper.holding import added_margin_row, position_row
from tradewright.paper.rest.page import limit_of
from tradewright.paper.rest.param import (
    choice,
    decimal,
    invalid,
    number,
    one_way,
    symbol_of,
    symbols_of,
    text,
    trigger,
)
from tradewright.paper.wire import COIN, ZERO, Row, num

_ONE_WAY, _HEDGE = 0, 3
_MARGIN_DIGITS = 4


def positions(call: Call) -> Row:
    markets, params = call.exchange.engine.markets, call.params
    account = call.exchange.view.account(call.account)
    symbols = symbols_of(markets, params, needs="symbol or settleCoin")
    if text(params, "symbol"):
        shown = [account.positions[symbol_of(markets, params)]]
    else:
        # The cursor is a symbol, for others come and go between two pages
        after = text(params, "cursor")
        held = [p for p in account.held() if p.symbol > after]
        shown = [p for p in held if symbols is None or p.symbol in symbols]
    limit = limit_of(params, 20, 200)
    rows = [position_row(p, account) for p in shown[:limit]]
    cursor = shown[limit - 1].symbol if len(shown) > limit else ""
    return {"category": "linear", "nextPageCursor": cursor, "list": rows}


def symbol_info(call: Call) -> Row:
    markets, params = call.exchange.engine.markets, call.params
    account = call.exchange.view.account(call.account)
    symbols = [symbol_of(markets, params)] if text(params, "symbol") else list(markets)
    rows = [
        {
            "symbol": symbol,
            "leverage": num(account.positions[symbol].leverage),
            "side": "",
            "positionIdx": 0,
        }
        for symbol in symbols
    ]
    return {"category": "linear", "list": rows}


def set_leverage(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    buy, sell = decimal(params, "buyLeverage"), decimal(params, "sellLeverage")
    if buy is None or sell is None:
        raise invalid("leverage")
    if buy != sell:
        raise RequestRejected(10001, "buy leverage invalid")
    symbol = symbol_of(exchange.engine.markets, params)
    exchange.change(lambda now: exchange.engine.set_leverage(call.account, symbol, buy, now))
    return {}


def trading_stop(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    one_way(params)
    request = StopRequest(
        take_profit=decimal(params, "takeProfit"),
        stop_loss=decimal(params, "stopLoss"),
        trailing_stop=decimal(params, "trailingStop"),
        active_price=decimal(params, "activePrice"),
        tp_trigger_by=trigger(params, "tpTriggerBy"),
        sl_trigger_by=trigger(params, "slTriggerBy"),
        tpsl_mode=choice(params, "tpslMode", TpslMode, TpslMode.FULL),
        tp_size=decimal(params, "tpSize"),
        sl_size=decimal(params, "slSize"),
        tp_order_type=choice(params, "tpOrderType", OrderType, OrderType.MARKET),
        sl_order_type=choice(params, "slOrderType", OrderType, OrderType.MARKET),
        tp_limit_price=decimal(params, "tpLimitPrice") or ZERO,
        sl_limit_price=decimal(params, "slLimitPrice") or ZERO,
    )
    symbol = symbol_of(exchange.engine.markets, params)
    exchange.change(lambda now: exchange.engine.set_stops(call.account, symbol, request, now))
    return {}


def add_margin(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    one_way(params)
    amount = decimal(params, "margin", signed=True)
    if not amount or amount != round(amount, _MARGIN_DIGITS):
        raise invalid("margin")
    symbol = symbol_of(exchange.engine.markets, params)
    exchange.change(lambda now: exchange.engine.add_margin(call.account, symbol, amount, now))
    account = exchange.engine.accounts[call.account]
    return added_margin_row(account.positions[symbol], account)


def set_auto_add_margin(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    one_way(params)
    wish = number(params, "autoAddMargin")
    if wish not in (0, 1):
        raise invalid("autoAddMargin")
    symbol, on = symbol_of(exchange.engine.markets, params), wish == 1
    exchange.change(lambda now: exchange.engine.set_auto_add_margin(call.account, symbol, on, now))
    return {}


def switch_mode(call: Call) -> Row:
    """Answer as an account does that is, and stays, in one-way mode.

    A symbol that is so already is an error; a coin, whose symbols are all switched, is none, for
    clients send it whenever they start.
    """
    markets, params = call.exchange.engine.markets, call.params
    mode = number(params, "mode")
    if mode not in (_ONE_WAY, _HEDGE):
        raise invalid("mode")
    symbol = text(params, "symbol")
    if symbol:
        symbol_of(markets, params)
    elif text(params, "coin") != COIN:
        raise invalid("coin")
    if mode == _HEDGE:
        raise RequestRejected(110029, "Hedge mode is not supported for this symbol.")
    if symbol:
        raise RequestRejected(110025, "Position mode is not modified")
    return {}


def confirm_pending_mmr(call: Call) -> Row:
    symbol_of(call.exchange.engine.markets, call.params)
    raise RequestRejected(
        110082,
        "You cannot lift Reduce-Only restrictions, as no Reduce-Only restrictions are applied "
        "to your position",
    )
