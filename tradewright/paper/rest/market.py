"""Bybit's public reads: time, tickers, books and trades."""

from tradewright.matching import RequestRejected
from tradewright.paper.call import Call
from tradewright.paper.clock import ms, told
from tradewright.paper.ladder import rows
from tradewright.paper.quote import Print, Quote, ticker_row
from tradewright.paper.rest.category import LINEAR, category_of
from tradewright.paper.rest.page import limit_of
from tradewright.paper.rest.param import text
from tradewright.paper.wire import Row

_REST_DEPTH = "1000"
"""The book stream whose ``u`` a book of REST has."""
_LIMITS = {"linear": (25, 1000), "inverse": (25, 1000), "spot": (1, 1000), "option": (1, 25)}


def quote_of(call: Call, wrong: str = "params error: symbol invalid") -> Quote:
    """Return what is known of the symbol that is asked for; there are only linear ones."""
    quote = call.exchange.quotes.get(text(call.params, "symbol"))
    if quote is None or text(call.params, "category") not in ("", LINEAR):
        raise RequestRejected(10001, wrong)
    return quote


def time(call: Call) -> Row:
    now = told()
    nanoseconds = ms(now) * 1_000_000 + now.microsecond % 1000 * 1000
    return {"timeSecond": str(nanoseconds // 10**9), "timeNano": str(nanoseconds)}


def tickers(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    category = category_of(call, required=True)
    if text(params, "symbol"):
        quotes = [quote_of(call)]
    else:
        quotes = list(exchange.quotes.values()) if category == LINEAR else []
    now_ms = exchange.clock.now_ms()
    listed = [ticker_row(exchange.engine, quote, now_ms) | {"basis": ""} for quote in quotes]
    return {"category": category, "list": listed}


def orderbook(call: Call) -> Row:
    exchange = call.exchange
    limit = limit_of(call.params, *_LIMITS[category_of(call, required=True)])
    quote = quote_of(call)
    bids, asks = exchange.engine.levels(quote.symbol, limit)
    now_ms = exchange.clock.now_ms()
    return {
        "s": quote.symbol,
        "b": rows(bids, quote.scale),
        "a": rows(asks, quote.scale),
        "ts": ms(told()),
        "u": quote.update_ids.get(_REST_DEPTH, 1),
        "seq": quote.sequence(now_ms),
        "cts": now_ms,
    }


def recent_trade(call: Call) -> Row:
    category = category_of(call, required=True)
    most = 60 if category == "spot" else 1000
    limit = limit_of(call.params, min(500, most), most)
    if category == "option":
        return {"category": category, "list": []}
    quote = quote_of(call)
    newest = list(quote.prints)[-limit:][::-1]
    return {"category": category, "list": [_trade_row(quote, p) for p in newest]}


def price_limit(call: Call) -> Row:
    category_of(call, required=False)
    quote = quote_of(call)
    highest, lowest = call.exchange.engine.price_limit(quote.symbol)
    return {
        "symbol": quote.symbol,
        "buyLmt": quote.scale.shown_price(highest),
        "sellLmt": quote.scale.shown_price(lowest),
        "ts": str(call.exchange.clock.now_ms()),
    }


def _trade_row(quote: Quote, printed: Print) -> Row:
    return {
        "execId": printed.trade_id(quote.symbol),
        "symbol": quote.symbol,
        "price": quote.scale.shown_price(printed.price),
        "size": quote.scale.shown_qty(printed.qty),
        "side": printed.side.value,
        "time": str(printed.at_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(printed.seq),
    }
