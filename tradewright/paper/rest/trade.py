"""Bybit's signed calls: orders, positions, executions, the account."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from tradewright.domain.market import Side
from tradewright.matching import (
    Change,
    Execution,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    OrderType,
    RequestRejected,
    StopKind,
    StopRequest,
    TimeInForce,
)
from tradewright.paper import holding, wire
from tradewright.paper.call import Call
from tradewright.paper.clock import ms
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.rest.page import DAY_MS, limit_of, page, window
from tradewright.paper.rest.param import number
from tradewright.paper.wire import Row, num

Params = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)

_RECENT_CLOSED = 500
_TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice")


def create(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    if _text(params, "tpslMode") == "Partial":
        raise RequestRejected(10001, "params error: only tpslMode Full is supported here")
    _one_way(params)
    request = OrderRequest(
        symbol=_text(params, "symbol"),
        side=_choice(params, "side", Side),
        order_type=_choice(params, "orderType", OrderType),
        qty=_decimal(params, "qty") or Decimal(0),
        price=_decimal(params, "price") or Decimal(0),
        time_in_force=_choice(params, "timeInForce", TimeInForce, TimeInForce.GTC),
        link=_text(params, "orderLinkId"),
        reduce_only=_flag(params, "reduceOnly"),
        close_on_trigger=_flag(params, "closeOnTrigger"),
        take_profit=_decimal(params, "takeProfit") or Decimal(0),
        stop_loss=_decimal(params, "stopLoss") or Decimal(0),
        tp_trigger_by=_trigger(params, "tpTriggerBy") or "LastPrice",
        sl_trigger_by=_trigger(params, "slTriggerBy") or "LastPrice",
        trigger_price=_decimal(params, "triggerPrice") or Decimal(0),
        trigger_direction=number(params, "triggerDirection") or 0,
        trigger_by=_trigger(params, "triggerBy") or "LastPrice",
    )
    events = exchange.change(lambda now: exchange.engine.place(MAIN, request, now))
    # The first event is the order itself, whatever it goes on to cause
    return wire.order_id_row(next(e.order for e in events if isinstance(e, OrderChanged)))


def amend(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    order = _open_order(exchange, params)
    change = Change(
        qty=_decimal(params, "qty"),
        price=_decimal(params, "price"),
        trigger_price=_decimal(params, "triggerPrice"),
        take_profit=_decimal(params, "takeProfit"),
        stop_loss=_decimal(params, "stopLoss"),
    )
    exchange.change(lambda now: exchange.engine.amend(MAIN, order.order_id, change, now))
    return wire.order_id_row(order)


def cancel(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    order = _open_order(exchange, params)
    exchange.change(lambda now: exchange.engine.cancel(MAIN, order.order_id, now))
    return wire.order_id_row(order)


def cancel_all(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    symbols = _symbols(exchange, params)
    kinds = {
        "": set(StopKind),
        "Order": {StopKind.NONE},
        "OpenOrder": {StopKind.NONE},
        "StopOrder": set(StopKind) - {StopKind.NONE},
    }.get(_text(params, "orderFilter"))
    if kinds is None:
        raise RequestRejected(10001, "params error: orderFilter invalid")
    if _text(params, "stopOrderType") == "Stop":
        kinds = {StopKind.CONDITIONAL}
    events = exchange.change(lambda now: exchange.engine.cancel_all(MAIN, symbols, now, kinds))
    gone = [e.order for e in events if isinstance(e, OrderChanged)]
    return {"list": [wire.order_id_row(o) for o in gone], "success": "1"}


def realtime(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    if _text(params, "orderId") or _text(params, "orderLinkId"):
        orders = _by_id(exchange, params)
    else:
        symbols = _symbols(exchange, params)
        orders = [o for o in exchange.engine.accounts[MAIN].open_orders() if o.symbol in symbols]
        if number(params, "openOnly") == 1:
            closed = [o for o in exchange.records.orders.values() if not o.is_open]
            recent = sorted(closed, key=lambda o: (o.updated, o.seq))[-_RECENT_CLOSED:]
            orders = [o for o in recent if o.symbol in symbols]
    rows = [wire.realtime_row(o) for o in _newest(_filtered(orders, params))]
    listed, cursor = page(rows, params, limit_of(params, 20, 50))
    return {"category": "linear", "nextPageCursor": cursor, "list": listed}


def order_history(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    now_ms = exchange.clock.now_ms()
    if _text(params, "orderId") or _text(params, "orderLinkId"):
        orders = _by_id(exchange, params)
    else:
        symbols = _symbols(exchange, params, required=False)
        orders = [o for o in exchange.records.orders.values() if o.symbol in symbols]
    start, end = window(params, now_ms)
    status = _text(params, "orderStatus")
    # What ended without a fill is forgotten after a day
    found = [
        o
        for o in _filtered(orders, params)
        if not o.is_open
        and start <= ms(o.created) <= end
        and (o.filled or ms(o.updated) > now_ms - DAY_MS)
        and status in ("", o.status.value)
    ]
    listed, cursor = page(_newest(found), params, limit_of(params, 20, 50))
    rows = [wire.history_row(o) for o in listed]
    return {"category": "linear", "list": rows, "nextPageCursor": cursor}


def executions(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    all_of_them: Iterable[Execution] = reversed(exchange.records.executions)
    order_id, link = _text(params, "orderId"), _text(params, "orderLinkId")
    if order_id:
        found = [e for e in all_of_them if e.order_id == order_id]
    elif link:
        found = [e for e in all_of_them if e.link == link]
    else:
        symbols = _symbols(exchange, params, required=False)
        start, end = window(params, exchange.clock.now_ms())
        found = [e for e in all_of_them if e.symbol in symbols and start <= ms(e.time) <= end]
        if _text(params, "execType") not in ("", "Trade"):
            found = []
    listed, cursor = page(found, params, limit_of(params, 50, 100))
    rows = [wire.execution_row(e) for e in listed]
    return {"category": "linear", "list": rows, "nextPageCursor": cursor}


def closed_pnl(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    symbols = _symbols(exchange, params, required=False)
    start, end = window(params, exchange.clock.now_ms())
    orders: dict[str, list[Execution]] = {}
    for e in exchange.records.executions:
        if e.closed_size and e.symbol in symbols:
            orders.setdefault(e.order_id, []).append(e)
    closed = [es for es in reversed(orders.values()) if start <= ms(es[0].time) <= end]
    listed, cursor = page(closed, params, limit_of(params, 50, 100))
    rows = [wire.closed_pnl_row(es) for es in listed]
    return {"category": "linear", "list": rows, "nextPageCursor": cursor}


def positions(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    account = exchange.engine.accounts[MAIN]
    if _text(params, "symbol"):
        shown = [account.positions[s] for s in _symbols(exchange, params)]
    else:
        symbols = _symbols(exchange, params)
        shown = [p for s, p in account.positions.items() if s in symbols and p.size]
    rows = [holding.position_row(p, account) for p in shown]
    listed, cursor = page(rows, params, limit_of(params, 20, 200))
    return {"category": "linear", "nextPageCursor": cursor, "list": listed}


def set_leverage(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    buy, sell = _decimal(params, "buyLeverage"), _decimal(params, "sellLeverage")
    if buy is None or buy != sell:
        raise RequestRejected(10001, "params error: buyLeverage must equal sellLeverage")
    symbol = _text(params, "symbol")
    exchange.change(lambda now: exchange.engine.set_leverage(MAIN, symbol, buy, now))
    return {}


def trading_stop(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    if _text(params, "tpslMode") == "Partial":
        raise RequestRejected(10001, "params error: only tpslMode Full is supported here")
    _one_way(params)
    request = StopRequest(
        take_profit=_decimal(params, "takeProfit"),
        stop_loss=_decimal(params, "stopLoss"),
        trailing_stop=_decimal(params, "trailingStop"),
        active_price=_decimal(params, "activePrice"),
        tp_trigger_by=_trigger(params, "tpTriggerBy"),
        sl_trigger_by=_trigger(params, "slTriggerBy"),
    )
    symbol = _text(params, "symbol")
    exchange.change(lambda now: exchange.engine.set_stops(MAIN, symbol, request, now))
    return {}


def wallet_balance(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    if _text(params, "accountType") != "UNIFIED":
        raise RequestRejected(10001, "accountType only support UNIFIED.")
    row = holding.wallet_row(exchange.engine.accounts[MAIN])
    coins = _text(params, "coin")
    if coins:
        row["coin"] = [c for c in row["coin"] if c["coin"] in coins.split(",")]
    return {"list": [row]}


def fee_rate(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    fees = exchange.engine.accounts[MAIN].profile.fees
    symbols = _symbols(exchange, params, required=False)
    return {
        "category": "linear",
        "list": [
            {
                "symbol": s,
                "baseCoin": "",
                "takerFeeRate": num(fees.taker),
                "makerFeeRate": num(fees.maker),
            }
            for s in exchange.engine.markets
            if s in symbols
        ],
    }


def account_info(call: Call) -> Row:
    exchange = call.exchange
    return {
        "unifiedMarginStatus": 5,
        "marginMode": "REGULAR_MARGIN",
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "updatedTime": str(exchange.source.start_ms),
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
    }


def _symbols(exchange: Exchange, params: Params, *, required: bool = True) -> set[str]:
    """Return the symbols that symbol, base coin or settle coin name, in that priority."""
    markets = exchange.engine.markets
    if symbol := _text(params, "symbol"):
        if symbol not in markets:
            raise RequestRejected(10001, "params error: symbol invalid")
        return {symbol}
    if coin := _text(params, "baseCoin"):
        return {s for s, m in markets.items() if m.instrument.base_coin == coin}
    if coin := _text(params, "settleCoin"):
        return {s for s, m in markets.items() if m.instrument.quote_coin == coin}
    if required:
        raise RequestRejected(10001, "params error: symbol or settleCoin is required")
    return set(markets)


def _open_order(exchange: Exchange, params: Params) -> Order:
    found = _by_id(exchange, params)
    symbol = _text(params, "symbol")
    if not found or not found[0].is_open or found[0].symbol != symbol:
        raise RequestRejected(110001, "order not exists or too late to cancel")
    return found[0]


def _by_id(exchange: Exchange, params: Params) -> list[Order]:
    order_id, link = _text(params, "orderId"), _text(params, "orderLinkId")
    if not order_id and not link:
        raise RequestRejected(10001, "params error: orderId or orderLinkId is required")
    order = exchange.records.order(order_id, link)
    return [order] if order else []


def _filtered(orders: Iterable[Order], params: Params) -> list[Order]:
    wanted = _text(params, "orderFilter")
    if wanted == "Order":
        return [o for o in orders if not _is_stop(o)]
    if wanted == "StopOrder":
        return [o for o in orders if _is_stop(o)]
    return list(orders)


def _is_stop(order: Order) -> bool:
    # A conditional order becomes an active one when it is triggered
    if order.stop is StopKind.CONDITIONAL:
        return order.status is OrderStatus.UNTRIGGERED or not order.filled
    return order.stop is not StopKind.NONE


def _newest(orders: Iterable[Order]) -> list[Order]:
    return sorted(orders, key=lambda o: (o.created, o.seq), reverse=True)


def _one_way(params: Params) -> None:
    if number(params, "positionIdx") not in (None, 0):
        raise RequestRejected(10001, "position idx not match position mode")


def _text(params: Params, name: str) -> str:
    value = params.get(name)
    return "" if value is None else str(value)


def _flag(params: Params, name: str) -> bool:
    return params.get(name) in (True, "true", "True")


def _choice(params: Params, name: str, kind: type[E], default: E | None = None) -> E:
    value = _text(params, name)
    if not value and default is not None:
        return default
    try:
        return kind(value)
    except ValueError:
        raise RequestRejected(10001, f"params error: {name} invalid") from None


def _trigger(params: Params, name: str) -> str | None:
    value = _text(params, name)
    if value and value not in _TRIGGERS:
        raise RequestRejected(10001, f"params error: {name} invalid")
    return value or None


def _decimal(params: Params, name: str) -> Decimal | None:
    """Return a number that is not negative; None if it is absent or empty."""
    value = _text(params, name)
    if not value:
        return None
    try:
        parsed = Decimal(value)
    except InvalidOperation:
        raise RequestRejected(10001, f"params error: {name} invalid") from None
    if not parsed.is_finite() or parsed < 0:
        raise RequestRejected(10001, f"params error: {name} invalid")
    return parsed
