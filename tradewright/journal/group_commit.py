"""Many small transactions of one process as few large ones: they share the wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from tradewright.journal.errors import WriteAbandoned

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
        self._taken: list[asyncio.Future[Any]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what *work* returns, once it is committed; raise what it, or the commit, raises.

        Work whose asker is cancelled before its turn is not done.

        Raises:
            WriteAbandoned: The writing was cancelled, as at the end of the loop.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            # A task of its own: whoever asked first may be cancelled, the others still wait
            self._writing = asyncio.create_task(self._write_waiting())
            self._writing.add_done_callback(self._abandon)
        return await done

    async def _write_waiting(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            batch = [(work, done) for work, done in taken if not done.done()]
            if not batch:
                continue
            self._taken = [done for _, done in batch]
            outcomes: Sequence[Outcome]
            try:
                outcomes = await asyncio.to_thread(self._commit, [work for work, _ in batch])
            except Exception as e:
                # Each asker raises its own, and adds to it where it came by
                outcomes = [Outcome(fault=_twin(e)) for _ in batch]
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if done.done():
                    continue
                if outcome.fault is None:
                    done.set_result(outcome.result)
                else:
                    done.set_exception(outcome.fault)
            self._taken = []

    def _abandon(self, writing: asyncio.Task[None]) -> None:
        """Fail whoever still waits for a writer that did not come to its end."""
        if not writing.cancelled() and writing.exception() is None:
            return
        left = [*self._taken, *(done for _, done in self._waiting)]
        self._taken = []
        self._waiting.clear()
        for done in left:
            if not done.done():
                done.set_exception(WriteAbandoned())


def _twin(fault: Exception) -> Exception:
    """Return another exception of the same kind with the same content."""
    # Not by its own constructor, which may ask for what the fault does not hold
    twin = type(fault).__new__(type(fault), *fault.args)
    twin.__dict__.update(fault.__dict__)
    twin.__cause__ = fault
    return twin


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
