"""What is listed, and how much of it may be held on margin."""

from tradewright.matching import Market, RequestRejected
from tradewright.paper.call import Call
from tradewright.paper.rest.category import LINEAR, category_of
from tradewright.paper.rest.market import quote_of
from tradewright.paper.rest.page import limit_of, page
from tradewright.paper.rest.param import text
from tradewright.paper.wire import Row, instrument_row, num

_STATUSES = ("PreLaunch", "Trading", "Settling", "Delivering", "Closed")
_RISK_SYMBOLS = 15
"""Symbols to a page of risk limits."""
_TIERS_KEPT = 1000
"""Ids of tiers are the symbol's number times this, and theirs."""


def instruments_info(call: Call) -> Row:
    params = call.params
    category = category_of(call, required=True)
    limit = limit_of(params, 500, 1000)
    status = text(params, "status") or "Trading"
    if status not in _STATUSES:
        raise RequestRejected(10001, "params error: status invalid")
    if category == "spot":
        return {"category": category, "list": []}
    if category != LINEAR:
        return {"category": category, "nextPageCursor": "", "list": []}
    symbol, coin = text(params, "symbol"), text(params, "baseCoin")
    if symbol:
        quote_of(call)
    rows = [
        instrument_row(market, n)
        for n, market in _numbered(call)
        if symbol in ("", market.instrument.symbol)
        and coin in ("", market.instrument.base_coin)
        and status == "Trading"
        and not text(params, "symbolType")
    ]
    listed, cursor = page(rows, params, limit)
    return {"category": category, "nextPageCursor": cursor, "list": listed}


def risk_limit(call: Call) -> Row:
    category = category_of(call, required=True)
    if category != LINEAR:
        return {"category": category, "list": [], "nextPageCursor": ""}
    symbol = text(call.params, "symbol")
    if symbol:
        quote_of(call)
    asked = [(n, m) for n, m in _numbered(call) if symbol in ("", m.instrument.symbol)]
    markets, cursor = page(asked, call.params, _RISK_SYMBOLS)
    return {
        "category": category,
        "list": [row for n, market in markets for row in _tier_rows(n, market)],
        "nextPageCursor": cursor,
    }


def _numbered(call: Call) -> list[tuple[int, Market]]:
    return list(enumerate(call.exchange.engine.markets.values(), start=1))


def _tier_rows(number: int, market: Market) -> list[Row]:
    return [
        {
            "id": number * _TIERS_KEPT + n,
            "symbol": market.instrument.symbol,
            "riskLimitValue": num(tier.limit),
            "maintenanceMargin": num(tier.maintenance_rate),
            "initialMargin": num(tier.initial_rate),
            "isLowestRisk": int(n == 1),
            "maxLeverage": num(tier.max_leverage),
            "mmDeduction": num(tier.deduction) if tier.deduction else "",
        }
        for n, tier in enumerate(market.ladder, start=1)
    ]
