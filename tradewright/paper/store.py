"""The state of the paper exchange in one SQLite file.

Every change is one transaction, committed before its answer leaves. In WAL mode with
``synchronous=NORMAL`` a commit survives the death of the process, though not of the machine.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tradewright.domain.errors import TradewrightError
from tradewright.matching import (
    Event,
    Executed,
    Execution,
    Order,
    OrderChanged,
    Position,
    PositionChanged,
    StopTrailed,
)
from tradewright.paper.barrier import Subscriber

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS executions (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS positions (symbol TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscribers (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class StateUnusable(TradewrightError):
    def __init__(self, path: Path | None, detail: str) -> None:
        super().__init__(f"state {path} cannot be used: {detail}")


class Store:
    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # SQLite's own transactions: Python must not open any by itself
            self._db = sqlite3.connect(path or ":memory:", timeout=1, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            # Two exchanges on one file would each lose what the other writes
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.executescript(_TABLES)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StateUnusable(path, f"{error}; another exchange may be using it") from error

    def close(self) -> None:
        self._db.close()

    def save(self, events: Iterable[Event], facts: dict[str, Any]) -> None:
        """Write what *events* changed, and *facts*, in one transaction."""
        execute = self._db.execute
        execute("BEGIN")
        try:
            for event in events:
                if isinstance(event, OrderChanged | StopTrailed):
                    row = (event.order.seq, _encode(event.order))
                    execute("INSERT OR REPLACE INTO orders VALUES (?, ?)", row)
                elif isinstance(event, Executed):
                    row = (event.execution.seq, _encode(event.execution))
                    execute("INSERT INTO executions VALUES (?, ?)", row)
                elif isinstance(event, PositionChanged):
                    entry = (event.position.symbol, _encode(event.position))
                    execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", entry)
            for name, fact in facts.items():
                execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, _encode(fact)))
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def fact(self, name: str, kind: type[T]) -> T | None:
        row = self._db.execute("SELECT body FROM facts WHERE name = ?", (name,)).fetchone()
        return msgspec.json.decode(row[0], type=kind) if row else None

    def orders(self) -> list[Order]:
        return self._all("SELECT body FROM orders ORDER BY seq", Order)

    def executions(self) -> list[Execution]:
        return self._all("SELECT body FROM executions ORDER BY seq", Execution)

    def positions(self) -> list[Position]:
        return self._all("SELECT body FROM positions", Position)

    def subscribers(self) -> list[Subscriber]:
        return self._all("SELECT body FROM subscribers", Subscriber)

    def put_subscriber(self, subscriber: Subscriber) -> None:
        row = (subscriber.name, _encode(subscriber))
        self._db.execute("INSERT OR REPLACE INTO subscribers VALUES (?, ?)", row)

    def drop_subscriber(self, name: str) -> None:
        self._db.execute("DELETE FROM subscribers WHERE name = ?", (name,))

    def _all(self, query: str, kind: type[T]) -> list[T]:
        decoder = msgspec.json.Decoder(kind)
        return [decoder.decode(body) for (body,) in self._db.execute(query)]
