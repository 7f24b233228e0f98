"""Every value of a preset is told with the line that it is from, or as a default."""

from pathlib import Path

import pytest

from tradewright import preset
from tradewright.preset.effective import EffectiveValue, effective_values

PRESETS = sorted(Path(__file__).parents[2].glob("strategies/*.yaml"))
SHORT = """\
version: 1
name: short
market: {category: linear, symbols: [BTCUSDT, ETHUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy:
  plugin: donchian_breakout
  params:
    period: 20
entry: {type: market, expires_after: 60s}
exits:
  stop: {fraction: 0.020}
  targets:
    - {r: 1, close_fraction: 0.5}
    - r: 2
risk: {sizing: fixed_notional, notional: 100}
protections:
  sessions: [{days: [mon, tue], from: "08:00"}]
"""


def told() -> dict[str, EffectiveValue]:
    return {each.path: each for each in effective_values(preset.loads(SHORT))}


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [
        ("version", "1", "line 1"),
        ("account", "main", "default"),
        ("enabled", "true", "default"),
        ("mode", "trade", "default"),
        ("market.symbols", "[BTCUSDT, ETHUSDT]", "line 3"),
        ("trigger.timeframe", "15m", "line 4"),
        ("strategy.params.period", "20", "line 8"),
        ("strategy.params.atr_period", "14", "default"),
        ("entry.expires_after", "1m", "line 9"),
        ("exits.stop.fraction", "0.02", "line 11"),
        ("exits.target", "none", "default"),
        ("exits.targets.0.close_fraction", "0.5", "line 13"),
        ("exits.targets.1.r", "2", "line 14"),
        ("exits.targets.1.close_fraction", "none", "default"),
        ("risk.leverage", "3", "default"),
        ("protections.sessions.0.from", "08:00", "line 17"),
        ("protections.sessions.0.to", "24:00", "default"),
        ("protections.stop_guard", "none", "default"),
        ("protections.breaker.pause", "5m", "default"),
        ("data.max_age", "5m", "default"),
    ],
)
def test_a_value_is_told_with_its_origin(path: str, value: str, origin: str) -> None:
    found = told()[path]

    assert (found.value, found.origin) == (value, origin)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_line_that_says_something_is_the_origin_of_something(path: Path) -> None:
    values = effective_values(preset.load(path))

    lines = {each.line for each in values}
    assert len({each.path for each in values}) == len(values)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        key, colon, rest = line.split("#")[0].partition(":")
        if colon and rest.strip() and rest.strip()[0] not in "[{" and key.strip():
            assert number in lines, line
