"""The reference of the rule language says what the language is."""

import re
from pathlib import Path
from typing import Any

import pytest

from plugins.rules.params import Params
from tradewright import plugin
from tradewright.preset import document
from tradewright.rules import FUNCTIONS, Kind, compile_rule
from tradewright.rules.function import Function
from tradewright.rules.reference import renewed

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
TEXT = PAGE.read_text(encoding="utf-8")


def _data(block: str) -> dict[str, Any]:
    root, flaws = document.parse(block)
    assert root is not None
    assert not flaws
    return dict(root.data)


def test_the_tables_are_those_of_the_language() -> None:
    assert renewed(TEXT) == TEXT, "run python -m tradewright.rules.reference docs/rules.md"
    assert all(f"`{each.call}`" in TEXT for each in FUNCTIONS.values())
    assert "| RSI | Relative Strength Index | close | timeperiod 14 |" in TEXT


def test_the_example_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    written = [_data(block)["strategy"]["params"] for block in blocks]

    assert written
    for each in written:
        assert Params.model_validate(each).programme().rules
    assert written[0].keys() >= Params.model_fields.keys() - {"symbols"}


@pytest.mark.parametrize("name", [*Params.model_fields, *plugin.EXTRA_SERIES, *plugin.COLUMNS])
def test_every_key_and_every_series_is_named(name: str) -> None:
    assert re.search(rf"[` ]{re.escape(name)}[` ]", TEXT)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda each: each.name)
def test_functions_are_written_as_they_are_told(function: Function) -> None:
    names = {"a": Kind.NUMBER, "b": Kind.NUMBER, "x": Kind.NUMBER, "low": Kind.NUMBER}
    names |= {"high": Kind.NUMBER, "condition": Kind.CONDITION}
    text = function.call.replace(", …", "").replace(", n)", ", 5)")

    assert compile_rule(text, names, None).kind is function.kind
