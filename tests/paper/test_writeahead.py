"""The write-ahead log: what is left of it after a power cut, and what cannot be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewright.paper.batch import Batch
from tradewright.paper.layout import StateUnusable
from tradewright.paper.writeahead import Writeahead


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Writeahead]:
    log = Writeahead(tmp_path / "paper.db-log", "state")
    for number in (1, 2, 3):
        log.append(number, Batch())
    yield log
    log.close()


def numbers(log: Writeahead) -> list[int]:
    return [number for number, _ in log.after(0)]


@pytest.mark.parametrize("zeros", [3, 8, 4096])
def test_zeros_are_the_end_of_the_log(log: Writeahead, tmp_path: Path, zeros: int) -> None:
    with (tmp_path / "paper.db-log").open("ab") as file:
        file.write(bytes(zeros))

    assert numbers(log) == [1, 2, 3]


@pytest.mark.parametrize("lost", [1, 5])
def test_a_last_record_that_was_not_wholly_written_is_none(
    log: Writeahead, tmp_path: Path, lost: int
) -> None:
    path = tmp_path / "paper.db-log"
    content = path.read_bytes()

    path.write_bytes(content[:-lost])
    assert numbers(log) == [1, 2]
    path.write_bytes(content[:-lost] + bytes(lost + 4096))
    assert numbers(log) == [1, 2]


def test_zeros_within_the_log_are_no_end(log: Writeahead, tmp_path: Path) -> None:
    path = tmp_path / "paper.db-log"
    content = path.read_bytes()
    length = len(content) // 3

    path.write_bytes(content[:length] + bytes(length) + content[-length:])

    with pytest.raises(StateUnusable, match="a record is not what it was"):
        numbers(log)
