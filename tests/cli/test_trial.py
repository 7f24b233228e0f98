"""`try`: a preset on recorded candles says what it would say live."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import duckdb
import numpy as np
import pytest

from activities import host
from tests.cli.conftest import Call, WritePreset
from tradewright import plugin, preset
from tradewright.app.authoring.candle_file import read
from tradewright.app.authoring.trial import trial
from tradewright.domain.market import Timeframe

START = datetime(2026, 1, 5, tzinfo=UTC)
RULES = """\
version: 1
name: waves
market: {{category: linear, symbols: [BTCUSDT]}}
trigger: {{on: candle, timeframe: {timeframe}}}
strategy:
  plugin: rules
  params:
    indicators:
      fast: {{ta: SMA, timeperiod: 5}}
      slow: {{ta: SMA, timeperiod: 20}}
      atr: {{ta: ATR, timeperiod: 7}}
    long: cross_up(fast, slow)
    short: cross_down(fast, slow)
    exit_long: cross_down(close, slow)
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{indicator: atr, times: 2}}, targets: [{{r: 1, close_fraction: 0.5}}, {{r: 2}}]}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005}}
"""
WriteCandles = Callable[..., Path]


@pytest.fixture
def write_candles(tmp_path: Path) -> WriteCandles:
    """Write minutes of a price that goes up and down in waves."""

    def write(name: str = "candles.csv", count: int = 600, minutes: int = 1) -> Path:
        lines = ["open_time,open,high,low,close,volume"]
        before = 100.0
        for n in range(count):
            close = round(100 + 5 * math.sin(n / 20) + math.sin(n / 3), 2)
            high, low = max(before, close) + 0.1, min(before, close) - 0.1
            at = START + timedelta(minutes=minutes * n)
            lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{before},{high:.2f},{low:.2f},{close},{n + 1}")
            before = close
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    path = tmp_path / "waves.yaml"
    path.write_text(RULES.format(timeframe="1m"))
    return path


def test_the_last_signals_are_shown_with_every_factor(
    call: Call, waves: Path, write_candles: WriteCandles
) -> None:
    answer = call("try", waves, "--candles", write_candles(), "--signals", "2")

    assert answer.code == 0
    first, second, third, *_ = answer.out.splitlines()
    assert "on BTCUSDT 1m: asked at" in first
    assert "long and" in second
    assert "would have left a long at" in third
    for factor in ("fast", "slow", "atr", "close", "volume"):
        assert f" {factor} " in answer.out
    assert answer.out.count("confidence 1") == 2


def test_each_signal_is_what_the_strategy_says_of_the_window_it_has_live(
    call: Call, waves: Path, write_candles: WriteCandles
) -> None:
    """F8: what is tried on a file and what trades differ in nothing but the clock."""
    path = write_candles()

    found = call("try", waves, "--candles", path, "-o", "json").document["trial"]

    loaded, candles = preset.load(waves), read(path).candles
    needed = loaded.strategy.needs.candles
    assert found["signals"]
    for said in (*found["signals"], found["latest"]):
        at = datetime.fromisoformat(said["at"])
        count = int((at - START) / timedelta(minutes=1))
        begin = plugin.anchor(int(candles.open_time[count - 1]), 60_000, needed)
        first = max(0, (begin - int(candles.open_time[0])) // 60_000)
        view = plugin.View(
            symbol="BTCUSDT",
            at=at,
            timeframe=Timeframe.M1,
            candles=candles.between(first, count),
        )
        answer = loaded.strategy.evaluate(view)
        assert said["factors"] == answer.factors
        assert said["side"] == (answer.signal and answer.signal.side.value)
        assert said["reason"] == (answer.signal.reason if answer.signal else "")


def test_stop_and_targets_stand_where_the_preset_says(
    call: Call, waves: Path, write_candles: WriteCandles
) -> None:
    answer = call("try", waves, "--candles", write_candles(), "-o", "json")

    for said in answer.document["trial"]["signals"]:
        sign = 1 if said["side"] == "Buy" else -1
        risk = 2 * said["factors"]["atr"]
        near, far = map(float, said["targets"])
        close = float(said["close"])
        assert float(said["stop"]) == pytest.approx(close - sign * risk)
        assert (near, far) == pytest.approx((close + sign * risk, close + sign * 2 * risk))


def test_candles_of_a_longer_timeframe_are_put_together(
    tmp_path: Path, write_candles: WriteCandles
) -> None:
    minutes = read(write_candles(count=603))

    quarters = minutes.of(Timeframe.M15)

    base = minutes.candles
    assert len(quarters) == 40
    assert list(quarters.open_time[:2] - base.open_time[0]) == [0, 15 * 60_000]
    for n in range(40):
        part = slice(15 * n, 15 * n + 15)
        assert quarters.open[n] == base.open[part][0]
        assert quarters.high[n] == base.high[part].max()
        assert quarters.low[n] == base.low[part].min()
        assert quarters.close[n] == base.close[part][-1]
        assert quarters.volume[n] == base.volume[part].sum()


def test_a_missing_minute_leaves_the_candle_to_the_others(
    tmp_path: Path, write_candles: WriteCandles
) -> None:
    path = write_candles(count=60)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], *lines[6:]]) + "\n")

    quarters = read(path).of(Timeframe.M15)

    assert len(quarters) == 4
    assert quarters.volume[0] == sum(range(1, 16)) - 5


def test_what_is_asked_at_the_last_closes_does_not_depend_on_how_many(
    waves: Path, write_candles: WriteCandles
) -> None:
    loaded, files = preset.load(waves), {"BTCUSDT": read(write_candles(count=400))}

    few = trial(loaded, "BTCUSDT", files, candles=100, shown=3)
    many = trial(loaded, "BTCUSDT", files, candles=10_000, shown=3)

    assert few.latest == many.latest
    assert few.asked == 100
    assert many.asked == 400 + 1 - loaded.strategy.needs.candles


def test_a_file_that_is_too_short_says_what_is_needed(
    call: Call, waves: Path, write_candles: WriteCandles
) -> None:
    answer = call("try", waves, "--candles", write_candles(count=10))

    needed = preset.load(waves).strategy.needs.candles
    assert answer.code == 3
    assert f"it needs {needed} candles of 1m, and the file makes 10" in answer.err


def write_foreign(
    path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Callable[[], plugin.Evaluation]
) -> Path:
    """Write a preset of the plugin `fragile`, which answers with what *evaluate* returns."""

    class Fragile:
        version = "1"
        Params = plugin.Params
        needs = plugin.Needs(candles=10)
        factor_names = frozenset[str]()

        def __init__(self, params: plugin.Params) -> None: ...

        def evaluate(self, view: plugin.View) -> plugin.Evaluation:
            return evaluate()

    monkeypatch.setattr(plugin, "load", lambda name: Fragile)
    path.write_text(
        "version: 1\nname: fragile\nmarket: {category: linear, symbols: [BTCUSDT]}\n"
        "trigger: {on: candle, timeframe: 1m}\nstrategy: {plugin: fragile}\n"
        "entry: {type: market, expires_after: 30s}\nexits: {stop: {fraction: 0.01}}\n"
        "risk: {sizing: risk_fraction, risk_fraction: 0.005}\n"
    )
    return path


def test_a_plugin_that_raises_is_named_with_the_close(
    call: Call, tmp_path: Path, write_candles: WriteCandles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> plugin.Evaluation:
        raise ZeroDivisionError("no volume")

    path = write_foreign(tmp_path / "fragile.yaml", monkeypatch, fails)

    answer = call("try", path, "--candles", write_candles())

    assert answer.code == 3
    assert (
        "preset fragile cannot be tried: strategy plugin 'fragile' raised ZeroDivisionError at the "
        "close of 2026-01-05 00:10: no volume; mend the plugin"
    ) in answer.err


def test_a_plugin_that_hangs_is_named_with_the_close(
    call: Call, tmp_path: Path, write_candles: WriteCandles, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = Event()

    def hangs() -> plugin.Evaluation:
        over.wait()
        return plugin.Evaluation()

    monkeypatch.setattr(host, "ANSWER_WITHIN", 0.05)
    path = write_foreign(tmp_path / "fragile.yaml", monkeypatch, hangs)

    answer = call("try", path, "--candles", write_candles())
    over.set()

    assert answer.code == 3
    assert (
        "strategy plugin 'fragile' did not answer within 0.05 s at the close of 2026-01-05 00:10; "
        "mend the plugin"
    ) in answer.err


def test_a_symbol_that_the_preset_does_not_trade_is_told(
    call: Call, waves: Path, write_candles: WriteCandles
) -> None:
    path = write_candles()

    other = call("try", waves, "--candles", path, "--symbol", "ETHUSDT")
    own = call("try", waves, "--candles", path, "--symbol", "BTCUSDT")

    assert other.code == 0
    assert "the preset trades BTCUSDT, not ETHUSDT; it is asked as if it did" in other.err
    assert own.err == ""


def test_missing_minutes_are_counted(call: Call, waves: Path, write_candles: WriteCandles) -> None:
    path = write_candles(count=600)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:50], *lines[52:90], *lines[91:]]) + "\n")

    answer = call("try", waves, "--candles", path)

    assert answer.code == 0
    assert f"{path}: 3 of 600 candles of 1 min are missing; the others are used" in answer.err


def test_a_file_of_longer_candles_cannot_make_shorter_ones(
    call: Call, tmp_path: Path, write_candles: WriteCandles
) -> None:
    path = tmp_path / "waves.yaml"
    path.write_text(RULES.format(timeframe="15m"))

    answer = call("try", path, "--candles", write_candles(minutes=60))

    assert answer.code == 3
    assert "last 60 minutes, and 15m is asked for" in answer.err


def test_a_broken_file_names_its_line(call: Call, waves: Path, write_candles: WriteCandles) -> None:
    path = write_candles()
    path.write_text(path.read_text().replace(",600\n", ",many\n"))

    answer = call("try", waves, "--candles", path)

    assert answer.code == 3
    assert f"{path}:601" in answer.err


def test_a_preset_that_is_not_valid_is_not_tried(
    call: Call, write_preset: WritePreset, write_candles: WriteCandles
) -> None:
    bad = write_preset("alpha", replace=("version: 1", "version: 9"))

    answer = call("try", bad, "--candles", write_candles())

    assert answer.code == 3
    assert "version" in answer.err


def test_quote_volume_becomes_coins(write_candles: WriteCandles) -> None:
    path = write_candles(count=5)

    coins, quote = read(path), read(path, in_quote=True)

    assert np.allclose(quote.candles.volume * coins.candles.close, coins.candles.volume)


def test_what_stands_beside_the_candles_is_known_from_its_close_on(
    call: Call, tmp_path: Path, waves: Path, write_candles: WriteCandles
) -> None:
    waves.write_text(
        waves.read_text().replace("cross_up(fast, slow)", "fast > slow and funding_rate > 0.0002")
    )
    bare = write_candles("bare.csv", count=400)
    header, *lines = bare.read_text().splitlines()
    rates = ["0.0001" if n == 0 else "0.0003" if n == 350 else "" for n in range(len(lines))]
    rated = tmp_path / "rated.csv"
    rows = [f"{line},{rate}" for line, rate in zip(lines, rates, strict=True)]
    rated.write_text("\n".join([f"{header},funding_rate", *rows]) + "\n")

    without = call("try", waves, "--candles", bare)
    answer = call("try", waves, "--candles", rated, "-o", "json", "--signals", "1000")

    assert "unknown to the strategy here: funding_rate" in without.err
    found = answer.document["trial"]
    assert found["unknown"] == []
    longs = [said for said in found["signals"] if said["side"] == "Buy"]
    assert longs
    known_from = START + timedelta(minutes=351)
    assert all(datetime.fromisoformat(said["at"]) >= known_from for said in longs)
    assert found["latest"]["factors"]["funding_rate"] == 0.0003


def test_a_spoilt_figure_beside_the_candles_names_its_line(
    call: Call, tmp_path: Path, waves: Path, write_candles: WriteCandles
) -> None:
    header, *lines = write_candles(count=400).read_text().splitlines()
    path = tmp_path / "rated.csv"
    path.write_text("\n".join([f"{header},funding_rate", *(f"{line},x" for line in lines)]))

    answer = call("try", waves, "--candles", path)

    assert answer.code == 3
    assert f"{path}:2" in answer.err
    assert "funding_rate 'x' is no number" in answer.err


def test_parquet_holds_the_same_candles_as_csv(tmp_path: Path, write_candles: WriteCandles) -> None:
    path = write_candles()
    other = tmp_path / "candles.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{path}')) TO '{other}' (FORMAT parquet)")

    csv, parquet = read(path), read(other)

    assert csv.minutes == parquet.minutes
    for name in ("open_time", *plugin.COLUMNS):
        assert np.array_equal(getattr(csv.candles, name), getattr(parquet.candles, name)), name


def test_a_broken_parquet_says_so(call: Call, waves: Path) -> None:
    Path("candles.parquet").write_bytes(b"PAR1")

    answer = call("try", waves, "--candles", "candles.parquet")

    assert answer.code == 3
    assert "it is no Parquet" in answer.err
