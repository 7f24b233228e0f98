"""A journal in a file: one process or a few, one writer at a time."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from tradewright.journal.group_commit import GroupCommit, Outcome, Work, each_in_turn

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 5
BEGIN: Final = "journal_begin"


class SqliteStore:
    """Transactions in threads: a statement costs half of what it does by way of the loop."""

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(url)
        # The write lock is taken at the start, so that what is read stays true
        self._immediate = self._engine.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
        self._group = GroupCommit(self._commit)

    async def read(self, work: Callable[[Connection], T]) -> T:
        def do() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return await asyncio.to_thread(do)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._group.write(work)

    def _commit(self, batch: Sequence[Work]) -> Sequence[Outcome]:
        with self._immediate.begin() as connection:
            return each_in_turn(connection, batch)

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.dispose)

    @asynccontextmanager
    async def first_start(self) -> AsyncIterator[None]:
        """Keep other processes out: two that switch a new file to WAL at once both fail."""
        held = await asyncio.to_thread(_hold, Path(f"{self._path}.lock"))
        try:
            await asyncio.to_thread(self._write_ahead)
            yield
        finally:
            held.close()

    def _write_ahead(self) -> None:
        plain = self._engine.execution_options(**{BEGIN: ""}, isolation_level="AUTOCOMMIT")
        with plain.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _hold(path: Path) -> IO[str]:
    """Return the opened file at *path*, locked until it is closed or the process ends."""
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # The driver begins transactions late and its own way; ours begin when they say so
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(BEGIN, "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    return engine
