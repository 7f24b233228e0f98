"""Bybit's public reads."""

from collections.abc import Mapping
from itertools import islice, takewhile

from tradewright.matching import RequestRejected
from tradewright.paper.book import kline_row, levels, ticker_row
from tradewright.paper.call import Call
from tradewright.paper.clock import ms, wall
from tradewright.paper.exchange import Exchange
from tradewright.paper.market.candle import INTERVALS
from tradewright.paper.rest.page import limit_of, number, page
from tradewright.paper.wire import Row, instrument_row

Params = Mapping[str, str]


def time(call: Call) -> Row:
    now = wall()
    nanoseconds = ms(now) * 1_000_000 + now.microsecond % 1000 * 1000
    return {"timeSecond": str(nanoseconds // 10**9), "timeNano": str(nanoseconds)}


def instruments_info(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    markets = list(enumerate(exchange.engine.markets.values(), start=1))
    symbol, coin = params.get("symbol"), params.get("baseCoin")
    rows = [
        instrument_row(market, n)
        for n, market in markets
        if symbol in (None, market.instrument.symbol)
        and coin in (None, market.instrument.base_coin)
        and params.get("status", "Trading") == "Trading"
    ]
    if symbol and not rows:
        raise RequestRejected(10001, "params error: symbol invalid")
    listed, cursor = page(rows, params, limit_of(params, 500, 1000))
    return {"category": "linear", "nextPageCursor": cursor, "list": listed}


def kline(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    symbol, interval = _symbol(exchange, params), params.get("interval", "")
    series = exchange.series[symbol]
    if interval not in INTERVALS:
        raise RequestRejected(10001, "params error: interval invalid")
    if interval not in series.intervals:
        raise RequestRejected(10001, f"params error: recording has no candles of {interval}")
    start, end = number(params, "start"), number(params, "end")
    limit = limit_of(params, 200, 1000)
    newest = takewhile(lambda bar: bar.open_ms >= (start or 0), series.newest(interval))
    if start is not None and end is None:
        # From the start onwards, not back from now
        bars = list(newest)[-limit:]
    else:
        bars = list(islice((bar for bar in newest if end is None or bar.open_ms <= end), limit))
    return {
        "category": "linear",
        "symbol": symbol,
        "list": [kline_row(bar) for bar in bars],
    }


def tickers(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    symbols = [_symbol(exchange, params)] if "symbol" in params else exchange.engine.markets
    now_ms = exchange.clock.now_ms()
    rows = [ticker_row(exchange.engine, s, exchange.stats[s], now_ms) for s in symbols]
    return {"category": "linear", "list": [row | {"basis": ""} for row in rows]}


def orderbook(call: Call) -> Row:
    exchange, params = call.exchange, call.params
    symbol = _symbol(exchange, params)
    bids, asks = levels(exchange.engine, symbol, limit_of(params, 25, 500))
    return {
        "s": symbol,
        "b": bids,
        "a": asks,
        "ts": exchange.clock.now_ms(),
        "u": exchange.engine.seq + 2,
        "seq": exchange.engine.seq,
        "cts": exchange.clock.now_ms(),
    }


def _symbol(exchange: Exchange, params: Params) -> str:
    symbol = params.get("symbol", "")
    if symbol not in exchange.engine.markets:
        raise RequestRejected(10001, "params error: symbol invalid")
    return symbol
