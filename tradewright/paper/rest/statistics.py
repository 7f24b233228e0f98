"""Figures of perpetual contracts: funding paid, what is held, and on which side.

What is held, and on which side, is derived from the candles: nobody else trades here.
"""

from decimal import Decimal

from tradewright.matching import RequestRejected
from tradewright.paper.call import Call
from tradewright.paper.market.candle import MINUTE_MS, Bar
from tradewright.paper.quote import Quote
from tradewright.paper.rest.category import category_of
from tradewright.paper.rest.market import quote_of
from tradewright.paper.rest.page import limit_of
from tradewright.paper.rest.param import invalid, number, text
from tradewright.paper.wire import Row, num

_MINUTES = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}
_BALANCE = Decimal("0.5")
_MOST_LEAN = Decimal("0.2")


def funding_history(call: Call) -> Row:
    params = call.params
    category = category_of(call, required=True)
    quote = quote_of(call)
    limit = limit_of(params, 200, 200)
    start, end = number(params, "startTime"), number(params, "endTime")
    if start is not None and end is None:
        raise RequestRejected(10001, "params error: endTime is required with startTime")
    paid, source = dict(quote.fundings), call.exchange.source
    rows = []
    for at_ms in _funding_times(quote, start, end, call.exchange.clock.now_ms())[:limit]:
        rate = paid[at_ms] if at_ms in paid else source.funding_rate(quote.symbol, at_ms)
        rows.append(
            {
                "symbol": quote.symbol,
                "fundingRate": num(rate or Decimal(0)),
                "fundingRateTimestamp": str(at_ms),
            }
        )
    return {"category": category, "list": rows}


def _funding_times(quote: Quote, start: int | None, end: int | None, now_ms: int) -> range:
    """Return when funding was paid, newest first, as far back as there are candles."""
    oldest = quote.series.oldest()
    if oldest is None:
        return range(0)
    until = now_ms if end is None else min(end, now_ms)
    begin = max(oldest.open_ms, start or 0)
    return range(until - until % quote.funding_ms, begin - 1, -quote.funding_ms)


def open_interest_history(call: Call) -> Row:
    category = category_of(call, required=True)
    quote = quote_of(call)
    times, cursor = _times(call, quote, "intervalTime", 200)
    floor_qty = quote.market.instrument.floor_qty
    rows = [
        {
            "openInterest": quote.scale.shown_qty(held),
            "singleOpenInterest": quote.scale.shown_qty(floor_qty(held / 2)),
            "timestamp": str(at_ms),
        }
        for at_ms in times
        for held in [quote.open_interest(at_ms)]
    ]
    return {"symbol": quote.symbol, "category": category, "list": rows, "nextPageCursor": cursor}


def account_ratio(call: Call) -> Row:
    category_of(call, required=True)
    quote = quote_of(call)
    times, cursor = _times(call, quote, "period", 500)
    period_ms = _MINUTES[text(call.params, "period")] * MINUTE_MS
    rows = []
    for at_ms in times:
        bars = quote.series.between(quote.series.base, at_ms - period_ms, at_ms - 1, 1440)
        buy = _buy_ratio(bars)
        rows.append(
            {
                "symbol": quote.symbol,
                "buyRatio": num(buy),
                "sellRatio": num(1 - buy),
                "timestamp": str(at_ms),
            }
        )
    return {"list": rows, "nextPageCursor": cursor}


def _buy_ratio(bars: list[Bar]) -> Decimal:
    """Return the share of accounts that are long: more of them after a fall."""
    if not bars:
        return _BALANCE
    rise = bars[0].close / bars[-1].open - 1
    return round(_BALANCE - max(-_MOST_LEAN, min(_MOST_LEAN, rise * 5)), 4)


def _times(call: Call, quote: Quote, name: str, most: int) -> tuple[list[int], str]:
    """Return the times of a page, newest first, and the cursor of the next one."""
    params = call.params
    minutes = _MINUTES.get(text(params, name))
    if minutes is None:
        raise invalid(name)
    step = minutes * MINUTE_MS
    limit = limit_of(params, 50, most)
    start, end = number(params, "startTime"), number(params, "endTime")
    until = call.exchange.clock.now_ms() if end is None else end
    until = min(until, call.exchange.clock.now_ms())
    if text(params, "cursor"):
        until = min(until, _last_time(text(params, "cursor")) - 1)
    oldest = quote.series.oldest()
    begin = max(start or 0, oldest.open_ms if oldest else until + 1)
    times = range(until - until % step, begin - 1, -step)
    shown = list(times[:limit])
    more = len(times) > limit
    return shown, f"lastid%3D0%26lasttime%3D{shown[-1] // 1000}" if more else ""


def _last_time(cursor: str) -> int:
    seconds = cursor.replace("%3D", "=").rpartition("lasttime=")[2]
    if not seconds.isdecimal() or len(seconds) > 12:
        raise RequestRejected(10001, "params error: cursor invalid")
    return int(seconds) * 1000
