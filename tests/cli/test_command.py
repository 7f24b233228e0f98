"""The command as a program: help, errors, exit codes, streams, how it ends."""

import importlib
import json
import os
import pkgutil
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import typer
from typer.testing import CliRunner

import activities
import tradewright.app.wish
import tradewright.domain.errors
import tradewright.paper
from tests.cli.conftest import Call, System, WritePreset
from tradewright import cli, preset
from tradewright.cli import exit as exits
from tradewright.cli.exit import BY_ERROR, MEANING, ExitCode, code_of
from tradewright.cli.reference import reference, renewed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/cli.md"
PROGRAM = Path(sys.executable).parent / "tradewright"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def commands() -> list[list[str]]:
    found: list[list[str]] = []

    def walk(command: object, path: list[str]) -> None:
        found.append(path)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*path, name])

    walk(typer.main.get_command(cli.app), [])
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(path: list[str]) -> None:
    answer = CliRunner().invoke(cli.app, [*path, "--help"])

    assert answer.exit_code == 0
    assert "Usage: " in answer.stdout


def test_the_help_tells_every_exit_code() -> None:
    said = " ".join(CliRunner().invoke(cli.app, ["--help"]).stdout.split())

    for code, meaning in MEANING.items():
        assert f"{code.value} {meaning}" in said


def test_the_reference_is_that_of_the_commands() -> None:
    page = PAGE.read_text("utf-8")

    assert renewed(page, cli.app) == page, "run python -m tradewright.cli.reference docs/cli.md"


def test_the_reference_names_every_command_and_option() -> None:
    told = reference(cli.app)

    for path in commands():
        assert f"### `{' '.join(['tradewright', *path])}" in told
    for option in ("--expect", "--needs-operator", "--wait", "-o", "--address"):
        assert f"`{option}`" in told


def test_the_page_tells_every_exit_code_and_every_kind_of_document() -> None:
    page = PAGE.read_text("utf-8")

    for code, meaning in MEANING.items():
        assert f"| {code.value} | {meaning} |" in page
    sources = "".join(p.read_text("utf-8") for p in Path(cli.__file__).parent.glob("*.py"))
    kinds = {part.split('"')[0] for part in sources.split('print_document("')[1:]}
    assert len(kinds) > 10
    for kind in kinds:
        assert f"`{kind}`" in page


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


def test_every_error_with_an_exit_code_exists() -> None:
    for package in (tradewright.app, tradewright.preset, tradewright.paper, activities):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)

    known = {kind.__name__ for kind in below(tradewright.domain.errors.TradewrightError)}

    assert set(BY_ERROR) <= known
    assert set(exits.MEANING) == set(ExitCode)


def test_an_error_ends_as_the_nearest_kind_that_it_is_of() -> None:
    stored = tradewright.app.wish.WishStored("kill-switch/main", "trip")

    assert code_of(stored) is ExitCode.UNREACHABLE
    assert code_of(ValueError()) is ExitCode.FAILED


def test_a_wrong_command_line_is_a_matter_of_usage(call: Call) -> None:
    assert call("nothing").code == 2
    assert call("trade", "list", "--limit", "0").code == 2
    assert call("status", "--output", "xml").code == 2
    assert call("safe-mode", "maybe").code == 2


def test_wrong_settings_are_told_all_at_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWRIGHT_VENU", "paper")
    monkeypatch.setenv("TRADEWRIGHT_ACCONT", "main")

    answer = call("status")

    assert answer.code == 2
    assert "TRADEWRIGHT_VENU is unknown; did you mean TRADEWRIGHT_VENUE?" in answer.err
    assert "TRADEWRIGHT_ACCONT is unknown" in answer.err


def test_options_win_over_the_environment(call: Call) -> None:
    answer = call("--address", "127.0.0.1:2", "--account", "second", "status")

    assert answer.code == 5
    assert "temporal 127.0.0.1:2 does not answer" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["strategy", "list"],
        ["strategy", "pause", "ema"],
        ["trade", "list"],
        ["trade", "exit", "twaaaaaaaaaaaaaaaa"],
        ["safe-mode", "off"],
        ["kill", "trip"],
        ["kill", "rearm", "--by", "ann", "--reason", "why"],
        ["reconcile"],
    ],
    ids=" ".join,
)
def test_without_temporal_one_line_says_what_to_do(call: Call, arguments: list[str]) -> None:
    answer = call(*arguments)

    assert answer.code == 5
    assert answer.out == ""
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: temporal 127.0.0.1:1 does not answer: nobody listens there; ")
    assert "Traceback" not in answer.err


def test_an_error_is_a_document_for_who_asked_for_one(call: Call) -> None:
    answer = call("trade", "list", "-o", "json")

    error = answer.document["error"]
    assert error["type"] == "TemporalUnreachable"
    assert error["exit_code"] == answer.code == 5
    assert error["message"] in answer.err


def test_debug_shows_where_it_went_wrong(call: Call) -> None:
    assert "Traceback" in call("--debug", "trade", "list").err


def test_looking_makes_no_journal(call: Call, tmp_path: Path) -> None:
    answer = call("trade", "list", "--all")

    assert answer.code == 4
    assert "nothing was traded from this folder" in answer.err
    assert not (tmp_path / "state").exists()


def test_what_goes_wrong_unexpectedly_is_one_line_too(
    call: Call, monkeypatch: pytest.MonkeyPatch, write_preset: WritePreset
) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(preset, "load", broken)

    answer = call("validate", write_preset("alpha"))

    assert answer.code == 1
    assert answer.err.startswith("error: unexpected ZeroDivisionError: oh; run it again with --deb")


def test_the_console_script_ends_with_its_codes(write_preset: WritePreset) -> None:
    good = write_preset("alpha")
    bad = write_preset("beta", replace=("version: 1", "version: 9"))

    version = run("--version")
    valid, invalid = run("validate", good), run("validate", bad, "-o", "json")
    away = run("--address", "127.0.0.1:1", "status")

    assert (version.returncode, version.stdout) == (0, "tradewright 0.1.0\n")
    assert (valid.returncode, invalid.returncode, away.returncode) == (0, 3, 5)
    assert json.loads(invalid.stdout)["schema"] == "tradewright/v1"
    assert away.stdout == ""
    assert "Traceback" not in away.stderr


async def test_the_console_script_ends_cleanly_after_speaking_to_temporal(
    system: System,
) -> None:
    done = await system.thread(run, "strategy", "list")

    assert (done.returncode, done.stderr) == (0, "")
    assert "no strategy runs" in done.stdout


def test_who_stops_reading_is_no_error_of_ours(write_preset: WritePreset) -> None:
    path = write_preset("alpha")

    done = subprocess.run(
        ["/bin/sh", "-c", f"{PROGRAM} schema | true; {PROGRAM} validate {path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0


async def test_ctrl_c_ends_the_command_with_130(system: System) -> None:
    await system.start_singletons()

    code, out, err = await system.thread(_interrupted_status)

    assert code == 130
    assert out == ""
    assert "goes on without this command" in err
    assert "Traceback" not in err


def _interrupted_status() -> tuple[int, str, str]:
    pipe = subprocess.PIPE
    with subprocess.Popen([PROGRAM, "status"], stdout=pipe, stderr=pipe, text=True) as process:
        deadline = time.monotonic() + 30
        # Once it has connected it waits for workers that are not there
        while not _is_connected(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err


def _is_connected(pid: int) -> bool:
    return any(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(pid).net_connections())


@pytest.mark.parametrize("arguments", [["kill", "trip"], ["trade", "exit", "twaaaa"]], ids=" ".join)
def test_at_a_terminal_a_person_may_think_again(tmp_path: Path, arguments: list[str]) -> None:
    terminal, end = pty.openpty()
    os.write(terminal, b"n\n")

    done = subprocess.run(
        [PROGRAM, "--address", "127.0.0.1:1", *arguments],
        stdin=end,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    os.close(terminal)
    os.close(end)

    assert done.returncode == 1
    assert "on paper" in done.stderr
    assert done.stderr.endswith("nothing was done\n")
    assert "temporal" not in done.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "('pandas', 'numpy', 'talib', 'temporalio', 'sqlalchemy', 'pydantic', 'pybit')"
    script = (
        "import sys; from typer.testing import CliRunner; from tradewright.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
