"""A plain `validate` is answered without the parser of commands, and as by it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call, WritePreset
from tradewright.cli.glance import glance


@pytest.fixture
def folder(write_preset: WritePreset) -> Path:
    path = write_preset("alpha")
    write_preset("beta", replace=("risk_fraction: 0.005", "risk_fraction: 7"))
    return path.parent


@pytest.mark.parametrize("form", [(), ("-o", "json"), ("--output", "json"), ("--output=json",)])
@pytest.mark.parametrize("name", ["alpha.yaml", "beta.yaml", ".", "nowhere.yaml"])
def test_it_answers_as_the_command_does(
    call: Call, folder: Path, capsys: pytest.CaptureFixture[str], name: str, form: tuple[str, ...]
) -> None:
    words = ["validate", str(folder / name), *form]

    code = glance(words)
    told = capsys.readouterr().out
    answer = call(*words)

    assert code == answer.code
    assert told == answer.out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["validate"],
        ["validate", "-o", "json"],
        ["validate", "--online", "a.yaml"],
        ["validate", "--help"],
        ["--account", "main", "validate", "a.yaml"],
        ["validate", "a.yaml", "-o", "table"],
        ["apply", "a.yaml"],
        ["validate", "."],
    ],
)
def test_what_it_does_not_know_is_left_to_the_command(
    call: Call, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert glance(words) is None
    assert capsys.readouterr().out == ""


def test_it_loads_neither_the_parser_nor_what_rules_are_evaluated_with() -> None:
    path = Path(__file__).parents[2] / "strategies/confluence.yaml"
    heavy = "('typer', 'rich', 'numpy', 'pandas', 'talib', 'temporalio', 'sqlalchemy', 'asyncio')"
    script = (
        "import sys; from tradewright.cli.glance import glance; "
        f"assert glance(['validate', {str(path)!r}]) == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
