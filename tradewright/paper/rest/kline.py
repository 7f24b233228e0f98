"""Bybit's candles: of the last price, and of mark, index and premium beside them."""

from tradewright.matching import RequestRejected
from tradewright.paper.call import Call
from tradewright.paper.market.candle import INTERVALS, Bar, bucket_end
from tradewright.paper.quote import DAY_MS, Quote
from tradewright.paper.reference import Kind
from tradewright.paper.rest.category import category_of
from tradewright.paper.rest.market import quote_of
from tradewright.paper.rest.page import limit_of
from tradewright.paper.rest.param import number, text
from tradewright.paper.wire import Row, num


def kline(call: Call) -> Row:
    quote, _, bars = _asked(call)
    return _answer(quote, [_row(bar) for bar in bars])


def mark_price_kline(call: Call) -> Row:
    return _beside(call, "mark")


def index_price_kline(call: Call) -> Row:
    return _beside(call, "index")


def premium_index_price_kline(call: Call) -> Row:
    return _beside(call, "premium")


def _beside(call: Call, kind: Kind) -> Row:
    quote, interval, bars = _asked(call)
    ends = [bucket_end(interval, bar.open_ms) for bar in bars]
    candles = quote.references.candles(kind, bars, ends)
    return _answer(quote, [[str(c[0]), *(num(price) for price in c[1:])] for c in candles])


def _asked(call: Call) -> tuple[Quote, str, list[Bar]]:
    params = call.params
    category_of(call, required=False)
    quote = quote_of(call, "Not supported symbols")
    interval = text(params, "interval")
    if interval not in INTERVALS:
        raise RequestRejected(10001, "Invalid period!")
    if interval not in quote.series.intervals:
        raise RequestRejected(10001, f"params error: recording has no candles of {interval}")
    limit = limit_of(params, 200, 1000)
    start, end = _moment(call, "start"), _moment(call, "end")
    return quote, interval, quote.series.between(interval, start, end, limit)


def _moment(call: Call, name: str) -> int | None:
    """Return a time that a candle can have: a calendar ends somewhere."""
    asked = number(call.params, name)
    return asked if asked is None else min(max(asked, 0), call.exchange.clock.now_ms() + DAY_MS)


def _answer(quote: Quote, listed: list[list[str]]) -> Row:
    return {"category": "linear", "symbol": quote.symbol, "list": listed}


def _row(bar: Bar) -> list[str]:
    prices = [num(price) for price in bar[1:6]]
    return [str(bar.open_ms), *prices, num(round(bar.turnover, 8))]
