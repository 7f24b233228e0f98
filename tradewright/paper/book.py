"""What the public sees of one symbol: book, ticker, candles."""

from decimal import Decimal
from itertools import islice
from typing import Any

from tradewright.domain.market import Side
from tradewright.matching import Engine
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series, bucket_end
from tradewright.paper.wire import num

Level = tuple[str, str]
_DAY_MS = 1440 * MINUTE_MS
_FUNDING_MS = 480 * MINUTE_MS


def levels(engine: Engine, symbol: str, depth: int) -> tuple[list[Level], list[Level]]:
    """Return bids and asks, best first; sizes are made up, for depth is unlimited."""
    instrument = engine.markets[symbol].instrument
    tick, step = instrument.tick_size, instrument.qty_step
    unit = max(step, instrument.floor_qty(Decimal(20_000) / engine.last[symbol]))
    sides = []
    for side in (Side.SELL, Side.BUY):
        best = engine.touch(symbol, side)
        prices = (best + side.sign * tick * i for i in range(depth))
        sides.append([(num(p), num(unit * (1 + i % 5))) for i, p in enumerate(prices) if p > 0])
    return sides[0], sides[1]


class DayStats:
    """Figures of the last 24 hours and of the last hour, renewed once per base candle."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._of: Bar | None = None
        self._row: tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal] | None = None

    def figures(self) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal] | None:
        """Return (day ago, high, low, volume, turnover, hour ago); None before any candle."""
        newest = self._series.last_closed(self._series.base)
        if newest is None:
            return None
        if newest is not self._of or self._row is None:
            day = [
                b
                for b in islice(self._series.newest(self._series.base), 1440)
                if b.open_ms > newest.open_ms - _DAY_MS
            ]
            hour = [b for b in day if b.open_ms > newest.open_ms - 60 * MINUTE_MS]
            self._of = newest
            self._row = (
                day[-1].open,
                max(b.high for b in day),
                min(b.low for b in day),
                sum((b.volume for b in day), Decimal(0)),
                sum((b.turnover for b in day), Decimal(0)),
                hour[-1].open if hour else newest.open,
            )
        return self._row


def ticker_row(engine: Engine, symbol: str, stats: DayStats, now_ms: int) -> dict[str, Any]:
    """Return the fields that the ticker of REST and of the stream have in common."""
    last = engine.last[symbol]
    day_ago, high, low, volume, turnover, hour_ago = stats.figures() or (
        *(last,) * 3,
        Decimal(0),
        Decimal(0),
        last,
    )
    (bid,), (ask,) = levels(engine, symbol, 1)
    held = volume.quantize(engine.markets[symbol].instrument.qty_step)
    return {
        "symbol": symbol,
        "lastPrice": num(last),
        "indexPrice": num(last),
        "markPrice": num(last),
        "prevPrice24h": num(day_ago),
        "price24hPcnt": num(round((last - day_ago) / day_ago, 6)),
        "highPrice24h": num(max(high, last)),
        "lowPrice24h": num(min(low, last)),
        "prevPrice1h": num(hour_ago),
        "openInterest": num(held),
        "openInterestValue": num(round(held * last, 2)),
        "singleOpenInterest": num(held / 2),
        "singleOpenInterestValue": num(round(held * last / 2, 2)),
        "turnover24h": num(round(turnover, 4)),
        "volume24h": num(volume),
        "fundingRate": "0",
        "nextFundingTime": str(now_ms - now_ms % _FUNDING_MS + _FUNDING_MS),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "bid1Price": bid[0],
        "bid1Size": bid[1],
        "ask1Price": ask[0],
        "ask1Size": ask[1],
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "fundingIntervalHour": "8",
        "fundingCap": "0.00375",
        "basisRateYear": "",
    }


def kline_row(bar: Bar) -> list[str]:
    prices = [num(p) for p in bar[1:6]]
    return [str(bar.open_ms), *prices, num(round(bar.turnover, 8))]


def kline_message(bar: Bar, interval: str, now_ms: int, *, confirm: bool) -> dict[str, Any]:
    return {
        "start": bar.open_ms,
        "end": bucket_end(interval, bar.open_ms) - 1,
        "interval": interval,
        "open": num(bar.open),
        "close": num(bar.close),
        "high": num(bar.high),
        "low": num(bar.low),
        "volume": num(bar.volume),
        "turnover": num(round(bar.turnover, 8)),
        "confirm": confirm,
        "timestamp": now_ms,
    }
