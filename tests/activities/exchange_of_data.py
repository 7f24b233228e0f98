"""An exchange of nothing but data, which can be spoiled in any way."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from activities.pace import WallPace, milliseconds
from tradewright import testing
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Instrument, Timeframe
from tradewright.plugin import Candles

START = datetime(2022, 3, 1, tzinfo=UTC)
"""When the scripted markets stand still."""
_TIMEFRAMES = {timeframe.interval: timeframe for timeframe in Timeframe}
_MINUTES = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}
Rows = list[list[str]]


class DataExchange:
    """Generated candles since 2022, figures beside them, and tickers that agree with both."""

    def __init__(self, instrument: Instrument, now: datetime = START) -> None:
        self.now = now
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.spoil: Callable[[Rows], Any] = lambda rows: None
        """Changes the rows of an answer with candles, newest first."""
        self.spoiled_symbol = ""
        """The only one that is spoiled; empty for all."""
        self.away: set[str] = set()
        """Methods that do not answer."""
        self.ticker: dict[str, str] = {}
        """Changes what tickers say."""
        self.book: dict[str, Any] = {}
        self._instrument = instrument
        self._candles: dict[tuple[str, Timeframe], Any] = {}

    def count(self, method: str) -> int:
        return sum(called == method for called, _ in self.calls)

    def close(self, symbol: str = "BTCUSDT", timeframe: Timeframe = Timeframe.M15) -> float:
        candles = self._series(symbol, timeframe)
        closed = (self.now - testing.BORN) // timeframe.length
        return float(candles.close[closed - 1])

    async def instrument(self, symbol: str) -> Instrument:
        return self._instrument.model_copy(update={"symbol": symbol})

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append((method, arguments))
        if method in self.away:
            raise ExchangeUnreachable(method, "it is away")
        rows: Any = getattr(self, f"_{method}")(**arguments)
        return {"result": rows if isinstance(rows, dict) else {"list": rows}}

    def _get_kline(
        self, symbol: str, interval: str, start: int, end: int, limit: int, **_: Any
    ) -> Rows:
        timeframe = _TIMEFRAMES[interval]
        step = timeframe.length // timedelta(milliseconds=1)
        candles, born = self._series(symbol, timeframe), milliseconds(testing.BORN)
        # The open candle is told of as well, as Bybit does
        last = min(end, milliseconds(self.now)) // step * step
        rows = []
        for opened in range(last, max(start, born) - 1, -step):
            n = (opened - born) // step
            columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
            rows.append([str(opened), *(repr(float(each[n])) for each in columns), "1"])
        rows = rows[:limit]
        if self.spoiled_symbol in ("", symbol):
            self.spoil(rows)
        return rows

    def _get_mark_price_kline(self, **arguments: Any) -> Rows:
        return [row[:5] for row in self._get_kline(**arguments)]

    def _get_tickers(self, symbol: str = "", **_: Any) -> list[dict[str, str]]:
        symbols = [symbol] if symbol else sorted({key[0] for key in self._candles})
        return [self._ticker(each) for each in symbols]

    def _ticker(self, symbol: str) -> dict[str, str]:
        price = self.close(symbol)
        told = {
            "symbol": symbol,
            "lastPrice": str(price),
            "markPrice": str(price),
            "indexPrice": str(price),
            "bid1Price": str(price - 0.5),
            "ask1Price": str(price + 0.5),
        }
        return told | self.ticker

    def _get_funding_rate_history(
        self,
        startTime: int,  # noqa: N803
        endTime: int,  # noqa: N803
        limit: int,
        **_: Any,
    ) -> list[dict[str, str]]:
        eight = 8 * 3_600_000
        last = min(endTime, milliseconds(self.now)) // eight * eight
        times = range(last, startTime - 1, -eight)
        return [
            {"fundingRateTimestamp": str(t), "fundingRate": repr(t // eight / 1e9)} for t in times
        ][:limit]

    def _get_open_interest(
        self,
        startTime: int,  # noqa: N803
        endTime: int,  # noqa: N803
        limit: int,
        intervalTime: str,  # noqa: N803
        **_: Any,
    ) -> list[dict[str, str]]:
        step = _MINUTES[intervalTime] * 60_000
        last = min(endTime, milliseconds(self.now)) // step * step
        times = range(last, startTime - 1, -step)
        return [{"timestamp": str(t), "openInterest": str(t // step)} for t in times][:limit]

    def _get_orderbook(self, symbol: str, **_: Any) -> dict[str, Any]:
        price = self.close(symbol)
        told = {
            "u": 7,
            "cts": milliseconds(self.now),
            "b": [[str(price - 1), "3"]],
            "a": [[str(price + 1), "1"]],
        }
        return told | self.book

    def _series(self, symbol: str, timeframe: Timeframe) -> Any:
        key = symbol, timeframe
        if key not in self._candles:
            self._candles[key] = _generated(sum(map(ord, symbol)), timeframe)
        return self._candles[key]


@cache
def _generated(seed: int, timeframe: Timeframe) -> Candles:
    count = timedelta(days=70) // timeframe.length
    return testing.generated(seed, count, timeframe)


class StandingPace(WallPace):
    """A market whose clock is the exchange's."""

    def __init__(self, exchange: DataExchange, late: timedelta = timedelta()) -> None:
        self._exchange = exchange
        self.late = late

    async def market_now(self) -> datetime:
        return self._exchange.now + self.late
