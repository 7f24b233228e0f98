"""Presets: nothing is guessed, numbers stay exact, and no text crashes the loader."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preset_text import VALID, faults_of
from tradewright import plugin, preset
from tradewright.domain.market import Timeframe
from tradewright.domain.plan import FixedNotional, RiskFraction, Sizing, TrailedBy
from tradewright.preset import Preset, PresetInvalid
from tradewright.preset.model import (
    BreakEvenAfterTarget,
    ByIndicator,
    EntryAtMarket,
    EntryByLimit,
    TrailingByFraction,
)


def _sizing(read: Preset) -> Sizing | None:
    return read.risk.measured(Decimal(100), {"atr": 2.0}, read.trigger.timeframe)


def test_a_valid_preset_is_read_whole() -> None:
    loaded = preset.loads(VALID)

    read = loaded.preset
    assert read.market.symbols == ("BTCUSDT", "ETHUSDT")
    assert read.trigger.timeframe is Timeframe.M15
    assert read.entry.expires_after == timedelta(seconds=30)
    assert isinstance(read.exits.stop, ByIndicator)
    assert isinstance(read.exits.trailing, TrailingByFraction)
    assert _sizing(read) == RiskFraction(risk_fraction=Decimal("0.005"))
    assert read.cooldown == timedelta(minutes=45)
    assert isinstance(read.entry, EntryAtMarket)
    assert [(target.r, target.close_fraction) for target in read.exits.ladder] == [
        (Decimal(3), None)
    ]
    assert loaded.document == VALID
    assert loaded.strategy.factor_names == {"atr"}


def test_an_entry_by_limit_and_targets_are_read_whole() -> None:
    """Entry waits for a better price; profit is taken in parts."""
    text = VALID.replace(
        "{type: market, expires_after: 30s}",
        "{type: limit, expires_after: 30s, offset: {fraction: 0.001}, rest_candles: 3, "
        "post_only: true}",
    )
    text = text.replace("target: {r: 3}", "targets: [{r: 1.5, close_fraction: 0.5}, {r: 3}]")
    text = text.replace("{after_r: 1.0}", "{after_target: 1}")

    read = preset.loads(text).preset

    assert isinstance(read.entry, EntryByLimit)
    assert (read.entry.rest_candles, read.entry.post_only) == (3, True)
    assert [(target.r, target.close_fraction) for target in read.exits.ladder] == [
        (Decimal("1.5"), Decimal("0.5")),
        (Decimal(3), None),
    ]
    assert isinstance(read.exits.break_even, BreakEvenAfterTarget)


def test_a_stop_is_not_optional() -> None:
    """C7, C9: nothing is traded without a stop that stands at the exchange from the start."""
    (fault,) = faults_of(VALID.replace("  stop: {indicator: atr, times: 2.0}\n", ""))

    assert (fault.path, fault.message) == ("exits.stop", "missing; add it")
    assert "stop" in preset.schema()["$defs"]["Exits"]["required"]


def test_no_key_is_ignored_and_none_overrides_another() -> None:
    """E2: what is not understood is refused, so that nothing overrides a stop in silence."""
    (fault,) = faults_of(VALID.replace("leverage: 3}", "leverage: 3, stoploss: 0.1}"))

    assert (fault.path, fault.message[:23]) == ("risk.stoploss", "unknown key 'stoploss';")


def test_what_may_be_left_out_has_cautious_defaults() -> None:
    text = VALID.replace("account: main\nmode: trade\n", "")
    text = text.replace("protections: {cooldown_candles: 3}\n", "")
    text = text.replace(", max_open_trades: 2, leverage: 3", "")

    read = preset.loads(text).preset

    assert read.exits.trailing is not None
    assert read.exits.trailing.by is TrailedBy.EXCHANGE

    assert (read.account, read.mode) == ("main", "trade")
    assert (read.risk.max_open_trades, read.risk.leverage) == (1, Decimal(3))
    assert read.cooldown == timedelta(0)


def test_numbers_are_exactly_what_is_written() -> None:
    text = VALID.replace("risk_fraction: 0.005", "risk_fraction: 0.01234567890123456789")

    read = preset.loads(text).preset

    assert _sizing(read) == RiskFraction(risk_fraction=Decimal("0.01234567890123456789"))


def test_distances_follow_the_factor_or_the_price() -> None:
    exits = preset.loads(VALID).preset.exits

    assert exits.stop.distance(Decimal(100), {"atr": 0.1}) == Decimal("0.2")
    assert exits.stop.distance(Decimal(100), {}) is None
    assert exits.trailing is not None
    assert exits.trailing.distance(Decimal(100), {}) == Decimal(1)


def test_a_fixed_notional_needs_no_fraction() -> None:
    text = VALID.replace(
        "{sizing: risk_fraction, risk_fraction: 0.005,", "{sizing: fixed_notional, notional: 100,"
    )

    assert _sizing(preset.loads(text).preset) == FixedNotional(notional=Decimal(100))


def test_yaml_1_1_surprises_are_text_and_yaml_1_2_numbers_are_numbers() -> None:
    text = VALID.replace("max_candles: 96", "max_candles: 0x60").replace("{r: 3}", "{r: 03}")

    exits = preset.loads(text).preset.exits

    assert exits.max_candles == 96
    assert exits.target is not None
    assert exits.target.r == 3


def test_the_hash_covers_the_meaning_not_the_layout() -> None:
    plain = preset.loads(VALID).hash
    same = VALID.replace("mode: trade", "mode: 'trade'   # always").replace("2.0", "2.00")
    same = same.replace("{r: 3}", "\n    r: 3.0")

    assert preset.loads(same).hash == plain
    assert preset.loads(VALID.replace("{r: 3}", "{r: 4}")).hash != plain
    assert preset.loads(VALID.replace("{r: 3}", "{r: 30}")).hash != plain
    assert preset.loads(VALID.replace("{r: 3}", "{r: 0.3}")).hash != plain


def test_the_hash_covers_the_plugin_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = preset.loads(VALID).hash

    monkeypatch.setattr(plugin.load("rules"), "version", "next")

    assert preset.loads(VALID).hash != before


def test_degraded_rules_are_asked_when_they_are_declared() -> None:
    text = VALID.replace(
        "    long: cross_up",
        "    degraded: {exit_long: close < open, exit_short: close > open}\n    long: cross_up",
    )

    loaded = preset.loads(f"{text}data: {{on_bad: degrade}}\n")

    assert loaded.preset.data.on_bad == "degrade"
    assert getattr(loaded.strategy, "knows_degraded", False)


def test_a_strategy_without_an_answer_to_bad_data_is_not_asked_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = VALID[: VALID.index("strategy:")] + VALID[VALID.index("entry:") :]
    text += "strategy: {plugin: donchian_breakout}\ndata: {on_bad: degrade}\n"

    (fault,) = faults_of(text)
    monkeypatch.setattr(plugin.load("donchian_breakout"), "knows_degraded", True, raising=False)

    assert (fault.path, fault.message) == (
        "data.on_bad",
        "the strategy has no answer to bad data; write skip or pause",
    )
    assert preset.loads(text).preset.data.on_bad == "degrade"


@pytest.mark.parametrize(
    "let",
    [
        "past: 'm1.close[-3]'",
        "now: m1.close, past: 'highest(now, 3)'",
        "now: m1.close > 1, past: 'since(now, 3)'",
    ],
)
def test_shorter_candles_are_not_looked_back_at_from_longer_ones(let: str) -> None:
    # Three candles of 15m are 45 of these, and a handful of them is fetched
    new = f"    timeframes: {{m1: 1m}}\n    let: {{{let}}}\n    long: cross_up"
    text = VALID.replace("    long: cross_up", new)

    (fault,) = faults_of(text)
    equal = preset.loads(text.replace("m1: 1m", "m1: 15m"))

    assert fault.path == "strategy.params"
    assert "m1 has candles of 1m, shorter than the trigger's 15m" in fault.message
    assert getattr(equal.strategy, "looks_back", None) == {"m1"}


def test_shorter_candles_may_have_indicators_of_their_own() -> None:
    text = VALID.replace(
        "    long: cross_up",
        "    timeframes: {m1: 1m}\n    let: {gone: m1.close - before}\n    long: cross_up",
    ).replace("    indicators:\n", "    indicators:\n      before: {ta: SMA, on: m1}\n")

    assert preset.loads(text).strategy.needs.others["m1"].candles == 30


def test_a_plugin_that_refuses_to_be_built_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(self: object, params: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(plugin.load("rules"), "__init__", explode)

    (fault,) = faults_of(VALID)

    assert (fault.path, "RuntimeError: no; mend the plugin" in fault.message) == (
        "strategy.params",
        True,
    )


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_crashes_the_loader(text: str) -> None:
    with pytest.raises(PresetInvalid):
        preset.loads(text)


@settings(deadline=None)
@given(st.data())
def test_no_slip_of_the_keyboard_crashes_the_loader(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(VALID)))
    typed = data.draw(st.text("\t\n\r :{}[],&*!|>'\"%@`#-?0aé", max_size=4))
    removed = data.draw(st.integers(0, 10))

    try:
        loaded = preset.loads(VALID[:at] + typed + VALID[at + removed :])
    except PresetInvalid as e:
        for fault in e.faults:
            assert fault.line <= VALID.count("\n") + 6
            assert ";" in fault.message
    else:
        assert loaded.preset.version == 1
