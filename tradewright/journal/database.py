"""The way to the database: transactions, locks between processes, migrations."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, Executable, Table, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError,
)

from tradewright.journal.errors import JournalConflict, JournalUnavailable, WrongRevision
from tradewright.journal.sqlite import SqliteStore

if TYPE_CHECKING:
    from tradewright.journal.postgresql import PostgresqlStore

REVISION: Final = "0004"
"""The migration that these tables belong to."""

ATTEMPTS: Final = 5
DEADLOCK: Final = {"40001", "40P01"}
"""PostgreSQL's serialization_failure and deadlock_detected: the transaction may be repeated."""

OUR_FAULT: Final = (IntegrityError, ProgrammingError, DataError, NotSupportedError)

T = TypeVar("T")


def journal_url(url: str) -> URL:
    """Return *url* with the driver that is used for its database.

    Example:
        >>> journal_url("postgresql://ann@db/journal").drivername
        'postgresql+asyncpg'
    """
    parsed = make_url(url)
    driver = {"sqlite": "sqlite", "postgresql": "postgresql+asyncpg"}
    return parsed.set(drivername=driver.get(parsed.get_backend_name(), parsed.drivername))


def _postgresql(url: URL) -> "PostgresqlStore":
    # Each process would take longer to start for a driver that it does not need
    from tradewright.journal.postgresql import PostgresqlStore

    return PostgresqlStore(url)


class Database:
    """One journal database; its transactions run as plain functions of a connection."""

    def __init__(self, url: str) -> None:
        parsed = journal_url(url)
        self._preparation: Callable[[], Awaitable[None]] | None = None
        self.name = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._store = SqliteStore(parsed) if self.is_sqlite else _postgresql(parsed)

    async def close(self) -> None:
        await self._store.close()

    def postpone(self, preparation: Callable[[], Awaitable[None]]) -> None:
        """Do *preparation* before the next work, and again before each until it succeeds."""
        self._preparation = preparation

    async def _prepared(self) -> None:
        # Taken away first, for the preparation works on this database itself
        preparation, self._preparation = self._preparation, None
        if preparation is None:
            return
        try:
            await preparation()
        except BaseException:
            self._preparation = preparation
            raise

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in a transaction that writes nothing."""
        await self._prepared()
        async with self._explained():
            return await self._store.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run *work* and commit it; repeated if the database asks for it."""
        await self._prepared()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._explained():
                    return await self._store.write(work)
            except IntegrityError as e:
                # Another process was first with the same id; the repeat sees its row
                if attempt == ATTEMPTS:
                    raise JournalConflict("row", str(e.orig)) from e
            except JournalUnavailable as e:
                if attempt == ATTEMPTS or _sqlstate(e.__cause__) not in DEADLOCK:
                    raise
        raise AssertionError

    async def migrate(self) -> None:
        """Bring the tables to `REVISION`; several processes may ask at once."""
        if await self.read(revision) == REVISION:
            return
        async with self._explained(), self._store.first_start():
            await self.write(_upgrade)

    async def check_revision(self) -> None:
        found = await self.read(revision)
        if found != REVISION:
            raise WrongRevision(self.name, found, REVISION)

    @asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """Name what keeps the database away; mistakes of ours pass through."""
        try:
            yield
        except OUR_FAULT:
            raise
        except DBAPIError as e:
            raise JournalUnavailable(self.name, str(e.orig)) from e
        except (TimeoutError, OSError) as e:
            raise JournalUnavailable(self.name, str(e) or type(e).__name__) from e


def _sqlstate(error: BaseException | None) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", ""))


def revision(connection: Connection) -> str:
    """Return which migration the tables are at; empty if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def _upgrade(connection: Connection) -> None:
    # Costs a tenth of a second and more, and is needed once in a journal's life
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    lock(connection, ("migration",))
    found = revision(connection)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, REVISION)
    except CommandError as e:
        raise WrongRevision("database", found, REVISION) from e


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Keep other writers of *names* waiting until the transaction ends.

    SQLite has one writer at a time anyway. Sorted, so that two writers cannot wait for each other.
    """
    if connection.dialect.name == "sqlite":
        return
    for name in sorted(set(names)):
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"tradewright/{name}"},
        )


def upsert(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert the row, or overwrite the one with the same primary key."""
    connection.execute(_overwriting(table, connection.dialect.name, tuple(values)), values)


def insert_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert the row unless there is one with the same primary key; return whether it is new."""
    done = connection.execute(_leaving(table, connection.dialect.name), values)
    return bool(done.rowcount)


# Made once: to put together a statement of forty columns takes longer than to run it


@cache
def _overwriting(table: Table, dialect: str, names: tuple[str, ...]) -> Executable:
    keys = [column.name for column in table.primary_key]
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    changes = {name: insert.excluded[name] for name in names if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=changes)


@cache
def _leaving(table: Table, dialect: str) -> Executable:
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing()
