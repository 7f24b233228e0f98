"""`init` and `new`, and what the shell completes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tradewright import preset
from tradewright.app.authoring import template
from tradewright.cli import completion


def test_a_project_is_valid_as_it_is_made(call: Call, tmp_path: Path) -> None:
    made = call("init", "desk")
    validated = call("validate", "desk/strategies")

    assert made.code == 0
    assert "wrote  desk/strategies/my-first.yaml" in made.out
    assert validated.code == 0
    first = (tmp_path / "desk/strategies/my-first.yaml").read_text()
    assert first.startswith("# yaml-language-server: $schema=../schemas/editor.schema.json\n")
    schema = json.loads((tmp_path / "desk/schemas/preset.schema.json").read_text())
    assert schema == preset.schema()


def test_the_schemas_of_a_project_are_fresh_as_it_is_made(call: Call) -> None:
    call("init", ".")

    checked = call("schema", "--check")

    assert (checked.code, checked.out) == (0, "")


def test_what_the_order_book_asks_is_not_offered_to_be_tried(call: Call) -> None:
    of_candles = call("new", "my-candles", "--template", "ema-cross")
    of_books = call("new", "my-books", "--template", "order-book-imbalance")

    assert "tradewright try strategies/my-candles.yaml" in of_candles.err
    assert "tradewright explain strategies/my-books.yaml" in of_books.err
    assert "tradewright try" not in of_books.err


def test_a_project_is_never_written_over(call: Call, tmp_path: Path) -> None:
    call("init", "desk")
    mine = tmp_path / "desk/strategies/my-first.yaml"
    mine.write_text("mine")

    again = call("init", "desk")

    assert again.code == 0
    assert mine.read_text() == "mine"
    assert "kept   desk/strategies/my-first.yaml" in again.out
    assert "wrote" not in again.out


@pytest.mark.parametrize("name", template.names())
def test_every_template_makes_a_valid_preset_in_the_shadow(
    call: Call, tmp_path: Path, name: str
) -> None:
    answer = call("new", "my-own", "--template", name)

    assert answer.code == 0, answer.err
    loaded = preset.load(tmp_path / "strategies/my-own.yaml")
    assert loaded.preset.name == "my-own"
    assert loaded.preset.mode == "shadow"


@pytest.mark.parametrize("name", ["123", "1e5", "null", "true", "0x1f"])
def test_a_name_that_yaml_would_not_read_as_text_is_quoted(
    call: Call, tmp_path: Path, name: str
) -> None:
    assert call("new", name).code == 0
    assert preset.load(tmp_path / f"strategies/{name}.yaml").preset.name == name


def test_a_preset_is_made_for_the_symbols_that_are_named(call: Call, tmp_path: Path) -> None:
    call("new", "pair", "-t", "ema-cross", "--symbol", "ETHUSDT", "--symbol", "SOLUSDT")

    loaded = preset.load(tmp_path / "strategies/pair.yaml")
    assert loaded.preset.market.symbols == ("ETHUSDT", "SOLUSDT")


def test_a_preset_that_exists_is_left_alone(call: Call, tmp_path: Path) -> None:
    call("new", "my-own")
    path = tmp_path / "strategies/my-own.yaml"
    path.write_text("mine")

    again = call("new", "my-own")

    assert again.code == 1
    assert "exists already" in again.err
    assert path.read_text() == "mine"


def test_an_unknown_template_names_the_nearest(call: Call) -> None:
    answer = call("new", "my-own", "--template", "ema-cros")

    assert answer.code == 4
    assert "did you mean 'ema-cross'?" in answer.err


@pytest.mark.parametrize("name", ["UP", "no", "a_b", "../away", ""])
def test_a_name_that_no_preset_can_have_writes_nothing(
    call: Call, tmp_path: Path, name: str
) -> None:
    answer = call("new", name)

    assert answer.code == 2
    assert not [*tmp_path.rglob("*.yaml")]


def test_templates_are_listed_with_their_idea(call: Call) -> None:
    answer = call("new", "--list", "-o", "json")

    found = {each["name"]: each["summary"] for each in answer.document["templates"]}
    assert found.keys() == set(template.names())
    assert all(summary.endswith(".") and len(summary) > 40 for summary in found.values())


def test_an_editor_is_told_where_the_schema_is_only_if_it_is_there(
    call: Call, tmp_path: Path
) -> None:
    call("init", ".")

    call("new", "near")
    call("new", "far", "--folder", "strategies/deep/er")
    deep = (tmp_path / "strategies/deep/er/far.yaml").read_text()

    assert deep.startswith("# yaml-language-server: $schema=../../../schemas/editor.schema.json\n")


def test_names_are_completed_from_the_folder_and_from_what_was_listed(
    call: Call, tmp_path: Path
) -> None:
    call("new", "btc-own")
    (tmp_path / "state").mkdir()

    completion.remember("strategies", ["btc-running", "eth-running"])
    completion.remember("trades", ["tw2", "tw1"])

    assert completion.presets("btc") == ["btc-own", "btc-running"]
    assert completion.trades("") == ["tw2", "tw1"]
    assert completion.templates("ema") == ["ema-cross"]


def test_a_spoilt_list_of_names_completes_nothing(call: Call, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/completion.json").write_text("[")

    assert completion.presets("") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("strategy pause btc", ["btc-own", "btc-running"]),
        ("trade show tw1", ["tw1"]),
        ("new mine --template ema", ["ema-cross"]),
        ("expl", ["explain"]),
        ("explain strat", ["strategies/btc-own.yaml"]),
    ],
)
def test_the_shell_completes_without_loading_what_is_slow(
    call: Call, tmp_path: Path, words: str, expected: list[str]
) -> None:
    call("new", "btc-own")
    (tmp_path / "state").mkdir()
    completion.remember("strategies", ["btc-running", "eth-running"])
    completion.remember("trades", ["tw2", "tw1"])
    # Typer itself asks pydantic
    heavy = "('yaml', 'asyncio', 'numpy', 'temporalio')"
    script = (
        "import atexit, sys; from tradewright.cli.command import app; "
        f"told = lambda: print([n for n in {heavy} if n in sys.modules], file=sys.stderr); "
        "atexit.register(told); "
        "app(prog_name='tradewright')"
    )
    asked = {
        "_TRADEWRIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": f"tradewright {words}",
        "COMP_CWORD": str(len(words.split())),
    }

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == expected
    assert done.stderr == "[]\n"
