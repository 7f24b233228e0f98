"""Orders are placed, changed and cancelled, one by one."""

from collections.abc import Iterable

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching import (
    Change,
    Engine,
    Event,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    OrderType,
    RequestRejected,
    StopKind,
    TimeInForce,
    TpslMode,
)
from tradewright.paper import wire
from tradewright.paper.call import Call
from tradewright.paper.query import OrderQuery
from tradewright.paper.rest.param import (
    Params,
    choice,
    decimal,
    flag,
    invalid,
    number,
    one_way,
    symbol_of,
    symbols_of,
    text,
    trigger,
)
from tradewright.paper.wire import ZERO, Row

_ACTIVE = frozenset({StopKind.NONE})
_KINDS = {
    "": frozenset(StopKind),
    "Order": _ACTIVE,
    "OpenOrder": _ACTIVE,
    "StopOrder": frozenset(StopKind) - _ACTIVE,
}
_SLIPPAGE = ("TickSize", "Percent")
_BBO = ("Queue", "Counterparty")
_MOST_BBO = 5


def create(call: Call) -> Row:
    return wire.order_id_row(placed(call, call.params))


def amend(call: Call) -> Row:
    return wire.order_id_row(amended(call, call.params))


def cancel(call: Call) -> Row:
    return wire.order_id_row(cancelled(call, call.params))


def placed(call: Call, params: Params) -> Order:
    exchange, request = call.exchange, request_of(params)
    if "bboSideType" in params and request.order_type is OrderType.LIMIT:
        request = _priced_by_book(exchange.engine, request, params)
    return _first(exchange.place(call.account, request))


def amended(call: Call, params: Params) -> Order:
    exchange, account = call.exchange, call.account
    order = _open_order(call, params)
    change = Change(
        qty=decimal(params, "qty"),
        price=decimal(params, "price"),
        trigger_price=decimal(params, "triggerPrice"),
        take_profit=decimal(params, "takeProfit"),
        stop_loss=decimal(params, "stopLoss"),
        tp_limit_price=decimal(params, "tpLimitPrice"),
        sl_limit_price=decimal(params, "slLimitPrice"),
        trigger_by=trigger(params, "triggerBy"),
        tp_trigger_by=trigger(params, "tpTriggerBy"),
        sl_trigger_by=trigger(params, "slTriggerBy"),
    )
    exchange.change(lambda now: exchange.engine.amend(account, order.order_id, change, now))
    return order


def cancelled(call: Call, params: Params) -> Order:
    exchange, account = call.exchange, call.account
    try:
        order = _open_order(call, params)
    except RequestRejected:
        late = _just_filled(call, params)
        if late is None:
            raise
        exchange.change(lambda _: [OrderChanged(late)])
        return late
    exchange.change(lambda now: exchange.engine.cancel(account, order.order_id, now))
    return order


def _just_filled(call: Call, params: Params) -> Order | None:
    """Return what becomes of an order that was filled while it is still shown as open.

    Bybit accepts such a cancel and says in a second message of the fill that it came too late.
    """
    exchange, account = call.exchange, call.account
    shown = exchange.view.order(account, text(params, "orderId"), text(params, "orderLinkId"))
    if shown is None or not shown.is_open:
        return None
    exchange.flush()
    known, _ = exchange.store.history.orders(account, OrderQuery(order_id=shown.order_id))
    if not known or known[0].status is not OrderStatus.FILLED:
        return None
    return replace(known[0], cancel_type="CancelByUser", reject_reason="EC_OrigClOrdIDDoesNotExist")


def cancel_all(call: Call) -> Row:
    exchange, account, params = call.exchange, call.account, call.params
    markets = exchange.engine.markets
    symbols = symbols_of(markets, params, needs="symbol or settleCoin or baseCoin")
    kinds = _KINDS.get(text(params, "orderFilter"))
    if kinds is None:
        raise invalid("orderFilter")
    if stop := text(params, "stopOrderType"):
        if stop != "Stop" or text(params, "orderFilter") != "StopOrder":
            raise invalid("stopOrderType")
        kinds = frozenset({StopKind.CONDITIONAL})
    wanted = symbols if symbols is not None else markets.keys()
    events = exchange.change(lambda now: exchange.engine.cancel_all(account, wanted, now, kinds))
    gone = [e.order for e in events if isinstance(e, OrderChanged)]
    return {"list": [wire.order_id_row(o) for o in gone], "success": "1"}


def pre_check(call: Call) -> Row:
    exchange, request = call.exchange, request_of(call.params)
    check = exchange.engine.precheck(call.account, request)
    return {
        "orderId": "",
        "orderLinkId": request.link,
        "preImrE4": int(check.im_rate_before * 10_000),
        "preMmrE4": int(check.mm_rate_before * 10_000),
        "postImrE4": int(check.im_rate_after * 10_000),
        "postMmrE4": int(check.mm_rate_after * 10_000),
    }


def protect(call: Call) -> Row:
    del call
    raise RequestRejected(10005, "Permission denied, please check your API key permissions.")


def spot_borrow_check(call: Call) -> Row:
    del call
    raise RequestRejected(10001, "params error: category only supports spot")


def request_of(params: Params) -> OrderRequest:
    one_way(params)
    order_type = choice(params, "orderType", OrderType)
    # What belongs to limit orders is no error with a market order, it is ignored
    is_limit = order_type is OrderType.LIMIT
    return OrderRequest(
        symbol=text(params, "symbol"),
        side=choice(params, "side", Side),
        order_type=order_type,
        qty=decimal(params, "qty") or ZERO,
        price=(decimal(params, "price") or ZERO) if is_limit else ZERO,
        time_in_force=_time_in_force(params) if is_limit else TimeInForce.IOC,
        link=text(params, "orderLinkId"),
        reduce_only=flag(params, "reduceOnly"),
        close_on_trigger=flag(params, "closeOnTrigger"),
        take_profit=decimal(params, "takeProfit") or ZERO,
        stop_loss=decimal(params, "stopLoss") or ZERO,
        tp_trigger_by=trigger(params, "tpTriggerBy") or "LastPrice",
        sl_trigger_by=trigger(params, "slTriggerBy") or "LastPrice",
        tpsl_mode=choice(params, "tpslMode", TpslMode, TpslMode.FULL),
        tp_order_type=choice(params, "tpOrderType", OrderType, OrderType.MARKET),
        sl_order_type=choice(params, "slOrderType", OrderType, OrderType.MARKET),
        tp_limit_price=decimal(params, "tpLimitPrice") or ZERO,
        sl_limit_price=decimal(params, "slLimitPrice") or ZERO,
        trigger_price=decimal(params, "triggerPrice") or ZERO,
        trigger_direction=number(params, "triggerDirection") or 0,
        trigger_by=trigger(params, "triggerBy") or "LastPrice",
        slippage_type=_slippage_type(params),
        slippage=decimal(params, "slippageTolerance") or ZERO,
    )


def _time_in_force(params: Params) -> TimeInForce:
    if text(params, "timeInForce") == "RPI":
        raise RequestRejected(
            110119, "Order failed. RPI orders are restricted to approved market makers only"
        )
    return choice(params, "timeInForce", TimeInForce, TimeInForce.GTC)


def _priced_by_book(engine: Engine, request: OrderRequest, params: Params) -> OrderRequest:
    """Return *request* at the price of a level of its own side or of the other one."""
    kind, level = text(params, "bboSideType"), number(params, "bboLevel")
    if kind not in _BBO:
        raise invalid("bboSideType")
    if level is None or not 1 <= level <= _MOST_BBO:
        raise invalid("bboLevel")
    bids, asks = engine.levels(symbol_of(engine.markets, params), level)
    prices = bids if (kind == "Queue") == (request.side is Side.BUY) else asks
    if len(prices) < level:
        raise RequestRejected(
            110118, "Unable to retrieve a price of the market order due to low liquidity"
        )
    return replace(request, price=prices[level - 1][0])


def _slippage_type(params: Params) -> str:
    kind = text(params, "slippageToleranceType")
    if kind and kind not in _SLIPPAGE:
        raise invalid("slippageToleranceType")
    return kind


def _open_order(call: Call, params: Params) -> Order:
    """Return the order that is meant, by its id or, without one, by its link."""
    order_id, link = text(params, "orderId"), text(params, "orderLinkId")
    if not order_id and not link:
        raise RequestRejected(10001, "params error: orderId or orderLinkId is required")
    account = call.exchange.engine.accounts[call.account]
    orders = account.orders.get(text(params, "symbol"), {})
    found = orders.get(order_id) if order_id else _linked(orders.values(), link)
    if found is None:
        raise RequestRejected(110001, "order not exists or too late to cancel")
    return found


def _linked(orders: Iterable[Order], link: str) -> Order | None:
    return next((o for o in orders if o.link == link), None)


def _first(events: list[Event]) -> Order:
    # The first event is the order itself, whatever it goes on to cause
    return next(e.order for e in events if isinstance(e, OrderChanged))
