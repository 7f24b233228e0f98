"""`explain`: the values that count, where they come from, and what they cost."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Call, WritePreset
from tradewright import preset
from tradewright.app.authoring.cost import ALLOWED, cost
from tradewright.domain.market import Timeframe
from tradewright.plugin import Need, Needs
from tradewright.preset.effective import effective_values
from tradewright.preset.market import TriggerByBook

PRESET = """\
version: 1
name: trend
market: {{category: linear, {market}}}
trigger: {trigger}
strategy:
  plugin: donchian_breakout
  params:
    period: 30
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{fraction: 0.01}}, targets: [{{r: 1, close_fraction: 0.25}}, {{r: 2}}]}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005, max_open_trades: 3}}
"""
CANDLE = "{on: candle, timeframe: 15m}"


def loaded(market: str = "symbols: [BTCUSDT, ETHUSDT]", trigger: str = CANDLE) -> preset.Preset:
    return preset.loads(PRESET.format(market=market, trigger=trigger)).preset


def test_every_value_tells_its_line_or_that_it_is_a_default() -> None:
    found = {
        each.path: (each.value, each.origin)
        for each in effective_values(
            preset.loads(PRESET.format(market="symbols: [BTCUSDT]", trigger=CANDLE))
        )
    }

    assert found["name"] == ("trend", "line 2")
    assert found["market.symbols"] == ("[BTCUSDT]", "line 3")
    assert found["strategy.params.period"] == ("30", "line 8")
    assert found["strategy.params.atr_period"] == ("14", "default")
    assert found["exits.targets.0.close_fraction"] == ("0.25", "line 10")
    assert found["exits.max_candles"] == ("none", "default")
    assert found["data.max_age"] == ("5m", "default")
    assert found["risk.leverage"] == ("3", "default")


def test_no_value_of_the_file_is_left_out(call: Call, write_preset: WritePreset) -> None:
    path = write_preset("alpha", symbols="BTCUSDT, ETHUSDT")

    values = call("explain", path, "-o", "json").document["explanation"]["values"]

    lines = {each["line"] for each in values if each["line"] is not None}
    assert lines == set(range(1, len(path.read_text().splitlines()) + 1))


def test_it_is_told_in_words_and_tables(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "trend.yaml"
    path.write_text(PRESET.format(market="symbols: [BTCUSDT]", trigger=CANDLE))

    answer = call("explain", path)

    assert answer.code == 0
    assert "asks donchian_breakout at each close of 15m candles about BTCUSDT" in answer.out
    assert "leaves at its stop, 1 % from the entry (1 R); at 1 R, 2 R" in answer.out
    assert "risks 0.5 % of equity per trade" in answer.out
    assert "1.5 % if all are stopped" in answer.out
    needed = preset.load(path).strategy.needs.candles
    assert f"candles  {needed}" in answer.out
    assert "kline.15.BTCUSDT, kline.1.BTCUSDT" in answer.out


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ("after_r: 1.5", "by a stop that moves to the entry after 1.5 R"),
        ("after_target: 1", "by a stop that moves to the entry after 1 target"),
    ],
)
def test_a_stop_that_moves_to_the_entry_is_told_in_words(
    call: Call, tmp_path: Path, declared: str, words: str
) -> None:
    path = tmp_path / "trend.yaml"
    text = PRESET.format(market="symbols: [BTCUSDT]", trigger=CANDLE)
    path.write_text(text.replace("exits: {", f"exits: {{break_even: {{{declared}}}, "))

    answer = call("explain", path)

    assert answer.code == 0, answer.err
    assert words in answer.out


def test_a_folder_is_answered_with_what_is_taken(call: Call, tmp_path: Path) -> None:
    answer = call("explain", tmp_path)

    assert answer.code == 3
    assert "cannot be read: it is a folder, and one file belongs here; check the path" in answer.err


@pytest.mark.parametrize(
    ("session", "words"),
    [
        ("to: '25:00'", "'25:00' does not fit; write a time as 08:00, up to 24:00"),
        ("from: '24:00'", "'24:00' does not fit; write a time as 08:00, up to 23:59"),
    ],
)
def test_a_time_that_is_none_is_answered_with_how_to_write_one(
    call: Call, tmp_path: Path, session: str, words: str
) -> None:
    path = tmp_path / "trend.yaml"
    text = PRESET.format(market="symbols: [BTCUSDT]", trigger=CANDLE)
    path.write_text(f"{text}protections: {{sessions: [{{{session}}}]}}\n")

    answer = call("explain", path)

    assert answer.code == 3
    assert words in answer.err


def test_what_is_not_valid_is_not_explained(call: Call, write_preset: WritePreset) -> None:
    bad = write_preset("alpha", replace=("version: 1", "version: 9"))

    answer = call("explain", bad)

    assert answer.code == 3
    assert answer.err.startswith(f"{bad}:1:10: error: version"), "told once that it is an error"


def test_the_name_of_a_preset_is_answered_with_its_file(
    call: Call, write_preset: WritePreset, tmp_path: Path
) -> None:
    (tmp_path / "strategies").mkdir()
    write_preset("trend").rename(tmp_path / "strategies" / "trend.yaml")

    named = call("explain", "trend")
    unknown = call("explain", "nobody")

    assert named.code == 2
    assert "did you mean strategies/trend.yaml?" in " ".join(named.err.replace("│", "").split())
    assert unknown.code == 3
    assert unknown.err.startswith("nobody:1:1: error: cannot be read: ")


def test_candles_that_the_stream_brings_cost_nothing_but_their_beginning() -> None:
    found = cost(loaded(), Needs(candles=600))

    by_kind = {each.what: each for each in found.requests}
    own = by_kind["candles 15m, then from the stream"]
    assert own.at_start == 2 * 2
    assert own.per_minute == 0
    assert by_kind["tickers"].per_minute == pytest.approx(Decimal(2) / 15)
    assert found.at_start == 2 + 4
    assert Decimal(7200) == ALLOWED


def test_what_the_stream_does_not_bring_is_asked_for_at_each_close() -> None:
    needs = Needs(
        candles=50,
        others={
            "h1": Need(timeframe=Timeframe.H1, candles=600),
            "again": Need(timeframe=Timeframe.H1, candles=20),
            "btc": Need(symbol="SOLUSDT", candles=50),
            "held": Need(symbol="ETHUSDT", candles=50),
        },
        series=("funding_rate", "open_interest"),
    )

    by_kind = {each.what: each for each in cost(loaded(), needs).requests}

    hours = by_kind["candles 1h"]
    assert hours.at_start == 2 * 2
    assert hours.per_minute == pytest.approx(Decimal(2) / 60)
    assert by_kind["candles 15m of SOLUSDT"].per_minute == pytest.approx(Decimal(1) / 15)
    assert by_kind["candles 15m of ETHUSDT, then from the stream"].per_minute == 0
    assert by_kind["funding rates"].per_minute == pytest.approx(Decimal(2) / 60)
    assert by_kind["open interest"].per_minute == pytest.approx(Decimal(2) / 15)


def test_many_symbols_share_one_list_of_tickers() -> None:
    universe = "universe: {top: 20, refresh: 30m}"

    found = cost(loaded(universe), Needs(candles=50))

    by_kind = {each.what: each.per_minute for each in found.requests}
    assert by_kind["tickers"] == pytest.approx(Decimal(1) / 15)
    assert by_kind["universe"] == pytest.approx(Decimal(2) / 30)
    assert found.symbols == 20
    assert found.topics == ("kline.15.{symbol}", "kline.1.{symbol}")


def test_the_order_book_is_a_topic() -> None:
    book = TriggerByBook(on="order_book", depth=50, at_most_every=timedelta(seconds=2))

    found = cost(loaded().model_copy(update={"trigger": book}), Needs(candles=10))

    assert "orderbook.50.BTCUSDT" in found.topics
    (tickers,) = (each for each in found.requests if each.what.startswith("tickers"))
    assert tickers.per_minute == 2 * 30
