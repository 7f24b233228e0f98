"""The page of promises says what the tests prove, and no more."""

from pathlib import Path

import pytest

from tests.docs import promise_page

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", promise_page.PROMISES)
def test_every_promise_has_tests_of_its_own(name: str) -> None:
    assert list(promise_page.tests_of(promise_page.TESTS / "promises" / name))


def test_every_complaint_is_answered_by_a_test() -> None:
    unanswered = [key for key, tests in promise_page.complaints().items() if not tests]

    assert unanswered == []


def test_the_page_is_that_of_the_tests() -> None:
    page = (ROOT / "docs" / "promises.md").read_text("utf-8")

    assert page == promise_page.page(), "run python -m tests.docs.promise_page docs/promises.md"
