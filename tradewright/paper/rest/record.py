"""What was: orders, executions, closed profit, the log of the account's cash."""

from tradewright.matching import ExecType, Order, OrderStatus, RequestRejected
from tradewright.paper import wire
from tradewright.paper.call import Call
from tradewright.paper.history import is_stop
from tradewright.paper.holding import transaction_row
from tradewright.paper.query import TRANSFER, BookingQuery, OrderQuery
from tradewright.paper.rest.page import DAY_MS, limit_of, page_of_orders, window
from tradewright.paper.rest.param import Params, invalid, number, symbols_of, text
from tradewright.paper.wire import COIN, Row

_ARE_STOPS = {"": None, "Order": False, "StopOrder": True}
_OF_SPOT = ("tpslOrder", "OcoOrder", "BidirectionalTpslOrder")
_STATUSES = {"", *OrderStatus, "PartiallyFilledCanceled", "Deactivated"}
_LOGGED = {
    "TRADE": ExecType.TRADE,
    "SETTLEMENT": ExecType.FUNDING,
    "LIQUIDATION": ExecType.BUST,
    "TRANSFER_IN": TRANSFER,
    "TRANSFER_OUT": TRANSFER,
}


def realtime(call: Call) -> Row:
    """List open orders; by id or link, or with ``openOnly=1``, those that ended, too."""
    view, params, account = call.exchange.view, call.params, call.account
    limit = limit_of(params, 20, 50)
    symbols = symbols_of(
        call.exchange.engine.markets, params, needs="symbol or settleCoin or baseCoin"
    )
    order_id, link = text(params, "orderId"), text(params, "orderLinkId")
    if order_id or link:
        # They override all other filters
        found = _named(call, order_id, link)
        return _listed([wire.realtime_row(o) for o in found], "")
    are_stops = _are_stops(params)
    if _is_of_spot(params):
        return _listed([], "")
    if number(params, "openOnly") == 1:
        recent = view.recent_closed(account)
        orders = [o for o in recent if symbols is None or o.symbol in symbols]
    else:
        orders = view.open_orders(account, symbols)
    shown = [o for o in orders if are_stops in (None, _is_stop(o))]
    listed, cursor = page_of_orders(shown, params, limit)
    return _listed([wire.realtime_row(o) for o in listed], cursor)


def _named(call: Call, order_id: str, link: str) -> list[Order]:
    view = call.exchange.view
    if order := view.order(call.account, order_id, link):
        return [order]
    query = OrderQuery(order_id=order_id, link=link, limit=1)
    return view.orders(call.account, query)[0]


def order_history(call: Call) -> Row:
    params, now_ms = call.params, call.exchange.clock.now_ms()
    start, end = window(params, now_ms)
    status = text(params, "orderStatus")
    if status not in _STATUSES:
        raise invalid("orderStatus")
    query = OrderQuery(
        symbols=symbols_of(call.exchange.engine.markets, params),
        start_ms=start,
        end_ms=end,
        # What ended without a fill is forgotten after a day
        unfilled_since_ms=now_ms - DAY_MS,
        status=status,
        are_stops=_are_stops(params),
        order_id=text(params, "orderId"),
        link=text(params, "orderLinkId"),
        limit=limit_of(params, 20, 50),
        cursor=text(params, "cursor"),
    )
    if _is_of_spot(params):
        return _listed([], "")
    orders, cursor = call.exchange.view.orders(call.account, query)
    return _listed([wire.history_row(o) for o in orders], cursor)


def executions(call: Call) -> Row:
    params = call.params
    order_id, link = text(params, "orderId"), text(params, "orderLinkId")
    limit, cursor = limit_of(params, 50, 100), text(params, "cursor")
    if order_id or link:
        # They override all other filters
        query = BookingQuery(order_id=order_id, link=link, limit=limit, cursor=cursor)
    else:
        start, end = window(params, call.exchange.clock.now_ms())
        kind = text(params, "execType")
        query = BookingQuery(
            symbols=symbols_of(call.exchange.engine.markets, params),
            start_ms=start,
            end_ms=end,
            types=frozenset({kind}) if kind else None,
            limit=limit,
            cursor=cursor,
        )
    found, following = call.exchange.view.executions(call.account, query)
    return _listed([wire.execution_row(e) for e in found], following)


def closed_pnl(call: Call) -> Row:
    params = call.params
    start, end = window(params, call.exchange.clock.now_ms())
    query = BookingQuery(
        symbols=symbols_of(call.exchange.engine.markets, params),
        start_ms=start,
        end_ms=end,
        limit=limit_of(params, 50, 100),
        cursor=text(params, "cursor"),
    )
    closed, cursor = call.exchange.view.closed(call.account, query)
    return _listed([wire.closed_pnl_row(executions) for executions in closed], cursor)


def transaction_log(call: Call) -> Row:
    params, kind = call.params, text(call.params, "type")
    if text(params, "accountType") not in ("", "UNIFIED"):
        raise RequestRejected(10001, "accountType only support UNIFIED.")
    start, end = window(params, call.exchange.clock.now_ms(), span_ms=DAY_MS)
    types = frozenset({_LOGGED[kind]}) if kind in _LOGGED else None
    if "category" in params:
        # What was moved in or out is of none
        types = (types or frozenset(_LOGGED.values())) - {TRANSFER}
    query = BookingQuery(
        symbols=symbols_of(call.exchange.engine.markets, params),
        start_ms=start,
        end_ms=end,
        types=types,
        limit=limit_of(params, 20, 50),
        cursor=text(params, "cursor"),
    )
    is_ours = text(params, "currency") in ("", COIN) and not text(params, "transSubType")
    if not is_ours or (kind and kind not in _LOGGED):
        return {"list": [], "nextPageCursor": ""}
    booked, cursor = call.exchange.view.transactions(call.account, query)
    uid = call.exchange.engine.accounts[call.account].profile.uid
    rows = [transaction_row(b, uid) for b in booked]
    # Transfers in and out are kept as one kind
    return {"list": [r for r in rows if kind in ("", r["type"])], "nextPageCursor": cursor}


def _is_stop(order: Order) -> bool:
    """Return whether it is a ``StopOrder``, which one that was triggered is no longer."""
    return order.status is OrderStatus.UNTRIGGERED if order.is_open else is_stop(order)


def _listed(rows: list[Row], cursor: str) -> Row:
    return {"category": "linear", "list": rows, "nextPageCursor": cursor}


def _is_of_spot(params: Params) -> bool:
    return text(params, "orderFilter") in _OF_SPOT


def _are_stops(params: Params) -> bool | None:
    wanted = text(params, "orderFilter")
    if wanted in _OF_SPOT:
        return None
    if wanted not in _ARE_STOPS:
        raise invalid("orderFilter")
    return _ARE_STOPS[wanted]
