"""What an editor is pointed at completes and checks a preset together with its plugin's params."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tradewright.preset import document

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
PRESETS = sorted(ROOT.glob("strategies/*.yaml"))


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    """Check as an editor does: by the file that the modeline names and those it refers to."""
    found = {
        path.relative_to(SCHEMAS).as_posix(): json.loads(path.read_text())
        for path in SCHEMAS.rglob("*.schema.json")
    }
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(content)) for name, content in found.items()
    )
    return Draft202012Validator(found["editor.schema.json"], registry=registry)


def _plain(path: Path) -> Any:
    root, flaws = document.parse(path.read_text())
    assert root is not None
    assert not flaws
    return json.loads(json.dumps(root.data, default=float))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_shipped_preset_names_the_schema_and_fits_it(
    editor: Draft202012Validator, path: Path
) -> None:
    first = path.read_text().partition("\n")[0]

    assert first == "# yaml-language-server: $schema=../schemas/editor.schema.json"
    assert [*editor.iter_errors(_plain(path))] == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("strategy", "params", "indicators", "atr", "ta"), "ARR"),
        (("strategy", "params", "lon"), "close > open"),
        (("exits", "stop"), {"times": 2}),
        (("strategy", "plugin"), 3),
    ],
)
def test_a_mistake_is_seen_in_parameters_too(
    editor: Draft202012Validator, where: tuple[str, ...], value: Any
) -> None:
    data = copy.deepcopy(_plain(ROOT / "strategies/ema-pullback.yaml"))
    inner = data
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value

    assert not editor.is_valid(data)


def test_an_unknown_plugin_is_left_to_validation(editor: Draft202012Validator) -> None:
    data = _plain(ROOT / "strategies/ema-pullback.yaml")
    data["strategy"] = {"plugin": "of-mine", "params": {"anything": 1}}

    assert editor.is_valid(data)
