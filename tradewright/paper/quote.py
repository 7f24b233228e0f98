"""What the public sees of one symbol, beside its candles: prints, funding, figures of the day."""

import uuid
from bisect import bisect_right
from collections import deque
from decimal import Decimal
from itertools import takewhile
from typing import Any, NamedTuple

from tradewright.domain.market import Side
from tradewright.matching import Engine, Market
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series
from tradewright.paper.reference import References
from tradewright.paper.scale import scale_of
from tradewright.paper.wire import num

Level = tuple[Decimal, Decimal]
DAY_MS = 1440 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
_KEPT_PRINTS = 1000
_KEPT_FUNDINGS = 200
_IDS = uuid.UUID("0d3b7b0e-58c6-5d1c-8a55-5e4b3c8f6a02")
_KEPT_INTERESTS = 500
_ZERO = Decimal(0)


class Print(NamedTuple):
    """One public trade; *side* is the taker's."""

    seq: int
    at_ms: int
    side: Side
    price: Decimal
    qty: Decimal
    direction: str

    def trade_id(self, symbol: str) -> str:
        return str(uuid.uuid5(_IDS, f"{symbol}/{self.seq}"))


class Funding(NamedTuple):
    at_ms: int
    rate: Decimal


class Day(NamedTuple):
    """The last 24 hours."""

    ago: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    turnover: Decimal
    hour_ago: Decimal


class DayStats:
    """Keeps the figures of the last 24 hours; each base candle is looked at once."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._bars: deque[Bar] = deque()
        self._highs: deque[Bar] = deque()
        self._lows: deque[Bar] = deque()
        self._volume = self._turnover = _ZERO

    def day(self) -> Day | None:
        """Return the figures; None before any candle has closed."""
        made = self._series.day()
        day = self._kept() if made is None else self._made(made)
        forming = self._series.forming(self._series.base)
        if day is None or forming is None:
            return day
        return day._replace(
            high=max(day.high, forming.high),
            low=min(day.low, forming.low),
            volume=day.volume + forming.volume,
            turnover=day.turnover + forming.turnover,
        )

    def _made(self, day: Bar) -> Day:
        series = self._series
        newest = series.last_closed(series.base) or day
        since_ms = max(day.open_ms, newest.open_ms - HOUR_MS + 1)
        hour = series.between(series.base, since_ms, None, 1)
        hour_ago = hour[0].open if hour else day.open
        return Day(day.open, day.high, day.low, day.volume, day.turnover, hour_ago)

    def _kept(self) -> Day | None:
        self._catch_up()
        if not self._bars:
            return None
        hour = bisect_right(self._bars, self._bars[-1].open_ms - HOUR_MS, key=_open_ms)
        return Day(
            self._bars[0].open,
            self._highs[0].high,
            self._lows[0].low,
            self._volume,
            self._turnover,
            self._bars[hour].open,
        )

    def _catch_up(self) -> None:
        newest = self._series.last_closed(self._series.base)
        known = self._bars[-1].open_ms if self._bars else -1
        if newest is None or newest.open_ms == known:
            return
        known = max(known, newest.open_ms - DAY_MS)
        closed = self._series.newest_closed(self._series.base)
        for bar in reversed(list(takewhile(lambda bar: bar.open_ms > known, closed))):
            self._add(bar)
        while self._bars[0].open_ms <= newest.open_ms - DAY_MS:
            self._drop(self._bars.popleft())

    def _add(self, bar: Bar) -> None:
        self._bars.append(bar)
        self._volume += bar.volume
        self._turnover += bar.turnover
        while self._highs and self._highs[-1].high <= bar.high:
            self._highs.pop()
        self._highs.append(bar)
        while self._lows and self._lows[-1].low >= bar.low:
            self._lows.pop()
        self._lows.append(bar)

    def _drop(self, bar: Bar) -> None:
        self._volume -= bar.volume
        self._turnover -= bar.turnover
        for extremes in (self._highs, self._lows):
            if extremes[0] is bar:
                extremes.popleft()


class Quote:
    def __init__(
        self,
        market: Market,
        series: Series,
        funding_rate: Decimal = _ZERO,
        funding_cap: Decimal = Decimal("0.00375"),
    ) -> None:
        self.symbol = market.instrument.symbol
        self.scale = scale_of(market.instrument)
        self.market = market
        self.series = series
        self.stats = DayStats(series)
        self.prints: deque[Print] = deque(maxlen=_KEPT_PRINTS)
        self.funding_rate = funding_rate
        """What is due next."""
        self.funding_cap = funding_cap
        self.fundings: deque[Funding] = deque(maxlen=_KEPT_FUNDINGS)
        self.references = References()
        self.update_ids: dict[str, int] = {}
        """Of the book streams, by depth."""
        self._seq = 0
        self._interests: dict[int, Decimal] = {}

    @property
    def direction(self) -> str:
        return self.prints[-1].direction if self.prints else "ZeroPlusTick"

    @property
    def funding_ms(self) -> int:
        return self.market.funding_minutes * MINUTE_MS

    def sequence(self, now_ms: int) -> int:
        """Return a number above all earlier ones, also above those before a restart."""
        self._seq = max(self._seq + 1, now_ms)
        return self._seq

    def print(self, side: Side, price: Decimal, qty: Decimal, now_ms: int) -> Print:
        """Take a public trade."""
        printed = Print(
            self.sequence(now_ms), now_ms, side, price, qty, self._direction_to(price, side)
        )
        self.prints.append(printed)
        return printed

    def refer(self, now_ms: int, mark: Decimal, index: Decimal) -> None:
        """Take mark and index prices that are not those of the last trade."""
        self.references.take(now_ms, mark, index)

    def fund(self, now_ms: int, rate: Decimal) -> None:
        """Take a funding that was paid."""
        self.fundings.append(Funding(now_ms, rate))

    def open_interest(self, at_ms: int) -> Decimal:
        """Return what is held at *at_ms*, both sides: as much as the day before it traded.

        It changes every hour.
        """
        at_ms -= at_ms % HOUR_MS
        if at_ms not in self._interests:
            if len(self._interests) >= _KEPT_INTERESTS:
                self._interests.clear()
            interval = "60" if "60" in self.series.intervals else self.series.base
            bars = self.series.between(interval, at_ms - DAY_MS, at_ms - 1, 1440)
            volume = sum((bar.volume for bar in bars), _ZERO)
            step = self.market.instrument.qty_step
            self._interests[at_ms] = volume.quantize(step) if volume else _ZERO
        return self._interests[at_ms]

    def _direction_to(self, price: Decimal, side: Side) -> str:
        if not self.prints:
            return "PlusTick" if side is Side.BUY else "MinusTick"
        before = self.prints[-1]
        if price != before.price:
            return "PlusTick" if price > before.price else "MinusTick"
        return "Zero" + before.direction.removeprefix("Zero")


def ticker_row(engine: Engine, quote: Quote, now_ms: int) -> dict[str, Any]:
    """Return the fields that the ticker of REST and of the stream have in common."""
    symbol = quote.symbol
    last, mark, index = engine.last[symbol], engine.mark[symbol], engine.index[symbol]
    day = quote.stats.day() or Day(last, last, last, _ZERO, _ZERO, last)
    bids, asks = engine.levels(symbol, 1)
    held = quote.open_interest(now_ms)
    single = quote.market.instrument.floor_qty(held / 2)
    price, qty = quote.scale.shown_price, quote.scale.shown_qty
    return {
        "symbol": symbol,
        "lastPrice": price(last),
        "indexPrice": price(index),
        "markPrice": price(mark),
        "prevPrice24h": price(day.ago),
        "price24hPcnt": num(round((last - day.ago) / day.ago, 6)),
        "highPrice24h": price(max(day.high, last)),
        "lowPrice24h": price(min(day.low, last)),
        "prevPrice1h": price(day.hour_ago),
        "openInterest": qty(held),
        "openInterestValue": num(round(held * mark, 2)),
        "singleOpenInterest": qty(single),
        "singleOpenInterestValue": num(round(single * mark, 2)),
        "turnover24h": num(round(day.turnover, 4)),
        "volume24h": qty(day.volume),
        "fundingRate": num(quote.funding_rate),
        "nextFundingTime": str(now_ms - now_ms % quote.funding_ms + quote.funding_ms),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "bid1Price": price(bids[0][0]) if bids else "",
        "bid1Size": qty(bids[0][1]) if bids else "",
        "ask1Price": price(asks[0][0]) if asks else "",
        "ask1Size": qty(asks[0][1]) if asks else "",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "fundingIntervalHour": str(quote.market.funding_minutes // 60),
        "fundingCap": num(quote.funding_cap),
        "basisRateYear": "",
    }


def _open_ms(bar: Bar) -> int:
    return bar.open_ms
