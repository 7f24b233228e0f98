"""Bybit's JSON: rows of the documented fields, in the documented types."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tradewright.matching import (
    Account,
    Execution,
    Market,
    Order,
    Position,
    StopKind,
)
from tradewright.paper.clock import ms

Row = dict[str, Any]
COIN = "USDT"


def num(value: Decimal) -> str:
    """Return *value* without exponent or trailing zeros.

    Example:
        >>> num(Decimal("1.500")), num(Decimal("1E+3")), num(Decimal("0E-8"))
        ('1.5', '1000', '0')
    """
    return format(value.normalize(), "f") if value else "0"


def cents(value: Decimal) -> str:
    return num(round(value, 8))


def stamp(moment: datetime | None) -> str:
    return str(ms(moment)) if moment else ""


def _side(position: Position) -> str:
    return position.side.value if position.size else ""


def order_row(order: Order) -> Row:
    fee = {COIN: num(order.fee)} if order.filled else {}
    leaves = order.leaves
    return {
        "orderId": order.order_id,
        "orderLinkId": order.link,
        "parentOrderLinkId": order.parent_link,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": num(order.price),
        "qty": num(order.qty),
        "side": order.side.value,
        "isLeverage": "",
        "positionIdx": 0,
        "orderStatus": order.status.value,
        "createType": order.stop.create_type,
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason,
        "avgPrice": cents(order.filled_value / order.filled) if order.filled else "",
        "leavesQty": num(leaves),
        "leavesValue": num(leaves * (order.price or order.trigger_price)),
        "cumExecQty": num(order.filled),
        "cumExecValue": num(order.filled_value),
        "cumExecFee": num(order.fee),
        "timeInForce": order.time_in_force.value,
        "orderType": order.order_type.value,
        "stopOrderType": order.stop.value,
        "orderIv": "",
        "marketUnit": "",
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "triggerPrice": num(order.trigger_price) if order.trigger_price else "",
        "takeProfit": num(order.take_profit) if order.take_profit else "",
        "stopLoss": num(order.stop_loss) if order.stop_loss else "",
        "tpslMode": "Full"
        if order.take_profit or order.stop_loss or order.stop.is_of_position
        else "",
        "ocoTriggerBy": "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "tpTriggerBy": order.tp_trigger_by,
        "slTriggerBy": order.sl_trigger_by,
        "triggerDirection": order.trigger_direction,
        "triggerBy": order.trigger_by,
        "lastPriceOnCreated": num(order.last_on_created),
        "basePrice": "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": stamp(order.created),
        "updatedTime": stamp(order.updated),
        "extraFees": "",
        "cumFeeDetail": fee,
        "rpiTakerAccess": False,
        "rpiMatchedQty": "",
    }


_NOT_IN_REALTIME = {
    "slippageToleranceType",
    "slippageTolerance",
    "extraFees",
    "rpiTakerAccess",
    "rpiMatchedQty",
}
_NOT_IN_STREAM = {"basePrice", "extraFees"}


def realtime_row(order: Order) -> Row:
    return {k: v for k, v in order_row(order).items() if k not in _NOT_IN_REALTIME}


def order_message(order: Order) -> Row:
    row = {k: v for k, v in order_row(order).items() if k not in _NOT_IN_STREAM}
    return row | {
        "category": "linear",
        "brokerOrderPrice": "",
        "closedPnl": cents(order.closed_pnl),
        "feeCurrency": "",
    }


def execution_row(execution: Execution) -> Row:
    return {
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "orderLinkId": execution.link,
        "side": execution.side.value,
        "orderPrice": num(execution.order_price),
        "orderQty": num(execution.order_qty),
        "leavesQty": num(execution.leaves),
        "createType": execution.stop.create_type,
        "orderType": execution.order_type.value if execution.order_type else "UNKNOWN",
        "stopOrderType": execution.stop.value or "UNKNOWN",
        "execFee": num(execution.fee),
        "execFeeV2": "",
        "execId": execution.exec_id,
        "execPrice": num(execution.price),
        "execQty": num(execution.qty),
        "execType": "Trade",
        "execValue": num(execution.value),
        "execTime": stamp(execution.time),
        "feeCurrency": COIN,
        "isMaker": execution.is_maker,
        "feeRate": num(execution.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": num(execution.mark),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": num(execution.closed_size),
        "seq": execution.seq,
        "extraFees": "",
    }


def execution_message(execution: Execution) -> Row:
    row = execution_row(execution)
    del row["execFeeV2"]
    return row | {
        "category": "linear",
        "isLeverage": "0",
        "execPnl": cents(execution.pnl),
        "extraFees": [],
    }


def closed_pnl_row(executions: list[Execution]) -> Row:
    """Return the closed profit of one order, from its executions that closed something."""
    first, last = executions[0], executions[-1]
    closed = sum(e.closed_size for e in executions)
    entry = sum((e.closed_cost for e in executions), Decimal(0))
    exit_value = sum((e.price * e.closed_size for e in executions), Decimal(0))
    return {
        "symbol": first.symbol,
        "orderId": first.order_id,
        "side": first.side.value,
        "qty": num(first.order_qty),
        "orderPrice": num(first.order_price),
        "orderType": first.order_type.value if first.order_type else "UNKNOWN",
        "execType": "Trade",
        "closedSize": num(Decimal(closed)),
        "cumEntryValue": cents(entry),
        "avgEntryPrice": cents(entry / closed),
        "cumExitValue": cents(exit_value),
        "avgExitPrice": cents(exit_value / closed),
        "closedPnl": cents(sum((e.closed_pnl for e in executions), Decimal(0))),
        "fillCount": str(len(executions)),
        "leverage": num(first.leverage),
        "openFee": cents(sum((e.open_fee for e in executions), Decimal(0))),
        "closeFee": cents(sum((e.close_fee for e in executions), Decimal(0))),
        "createdTime": stamp(first.time),
        "updatedTime": stamp(last.time),
    }


def position_row(position: Position, account: Account) -> Row:
    symbol, flat = position.symbol, not position.size
    mark = account.board.mark.get(symbol, Decimal(0))
    stops = account.stops(symbol)
    fees = account.profile.fees
    margin = cents(account.initial_margin_of(symbol))
    maintenance = cents(account.maintenance_margin_of(symbol))

    def level(kind: StopKind) -> str:
        return num(stops[kind].trigger_price) if kind in stops else ""

    trailing = stops.get(StopKind.TRAILING)
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": symbol,
        "side": _side(position),
        "size": num(position.size),
        "avgPrice": cents(position.avg_price),
        "positionValue": "" if flat else cents(position.cost),
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": num(position.leverage),
        "breakEvenPrice": "" if flat else cents(_break_even(position, fees.taker)),
        "markPrice": num(mark),
        "liqPrice": "",
        "positionIM": margin,
        "positionIMByMp": margin,
        "positionMM": maintenance,
        "positionMMByMp": maintenance,
        "takeProfit": level(StopKind.TAKE_PROFIT),
        "stopLoss": level(StopKind.STOP_LOSS),
        "trailingStop": num(trailing.trail) if trailing else "0",
        "sessionAvgPrice": "",
        "delta": "",
        "gamma": "",
        "vega": "",
        "theta": "",
        "unrealisedPnl": "" if flat else cents(position.unrealised(mark)),
        "curRealisedPnl": cents(position.realised),
        "cumRealisedPnl": cents(position.total_realised),
        "adlRankIndicator": 0,
        "createdTime": stamp(position.created) or "0",
        "updatedTime": stamp(position.updated) or "0",
        "openTime": ms(position.opened) if position.opened and not flat else 0,
        "seq": position.seq,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "tpslMode": "Full",
        "bustPrice": "",
        "positionBalance": margin,
        "tradeMode": 0,
    }


def position_message(position: Position, account: Account) -> Row:
    row = position_row(position, account)
    return {"category": "linear", "entryPrice": row.pop("avgPrice")} | row


def _break_even(position: Position, taker: Decimal) -> Decimal:
    """Return the documented formula; its fee enters the denominator."""
    sign = position.side.sign
    held = position.size * sign
    below = held - position.size * max(taker, Decimal("0.00055"))
    return (position.cost * sign - position.realised) / below


def wallet_row(account: Account) -> Row:
    cash, unrealised = account.balance.cash, account.unrealised()
    equity = cash + unrealised
    position_margin, order_margin = account.position_margin(), account.order_margin()
    initial, maintenance = position_margin + order_margin, account.maintenance_margin()
    initial_rate = cents(initial / equity) if equity > 0 else "0"
    maintenance_rate = cents(maintenance / equity) if equity > 0 else "0"
    return {
        "accountType": "UNIFIED",
        "accountIMRate": initial_rate,
        "accountMMRate": maintenance_rate,
        "totalEquity": cents(equity),
        "totalWalletBalance": cents(cash),
        "totalMarginBalance": cents(equity),
        "totalAvailableBalance": cents(max(equity - initial, Decimal(0))),
        "totalPerpUPL": cents(unrealised),
        "totalInitialMargin": cents(initial),
        "totalMaintenanceMargin": cents(maintenance),
        "accountIMRateByMp": initial_rate,
        "accountMMRateByMp": maintenance_rate,
        "totalInitialMarginByMp": cents(initial),
        "totalMaintenanceMarginByMp": cents(maintenance),
        "accountLTV": "0",
        "coin": [
            {
                "coin": COIN,
                "equity": cents(equity),
                "usdValue": cents(equity),
                "walletBalance": cents(cash),
                "locked": "0",
                "spotHedgingQty": "0",
                "borrowAmount": "0",
                "accruedInterest": "0",
                "totalOrderIM": cents(order_margin),
                "totalPositionIM": cents(position_margin),
                "totalPositionMM": cents(maintenance),
                "unrealisedPnl": cents(unrealised),
                "cumRealisedPnl": cents(account.balance.realised - account.balance.fees),
                "bonus": "0",
                "marginCollateral": True,
                "collateralSwitch": True,
                "colRes": "0",
                "spotBorrow": "0",
                "free": "",
                "availableToWithdraw": "",
                "availableToBorrow": "",
            }
        ],
    }


def instrument_row(market: Market, number: int) -> Row:
    i = market.instrument
    return {
        "symbol": i.symbol,
        "symbolId": number,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": i.base_coin,
        "quoteCoin": i.quote_coin,
        "symbolType": "",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(i.tick_size.normalize().as_tuple().exponent))),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": num(i.max_leverage),
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": num(i.tick_size),
            "maxPrice": num(i.tick_size * 19_999_998),
            "tickSize": num(i.tick_size),
        },
        "lotSizeFilter": {
            "minNotionalValue": num(i.min_notional),
            "maxOrderQty": num(i.max_qty),
            "maxMktOrderQty": num(i.max_market_qty),
            "minOrderQty": num(i.min_qty),
            "qtyStep": num(i.qty_step),
            "postOnlyMaxOrderQty": num(i.max_qty),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": COIN,
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "displayName": "",
        "forbidUplWithdrawal": False,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "isPreListing": False,
        "preListingInfo": None,
    }


def order_id_row(order: Order) -> Row:
    return {"orderId": order.order_id, "orderLinkId": order.link}


def changed(before: Mapping[str, Any], after: Mapping[str, Any], always: Iterable[str]) -> Row:
    """Return what of *after* is not as it was *before*, and the keys *always* sent."""
    kept = set(always)
    return {k: v for k, v in after.items() if k in kept or before.get(k) != v}
