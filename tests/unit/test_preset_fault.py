"""Faults of presets: every mistake is told, all at once, each at its place."""

from pathlib import Path

import pytest

from tests.unit.preset_text import VALID, faults_of
from tradewright import preset
from tradewright.preset import PresetInvalid


def _broken(old: str, new: str) -> tuple[str, int, int]:
    """Return the valid preset with *new* for *old*, and where the mark ^^ stood in *new*."""
    assert VALID.count(old) == 1, old
    marked = VALID.replace(old, new)
    before = marked.split("^^")[0]
    return marked.replace("^^", ""), before.count("\n") + 1, len(before.rsplit("\n", 1)[-1]) + 1


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("mode: trade", "^^mod: trade", "mod", "unknown key 'mod'; did you mean 'mode'?"),
        ("mode: trade", "mode: ^^shadwo", "mode", "unknown value 'shadwo'; did you mean 'shadow'?"),
        ("mode: trade", "mode: ^^on", "mode", "unknown value 'on'; known: alert, shadow, trade"),
        ("mode: trade", "mode:^^", "mode", "is empty; give a value or remove the key"),
        ("version: 1", "version: ^^2", "version", "2 does not work; write 1"),
        ("version: 1", "version: ^^true", "version", "true or false where a number belongs"),
        ("version: 1", "version: ^^'1'", "version", "text '1' where a number belongs"),
        ("version: 1\nname", "^^name", "version", "missing; add it"),
        ("name: ema-pullback", "name: ^^My Preset", "name", "it must match ^[a-z0-9-]{3,40}$"),
        ("name: ema-pullback", "name: ^^012", "name", "the number 12 where text belongs; put it"),
        ("linear", "^^spot", "market.category", "'spot' does not work; write linear"),
        ("[BTCUSDT, ETHUSDT]", "[BTCUSDT, ^^btc]", "market.symbols.1", "it must match"),
        ("[BTCUSDT, ETHUSDT]", "[^^btcusdt]", "market.symbols.0", "did you mean 'BTCUSDT'?"),
        ("name: ema-pullback", "name: ^^EMA", "name", "did you mean 'ema'?"),
        ("[BTCUSDT, ETHUSDT]", "[BTCUSDT, ^^BTCUSDT]", "market.symbols.1", "listed twice"),
        ("[BTCUSDT, ETHUSDT]", "^^[]", "market.symbols", "too few; give at least 1"),
        ("[BTCUSDT, ETHUSDT]", "^^BTCUSDT", "market.symbols", "where a list belongs; write [A"),
        ("on: candle", "on: ^^orderbook", "trigger.on", "did you mean 'order_book'?"),
        (
            "on: candle",
            "on: order_book, depth: ^^51",
            "trigger.depth",
            "51 does not work; write 1, 50, 200",
        ),
        ("15m", "^^15", "trigger.timeframe", "unknown value 15; did you mean '15m'?"),
        ("15m", "^^7m", "trigger.timeframe", "unknown value '7m'; "),
        ("plugin: rules", "plugin: ^^rulse", "strategy.plugin", "did you mean 'rules'?"),
        ("plugin: rules", "plugin: ^^7", "strategy.plugin", "the number 7 where text belongs"),
        ("ta: ATR", "ta: ^^ATRR", "strategy.params.indicators.atr.ta", "did you mean 'ATR'?"),
        (
            "timeperiod: 14",
            "^^timeperoid: 14",
            "strategy.params.indicators.atr.timeperoid",
            "ATR has no parameter 'timeperoid'; did you mean 'timeperiod'?",
        ),
        (
            "timeperiod: 14",
            "timeperiod: ^^0",
            "strategy.params.indicators.atr.timeperiod",
            "0 is out of range for ATR; use at least 1, at most 100000",
        ),
        (
            "timeperiod: 14",
            "timeperiod: ^^1.5",
            "strategy.params.indicators.atr.timeperiod",
            "1.5 is not whole",
        ),
        ("long: cross", "^^lnog: cross", "strategy.params.lnog", "did you mean 'long'?"),
        ("up(fast, slow)", "up(fast, ^^slo)", "strategy.params.long", "did you mean 'slow'?"),
        ("cross_up(fast, slow)", '"cross_up(fast, ^^slo)"', "strategy.params.long", "name 'slo'"),
        ("slow) and close", "^^slo) and close", "strategy.params.short", "unknown name 'slo'"),
        ("slow) and close > 0", "slow) and close >^^", "strategy.params.short", "cannot be read"),
        ("type: market", "type: ^^lmit", "entry.type", "did you mean 'limit'?"),
        ("entry: {type: market", "^^entry: {type: limit", "entry.rest_candles", "missing; add it"),
        (
            "{type: market, expires_after: 30s}",
            "{type: limit, expires_after: 30s, rest_candles: ^^0}",
            "entry.rest_candles",
            "at least 1",
        ),
        (
            "{type: market, expires_after: 30s}",
            "{type: market, expires_after: 30s, ^^rest_candles: 2}",
            "entry.rest_candles",
            "'rest_candles' does not go with `type: market`; remove one or the other",
        ),
        (
            "{type: market, expires_after: 30s}",
            "{type: limit, expires_after: 1s, rest_candles: 2, offset: {indicator: ^^a, times: 1}}",
            "entry.offset.indicator",
            "; known: atr",
        ),
        ("30s", "^^30", "entry.expires_after", "30 is not a duration; write 30s, 5m, 1h or 1d"),
        ("30s", "^^0s", "entry.expires_after", "is not a duration"),
        ("stop: {indicator: atr, times: 2.0}", "^^stp: {fraction: 0.02}", "exits.stp", "'stop'?"),
        ("times: 2.0", "^^time: 2.0", "exits.stop.time", "did you mean 'times'?"),
        ("times: 2.0", "times: ^^0", "exits.stop.times", "0 is too small; it must be greater"),
        ("atr, times: 2.0", "^^rsi, times: 2", "exits.stop.indicator", "; known: atr"),
        ("atr, times: 2.0", "^^art, times: 2", "exits.stop.indicator", "did you mean 'atr'?"),
        ("{indicator: atr, times: 2.0}", "{fraction: ^^0.6}", "exits.stop.fraction", "at most 0.5"),
        (
            "{indicator: atr, times: 2.0}",
            "{^^times: 2, fraction: 0.1}",
            "exits.stop.times",
            "'times' does not go with the other keys here",
        ),
        ("times: 2.0", "times: ^^.inf", "exits.stop.times", ".inf is not a finite number"),
        ("timeperiod: 14", "^^1e30: 14", "strategy.params.indicators.atr", "the key is not text"),
        (
            "timeperiod: 14",
            "timeperiod: ^^1e30",
            "strategy.params.indicators.atr.timeperiod",
            "1E+30 is out of range for ATR",
        ),
        ("times: 2.0", "times: ^^[2]", "exits.stop.times", "a list where a number belongs"),
        ("plugin: rules", "plugin: ^^{a: 1}", "strategy.plugin", "a mapping where text belongs"),
        ("[BTCUSDT, ETHUSDT]", "^^{a: 1}", "market.symbols", "a mapping where a list belongs"),
        ("atr, times: 2.0", "^^3, times: 2", "exits.stop.indicator", "the number 3 where text"),
        ("max_candles: 96", "max_candles: ^^1e30", "exits.max_candles", "at most 10000"),
        ("times: 2.0", "times: ^^1e99", "exits.stop.times", "1e99 is out of range"),
        ("{r: 3}", "^^[{r: 3}]", "exits.target", "a list where a mapping belongs"),
        ("break_even: {after_r: 1.0}", "^^break_even: {}", "exits.break_even.after_r", "missing"),
        ("max_candles: 96", "max_candles: ^^0.5", "exits.max_candles", "0.5 is not whole"),
        ("fraction: 0.01}", "fraction: 0.01}\n  targets: ^^[]", "exits.targets", "at least 1"),
        (
            "fraction: 0.01}",
            "fraction: 0.01}\n  ^^targets: [{r: 1}]",
            "exits.targets",
            "'targets' does not go with target; remove one or the other",
        ),
        (
            "target: {r: 3}",
            "targets: [{r: 1, close_fraction: 0.5}, {r: 2, ^^close_fraction: 0.5}]",
            "exits.targets.1.close_fraction",
            "the last target takes all that is left; remove close_fraction",
        ),
        (
            "target: {r: 3}",
            "targets: [^^{r: 1}, {r: 2}]",
            "exits.targets.0",
            "close_fraction is missing; only the last target takes all that is left",
        ),
        (
            "target: {r: 3}",
            "targets: [{r: 2, close_fraction: 0.5}, {r: ^^2}]",
            "exits.targets.1.r",
            "2 is not beyond the target before it; write the nearest first",
        ),
        (
            "target: {r: 3}",
            "targets: [{r: 1, close_fraction: 0.5}, {r: 2, close_fraction: ^^0.5}, {r: 3}]",
            "exits.targets.1.close_fraction",
            "with those before it takes 1.0; leave something to the last target",
        ),
        (
            "break_even: {after_r: 1.0}",
            "break_even: {after_target: ^^1}",
            "exits.break_even.after_target",
            "only 0 targets come before the last one; write targets, or after_r",
        ),
        (
            "break_even: {after_r: 1.0}",
            "break_even: {^^after_r: 1.0, after_target: 1}",
            "exits.break_even.after_r",
            "does not go with the other keys here",
        ),
        (
            "trailing: {after_r: 1.0, ",
            "trailing: {after_r: 1.0, by: ^^us, ",
            "exits.trailing.by",
            "known: candle, exchange",
        ),
        (
            "long: cross",
            "exit_long: ^^fsat < slow\n    long: cross",
            "strategy.params.exit_long",
            "'fast'?",
        ),
        ("risk_fraction: 0.005", "risk_fraction: ^^0.5", "risk.risk_fraction", "at most 0.05"),
        ("{sizing: risk_fraction,", "{sizing: ^^kelly,", "risk.sizing", "known: fixed_notional, r"),
        (
            "leverage: 3",
            "leverage: ^^26",
            "risk.leverage",
            "26 is too large; it must be at most 25",
        ),
        ("max_open_trades: 2", "max_open_trades: ^^-1", "risk.max_open_trades", "at least 1"),
        ("{cooldown_candles: 3}", "{^^cooldown: 3}", "protections.cooldown", "'cooldown_candles'?"),
        # What is traded, and when
        (
            "symbols: [BTCUSDT, ETHUSDT]",
            "^^symbols: [BTCUSDT], universe: {top: 5}",
            "market.symbols",
            "'symbols' does not go with the other keys here",
        ),
        ("symbols: [BTCUSDT, ETHUSDT]", "universe: {top: ^^201}", "market.universe.top", "at most"),
        ("symbols: [BTCUSDT, ETHUSDT]", "^^universe: {}", "market.universe.top", "missing; add it"),
        (
            "symbols: [BTCUSDT, ETHUSDT]",
            "universe: {top: 5, refresh: ^^30s}",
            "market.universe.refresh",
            "is too often for the exchange's lists; write 1m or more",
        ),
        ("on: candle,", "on: candle, ^^depth: 50,", "trigger.depth", "go with `on: candle`"),
        ("mode: trade", "enabled: ^^1", "enabled", "the number 1 where true or false belongs"),
        ("mode: trade", "enabled: ^^'no'", "enabled", "text 'no' where true or false belongs"),
        # Risk
        (
            "{sizing: risk_fraction, risk_fraction: 0.005,",
            "{sizing: volatility_target, target_volatility: 0.02, indicator: ^^art,",
            "risk.indicator",
            "did you mean 'atr'?",
        ),
        (
            "leverage: 3",
            "scale_by_confidence: ^^0",
            "risk.scale_by_confidence",
            "the number 0 where true or false belongs",
        ),
        ("leverage: 3", "correlation: {max: ^^1}", "risk.correlation.max", "must be less than 1"),
        # Protections and data
        (
            "{cooldown_candles: 3}",
            "{stop_guard: {losses: 3, within: ^^31d, pause: 4h}}",
            "protections.stop_guard.within",
            "is longer than results are remembered; write 30d or less",
        ),
        (
            "{cooldown_candles: 3}",
            "{losing_symbol: {losses: 3, within: 30d, pause: ^^31d}}",
            "protections.losing_symbol.pause",
            "is longer than results are remembered; write 30d or less",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{from: '08:00', to: ^^'08:00'}]}",
            "protections.sessions.0.to",
            "is when it begins",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{from: ^^8:00}]}",
            "protections.sessions.0.from",
            "'8:00' does not fit",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{timezone: ^^Europe/Berln}]}",
            "protections.sessions.0.timezone",
            "did you mean 'Europe/Berlin'?",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{timezone: ^^Europe}]}",
            "protections.sessions.0.timezone",
            "unknown time zone 'Europe'",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{days: [mon, ^^mon]}]}",
            "protections.sessions.0.days.1",
            "listed twice; keep one",
        ),
        (
            "{cooldown_candles: 3}",
            "{sessions: [{^^since: '08:00'}]}",
            "protections.sessions.0.since",
            "unknown key 'since'",
        ),
        (
            "mode: trade",
            "data: {on_bad: ^^degrade}",
            "data.on_bad",
            "there are no degraded rules; declare strategy.params.degraded, or write skip",
        ),
        ("mode: trade", "data: {on_bad: ^^ignore}", "data.on_bad", "known: degrade, pause, skip"),
        # The YAML itself
        ("mode: trade", "mode: trade\n^^mode: trade", "mode", "key stands already in line 4"),
        ("mode: trade", "mode: ^^&x trade", "mode", "anchor &x is not supported"),
        ("times: 2.0", "times: ^^*x", "exits.stop.times", "alias *x is not supported"),
        ("mode: trade", "mode: ^^!!str trade", "mode", "is not supported; write a plain value"),
        ("mode: trade", "^^<<: {mode: trade}", "", "merge keys are not supported"),
        ("mode: trade", "^^1: trade", "", "the key is not text"),
        ("mode: trade", "? ^^[mode]\n: trade", "", "the key is not text"),
        ("  max_candles: 96", "^^\tmax_candles: 96", "", "a tab in the indentation"),
        ("mode: trade", "mode: ^^@trade", "", "not YAML: found character that cannot start"),
        ("mode: trade", "mode: tr^^\x07ade", "", "character U+0007 is not allowed"),
        ("mode: trade", "mode: trade^^\u2028", "", "character U+2028 is not allowed"),
        ("protections: {cooldown_candles: 3}", "^^---\na: 1", "", "a second document begins"),
        ("version: 1", "^^%YAML 1.1\n---\nversion: 1", "", "directives are not supported"),
    ],
)
def test_a_mistake_is_told_at_its_place(old: str, new: str, path: str, message: str) -> None:
    text, line, column = _broken(old, new)

    faults = faults_of(text)

    told = [(f.path, f.line, f.column) for f in faults if message in f.message]
    assert told == [(path, line, column)], preset.render(faults)


@pytest.mark.parametrize(
    ("raw", "where", "message"),
    [
        (b"", (1, 1), "the file is empty"),
        (b"# nothing\n", (1, 1), "the file is empty"),
        (b"null\n", (1, 1), "the file is empty"),
        (b"- version\n", (1, 1), "not a mapping"),
        (b"\n  text\n", (2, 3), "not a mapping"),
        (b"\xef\xbb\xbfversion: 1\n", (1, 1), "byte order mark"),
        (b"version: 1\nname: \xff\n", (2, 7), "byte 0xff is not UTF-8"),
        (b"# \xc3\xa9\nname: \xc3\xa9\xc3", (2, 8), "byte 0xc3 is not UTF-8"),
        (b"a: " + b"[" * 20 + b"]" * 20, (1, 16), "nested deeper than 12"),
        (b"a: " + b"1" * 50, (1, 4), "more than 40 characters"),
        (b"#" * 70_000, (1, 1), "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_kindly(
    raw: bytes, where: tuple[int, int], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(raw)

    with pytest.raises(PresetInvalid) as caught:
        preset.load(path)

    told = [(f.line, f.column) for f in caught.value.faults if message in f.message]
    assert told == [where], caught.value


def test_a_missing_file_and_a_folder_are_refused_kindly(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(PresetInvalid, match=r"cannot be read: .*; check the path"):
            preset.load(path)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = VALID.replace("mode: trade", "mod: trade").replace("30s", "soon")
    text = text.replace("cross_up(fast, slow)", "cross_up(fast, slo)").replace("{r: 3}", "{r: x}")

    faults = faults_of(text)

    paths = ["mod", "strategy.params.long", "entry.expires_after", "exits.target.r"]
    assert [fault.path for fault in faults] == paths


def test_several_missing_keys_are_each_told() -> None:
    faults = faults_of("version: 1\nname: abc\n")

    assert {f.path for f in faults} == {"market", "trigger", "strategy", "entry", "exits", "risk"}


def test_places_are_counted_in_characters() -> None:
    text, line, column = _broken("long: cross_up(fast, slow)", "# 😀\n    long: '^^é > 1'")

    (fault,) = faults_of("# 😀é\n" + text)

    assert (fault.line, fault.column) == (line + 1, column)
    assert "'é' is not part of the language" in fault.message


def test_windows_line_ends_are_taken() -> None:
    text, line, column = _broken("cross_up(fast, slow)", "cross_up(fast, ^^slo)")

    (fault,) = faults_of(text.replace("\n", "\r\n"))

    assert (fault.line, fault.column) == (line, column)
    assert not fault.excerpt.endswith("\r")


def test_a_list_whose_items_are_wrong_is_not_called_too_short() -> None:
    (fault,) = faults_of(VALID.replace("[BTCUSDT, ETHUSDT]", "[btcusdt]"))

    assert fault.path == "market.symbols.0"


def test_faults_are_shown_with_their_line_and_a_caret() -> None:
    text, _, _ = _broken("mode: trade", "mod: trade")

    assert preset.render(faults_of(text)) == (
        "p.yaml:4:1: error: mod: unknown key 'mod'; did you mean 'mode'?\n"
        "    4 | mod: trade\n"
        "      | ^"
    )
