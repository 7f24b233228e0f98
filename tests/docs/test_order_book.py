"""The page on order books names what rules may use, and the numbers that the code goes by."""

from pathlib import Path

import pytest

from activities.book_feed import RENEW_AFTER, SILENT_AFTER
from tradewright.book import CLUSTER_BPS, NUMBERS
from tradewright.plugin import BOOK_SERIES

PAGE = (Path(__file__).parents[2] / "docs" / "order-book.md").read_text()


@pytest.mark.parametrize("name", BOOK_SERIES)
def test_every_number_of_a_book_is_explained_and_exists(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert name.removeprefix("book.") in NUMBERS


def test_the_page_says_what_the_code_does() -> None:
    assert f"within {CLUSTER_BPS:g} basis points" in PAGE
    assert f"for {SILENT_AFTER:g} s" in PAGE
    assert {3: "three"}[RENEW_AFTER] in PAGE
