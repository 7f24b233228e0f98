"""Which folder of presets is watched, and what is said where there is none."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tradewright.cli.run import watched_folder
from tradewright.settings import Settings


def test_a_worker_without_a_folder_watches_none(call: Call) -> None:
    answer = call("worker", "--queues", "presets")

    assert answer.code == 2
    assert "name it with TRADEWRIGHT_PRESETS" in answer.err


def test_a_queue_that_is_not_there_is_refused_by_name(call: Call) -> None:
    answer = call("worker", "--queues", "preset")

    assert answer.code == 2
    assert "presets" in answer.err


def test_the_folder_here_is_watched_unless_another_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = watched_folder(Settings(), None)
    (tmp_path / "strategies").mkdir()

    assert nothing is None
    assert watched_folder(Settings(), None) == tmp_path / "strategies"
    assert watched_folder(Settings(presets=Path("mine")), None) == tmp_path / "mine"
    assert watched_folder(Settings(presets=Path("mine")), Path("yours")) == tmp_path / "yours"


def test_with_real_money_only_a_folder_that_was_named_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strategies").mkdir()

    assert watched_folder(Settings(venue="live"), None) is None
    assert watched_folder(Settings(venue="live"), Path("mine")) == tmp_path / "mine"
