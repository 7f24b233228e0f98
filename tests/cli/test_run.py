"""Commands that run things: what they refuse at once, and what they say once they run."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import Call, WritePreset

HEADER = "open_time,open,high,low,close,volume"
ROWS = ("2022-01-01T00:00:00Z,100,102,99,101,1", "2022-01-01T00:01:00Z,101,103,100,102,1")
PROGRAM = Path(sys.executable).parent / "tradewright"


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
    presets = [write_preset("alpha")] if command == "replay" else []

    answer = call(command, *presets, "--data", recording(tmp_path), option, value)

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
    served = call("paper", "--port", 0, "--data", data)

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


def test_the_paper_exchange_says_where_it_listens() -> None:
    command = [str(PROGRAM), "paper", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        key, secret, listening = (process.stdout.readline() for _ in range(3))
        url = listening.removeprefix("listening on ").strip()
        answer = requests.get(f"{url}/v5/market/time", timeout=10)
        process.send_signal(signal.SIGTERM)

    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", url)
    assert (key.split()[:2], secret.split()[:2]) == (["api", "key"], ["api", "secret"])
    assert answer.status_code == 200
    assert process.returncode == 0


def test_a_port_that_is_taken_costs_no_key(call: Call) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = call("paper", "--port", port)

    assert answer.code == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in answer.err
    assert answer.out == ""
