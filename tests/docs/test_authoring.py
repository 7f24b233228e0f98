"""docs/authoring.md shows what the command says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tradewright.cli import app

PAGE = (Path(__file__).parents[2] / "docs/authoring.md").read_text()


def test_the_mistakes_that_are_shown_are_those_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (preset,) = re.findall(r"```yaml\n# btc-trend.yaml\n(.*?)```", PAGE, re.DOTALL)
    shown = re.findall(r"```console\n\$ tradewright (validate [^\n]*)\n(.+?)```", PAGE, re.DOTALL)
    ((command, told),) = shown
    monkeypatch.chdir(tmp_path)
    (tmp_path / "btc-trend.yaml").write_text(preset)

    answer = CliRunner().invoke(app, shlex.split(command))

    assert answer.stdout == told
    assert answer.exit_code == 3
