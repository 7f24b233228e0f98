"""Commands that run things: what they refuse at once, and what they say once they run."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call, WritePreset

HEADER = "open_time,open,high,low,close,volume"
ROWS = ("2022-01-01T00:00:00Z,100,102,99,101,1", "2022-01-01T00:01:00Z,101,103,100,102,1")


def recording(folder: Path, *rows: str) -> Path:
    path = folder / "candles.csv"
    path.write_text("\n".join((HEADER, *ROWS, *rows, "")))
    return path


@pytest.mark.parametrize("command", ["replay", "paper"])
@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--speed", "fast", "'fast' is neither lockstep nor a number above 0"),
        ("--speed", "0", "'0' is neither lockstep nor a number above 0"),
        ("--speed", "nan", "'nan' is neither lockstep nor a number above 0"),
        ("--volume-unit", "coins", "'coins' is not one of 'base', 'quote'"),
        ("--symbol", "btc", "'btc' is no symbol"),
        ("--from", "noon", "'noon' is no time; write 2022-01-05T00:00:00Z"),
        ("--to", "32", "'32' is no time"),
    ],
)
def test_a_wrong_option_is_a_matter_of_usage(
    call: Call,
    write_preset: WritePreset,
    tmp_path: Path,
    command: str,
    option: str,
    value: str,
    told: str,
) -> None:
    given = ["--market"] if command == "paper" else [write_preset("alpha"), "--data"]

    answer = call(command, *given, recording(tmp_path), option, value)

    assert answer.code == 2
    said = " ".join(answer.err.replace("│", " ").split())
    assert f"Invalid value for '{option}'" in said
    assert told in said


def test_a_broken_recording_is_refused_with_its_line(
    call: Call, write_preset: WritePreset, tmp_path: Path
) -> None:
    data = recording(tmp_path, "2022-01-01T00:02:00Z,101,99,100,102,1")
    preset = write_preset("alpha")

    replayed = call("replay", preset, "--data", data)
    served = call("paper", "--port", 0, "--market", data)

    line = f"error: recording {data}:4 cannot be played: open 101 is above high 99"
    for answer in (replayed, served):
        assert (answer.code, answer.err.splitlines()[-1]) == (3, line)
    assert "secret" not in served.out


def test_a_time_without_zone_is_utc(call: Call, write_preset: WritePreset, tmp_path: Path) -> None:
    data, preset = recording(tmp_path), write_preset("alpha")

    answer = call("replay", preset, "--data", data, "--from", "2022-01-01T00:02")

    assert answer.code == 3
    assert "no candle lies in the time asked for" in answer.err


def test_a_preset_that_does_not_fit_the_recording_is_refused(
    call: Call, write_preset: WritePreset, tmp_path: Path
) -> None:
    data, preset = recording(tmp_path), write_preset("alpha")

    answer = call("replay", preset, "--data", data, "--symbol", "XRPUSDT", "-o", "json")

    assert answer.code == answer.document["error"]["exit_code"] == 3
    assert answer.document["error"]["type"] == "PresetUnplayable"
    assert f"preset alpha cannot be played on {data}: it trades" in answer.err
