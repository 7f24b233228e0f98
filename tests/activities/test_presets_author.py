"""Who is said to have applied a saved preset."""

import subprocess
from pathlib import Path

import pytest

from activities.presets_author import Author, author_of

WATCHER = Author(by="watcher of here:/strategies", reason="saved")


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ann Smith", "-c", "user.email=ann@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "ema.yaml").write_text("version: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Trade it: slowly\n\nA longer story.")
    return tmp_path


async def test_what_was_committed_is_its_authors(repository: Path) -> None:
    found = await author_of(repository / "strategies" / "ema.yaml", WATCHER)

    assert found.by.startswith("Ann Smith (")
    assert found.reason == "Trade it: slowly"


@pytest.mark.parametrize("staged", [False, True])
async def test_what_was_changed_since_is_the_watchers(repository: Path, staged: bool) -> None:
    path = repository / "strategies" / "ema.yaml"
    path.write_text("version: 2\n")
    if staged:
        git(repository, "add", ".")

    assert await author_of(path, WATCHER) == WATCHER


async def test_what_was_never_committed_is_the_watchers(repository: Path) -> None:
    (repository / ".gitignore").write_text("hidden.yaml\n")
    for name in ("new.yaml", "hidden.yaml"):
        path = repository / "strategies" / name
        path.write_text("version: 1\n")

        assert await author_of(path, WATCHER) == WATCHER


async def test_without_a_repository_or_git_it_is_the_watcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ema.yaml"
    path.write_text("version: 1\n")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    without_repository = await author_of(path, WATCHER)
    monkeypatch.setenv("PATH", str(tmp_path))
    without_git = await author_of(path, WATCHER)

    assert without_repository == without_git == WATCHER


async def test_a_repository_cannot_have_programs_of_its_own_run(repository: Path) -> None:
    trace = repository / "ran"
    program = repository / "spy.sh"
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))

    await author_of(repository / "strategies" / "ema.yaml", WATCHER)

    assert not trace.exists()
