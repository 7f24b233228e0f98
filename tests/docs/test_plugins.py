"""docs/plugins.md names every promise, every series and every code of the gate."""

from pathlib import Path

import pytest

from tradewright import plugin, testing
from tradewright.domain.account import RefusalCode
from tradewright.domain.market import Value

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")


@pytest.mark.parametrize("promise", testing.PROMISES, ids=testing.name)
def test_each_promise_is_described(promise: testing.Promise) -> None:
    assert f"| `{testing.name(promise)}` |" in PAGE


@pytest.mark.parametrize(
    "code", [code for code in RefusalCode if code.startswith(("data_", "book_"))]
)
def test_each_code_of_bad_data_is_described(code: RefusalCode) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize(
    "name", [name for name in plugin.EXTRA_SERIES if not name.startswith("book.")]
)
def test_each_extra_series_is_described(name: str) -> None:
    assert f'"{name}"' in PAGE


def test_what_an_evaluation_holds_is_described() -> None:
    fields: type[Value] = plugin.Evaluation

    assert all(f"`{name}`" in PAGE for name in fields.model_fields)
