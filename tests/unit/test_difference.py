"""What differs between two versions of a preset, in meaning."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.preset.difference import KeyChange, difference

ROOT = Path(__file__).parents[2]
PRESET = """\
version: 1
name: trend
market: {category: linear, symbols: [BTCUSDT, ETHUSDT]}
trigger: {on: candle, timeframe: 15m}
strategy:
  plugin: rules
  params:
    indicators: {fast: {ta: EMA, timeperiod: 12}, atr: {ta: ATR, timeperiod: 14}}
    long: close > fast
entry: {type: market, expires_after: 30s}
exits: {stop: {indicator: atr, times: 2}, targets: [{r: 1.5, close_fraction: 0.5}, {r: 3}]}
risk: {sizing: risk_fraction, risk_fraction: 0.005}
"""


def changes(before: str, after: str) -> dict[str, tuple[str, str]]:
    return {c.path: (c.before, c.after) for c in difference(before, after)}


@pytest.mark.parametrize(
    ("old", "new", "path", "values"),
    [
        ("timeframe: 15m", "timeframe: 5m", "trigger.timeframe", ("15m", "5m")),
        ("times: 2}", "times: 2.5}", "exits.stop.times", ("2", "2.5")),
        ("timeperiod: 12", "timeperiod: 10", "strategy.params.indicators.fast.timeperiod", None),
        ("long: close > fast", "long: close < fast", "strategy.params.long", None),
        ("{r: 3}]", "{r: 4}]", "exits.targets.1.r", ("3", "4")),
        (", {r: 3}]", ", {r: 2, close_fraction: 0.1}, {r: 3}]", "exits.targets.2", None),
        ("[BTCUSDT, ETHUSDT]", "[BTCUSDT]", "market.symbols", ("[BTCUSDT, ETHUSDT]", "[BTCUSDT]")),
        ("risk_fraction: 0.005}", "risk_fraction: 0.005, leverage: 5}", "risk.leverage", None),
        ("version: 1\n", "version: 1\nenabled: false\n", "enabled", ("true", "false")),
        ("version: 1\n", "version: 1\nmode: shadow\n", "mode", ("trade", "shadow")),
        ("30s", "1m", "entry.expires_after", ("30s", "1m")),
    ],
)
def test_a_change_is_told_by_its_path_with_both_values(
    old: str, new: str, path: str, values: tuple[str, str] | None
) -> None:
    found = changes(PRESET, PRESET.replace(old, new))

    assert path in found
    assert values is None or found[path] == values


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "# a remark\nversion: 1"),
        ("times: 2}", "times: 2.00}"),
        (
            "{category: linear, symbols: [BTCUSDT, ETHUSDT]}",
            "\n  symbols: [BTCUSDT, ETHUSDT]\n  category: linear",
        ),
        ("version: 1\n", "version: 1\nmode: trade\nenabled: true\n"),
        ("risk_fraction: 0.005}", "risk_fraction: 0.005, leverage: 3}"),
    ],
)
def test_layout_and_a_default_that_is_written_out_are_no_difference(old: str, new: str) -> None:
    assert difference(PRESET, PRESET.replace(old, new)) == ()


def test_what_was_not_there_is_unset() -> None:
    found = changes(PRESET, PRESET.replace("{r: 3}]", "{r: 3}], max_candles: 96"))

    assert found == {"exits.max_candles": ("unset", "96")}


def test_long_lists_tell_what_left_and_what_came() -> None:
    many = [f"{letter}USDT" for letter in "ABCDEFGHIJ"]
    before = PRESET.replace("BTCUSDT, ETHUSDT", ", ".join(f"X{each}" for each in many))
    after = before.replace("XAUSDT", "XZUSDT")

    assert changes(before, after) == {"market.symbols": ("10 (-XAUSDT)", "10 (+XZUSDT)")}


def test_each_change_says_what_it_applies_to() -> None:
    after = PRESET.replace("times: 2}", "times: 3}").replace("15m", "5m")
    after = after.replace("version: 1\n", "version: 1\nmode: shadow\n")

    effects = {c.path: c.effect for c in difference(PRESET, after)}

    assert "open ones keep theirs" in effects["exits.stop.times"]
    assert effects["trigger.timeframe"] == "from the next candle on"
    assert "promote" in effects["mode"]


def test_a_version_that_is_not_valid_any_more_is_compared_as_it_is_written() -> None:
    """Its plugin may be gone: the history is shown all the same."""
    before = PRESET.replace("plugin: rules", "plugin: gone")

    found = changes(before, before.replace("15m", "5m"))

    assert found == {"trigger.timeframe": ("15m", "5m")}


@given(st.lists(st.sampled_from(sorted(ROOT.glob("strategies/*.yaml"))), min_size=2, max_size=2))
def test_a_difference_turned_around_is_the_same_difference(paths: list[Path]) -> None:
    one, other = (path.read_text("utf-8") for path in paths)

    there = {(c.path, c.before, c.after) for c in difference(one, other)}
    back = {(c.path, c.after, c.before) for c in difference(other, one)}

    assert (one == other) == (there == set())
    if all("plugin: rules" in text for text in (one, other)):
        assert {path for path, *_ in there} == {path for path, *_ in back}


def test_a_change_reads_as_one_line() -> None:
    change = KeyChange(path="mode", before="trade", after="shadow", effect="at once")

    assert str(change) == "mode: trade -> shadow"
