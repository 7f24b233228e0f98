"""What a replay refuses before it starts anything."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tradewright.app.replay import HOME, PresetUnplayable, Recording, replay
from tradewright.paper.market.recording import RecordingUnusable
from tradewright.preset import LoadedPreset, loads
from tradewright.settings import Settings

START = datetime(2022, 1, 1, tzinfo=UTC)
PRESET = """\
version: 1
name: alpha
market: {{category: linear, symbols: [{symbols}]}}
trigger: {{on: candle, timeframe: {timeframe}}}
strategy: {{plugin: donchian_breakout, params: {{period: 20}}}}
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 2}}}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005}}
"""


def preset(*symbols: str, timeframe: str) -> LoadedPreset:
    return loads(PRESET.format(symbols=", ".join(symbols), timeframe=timeframe))


def recording(folder: Path, *, minutes: int, high: int = 102) -> Recording:
    data = folder / "candles.csv"
    rows = (
        f"{START + timedelta(minutes=minutes * n):%Y-%m-%dT%H:%M:%SZ},100,{high},99,101,1"
        for n in range(3)
    )
    data.write_text("\n".join(("open_time,open,high,low,close,volume", *rows)))
    return Recording(data=data, symbol="BTCUSDT")


@pytest.mark.parametrize(("minutes", "timeframe"), [(1, "1m"), (1, "1h"), (5, "5m"), (5, "15m")])
def test_candles_that_add_up_to_the_timeframe_may_be_played(
    tmp_path: Path, minutes: int, timeframe: str
) -> None:
    recording(tmp_path, minutes=minutes).check([preset("BTCUSDT", timeframe=timeframe)])


@pytest.mark.parametrize(("minutes", "timeframe"), [(5, "1m"), (3, "5m"), (60, "30m")])
def test_candles_that_do_not_add_up_to_the_timeframe_are_refused(
    tmp_path: Path, minutes: int, timeframe: str
) -> None:
    played = recording(tmp_path, minutes=minutes)

    with pytest.raises(PresetUnplayable) as failure:
        played.check([preset("BTCUSDT", timeframe=timeframe)])

    said = str(failure.value)
    assert said.startswith(f"preset alpha cannot be played on {played.data}: ")
    assert f"its timeframe is {timeframe}, the recording's candles are {minutes}m long" in said


def test_a_preset_of_another_symbol_is_refused(tmp_path: Path) -> None:
    played = recording(tmp_path, minutes=1)

    with pytest.raises(PresetUnplayable, match="it trades XRPUSDT, the recording holds BTCUSDT; "):
        played.check([preset("BTCUSDT", "XRPUSDT", timeframe="1m")])


def test_two_presets_of_one_name_are_refused(tmp_path: Path) -> None:
    alpha = preset("BTCUSDT", timeframe="1m")

    with pytest.raises(PresetUnplayable, match="another one has the same name"):
        recording(tmp_path, minutes=1).check([alpha, alpha])


async def test_what_cannot_be_played_leaves_the_last_run_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / HOME / "journal.db"
    kept.parent.mkdir()
    kept.touch()
    alpha = preset("BTCUSDT", timeframe="1m")

    with pytest.raises(RecordingUnusable, match=r"candles\.csv:2 .* open 100 is above high 90"):
        await replay(
            Settings(home=tmp_path), recording(tmp_path, minutes=1, high=90), [alpha], print
        )

    assert kept.exists()
