"""When a command looks for garbage."""

import gc
from collections.abc import Iterator

import pytest

from tradewright.cli import garbage


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_what_runs_for_long_looks_for_garbage_as_often_as_python_does() -> None:
    before = gc.get_threshold()

    garbage.hardly()
    while_starting = gc.get_threshold()
    garbage.as_usual()

    assert while_starting[0] == garbage.HARDLY > before[0]
    assert gc.get_threshold() == before


def test_what_was_there_before_is_not_looked_through_again() -> None:
    kept: list[list[int]] = [[] for _ in range(3)]

    garbage.as_usual()

    assert not any(found is one for found in gc.get_objects() for one in kept)
