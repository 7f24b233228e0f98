"""`plugin`: what is installed is named, and a new one works from its first minute."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tradewright import plugin
from tradewright.cli import app
from tradewright.plugin import ENTRY_POINT_GROUP


def invoke(*arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, arguments)
    return answer.exit_code, answer.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    code, _ = invoke("plugin", "new", "far_from_home", "--folder", str(folder))
    assert code == 0
    return folder / "tradewright-far-from-home"


@pytest.fixture(scope="module")
def environment(project: Path) -> dict[str, str]:
    """Return what an environment with the plugin installed comes to."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name, version = declared["name"].replace("-", "_"), declared["version"]
    info = project / f"{name}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata)
    points = declared["entry-points"][ENTRY_POINT_GROUP]
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {**os.environ, "PYTHONPATH": str(project)}


def run(arguments: list[str], cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_plugin_passes_its_own_tests(project: Path, environment: dict[str, str]) -> None:
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "error"]

    told = run(["-m", "pytest", *quiet, "tests"], project, environment)

    assert "23 passed" in told


def test_a_new_plugin_is_told_what_its_process_protects_from(project: Path) -> None:
    told = " ".join((project / "README.md").read_text().split())

    assert "none of the worker's secrets in its environment" in told
    assert "as the same user: it contains accidents, not malice" in told


def test_a_new_plugin_is_as_clean_as_what_ships(project: Path) -> None:
    rules = ["--select", "ASYNC,B,C4,D,E,F,I,N,PGH,PT,RUF,SIM,T20,UP,W", "--line-length", "100"]
    ignored = ["--ignore", "D101,D102,D103,D105,D106,D107,D203,D205,D213,D212"]
    command = ["-m", "ruff", "check", "--isolated", *rules, *ignored, "--no-cache", str(project)]

    run(command, project, dict(os.environ))
    run(
        ["-m", "ruff", "format", "--isolated", "--check", "--line-length", "100", str(project)],
        project,
        dict(os.environ),
    )


def test_a_new_plugin_is_listed_as_foreign_and_its_preset_is_valid(
    project: Path, environment: dict[str, str]
) -> None:
    listed = run(["-m", "tradewright", "plugin", "list", "-o", "json"], project, environment)
    valid = run(["-m", "tradewright", "validate", "far-from-home.yaml"], project, environment)

    (row,) = (row for row in json.loads(listed)["plugins"] if row["name"] == "far_from_home")
    assert row == {
        "name": "far_from_home",
        "version": "1",
        "distribution": "tradewright-far-from-home",
        "foreign": True,
        "parameters": ["period", "entry"],
        "fault": "",
    }
    assert "far-from-home" in valid


def test_what_ships_is_listed() -> None:
    code, told = invoke("plugin", "list")

    assert code == 0
    assert "donchian_breakout" in told
    assert "in the worker" in told


def test_a_broken_plugin_is_listed_with_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"odd": EntryPoint("odd", "no_such_module:Thing", ENTRY_POINT_GROUP)}
    monkeypatch.setattr(plugin, "installed", lambda: points)

    code, told = invoke("plugin", "list", "-o", "json")

    (row,) = json.loads(told)["plugins"]
    assert code == 0
    assert row["fault"].startswith("strategy plugin 'odd' cannot be loaded: ModuleNotFoundError")


@pytest.mark.parametrize("name", ["9lives", "Far", "a", "far-away", "x" * 41, "lambda", "../up"])
def test_a_name_that_cannot_be_a_package_is_refused(name: str, tmp_path: Path) -> None:
    code, _ = invoke("plugin", "new", name, "--folder", str(tmp_path))

    assert code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["null", "true", "off", "numpy", "json"])
def test_a_name_that_means_something_else_is_refused(name: str, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["plugin", "new", name, "--folder", str(tmp_path)])

    assert answer.exit_code == 2
    assert f"plugin name '{name}' means something else" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(project: Path, tmp_path: Path) -> None:
    code, _ = invoke("plugin", "new", "far_from_home", "--folder", str(project.parent))
    installed, _ = invoke("plugin", "new", "donchian_breakout", "--folder", str(tmp_path))

    assert (code, installed) == (2, 2)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    answer = CliRunner().invoke(
        app, ["plugin", "new", "far_away", "--folder", str(tmp_path / "file" / "below")]
    )

    assert answer.exit_code == 1
    assert "cannot be written" in answer.stderr
