"""Many small transactions of one process as few large ones: they share the wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Work = Callable[[Connection], Any]

MOST_AT_ONCE: Final = 64


class Outcome(NamedTuple):
    """What a piece of work returned or raised."""

    result: Any = None
    fault: Exception | None = None


class GroupCommit:
    """Takes work as it comes; what waits while one transaction is written makes up the next.

    Work is answered when its transaction is committed, and not before.
    """

    def __init__(self, commit: Callable[[Sequence[Work]], Sequence[Outcome]]) -> None:
        """Write with *commit*, one transaction for each call, in a thread."""
        self._commit = commit
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what *work* returns, once it is committed; raise what it, or the commit, raises.

        Work whose asker is cancelled before its turn is not done.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            # A task of its own: whoever asked first may be cancelled, the others still wait
            self._writing = asyncio.create_task(self._write_waiting())
        return await done

    async def _write_waiting(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            batch = [(work, done) for work, done in taken if not done.done()]
            if not batch:
                continue
            outcomes: Sequence[Outcome]
            try:
                outcomes = await asyncio.to_thread(self._commit, [work for work, _ in batch])
            except Exception as e:
                outcomes = [Outcome(fault=e)] * len(batch)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if done.done():
                    continue
                if outcome.fault is None:
                    done.set_result(outcome.result)
                else:
                    done.set_exception(outcome.fault)


def each_in_turn(connection: Connection, batch: Sequence[Work]) -> Sequence[Outcome]:
    """Do each piece of work within a savepoint, so that one that fails takes no other along."""
    if len(batch) == 1:
        return [Outcome(batch[0](connection))]
    outcomes = []
    for work in batch:
        savepoint = connection.begin_nested()
        try:
            outcome = Outcome(work(connection))
            savepoint.commit()
        except Exception as e:
            savepoint.rollback()
            outcome = Outcome(fault=e)
        outcomes.append(outcome)
    return outcomes
