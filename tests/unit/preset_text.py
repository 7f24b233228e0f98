"""A preset that is valid, and the faults of one that is not."""

import pytest

from tradewright import preset
from tradewright.preset import PresetFault, PresetInvalid

VALID = """\
version: 1
name: ema-pullback
account: main
mode: trade
market: {category: linear, symbols: [BTCUSDT, ETHUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy:
  plugin: rules
  params:
    indicators:
      fast: {ta: EMA, timeperiod: 12}
      slow: {ta: EMA, timeperiod: 26}
      atr: {ta: ATR, timeperiod: 14}
    long: cross_up(fast, slow)
    short: >-
      cross_down(fast,
      slow) and close > 0
entry: {type: market, expires_after: 30s}
exits:
  stop: {indicator: atr, times: 2.0}
  target: {r: 3}
  break_even: {after_r: 1.0}
  trailing: {after_r: 1.0, fraction: 0.01}
  max_candles: 96
risk: {sizing: risk_fraction, risk_fraction: 0.005, max_open_trades: 2, leverage: 3}
protections: {cooldown_candles: 3}
"""


def faults_of(text: str) -> tuple[PresetFault, ...]:
    with pytest.raises(PresetInvalid) as caught:
        preset.loads(text, "p.yaml")
    return caught.value.faults
