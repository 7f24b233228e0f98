"""Who wrote what a file says: its last commit, if it lies in a git repository unchanged."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GIT: Final = (
    *("git", "--no-optional-locks"),
    # A repository's own settings must not have anything run here
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
)
ANSWER_WITHIN: Final = 1.0
LONGEST: Final = 200


@dataclass(frozen=True)
class Author:
    by: str
    reason: str


async def author_of(path: Path, otherwise: Author) -> Author:
    """Return who committed the file at *path* as it is now, and what for.

    Args:
        path: The file.
        otherwise: Who it is said to be where that is not known: it lies in no repository, or
            was changed since it was committed.
    """
    log, changes = await asyncio.gather(
        _git(path, "log", "-1", "--format=%an%x00%h%x00%s", "--", path.name),
        _git(path, "status", "--porcelain", "--ignored", "--", path.name),
    )
    if not log or changes != "":
        return otherwise
    name, commit, subject = log.strip().split("\0", 2)
    return Author(by=f"{name} ({commit})"[:LONGEST], reason=subject[:LONGEST])


async def _git(path: Path, *arguments: str) -> str | None:
    """Return what git says of the folder of *path*; None if it says nothing in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(*GIT, "-C", str(path.parent), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return out.decode(errors="replace") if process.returncode == 0 else None
