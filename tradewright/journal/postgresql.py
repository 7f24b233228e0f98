"""A journal in PostgreSQL: as many processes as there are."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 5


class PostgresqlStore:
    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=BUSY_TIMEOUT_S,
            connect_args={
                "timeout": BUSY_TIMEOUT_S,
                "server_settings": {
                    "application_name": "tradewright",
                    "lock_timeout": f"{BUSY_TIMEOUT_S}s",
                    "idle_in_transaction_session_timeout": "60s",
                },
            },
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def first_start(self) -> AsyncIterator[None]:
        """Keep nobody out: the migration takes a lock of its own."""
        yield
