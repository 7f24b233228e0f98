"""Donchian breakout: go with the price when it leaves the range of the last candles.

An example of a strategy written in Python: everything it may import is `tradewright.plugin`
and `tradewright.domain`; everything it sees is a view of closed candles.
"""

from decimal import Decimal
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from tradewright import plugin
from tradewright.domain.market import Side
from tradewright.domain.signal import Signal

ATR_SETTLING = 8


class DonchianBreakout:
    """Buy when a close is the first above the channel, sell when it is the first below.

    The channel is the highest high and lowest low of the `period` candles before the last
    one. Only the first close outside counts: a trend gives one signal, not one per candle.

    Source:
        R. Donchian's four-week rule, as told in C. Faith, *Way of the Turtle*
        (McGraw-Hill, 2007).
    """

    version: ClassVar[str] = "1"

    class Params(plugin.Params):
        period: int = Field(
            default=20, ge=2, le=500, description="Length of the channel, in candles."
        )
        atr_period: int = Field(
            default=14, ge=2, le=200, description="Period of the average true range, in candles."
        )
        min_width_atr: Decimal = Field(
            default=Decimal(0),
            ge=0,
            le=100,
            description="No signal while the channel is narrower than this many ATR.",
        )

    def __init__(self, params: Params) -> None:
        self._period = params.period
        self._atr_period = params.atr_period
        self._min_width_atr = float(params.min_width_atr)
        candles = max(params.period + 2, ATR_SETTLING * params.atr_period + 1)
        self.needs = plugin.Needs(candles=candles)
        self.says_exits = False
        self.factor_names = frozenset({"atr", "width"})

    def evaluate(self, view: plugin.View) -> plugin.Evaluation:
        """Return the signal of the last candle, and the channel and ATR there."""
        if len(view.candles) < self.needs.candles:
            return plugin.Evaluation()
        # Always the same number of candles: the ATR depends a little on its first one
        candles = view.candles.tail(self.needs.candles)
        # Of the last candle and of the one before, each from the candles before it
        upper = sliding_window_view(candles.high[:-1], self._period)[-2:].max(axis=1)
        lower = sliding_window_view(candles.low[:-1], self._period)[-2:].min(axis=1)
        close = candles.close[-2:]
        factors = {
            "atr": self._atr(candles),
            "upper": float(upper[-1]),
            "lower": float(lower[-1]),
            "width": float(upper[-1] - lower[-1]),
        } | {name: float(getattr(candles, name)[-1]) for name in plugin.COLUMNS}
        above, below = close > upper, close < lower
        side = None
        if above[-1] and not above[-2]:
            side = Side.BUY
        elif below[-1] and not below[-2]:
            side = Side.SELL
        if side is None or factors["width"] < self._min_width_atr * factors["atr"]:
            return plugin.Evaluation(factors=factors)
        edge = "upper" if side is Side.BUY else "lower"
        signal = Signal(
            side=side,
            reason=f"close {factors['close']:.6g} left the {self._period}-candle channel at "
            f"{factors[edge]:.6g}",
            factors=factors,
        )
        return plugin.Evaluation(signal=signal, factors=factors)

    def _atr(self, candles: plugin.Candles) -> float:
        """Return Wilder's average true range: an exponential mean with alpha 1/period."""
        high, low, before = candles.high, candles.low, candles.close[:-1]
        ranges = high - low
        ranges[1:] = np.maximum(
            ranges[1:], np.maximum(abs(high[1:] - before), abs(low[1:] - before))
        )
        mean, alpha = float(ranges[0]), 1 / self._atr_period
        for value in ranges[1:].tolist():
            mean += alpha * (value - mean)
        return mean
