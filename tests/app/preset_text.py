"""A preset that the exchange has something against: a symbol, the leverage, the size."""

PRESET = """\
version: 1
name: trend
market: {category: linear, symbols: [BTCUSDT, ETHUSDX]}
trigger: {on: candle, timeframe: 15m}
strategy: {plugin: donchian_breakout, params: {period: 20}}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}}
risk: {sizing: fixed_notional, notional: 4, leverage: 20}
"""
