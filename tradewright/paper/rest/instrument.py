"""What is listed, and how much of it may be held on margin."""

from typing import TYPE_CHECKING

from tradewright.matching import Market, RequestRejected
from tradewright.paper.call import Call
from tradewright.paper.rest.category import LINEAR, category_of
from tradewright.paper.rest.market import quote_of
from tradewright.paper.rest.page import limit_of, page
from tradewright.paper.rest.param import text
from tradewright.paper.scale import scale_of
from tradewright.paper.wire import COIN, Row, num

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

_STATUSES = ("PreLaunch", "Trading", "Settling", "Delivering", "Closed")
_MOST_TICKS = 19_999_998
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
    found = [
        market
        for market in call.exchange.engine.markets.values()
        if symbol in ("", market.instrument.symbol)
        and coin in ("", market.instrument.base_coin)
        and status == "Trading"
        and not text(params, "symbolType")
    ]
    listed, cursor = page(found, params, limit)
    rows = [instrument_row(call.exchange, market) for market in listed]
    return {"category": category, "nextPageCursor": cursor, "list": rows}


def instrument_row(exchange: "Exchange", market: Market) -> Row:
    i = market.instrument
    listing = exchange.source.listings[i.symbol]
    cap = num(listing.funding_cap)
    scale, lots = scale_of(i)
    return {
        "symbol": i.symbol,
        "symbolId": listing.symbol_id,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": i.base_coin,
        "quoteCoin": i.quote_coin,
        "symbolType": "",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(scale),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": f"{i.max_leverage:.2f}",
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": f"{i.tick_size:.{scale}f}",
            "maxPrice": f"{i.tick_size * _MOST_TICKS:.{scale}f}",
            "tickSize": f"{i.tick_size:.{scale}f}",
        },
        "lotSizeFilter": {
            "minNotionalValue": num(i.min_notional),
            "maxOrderQty": f"{i.max_qty:.{lots}f}",
            "maxMktOrderQty": f"{i.max_market_qty:.{lots}f}",
            "minOrderQty": f"{i.min_qty:.{lots}f}",
            "qtyStep": f"{i.qty_step:.{lots}f}",
            "postOnlyMaxOrderQty": f"{i.max_qty:.{lots}f}",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": market.funding_minutes,
        "settleCoin": COIN,
        "copyTrading": "none",
        "upperFundingRate": cap,
        "lowerFundingRate": f"-{cap}",
        "displayName": "",
        "forbidUplWithdrawal": False,
        "riskParameters": {
            "priceLimitRatioX": num(market.limit_ratio_x),
            "priceLimitRatioY": num(market.limit_ratio_y),
        },
        "isPreListing": False,
        "preListingInfo": None,
    }


def risk_limit(call: Call) -> Row:
    category = category_of(call, required=True)
    if category != LINEAR:
        return {"category": category, "list": [], "nextPageCursor": ""}
    symbol = text(call.params, "symbol")
    if symbol:
        quote_of(call)
    markets, listings = call.exchange.engine.markets, call.exchange.source.listings
    asked = [m for s, m in markets.items() if symbol in ("", s)]
    shown, cursor = page(asked, call.params, _RISK_SYMBOLS)
    rows = [
        row
        for market in shown
        for row in _tier_rows(listings[market.instrument.symbol].symbol_id, market)
    ]
    return {"category": category, "list": rows, "nextPageCursor": cursor}


def _tier_rows(number: int, market: Market) -> list[Row]:
    return [
        {
            "id": number * _TIERS_KEPT + n,
            "symbol": market.instrument.symbol,
            "riskLimitValue": num(tier.limit),
            "maintenanceMargin": num(tier.maintenance_rate),
            "initialMargin": num(round(tier.initial_rate, 6)),
            "isLowestRisk": int(n == 1),
            "maxLeverage": f"{tier.max_leverage:.2f}",
            "mmDeduction": num(tier.deduction) if tier.deduction else "",
        }
        for n, tier in enumerate(market.ladder, start=1)
    ]
