"""The course of a made-up price: a pure function of seed, symbol and minute.

Each day stands between two anchors that a slow process gives it; in between, the minutes go
by GARCH(1,1) around a drift that changes its regime, with a jump now and then, and are bent
so that they meet the next anchor. Part of every move is the market's, which all symbols share.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tradewright.paper.market.listing import Listing
from tradewright.paper.market.noise import Floats, key_of, normal, smooth, uniform

DAY = 1440
SIGMA = 6e-4
"""Deviation of a minute of the calmest symbol."""
_ALPHA, _BETA = 0.08, 0.91
_OMEGA = 1 - _ALPHA - _BETA
_WARM = 240
_REGIME_CHANCE = 1 / 120
_DRIFTS = np.array([-0.42, -0.17, 0.0, 0.17, 0.42])
_JUMP_CHANCE = 1 / 1500
_JUMP = 20.0
_MEMORY = 0.985 ** np.arange(600)[::-1]
_DAY_STEP = 0.028

Ints = npt.NDArray[np.int64]


class Day(NamedTuple):
    """The minutes of a day: prices in price steps, volumes in quantity steps."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    heat: Floats
    """Deviation of the minute, as a multiple of the usual one."""
    premium: Floats
    """Of the mark price over the index price, a fraction."""


class Wind(NamedTuple):
    """What moves a price within a day, in usual deviations of a minute."""

    moves: Floats
    heat: Floats


class Blower:
    """One source of wind: the market as a whole, or one symbol alone."""

    def __init__(self, *name: object) -> None:
        self._minutes, self._days, self._changes, self._drifts, self._jumps, self._sizes = (
            key_of(*name, what)
            for what in ("minutes", "days", "changes", "drifts", "jumps", "sizes")
        )

    def anchor(self, day: int) -> float:
        """Return where *day* begins, as a logarithm around 0."""
        steps = normal(self._days, day - len(_MEMORY) + 1, len(_MEMORY))
        return float(_DAY_STEP * (steps @ _MEMORY))

    def wind(self, day: int) -> Wind:
        first = day * DAY
        chance = normal(self._minutes, first - _WARM, _WARM + DAY).clip(-6, 6)
        # v[t] = omega + (alpha z[t-1]^2 + beta) v[t-1], solved for all minutes at once
        decay = np.cumprod(_ALPHA * chance[:-1] ** 2 + _BETA)
        variance = decay * (1 + _OMEGA * np.cumsum(1 / decay))
        heat = np.sqrt(variance[_WARM - 1 :])
        moves = heat * chance[_WARM:]
        jumps = uniform(self._jumps, first, DAY) < _JUMP_CHANCE
        moves += jumps * _JUMP * (2 * uniform(self._sizes, first, DAY) - 1)
        changes = uniform(self._changes, first, DAY) < _REGIME_CHANCE
        changes[0] = True
        since = np.maximum.accumulate(np.where(changes, np.arange(DAY), 0))
        drifts = _DRIFTS[(uniform(self._drifts, first, DAY) * len(_DRIFTS)).astype(int)]
        return Wind(moves + drifts[since], heat)


class Course:
    """The course of one symbol."""

    def __init__(self, seed: int, listing: Listing, market: Blower) -> None:
        symbol = listing.instrument.symbol
        self._market = market
        self._own = Blower(seed, symbol)
        self._share = 1.0 if symbol == "BTCUSDT" else listing.market_share
        self._swing = listing.swing
        tick, step = listing.instrument.tick_size, listing.instrument.qty_step
        self._middle = math.log(float(listing.first_price / tick))
        minute_turnover = listing.day_turnover / DAY
        self._usual = minute_turnover / float(listing.first_price * step)
        self._keys = [key_of(seed, symbol, what) for what in range(7)]

    def day(self, day: int, market: Wind) -> Day:
        """Return the minutes of *day* (days since 1970), on which *market* blew."""
        first, own = day * DAY, self._own.wind(day)
        rest = math.sqrt(1 - self._share**2)
        unit = SIGMA * self._swing
        moves = unit * (self._share * market.moves + rest * own.moves)
        heat = np.sqrt((self._share * market.heat) ** 2 + (rest * own.heat) ** 2)
        begin, end = self._anchor(day), self._anchor(day + 1)
        level = np.cumsum(moves)
        level += np.arange(1, DAY + 1) * ((end - begin - level[-1]) / DAY)
        level += begin
        level[-1] = end
        prices = np.exp(np.concatenate(([begin], level)))
        marks = np.maximum(1, np.rint(prices)).astype(np.int64)
        close, opened = marks[1:], marks[:-1].copy()
        gaps = uniform(self._keys[0], first, DAY)
        opened += (gaps < 0.05).astype(np.int64) - (gaps > 0.95)
        opened = np.maximum(1, opened)
        reach = prices[1:] * heat * (unit * 0.7)
        up = np.rint(np.abs(normal(self._keys[1], first, DAY)) * reach).astype(np.int64)
        down = np.rint(np.abs(normal(self._keys[2], first, DAY)) * reach).astype(np.int64)
        bustle = np.exp(0.5 * normal(self._keys[3], first, DAY)) * (1 + np.abs(moves) / unit)
        return Day(
            opened,
            np.maximum(opened, close) + up,
            np.maximum(1, np.minimum(opened, close) - down),
            close,
            np.maximum(1, np.rint(self._usual / 1.8 * bustle)).astype(np.int64),
            heat,
            self._premium(first, DAY),
        )

    def premiums(self, first: int, count: int) -> Floats:
        """Return the premium index of *count* minutes from the minute *first* on."""
        return self._premium(first, count)

    def _anchor(self, day: int) -> float:
        rest = math.sqrt(1 - self._share**2)
        around = self._share * self._market.anchor(day) + rest * self._own.anchor(day)
        return self._middle + self._swing * around

    def _premium(self, first: int, count: int) -> Floats:
        slow = smooth(self._keys[4], first, count, 3 * DAY)
        hours = smooth(self._keys[5], first, count, 60)
        return 1e-4 * self._swing * (0.5 + 4.0 * slow + 2.0 * hours) + 5e-5 * normal(
            self._keys[6], first, count
        )
