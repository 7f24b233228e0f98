"""The paper exchange on the command line, as its own process."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.cli.conftest import Answer, Call

PROGRAM = Path(sys.executable).parent / "tradewright"


class Served(NamedTuple):
    url: str
    key: str
    secret: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("paper") / "paper.db"
    command = [str(PROGRAM), "paper", "--port", "0", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        key, secret, window, listening = (process.stdout.readline() for _ in range(4))
        url = listening.removeprefix("listening on ").strip()
        assert window.split() == ["window", f"{url}/"]
        yield Served(url, key.removeprefix("api key").strip(), secret.split()[-1])
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def words(answer: Answer) -> str:
    """Return what a usage error says, without its frame."""
    return " ".join(answer.err.replace("│", " ").split())


def test_the_paper_exchange_says_where_it_listens(served: Served) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", served.url)
    assert requests.get(f"{served.url}/v5/market/time", timeout=10).status_code == 200
    assert "Paper exchange" in requests.get(f"{served.url}/", timeout=10).text


def test_a_key_is_made_listed_and_revoked(call: Call, served: Served) -> None:
    made = call(
        *("paper-key", "new", "--url", served.url, "--account", "desk2", "--cash", "5000"),
        *("--read-only", "--days", "30", "-o", "json"),
    )
    key = made.document
    assert made.code == 0
    assert (key["kind"], key["account"]) == ("paper_key", "desk2")

    listed = call("paper-key", "list", "--url", served.url)
    assert served.key in listed.out
    assert re.search(rf"{key['api_key']} +desk2 +read only", listed.out)
    assert key["api_secret"] not in listed.out

    assert call("paper-key", "revoke", key["api_key"], "--url", served.url).code == 0
    assert key["api_key"] not in call("paper-key", "list", "--url", served.url).out


def test_faults_are_put_in_force_shown_and_cleared(
    call: Call, served: Served, tmp_path: Path
) -> None:
    scenario = tmp_path / "busy.yaml"
    scenario.write_text("version: 1\nfaults:\n  - {name: slow, kind: delay, ms: 5}\n")
    url = ("--url", served.url)

    assert call("paper-fault", "list", *url).err == "no fault is in force\n"
    assert "slow" in call("paper-fault", "add", scenario, *url).out
    assert call("paper-fault", "add", "{name: gone, kind: http_error, status: 502}", *url).code == 0
    shown = json.loads(call("paper-fault", "list", *url, "-o", "json").out)
    assert {fault["name"] for fault in shown["faults"]} == {"slow", "gone"}
    assert call("paper-fault", "clear", "gone", *url).code == 0
    assert call("paper-fault", "clear", *url).code == 0
    assert call("paper-fault", "list", *url).err == "no fault is in force\n"


def test_a_wrong_fault_is_refused_with_its_place(
    call: Call, served: Served, tmp_path: Path
) -> None:
    scenario = tmp_path / "wrong.yaml"
    scenario.write_text("version: 1\nfaults:\n  - {name: slow, kind: dealy, ms: 5}\n")

    by_file = call("paper-fault", "add", scenario, "--url", served.url)
    by_text = call("paper-fault", "add", "{kind: dealy}", "--url", served.url)

    assert (by_file.code, by_text.code) == (3, 3)
    assert by_file.err.startswith(f"{scenario}:3:")
    assert by_text.err.startswith("<request>:1:8: error: kind: unknown kind 'dealy'")


@pytest.mark.parametrize("name", ["missing.yaml", "missing.yml", "missing.json", "no/such"])
def test_a_fault_file_that_is_not_there_is_a_matter_of_usage(call: Call, name: str) -> None:
    answer = call("paper-fault", "add", name, "--url", "http://127.0.0.1:1")

    assert answer.code == 2
    assert f"there is no file {name}" in words(answer)


@pytest.mark.parametrize(
    "url",
    [
        *("nonsense", "localhost:8900", "ftp://localhost", "http://", "http://127.0.0.1:x"),
        *("http://127.0.0.1:99999", "http://127.0.0.1:8900/v5", "http://me@127.0.0.1", ""),
    ],
)
@pytest.mark.parametrize(
    "asked", [("paper-market", "hold 5 s"), ("paper-key", "list"), ("paper-fault", "list")]
)
def test_an_address_that_cannot_be_one_is_a_matter_of_usage(
    call: Call, asked: tuple[str, ...], url: str
) -> None:
    answer = call(*asked, "--url", url)

    assert answer.code == 2
    assert f"{url!r} is no address; write http://host:port" in words(answer)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (("--cash", "abc"), "cash: 'abc' is no amount"),
        (("--ip", "999.1.1.1"), "ip: '999.1.1.1' does not appear to be"),
    ],
)
def test_a_wrong_wish_for_a_key_is_refused_by_its_name(
    call: Call, served: Served, wish: tuple[str, str], told: str
) -> None:
    answer = call("paper-key", "new", "--account", "desk3", *wish, "--url", served.url)

    assert answer.code == 6
    assert answer.err.startswith(f"error: paper exchange refused: {told}")


def test_the_market_is_moved(call: Call, served: Served) -> None:
    ticker = f"{served.url}/v5/market/tickers?category=linear&symbol=SOLUSDT"

    def last() -> float:
        (row,) = requests.get(ticker, timeout=10).json()["result"]["list"]
        return float(row["lastPrice"])

    before = last()

    answer = call("paper-market", "gap up 20 %", "--symbol", "SOLUSDT", "--url", served.url)

    assert answer.code == 0, answer.err
    deadline = time.monotonic() + 20
    while last() < before * 1.1:
        assert time.monotonic() < deadline, "the market stands still"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--market", "nowhere.csv"), "'nowhere.csv' is neither generator nor live, nor a file"),
        (("--faults", "nowhere.yaml"), "there is no file nowhere.yaml"),
    ],
)
def test_what_is_not_there_is_a_matter_of_usage(
    call: Call, given: tuple[str, str], told: str
) -> None:
    answer = call("paper", "--port", 0, *given)

    assert answer.code == 2
    assert told in words(answer)


def test_what_no_option_says_a_variable_may(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_PAPER_STATE", str(tmp_path))
    monkeypatch.setenv("TRADEWRIGHT_PAPER_SPEED", "lockstep")

    answer = call("paper", "--port", 0)

    assert answer.code == 1
    assert f"state {tmp_path} cannot be used" in answer.err


@pytest.mark.parametrize(
    ("variables", "given", "told"),
    [
        (
            {},
            ("--market", "live", "--speed", "2"),
            "Invalid value for --market: a relayed market goes at speed 1, not at 2",
        ),
        (
            {"SPEED": "fast"},
            (),
            "Invalid value for TRADEWRIGHT_PAPER_SPEED: input should be a valid number, unable to "
            "parse string as a number, or input should be 'lockstep'",
        ),
        (
            {"CASH": "much"},
            (),
            "Invalid value for TRADEWRIGHT_PAPER_CASH: input should be a valid decimal",
        ),
        (
            {"SYMBOLS": "BTCUSDT"},
            (),
            'error parsing value for field "symbols" from source "EnvSettingsSource"; write JSON, '
            'such as ["BTCUSDT"]',
        ),
    ],
)
def test_a_setting_that_is_wrong_is_told_by_the_name_it_was_given_by(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    given: tuple[str, ...],
    told: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"TRADEWRIGHT_PAPER_{name}", value)

    answer = call("paper", "--port", 0, *given)

    assert answer.code == 2
    assert told in " ".join(answer.err.replace("│", " ").split())


def test_a_market_that_cannot_be_relayed_is_told(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_PAPER_LIVE_REST", "http://127.0.0.1:1")

    answer = call("paper", "--port", 0, "--market", "live")

    assert answer.code == 5
    assert "cannot be relayed: Connection refused; check the network" in answer.err


def test_an_exchange_that_is_away_is_told(call: Call) -> None:
    answer = call("paper-key", "list", "--url", "http://127.0.0.1:1")

    assert answer.code == 5
    assert "paper exchange http://127.0.0.1:1 does not answer" in answer.err


def test_a_port_that_is_taken_costs_no_key(call: Call) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = call("paper", "--port", port)

    assert answer.code == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in answer.err
    assert answer.out == ""
