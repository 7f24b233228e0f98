"""A made-up market: volatility in clusters, drifts that turn, a jump now and then.

Log returns follow GARCH(1,1) around a drift that changes its regime; the same seed and start
give the same candles.
"""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

from tradewright.domain.market import Instrument
from tradewright.paper.market.candle import MINUTE_MS, Bar
from tradewright.paper.market.listing import LISTED, Listing
from tradewright.paper.settings import PaperSettings

_LOCKSTEP_START = datetime(2025, 1, 1, tzinfo=UTC)
_SIGMA = 6e-4
_ALPHA, _BETA = 0.08, 0.91
_OMEGA = (1 - _ALPHA - _BETA) * _SIGMA**2
_REGIME_CHANCE = 1 / 120
_REGIME_DRIFTS = (-2.5e-4, -1e-4, 0.0, 1e-4, 2.5e-4)
_JUMP_CHANCE = 1 / 1500
_JUMP = 0.012
_PULL = 2e-5
"""Towards the first price, per minute, so that no price runs away."""


class Generator:
    """Endless one-minute candles of several symbols, or as many as `settings.steps`."""

    base_minutes = 1

    def __init__(self, settings: PaperSettings, now: datetime) -> None:
        start = settings.start or (_LOCKSTEP_START if settings.is_lockstep else now)
        self.start_ms = int(start.timestamp()) * 1000 // MINUTE_MS * MINUTE_MS
        self.steps_total = settings.steps
        self.instruments: dict[str, Instrument] = {
            s: LISTED[s].instrument for s in settings.symbols
        }
        self.identity = f"generator {settings.seed} {','.join(settings.symbols)}"
        self._history = settings.history
        first_ms = self.start_ms - settings.history * MINUTE_MS
        self._bars = {
            symbol: _bars(LISTED[symbol], settings.seed, first_ms) for symbol in settings.symbols
        }

    def history(self) -> Iterator[dict[str, Bar]]:
        """Yield the candles before the start; to be used up before `steps` begins."""
        return islice(self._all(), self._history)

    def steps(self) -> Iterator[dict[str, Bar]]:
        return islice(self._all(), self.steps_total)

    def _all(self) -> Iterator[dict[str, Bar]]:
        while True:
            yield {symbol: next(bars) for symbol, bars in self._bars.items()}


def _bars(listing: Listing, seed: int, first_ms: int) -> Iterator[Bar]:
    instrument = listing.instrument
    tick, step = instrument.tick_size, instrument.qty_step
    anchor = math.log(float(listing.first_price / tick))
    usual_volume = 2e5 / float(listing.first_price * step)
    # Chance that repeats, not secrecy
    chance = random.Random(f"{seed}/{instrument.symbol}")  # noqa: S311
    level, variance, shock, drift = anchor, _SIGMA**2, 0.0, 0.0
    close = round(math.exp(level))
    opened_ms = first_ms
    while True:
        if chance.random() < _REGIME_CHANCE:
            drift = chance.choice(_REGIME_DRIFTS)
        variance = _OMEGA + _ALPHA * shock**2 + _BETA * variance
        sigma = math.sqrt(variance)
        shock = sigma * max(-6.0, min(6.0, chance.gauss(0, 1)))
        if chance.random() < _JUMP_CHANCE:
            shock += chance.choice((-1, 1)) * _JUMP * chance.random()
        level += drift + shock - _PULL * (level - anchor)
        gap = chance.choice((-1, 0, 0, 1)) if chance.random() < 0.2 else 0
        first, close = max(1, close + gap), max(1, round(math.exp(level)))
        reach = math.exp(level) * sigma * 0.7
        high = max(first, close) + round(abs(chance.gauss(0, 1)) * reach)
        low = max(1, min(first, close) - round(abs(chance.gauss(0, 1)) * reach))
        volume = round(usual_volume * math.exp(chance.gauss(0, 0.5)) * (1 + abs(shock) / _SIGMA))
        base = max(1, volume) * step
        yield Bar(
            opened_ms,
            first * tick,
            high * tick,
            low * tick,
            close * tick,
            base,
            base * tick * Decimal(first + close) / 2,
        )
        opened_ms += MINUTE_MS
