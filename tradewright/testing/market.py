"""A generated market for the tests of strategies: the same each time, wherever it is made."""

import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tradewright import plugin
from tradewright.book import Book
from tradewright.domain.market import Timeframe
from tradewright.plugin import COLUMNS, HISTORY_SERIES, Candles, Needs, View

SYMBOL = "BTCUSDT"
BORN = datetime(2022, 1, 1, tzinfo=UTC)


class Market:
    """A generated market: any symbol at any timeframe, the same each time for the same seed."""

    def __init__(self, seed: int = 0, timeframe: Timeframe = Timeframe.M15) -> None:
        self.timeframe = timeframe
        self._seed = seed
        self._made: dict[tuple[str, Timeframe, int], Candles] = {}

    def view(
        self,
        needs: Needs,
        number: int,
        *,
        candles: int | None = None,
        change: Callable[[Candles], Candles] = lambda candles: candles,
    ) -> View:
        """Return what a strategy sees at the close of candle *number*, as it would live.

        Args:
            needs: Of the strategy.
            number: Counted from the market's first candle; that is far enough in the past.
            candles: So many of its own instead of the anchored window.
            change: Is applied to its own candles.
        """
        at = BORN + (self._lead(needs) + number + 1) * self.timeframe.length
        own = self._window(SYMBOL, self.timeframe, at, needs.candles)
        if candles is not None:
            own = self._until(SYMBOL, self.timeframe, at).tail(candles)
        own = change(own)
        others = {
            name: self._window(
                need.symbol or SYMBOL, need.timeframe or self.timeframe, at, need.candles
            )
            for name, need in needs.others.items()
        }
        series = {name: _extra(name, own) for name in needs.series}
        return View(
            symbol=SYMBOL,
            at=at,
            timeframe=self.timeframe,
            candles=own,
            others=others,
            series=series,
        )

    def _lead(self, needs: Needs) -> int:
        """Return how many candles there are before the first that is asked about."""
        spans = [
            need.candles * (need.timeframe or self.timeframe).length
            for need in needs.others.values()
        ]
        longest = max((needs.candles * self.timeframe.length, *spans))
        return -(-2 * longest // self.timeframe.length)

    def _window(self, symbol: str, timeframe: Timeframe, at: datetime, needed: int) -> Candles:
        known = self._until(symbol, timeframe, at)
        end, step = int(known.open_time[-1]), _ms(timeframe)
        begin = np.searchsorted(known.open_time, plugin.anchor(end, step, needed))
        return known.between(int(begin), len(known))

    def _until(self, symbol: str, timeframe: Timeframe, at: datetime) -> Candles:
        """Return all that had closed at *at*."""
        count = (at - BORN) // timeframe.length
        # Twice as many as before: what was made once stays the same
        room = 1 << max(10, count.bit_length())
        key = symbol, timeframe, room
        if key not in self._made:
            seed = zlib.crc32(f"{symbol}/{timeframe}/{self._seed}".encode())
            self._made[key] = generated(seed, room, timeframe)
        return self._made[key].between(0, count)


def generated(seed: int, count: int, timeframe: Timeframe) -> Candles:
    """Return *count* candles of a market that trends, ranges, jumps and falls quiet."""
    # One source for each, so that a longer market begins as the shorter one does
    drawn = [np.random.default_rng((seed, number)) for number in range(6)]
    unrest = np.array([0.2, 0.6, 1.0, 2.5])[drawn[0].integers(0, 4, count // 50 + 1)]
    regime = np.repeat(unrest, 50)[:count]
    drift = np.repeat(drawn[1].normal(0, 0.0006, count // 80 + 1), 80)[:count]
    returns = drawn[2].standard_t(4, count) * 0.002 * regime + drift
    # Pulled back to where it began, or long markets end at nothing
    close = np.empty(count)
    level = 0.0
    for row, change in enumerate(returns.tolist()):
        level = level * 0.9995 + change
        close[row] = level
    close = np.round(30_000 * np.exp(close), 1)
    opened = np.concatenate(([30_000.0], close[:-1]))
    above, below = (source.exponential(0.001, count) * regime for source in drawn[3:5])
    high = np.round(np.maximum(opened, close) * (1 + above), 1)
    low = np.round(np.minimum(opened, close) * (1 - below), 1)
    volume = np.round(drawn[5].lognormal(3, 0.6, count) * regime, 3)
    born = round(BORN.timestamp() * 1000)
    times = born + np.arange(count, dtype=np.int64) * _ms(timeframe)
    return frozen(Candles(times, opened, high, low, close, volume))


def frozen(candles: Candles) -> Candles:
    """Return *candles* in arrays that cannot be written to, as they are live."""
    for name in ("open_time", *COLUMNS):
        getattr(candles, name).flags.writeable = False
    return candles


def make_book(number: int) -> Book:
    """Return an order book, another one for each *number*."""
    drawn = np.random.default_rng((7, number))
    bid = float(np.round(30_000 * (1 + drawn.normal(0, 0.001)), 1))
    ask = bid + float(drawn.integers(1, 20)) / 10
    volumes = drawn.lognormal(12, 1, 2)
    clusters = volumes * drawn.uniform(0.1, 1, 2)
    return Book(
        symbol=SYMBOL,
        at_ms=round(BORN.timestamp() * 1000) + number,
        best_bid=bid,
        best_ask=ask,
        best_bid_qty=float(drawn.lognormal()),
        best_ask_qty=float(drawn.lognormal()),
        bid_volume=float(volumes[0]),
        ask_volume=float(volumes[1]),
        bid_cluster=float(clusters[0]),
        ask_cluster=float(clusters[1]),
        imbalance=float(volumes[0] / volumes.sum()),
        spread_bps=(ask - bid) / (ask + bid) * 20_000,
    )


def _extra(name: str, own: Candles) -> NDArray[np.float64]:
    """Return a series beside the candles: a history, or what is known only now."""
    values = np.full(len(own), np.nan)
    if name in HISTORY_SERIES:
        base = {"funding_rate": 0.0001, "open_interest": 50_000.0}.get(name, 1.0)
        values[:] = base * (own.close if name == "mark_price" else own.close / 30_000)
    elif len(own):
        values[-1] = 0.5 if name == "book.imbalance" else 1.0
    values.flags.writeable = False
    return values


def _ms(timeframe: Timeframe) -> int:
    return timeframe.length // timedelta(milliseconds=1)
