"""The file that the state lies in: its tables, and whether it can be trusted."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tradewright.domain.errors import TradewrightError
from tradewright.paper.row import is_whole

INSTEAD = "use another state file, or a copy of this one from before"
_APPLICATION = 0x74777078
_LAYOUT = 1
_CACHE_KIB = 32_768
_CHECKED_WHOLE = 2**28
"""Bytes up to which indexes are compared with tables, and rows with their checksums: a second or
two; of 1,300 MB many."""
_SIZE = ("page_count", "page_size")
_GROWING = ("orders", "bookings")
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subscribers (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE keys (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (name TEXT PRIMARY KEY, profile BLOB NOT NULL, balance BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE prices (symbol TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    account TEXT NOT NULL, symbol TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (account, symbol)
) WITHOUT ROWID;
CREATE TABLE orders (
    seq INTEGER PRIMARY KEY, account TEXT NOT NULL, order_id TEXT NOT NULL, link TEXT NOT NULL,
    symbol TEXT NOT NULL, is_open INTEGER NOT NULL, is_stop INTEGER NOT NULL,
    has_fill INTEGER NOT NULL, status TEXT NOT NULL, created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX order_ids ON orders (order_id);
CREATE UNIQUE INDEX order_links ON orders (account, link) WHERE link <> '';
CREATE INDEX open_orders ON orders (seq) WHERE is_open;
CREATE INDEX ended_orders ON orders
    (account, created_ms, seq, has_fill, updated_ms, status, is_stop) WHERE NOT is_open;
CREATE INDEX ended_orders_of_symbol ON orders
    (account, symbol, created_ms, seq, has_fill, updated_ms, status, is_stop) WHERE NOT is_open;
CREATE TABLE bookings (
    seq INTEGER PRIMARY KEY, account TEXT NOT NULL, type TEXT NOT NULL, order_id TEXT NOT NULL,
    symbol TEXT NOT NULL, time_ms INTEGER NOT NULL, closes INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX bookings_of_order ON bookings (order_id);
CREATE INDEX bookings_by_time ON bookings (account, time_ms, seq);
CREATE INDEX bookings_of_symbol ON bookings (account, symbol, time_ms, seq);
CREATE INDEX rare_bookings ON bookings (account, time_ms, seq) WHERE type <> 'Trade';
CREATE INDEX closings ON bookings (account, time_ms, seq) WHERE closes = 1;
CREATE INDEX closings_of_symbol ON bookings (account, symbol, time_ms, seq) WHERE closes = 1;
"""


class StateUnusable(TradewrightError):
    def __init__(self, path: Path | None, detail: str) -> None:
        super().__init__(f"state {path} cannot be used: {detail}")


def connected(path: Path | None) -> sqlite3.Connection:
    """Open the state at *path*, a new one if there is none; this process alone may use it.

    Raises:
        StateUnusable: It cannot be opened, is another's, of another layout, or damaged.
    """
    if path is not None:
        try:
            _measure(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            # There are secrets of keys in it
            path.touch(mode=0o600)
        except OSError as error:
            raise StateUnusable(path, f"{error}; name a file that can be written") from error
    # SQLite's own transactions: Python must not open any by itself
    try:
        db = sqlite3.connect("" if path is None else path, timeout=1, isolation_level=None)
    except sqlite3.Error as error:
        raise StateUnusable(path, f"{error}; name a file that can be written") from error
    try:
        _take(db)
        _lay_out(db, path)
    except sqlite3.OperationalError as error:
        db.close()
        advice = (
            "another exchange may be using it; stop that one or use another state file"
            if "locked" in str(error)
            else "name a file that can be written"
        )
        raise StateUnusable(path, f"{error}; {advice}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        db.close()
        raise StateUnusable(path, f"{error}; {INSTEAD}") from error
    except BaseException:
        db.close()
        raise
    return db


def _measure(path: Path) -> None:
    """Refuse a file that is shorter than its first page says; SQLite would read zeros."""
    if not path.is_file():
        return
    if not path.stat().st_size and path.with_name(path.name + "-log").exists():
        # SQLite would begin anew
        raise StateUnusable(path, f"it is empty, and once was not; {INSTEAD}")
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        # Pages may still be in there
        return
    with path.open("rb") as file:
        header = file.read(100)
    size = path.stat().st_size
    page = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65_536 if page == 1 else page)
    if header.startswith(b"SQLite format 3") and size < expected:
        raise StateUnusable(path, f"{expected - size} bytes are missing at its end; {INSTEAD}")


def _take(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    # Two exchanges on one file would each lose what the other writes
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("BEGIN IMMEDIATE")
    db.execute("COMMIT")


def _lay_out(db: sqlite3.Connection, path: Path | None) -> None:
    tables = _tables(db)
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (layout,) = db.execute("PRAGMA user_version").fetchone()
    if tables and application != _APPLICATION:
        owner = (
            "an earlier tradewright" if {"facts", "orders"} <= tables.keys() else "another program"
        )
        raise StateUnusable(path, f"it was written by {owner}; use another state file")
    if tables and layout != _LAYOUT:
        raise StateUnusable(path, f"its layout is {layout}, not {_LAYOUT}; use another state file")
    db.execute(f"PRAGMA journal_mode={'MEMORY' if path is None else 'WAL'}")
    db.execute("PRAGMA synchronous=NORMAL")
    if not tables:
        db.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id={_APPLICATION}; "
            f"PRAGMA user_version={_LAYOUT}; COMMIT"
        )
        return
    # A header that forbids it is noticed by the first to write
    db.execute(f"PRAGMA user_version={_LAYOUT}")
    if tables != _expected():
        raise StateUnusable(path, f"its tables are not those of layout {_LAYOUT}; {INSTEAD}")
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZE)
    is_small = pages * size <= _CHECKED_WHOLE
    check = "integrity_check" if is_small else "quick_check"
    (fault,) = db.execute(f"PRAGMA {check}(1)").fetchone()
    if fault != "ok":
        raise StateUnusable(path, f"it is damaged ({fault}); {INSTEAD}")
    # What the exchange begins with it reads anyway; these it would stumble over later
    for table in _GROWING if is_small else ():
        rows = db.execute(f"SELECT body FROM {table}")  # noqa: S608 - a name of our own
        if not all(is_whole(body) for (body,) in rows):
            raise StateUnusable(path, f"it is damaged (a row of {table}); {INSTEAD}")


def _tables(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def _expected() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(_SCHEMA)
        return _tables(db)
