"""Recorded candles through the whole product, as a person plays them: `tradewright replay`."""

import asyncio
import csv
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.system.live_system import Answer, command

pytestmark = pytest.mark.timeout(300)

DATA = Path(__file__).parents[3] / "shared" / "data" / "btc_perp_1m_2022-01-01_2022-01-21.csv.gz"
STRATEGIES = Path(__file__).parents[2] / "strategies"
START = datetime(2022, 1, 1, tzinfo=UTC)
HISTORY, PLAYED = 110, 50
"""Candles; the preset needs the former before it says anything."""
SECRET = "c0ffee" * 6
"""Of the exchange's key, so that it can be looked for."""

PRESET = """\
version: 1
name: quick-cross
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 1m}
strategy:
  plugin: rules
  params:
    indicators: {fast: {ta: EMA, timeperiod: 2}, slow: {ta: EMA, timeperiod: 5}}
    long: cross_up(fast, slow)
    short: cross_down(fast, slow)
entry: {type: market, expires_after: 60s}
exits: {stop: {fraction: 0.001}, target: {r: 1.5}, break_even: {after_r: 0.8}, max_candles: 6}
risk: {sizing: fixed_notional, notional: 1000, leverage: 5}
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("preset") / "quick-cross.yaml"
    file.write_text(PRESET)
    return file


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles that wander up and down enough to cross averages and to reach stops."""
    file = tmp_path_factory.mktemp("recording") / "candles.csv"
    chance = random.Random(20220101)
    price = 46_000.0
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["open_time", "open", "high", "low", "close", "volume"])
        for minute in range(HISTORY + PLAYED):
            close = price * (1 + chance.gauss(0, 8e-4))
            high, low = max(price, close) * 1.0002, min(price, close) * 0.9998
            at = (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
            rows.writerow([at, *(f"{p:.1f}" for p in (price, high, low, close)), "12.5"])
            price = close
    return file


async def replay(home: Path, *arguments: object) -> Answer:
    env = {
        **os.environ,
        "TRADEWRIGHT_HOME": str(home),
        "TRADEWRIGHT_PAPER_API_KEY": "a-key-of-the-tests",
        "TRADEWRIGHT_PAPER_API_SECRET": SECRET,
    }
    return await command("replay", "--output", "json", *arguments, env=env)


def story(answer: Answer) -> list[dict[str, Any]]:
    """Return what a run did, without the times of day at which it did so."""
    wall = {"decided_at", "updated_at"}
    return [
        {name: value for name, value in trade.items() if name not in wall}
        for trade in answer.document["replay"]["trades"]
    ]


@pytest.fixture(scope="module")
async def runs(
    tmp_path_factory: pytest.TempPathFactory, recording: Path, preset: Path
) -> list[tuple[Path, Answer]]:
    """The same recording, played twice to the same preset, from nothing."""
    homes = [tmp_path_factory.mktemp("replay") for _ in range(2)]
    begin = (START + timedelta(minutes=HISTORY)).isoformat()
    both = [replay(home, "--data", recording, "--from", begin, preset) for home in homes]
    return list(zip(homes, await asyncio.gather(*both), strict=True))


async def test_a_recording_is_traded_to_its_end_and_all_books_agree(
    runs: list[tuple[Path, Answer]],
) -> None:
    _, answer = runs[0]
    assert answer.code == 0, answer.err

    done = answer.document["replay"]
    assert done["candles"] == PLAYED
    report = done["audit"]["report"]
    assert (report["differences"], done["audit"]["chain_faults"]) == ([], [])
    trades = done["trades"]
    assert len(trades) >= 4
    assert {t["state"] for t in trades} == {"closed"}
    assert {t["exit_reason"] for t in trades} >= {"stop", "target"}
    assert report["exchange"]["executions"] == report["temporal"]["executions"] == 2 * len(trades)


async def test_the_same_recording_gives_the_same_trades_twice(
    runs: list[tuple[Path, Answer]],
) -> None:
    (_, first), (_, second) = runs

    assert story(first) == story(second)
    assert first.document["replay"]["equity"] == second.document["replay"]["equity"]


async def test_a_run_leaves_its_books_and_no_secret_and_no_word_of_where_it_ran(
    runs: list[tuple[Path, Answer]],
) -> None:
    for home, answer in runs:
        files = {p.name: p for p in home.rglob("*") if p.is_file()}
        assert {"journal.db", "temporal.db", "exchange.db", "worker.jsonl"} <= files.keys()
        assert "running.yaml" not in files
        assert [n for n, p in files.items() if SECRET.encode() in p.read_bytes()] == []
        assert SECRET not in answer.out + answer.err


def lengthened(folder: Path, recording: Path) -> tuple[Path, Path]:
    """Return the same candles at five minutes each, and the preset of that timeframe."""
    data, preset = folder / "long.csv", folder / "long-cross.yaml"
    header, *rows = recording.read_text().splitlines()
    opened = (START + timedelta(minutes=5 * n) for n in range(len(rows)))
    lines = (
        f"{at:%Y-%m-%dT%H:%M:%SZ},{row.split(',', 1)[1]}"
        for at, row in zip(opened, rows, strict=True)
    )
    data.write_text("\n".join((header, *lines)))
    slower = PRESET.replace("timeframe: 1m", "timeframe: 5m")
    preset.write_text(slower.replace("max_candles: 6", "max_candles: 2"))
    return data, preset


async def test_candles_of_five_minutes_are_traded_by_a_preset_of_five_minutes(
    tmp_path: Path, recording: Path
) -> None:
    data, preset = lengthened(tmp_path, recording)
    begin = (START + timedelta(minutes=5 * HISTORY)).isoformat()

    answer = await replay(tmp_path, "--data", data, "--from", begin, preset)

    assert answer.code == 0, answer.err
    done = answer.document["replay"]
    assert (done["candles"], done["audit"]["report"]["differences"]) == (PLAYED, [])
    assert {t["state"] for t in done["trades"]} == {"closed"}
    # What ends by time was managed, though there are no candles of a minute to do it by
    assert {t["exit_reason"] for t in done["trades"]} >= {"stop", "time_stop"}


async def test_two_hours_of_a_recorded_market_are_traded_and_all_books_agree(
    tmp_path: Path,
) -> None:
    if not DATA.exists():
        pytest.skip(f"{DATA} is not on this machine")

    window = ("--from", "2022-01-05T19:00:00Z", "--to", "2022-01-05T21:00:00Z")
    presets = (STRATEGIES / "btc-ema-cross.yaml", STRATEGIES / "btc-breakout.yaml")
    answer = await replay(tmp_path, "--data", DATA, "--volume-unit", "quote", *window, *presets)

    assert answer.code == 0, answer.err
    done = answer.document["replay"]
    assert (done["candles"], done["audit"]["report"]["differences"]) == (120, [])
    assert len([t for t in done["trades"] if t["state"] == "closed"]) >= 3
