"""Bybit's JSON of orders and executions: rows of the documented fields, in the documented types.

The streams make one message of every event, so these functions are written for speed: plain
literals, and nothing computed twice.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tradewright.matching import Execution, Order
from tradewright.paper.clock import ms

Row = dict[str, Any]
COIN = "USDT"
ZERO = Decimal(0)
_CENT = Decimal("1E-8")


def num(value: Decimal) -> str:
    """Return *value* without exponent or trailing zeros.

    Example:
        >>> num(Decimal("1.500")), num(Decimal("1E+3")), num(Decimal("-0E-8"))
        ('1.5', '1000', '0')
    """
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def cents(value: Decimal) -> str:
    return num(value.quantize(_CENT)) if value else "0"


@lru_cache(64)
def stamp(moment: datetime | None) -> str:
    """Return it in milliseconds; kept, for all that one order does has one time."""
    return str(ms(moment)) if moment else ""


def _or_empty(value: Decimal) -> str:
    return num(value) if value else ""


def _tpsl_mode(order: Order) -> str:
    if order.tpsl_mode is not None:
        return order.tpsl_mode
    if order.stop.is_partial:
        return "Partial"
    has_stops = order.take_profit or order.stop_loss or order.stop.is_of_position
    return "Full" if has_stops else ""


def _order(order: Order) -> Row:
    """Return what REST and the stream both say of *order*."""
    filled, leaves = order.filled, order.leaves
    return {
        "orderId": order.order_id,
        "orderLinkId": order.link,
        "parentOrderLinkId": order.parent_link,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": num(order.price),
        "qty": num(order.qty),
        "side": order.side,
        "isLeverage": "",
        "positionIdx": 0,
        "orderStatus": order.status,
        "createType": order.stop.create_type if order.stop else order.create_type,
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason,
        "avgPrice": cents(order.filled_value / filled) if filled else "",
        "leavesQty": num(leaves),
        "leavesValue": num(leaves * (order.price or order.trigger_price)) if leaves else "0",
        "cumExecQty": num(filled),
        "cumExecValue": num(order.filled_value),
        "cumExecFee": num(order.fee),
        "timeInForce": order.time_in_force,
        "orderType": order.order_type,
        "stopOrderType": order.stop,
        "orderIv": "",
        "marketUnit": "",
        "triggerPrice": _or_empty(order.trigger_price),
        "takeProfit": _or_empty(order.take_profit),
        "stopLoss": _or_empty(order.stop_loss),
        "tpslMode": _tpsl_mode(order),
        "ocoTriggerBy": "",
        "tpLimitPrice": _or_empty(order.tp_limit_price),
        "slLimitPrice": _or_empty(order.sl_limit_price),
        "tpTriggerBy": order.tp_trigger_by,
        "slTriggerBy": order.sl_trigger_by,
        "triggerDirection": order.trigger_direction,
        "triggerBy": order.trigger_by,
        "lastPriceOnCreated": num(order.last_on_created),
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": stamp(order.created),
        "updatedTime": stamp(order.updated),
        "cumFeeDetail": {COIN: num(order.fee)} if filled else {},
    }


def realtime_row(order: Order) -> Row:
    row = _order(order)
    row["basePrice"] = ""
    return row


def history_row(order: Order) -> Row:
    row = _order(order)
    row["basePrice"] = ""
    row["extraFees"] = ""
    return _taken(row, order)


def order_message(order: Order) -> Row:
    row = _order(order)
    row["category"] = "linear"
    row["brokerOrderPrice"] = ""
    row["closedPnl"] = cents(order.closed_pnl)
    row["feeCurrency"] = ""
    return _taken(row, order)


def _taken(row: Row, order: Order) -> Row:
    row["slippageToleranceType"] = order.slippage_type or "UNKNOWN"
    row["slippageTolerance"] = _or_empty(order.slippage)
    row["rpiTakerAccess"] = False
    row["rpiMatchedQty"] = ""
    return row


def order_id_row(order: Order) -> Row:
    return {"orderId": order.order_id, "orderLinkId": order.link}


def _execution(execution: Execution) -> Row:
    kind = execution.order_type
    return {
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "orderLinkId": execution.link,
        "side": execution.side,
        "orderPrice": num(execution.order_price),
        "orderQty": num(execution.order_qty),
        "leavesQty": num(execution.leaves),
        "createType": execution.stop.create_type if execution.stop else execution.create_type,
        "orderType": kind or "UNKNOWN",
        "stopOrderType": execution.stop or "UNKNOWN",
        "execFee": num(execution.fee),
        "execId": execution.exec_id,
        "execPrice": num(execution.price),
        "execQty": num(execution.qty),
        "execType": execution.exec_type,
        "execValue": num(execution.value),
        "execTime": stamp(execution.time),
        "feeCurrency": COIN,
        "isMaker": execution.is_maker,
        "feeRate": num(execution.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": num(execution.mark),
        "indexPrice": _or_empty(execution.index),
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": num(execution.closed_size),
        "seq": execution.seq,
    }


def execution_row(execution: Execution) -> Row:
    row = _execution(execution)
    row["execFeeV2"] = ""
    row["extraFees"] = ""
    return row


def execution_message(execution: Execution) -> Row:
    row = _execution(execution)
    row["category"] = "linear"
    row["isLeverage"] = "0"
    row["marketUnit"] = ""
    row["execPnl"] = cents(execution.pnl)
    row["extraFees"] = []
    return row


def fast_execution_message(execution: Execution) -> Row:
    return {
        "category": "linear",
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "isMaker": execution.is_maker,
        # Bybit's own shortcut leaves it out for makers
        "orderLinkId": "" if execution.is_maker else execution.link,
        "execId": execution.exec_id,
        "execPrice": num(execution.price),
        "execQty": num(execution.qty),
        "side": execution.side,
        "execTime": stamp(execution.time),
        "seq": execution.seq,
    }


def closed_pnl_row(executions: list[Execution]) -> Row:
    """Return the closed profit of one order, from its executions that closed something."""
    first, last = executions[0], executions[-1]
    closed = sum((e.closed_size for e in executions), ZERO)
    entry = sum((e.closed_cost for e in executions), ZERO)
    exit_value = sum((e.price * e.closed_size for e in executions), ZERO)
    return {
        "symbol": first.symbol,
        "orderId": first.order_id,
        "side": first.side,
        "qty": num(first.order_qty),
        "orderPrice": num(first.order_price),
        "orderType": first.order_type or "UNKNOWN",
        "execType": first.exec_type,
        "closedSize": num(closed),
        "cumEntryValue": cents(entry),
        "avgEntryPrice": cents(entry / closed),
        "cumExitValue": cents(exit_value),
        "avgExitPrice": cents(exit_value / closed),
        "closedPnl": cents(sum((e.closed_pnl for e in executions), ZERO)),
        "fillCount": str(len(executions)),
        "leverage": num(first.leverage),
        "openFee": cents(sum((e.open_fee for e in executions), ZERO)),
        "closeFee": cents(sum((e.close_fee for e in executions), ZERO)),
        "createdTime": stamp(first.time),
        "updatedTime": stamp(last.time),
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any], always: Iterable[str]) -> Row:
    """Return what of *after* is not as it was *before*, and the keys *always* sent."""
    kept = set(always)
    return {k: v for k, v in after.items() if k in kept or before.get(k) != v}
