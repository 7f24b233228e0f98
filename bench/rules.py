"""What rules cost: for each candle live, for each update of the order book, and over a year.

``python bench/rules.py [CANDLES]`` follows a strategy of seven indicators candle by candle, asks
another about an order book, and evaluates a third over CANDLES (a year of minutes) beside the same
written by hand with numpy and TA-Lib. Times are those of the thread: others may run beside it.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

from plugins.rules import Rules
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles, View
from tradewright.testing import make_book

YEAR = 525_600
MINUTE = 60_000
LIVE = 2_000

INDICATORS = {
    "fast": {"ta": "EMA", "timeperiod": 12},
    "slow": {"ta": "EMA", "timeperiod": 26},
    "rsi": {"ta": "RSI", "timeperiod": 14},
    "atr": {"ta": "ATR", "timeperiod": 14},
    "bands": {"ta": "BBANDS", "timeperiod": 20},
}
TREND: dict[str, Any] = {
    "timeframes": {"h1": "1h"},
    "indicators": INDICATORS
    | {
        "macd": {"ta": "MACD"},
        "hour": {"ta": "EMA", "timeperiod": 20, "on": "h1"},
    },
    "let": {
        "trend": "fast > slow and close > hour",
        "stretch": "(close - fast) / atr",
        "wide": "bands.upper - bands.lower > 2 * atr",
    },
    "long": "trend and cross_up(macd, macd.signal) and rsi < 70 and wide and stretch < 2",
    "short": "not trend and cross_down(macd, macd.signal) and rsi > 30 and wide",
    "exit_long": "fast < slow or since(trend, 30) > 10 or close < lowest(low, 20) + 0.1 * atr",
    "exit_short": "fast > slow or rising(close, 5)",
    "confidence": "clip(abs(stretch), 0.1, 1)",
}
BOOK: dict[str, Any] = {
    "indicators": {"fast": {"ta": "EMA", "timeperiod": 12}, "atr": {"ta": "ATR"}},
    "let": {
        "strong": "max(book.bid_cluster, book.ask_cluster) > 10000",
        "calm": "book.spread_bps < 3",
    },
    "long": "book.imbalance > 0.75 and strong and calm and close > fast",
    "short": "book.imbalance < 0.25 and strong and calm and close < fast",
    "confidence": "clip(abs(book.imbalance - 0.5) * 2, 0.1, 1)",
}
PLAIN: dict[str, Any] = {
    "indicators": INDICATORS,
    "long": "cross_up(fast, slow) and rsi < 70 and close < bands.upper and atr / close > 0.001",
    "short": "cross_down(fast, slow) and rsi > 30 and close > bands.lower and atr / close > 0.001",
}


def market(length: int, step: int = MINUTE) -> Candles:
    rng = np.random.default_rng(20261120)
    close = 60_000 * np.exp(np.cumsum(rng.normal(0, 0.0006, length)))
    start = np.concatenate((close[:1], close[:-1]))
    return Candles(
        open_time=step * np.arange(length, dtype=np.int64),
        open=start,
        high=np.maximum(start, close) * (1 + rng.uniform(0, 0.0003, length)),
        low=np.minimum(start, close) * (1 - rng.uniform(0, 0.0003, length)),
        close=close,
        volume=rng.uniform(1, 100, length),
    )


def strategy(written: dict[str, Any]) -> Rules:
    return Rules(Rules.Params.model_validate(written))


def view(candles: Candles, hours: Candles) -> View:
    last = int(candles.open_time[-1]) + MINUTE
    return View(
        symbol="BTCUSDT",
        at=datetime.fromtimestamp(last / 1000, UTC),
        timeframe=Timeframe.M1,
        candles=candles,
        others={"h1": hours.between(0, last // (60 * MINUTE))},
    )


def microseconds(call: Callable[[Any], object], each: Iterable[Any]) -> list[float]:
    found = []
    for one in each:
        began = time.thread_time()
        call(one)
        found.append(1e6 * (time.thread_time() - began))
    return found


def told(name: str, spent: list[float]) -> None:
    p50, p95 = statistics.median(spent), statistics.quantiles(spent, n=20)[18]
    print(f"{name:34} p50 {p50:6.1f} us  p95 {p95:6.1f} us  mean {statistics.mean(spent):6.1f} us")


def live() -> None:
    ready = strategy(TREND)
    needed = ready.needs.candles
    hour = ready.needs.others["h1"].candles
    length = max(2 * needed, 60 * hour) + LIVE
    candles, hours = market(length), market(length // 60 + 1, 60 * MINUTE)
    begin = length - LIVE - 2 * needed
    views = [view(candles.between(begin, end), hours) for end in range(length - LIVE, length)]
    follower = ready.follow()
    first = microseconds(follower.evaluate, views[:1])
    told("live, the next candle", microseconds(follower.evaluate, views[1:]))
    whole = microseconds(ready.evaluate, views[:200])
    told(f"live, a whole window of {len(views[0].candles)}", whole)
    print(f"{'live, the first candle':34} {first[0]:10.1f} us")
    handle = talib.stream.RSI(candles.close[:1000], timeperiod=14)
    told("anchor: one handle of TA-Lib", microseconds(handle.update, [1.0] * 2000))


def book() -> None:
    ready = strategy(BOOK)
    seen = view(market(ready.needs.candles), market(2, 60 * MINUTE))
    calm = replace(
        make_book(0), bid_cluster=20_000.0, ask_cluster=5_000.0, imbalance=0.5, spread_bps=0.02
    )
    ready.on_book(seen, calm)
    rng = np.random.default_rng(3)
    quiet = [replace(calm, imbalance=float(rng.uniform(0.3, 0.7))) for _ in range(5000)]
    loud = [replace(calm, imbalance=float(rng.choice([0.1, 0.9]))) for _ in range(5000)]
    for name, books in (("an update, nothing to do", quiet), ("an update, a signal in half", loud)):
        told(name, microseconds(partial(ready.on_book, seen), books))


def by_hand(candles: Candles) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    close = candles.close
    fast, slow = talib.EMA(close, 12), talib.EMA(close, 26)
    rsi, atr = talib.RSI(close, 14), talib.ATR(candles.high, candles.low, close, 14)
    upper, _, lower = talib.BBANDS(close, 20)
    above = fast > slow
    below = fast < slow
    up, down = np.zeros(len(close), bool), np.zeros(len(close), bool)
    up[1:] = above[1:] & (fast[:-1] <= slow[:-1])
    down[1:] = below[1:] & (fast[:-1] >= slow[:-1])
    moving = atr / close > 0.001
    return up & (rsi < 70) & (close < upper) & moving, down & (rsi > 30) & (close > lower) & moving


def year(length: int) -> None:
    ready, candles = strategy(PLAIN), market(length)
    seen = view(candles, market(2, 60 * MINUTE))
    found = ready.history(seen)
    long, short = by_hand(candles)
    # The first candles of all are known by numpy and not yet by rules, or the other way round
    assert np.array_equal(found["long"][50:], long[50:])
    assert np.array_equal(found["short"][50:], short[50:])
    hand, rules = list[float](), list[float]()
    for _ in range(9):
        hand += microseconds(by_hand, [candles])
        rules += microseconds(ready.history, [seen])
    ratio = statistics.median(rules) / statistics.median(hand)
    print(f"{length} candles at once: by hand {statistics.median(hand) / 1e3:.1f} ms, rules "
          f"{statistics.median(rules) / 1e3:.1f} ms: {ratio:.2f} times; {int(long.sum())} long, "
          f"{int(short.sum())} short")  # fmt: skip


def main(length: int) -> None:
    live()
    book()
    year(length)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else YEAR)
