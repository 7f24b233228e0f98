"""docs/authoring.md shows what the command says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tradewright.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/authoring.md").read_text()
CANDLES = ROOT.parent / "shared/data/btc_perp_1m_2022-01-01_2022-01-21.csv.gz"


def shown(command: str) -> tuple[list[str], str]:
    """Return the words and the output of the one example of *command* on the page."""
    pattern = rf"```console\n\$ tradewright ({command} [^\n]*)\n(.+?)```"
    ((line, told),) = re.findall(pattern, PAGE, re.DOTALL)
    return shlex.split(line), told


def shape(line: str) -> str:
    """Return *line* without what a new version of rules or candles changes."""
    return re.sub(r"\d+", "0", re.sub(r"\b[0-9a-f]{16}\b", "#", " ".join(line.split())))


def test_the_mistakes_that_are_shown_are_those_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (preset,) = re.findall(r"```yaml\n# btc-trend.yaml\n(.*?)```", PAGE, re.DOTALL)
    words, told = shown("validate")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "btc-trend.yaml").write_text(preset)

    answer = CliRunner().invoke(app, words)

    assert answer.stdout == told
    assert answer.exit_code == 3


def test_the_explanation_is_that_of_the_first_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, told = shown("explain")
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["init"])
    CliRunner().invoke(app, ["new", "btc-trend"])

    answer = CliRunner().invoke(app, words)

    said = {shape(line) for line in answer.stdout.splitlines()}
    assert answer.exit_code == 0
    assert [line for line in told.splitlines() if line != "…" and shape(line) not in said] == []


@pytest.mark.skipif(not CANDLES.exists(), reason=f"{CANDLES.name} is not beside the repository")
def test_the_trial_is_what_recorded_candles_make_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words, told = shown("try")
    monkeypatch.chdir(ROOT)
    words[words.index("--candles") + 1] = str(CANDLES)

    answer = CliRunner().invoke(app, [*words, "--volume-unit", "quote"])

    said = {shape(line) for line in answer.stdout.splitlines()}
    assert answer.exit_code == 0
    assert [line for line in told.splitlines() if shape(line) not in said] == []
