"""Donchian breakout: go with the price when it leaves the range of the last candles.

An example of a strategy written in Python: everything it may import is `tradewright.plugin`
and `tradewright.domain`; everything it sees is the DataFrame of closed candles.
"""

from decimal import Decimal
from typing import ClassVar

import pandas as pd
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
        self.lookback = max(params.period + 2, ATR_SETTLING * params.atr_period + 1)
        self.says_exits = False
        self.factor_names = frozenset({"atr", "width"})

    def evaluate(self, candles: pd.DataFrame) -> plugin.Evaluation:
        """Return the signal of the last candle, and the channel and ATR there."""
        if len(candles) < self.lookback:
            return plugin.Evaluation()
        # Always the same number of candles: the ATR depends a little on its first one
        window = candles.iloc[-self.lookback :]
        upper = window["high"].rolling(self._period).max().shift(1)
        lower = window["low"].rolling(self._period).min().shift(1)
        close = window["close"]
        factors = {
            "atr": self._atr(window),
            "upper": float(upper.iloc[-1]),
            "lower": float(lower.iloc[-1]),
            "width": float(upper.iloc[-1] - lower.iloc[-1]),
        } | {str(name): float(value) for name, value in window.iloc[-1].items()}
        above, below = close > upper, close < lower
        side = None
        if above.iloc[-1] and not above.iloc[-2]:
            side = Side.BUY
        elif below.iloc[-1] and not below.iloc[-2]:
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

    def _atr(self, window: pd.DataFrame) -> float:
        """Return Wilder's average true range: an exponential mean with alpha 1/period."""
        before = window["close"].shift(1)
        ranges = pd.concat(
            [
                window["high"] - window["low"],
                (window["high"] - before).abs(),
                (window["low"] - before).abs(),
            ],
            axis=1,
        )
        true_range = ranges.max(axis=1)
        return float(true_range.ewm(alpha=1 / self._atr_period, adjust=False).mean().iloc[-1])
