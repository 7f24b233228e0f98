"""Who shares a commit, and what becomes of them when it fails."""

import asyncio
import threading
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tradewright.journal.errors import WriteAbandoned
from tradewright.journal.group_commit import GroupCommit, Outcome, Work


def nothing(connection: Connection) -> str:
    del connection
    return ""


async def test_each_asker_of_a_failed_commit_gets_a_fault_of_its_own() -> None:
    asked: list[int] = []

    def commit(batch: Sequence[Work]) -> Sequence[Outcome]:
        asked.append(len(batch))
        raise OperationalError("COMMIT", {}, OSError(28, "disk full"))

    group = GroupCommit(commit)

    found = await asyncio.gather(*(group.write(nothing) for _ in range(3)), return_exceptions=True)

    assert asked == [3]
    assert len({id(fault) for fault in found}) == 3
    for fault in found:
        assert isinstance(fault, OperationalError)
        assert isinstance(fault.orig, OSError)
        assert "disk full" in str(fault)


async def test_a_writer_that_is_cancelled_leaves_nobody_waiting() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def commit(batch: Sequence[Work]) -> Sequence[Outcome]:
        begun.set()
        may_end.wait(10)
        return [Outcome("written") for _ in batch]

    group = GroupCommit(commit)
    first = asyncio.create_task(group.write(nothing))
    await asyncio.to_thread(begun.wait, 10)
    second = asyncio.create_task(group.write(nothing))
    await asyncio.sleep(0)
    assert group._writing is not None

    group._writing.cancel()
    async with asyncio.timeout(30):
        found = await asyncio.gather(first, second, return_exceptions=True)
    may_end.set()

    assert [type(fault) for fault in found] == [WriteAbandoned, WriteAbandoned]
    assert await group.write(nothing) == "written"


async def test_who_asks_while_the_writer_ends_is_answered() -> None:
    group = GroupCommit(lambda batch: [Outcome("written") for _ in batch])

    async def again() -> list[str]:
        return [await group.write(nothing) for _ in range(50)]

    async with asyncio.timeout(30):
        found = await asyncio.gather(again(), again())

    assert list(found) == [["written"] * 50] * 2
