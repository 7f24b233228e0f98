"""The state of the paper exchange: one SQLite file, and a log of what it does not hold yet.

A batch is appended to the log, and many of them together become one transaction. Both survive
the death of the process, though not of the machine. Without a path the rows lie in a temporary
file that ends with the process.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from tradewright.matching import Balance, Order, Position, Profile
from tradewright.paper.barrier import Subscriber
from tradewright.paper.batch import Batch, Prices
from tradewright.paper.clock import ms
from tradewright.paper.history import History, is_stop
from tradewright.paper.keys import ApiKey
from tradewright.paper.layout import INSTEAD, StateUnusable, connected
from tradewright.paper.query import TRANSFER, Booking, Transfer
from tradewright.paper.row import RowDamaged, sealed, unsealed
from tradewright.paper.writeahead import Writeahead

_MOST_UNSETTLED = 256
_COUNTED = ("accounts", "positions", "orders", "bookings")
_PUT_ORDER = """
INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET is_open = excluded.is_open, is_stop = excluded.is_stop,
    has_fill = excluded.has_fill, status = excluded.status, updated_ms = excluded.updated_ms,
    body = excluded.body
"""
# Of the executions that close something the first of each order counts as 1, the others as 2
_PUT_BOOKING = """
INSERT INTO bookings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7 + (
    ?7 AND EXISTS (SELECT 1 FROM bookings WHERE order_id = ?4 AND closes = 1)
), ?8)
"""
_PUT_PROFILE = """
INSERT INTO accounts VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET profile = excluded.profile
"""

T = TypeVar("T")


class Store:
    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._db = connected(path)
        self.history = History(self._db, self.settle)
        self._batch = Batch()
        """Written ahead, but not settled."""
        self._links: set[tuple[str, str]] = set()
        self._number = self._settled = 0
        self._log: Writeahead | None = None
        try:
            self._newest_order = self.history.last_seq()
            self._positions = {(p.account, p.symbol) for p in self.positions()}
            self._counts = self._counted()
            self.is_new = self._counts == _Counts()
            self._check()
            if path is not None:
                self._catch_up(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files; what is not settled is in the log."""
        if self._log is not None:
            self._log.close()
        self._db.close()

    def write(self, batch: Batch) -> None:
        """Make *batch* durable."""
        self._number += 1
        if self._log is not None:
            self._log.append(self._number, batch)
        self._batch.join(batch)
        self._links |= {(o.account, o.link) for o in batch.orders.values() if o.link}

    @property
    def is_behind(self) -> bool:
        """Return whether so much is not settled that it should be."""
        return len(self._batch) >= _MOST_UNSETTLED

    def settle(self) -> None:
        """Let the tables hold all that was written, in one transaction."""
        if not self._number > self._settled:
            return
        db = self._db
        db.execute("BEGIN")
        try:
            counts, newest = self._put_batch(self._batch)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        self._counts, self._newest_order, self._settled = counts, newest, self._number
        self._batch = Batch()
        self._links.clear()
        if self._log is not None:
            self._log.clear()

    def has_link(self, account: str, link: str) -> bool:
        """Return whether an order ever had *link*."""
        asked = "SELECT 1 FROM orders WHERE account = ? AND link = ? AND link <> ''"
        if not link.isascii():
            # No link is; and not all that Python takes for text can be asked for
            return False
        return (account, link) in self._links or (
            self._db.execute(asked, (account, link)).fetchone() is not None
        )

    def _catch_up(self, path: Path) -> None:
        """Settle what the log holds and the tables do not."""
        state = self.fact("state", str)
        if state is None:
            state = secrets.token_hex(8)
            self.put_fact("state", state)
        log = Writeahead(path.with_name(path.name + "-log"), state)
        for number, batch in log.after(self._number):
            self._batch.join(batch)
            self._number = number
        self._log = log
        self.settle()
        log.clear()

    def _check(self) -> None:
        known = self.fact("counts", _Counts) or _Counts()
        if known != self._counts:
            lost = f"it held {known} and now holds {self._counts}"
            raise StateUnusable(self._path, f"{lost}; {INSTEAD}")
        self._number = self._settled = self.fact("number", int) or 0

    def _put_batch(self, batch: Batch) -> "tuple[_Counts, int]":
        many = self._db.executemany
        many(_PUT_ORDER, [_order_row(o) for o in batch.orders.values()])
        many(_PUT_BOOKING, [_booking_row(b) for b in batch.bookings])
        positions = [(*of, sealed(p)) for of, p in batch.positions.items()]
        many("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", positions)
        # Of a new account the balance comes with the profile
        profiles = [
            (name, sealed(p), sealed(batch.balances.get(name)))
            for name, p in batch.profiles.items()
        ]
        many(_PUT_PROFILE, profiles)
        balances = [(sealed(b), b.account) for b in batch.balances.values()]
        many("UPDATE accounts SET balance = ? WHERE name = ?", balances)
        prices = [(symbol, sealed(p)) for symbol, p in batch.prices.items()]
        many("INSERT OR REPLACE INTO prices VALUES (?, ?)", prices)
        counts, newest = self._counts_with(batch)
        for name, fact in (*batch.facts.items(), ("counts", counts), ("number", self._number)):
            self.put_fact(name, fact)
        return counts, newest

    def put_fact(self, name: str, fact: object) -> None:
        self._put("facts", name, fact)

    def fact(self, name: str, kind: type[T]) -> T | None:
        with self._readable():
            row = self._db.execute("SELECT body FROM facts WHERE name = ?", (name,)).fetchone()
            return unsealed(row[0], kind) if row else None

    def lasting_fact(self, name: str, kind: type[T]) -> T | None:
        """Return a fact that only a new state does not hold."""
        fact = self.fact(name, kind)
        if fact is None and not self.is_new:
            raise StateUnusable(self._path, f"it has lost its {name}; {INSTEAD}")
        return fact

    def profiles(self) -> list[Profile]:
        """Return them in the order in which they were opened."""
        return sorted(self._all("SELECT profile FROM accounts", Profile), key=lambda p: p.uid)

    def balances(self) -> list[Balance]:
        return self._all("SELECT balance FROM accounts", Balance)

    def positions(self) -> list[Position]:
        return self._all("SELECT body FROM positions", Position)

    def open_orders(self) -> list[Order]:
        """Return them oldest first."""
        return self._all("SELECT body FROM orders WHERE is_open ORDER BY seq", Order)

    def prices(self) -> dict[str, Prices]:
        with self._readable():
            rows = self._db.execute("SELECT symbol, body FROM prices").fetchall()
            return {symbol: unsealed(body, Prices) for symbol, body in rows}

    def subscribers(self) -> list[Subscriber]:
        return self._all("SELECT body FROM subscribers", Subscriber)

    def put_subscriber(self, subscriber: Subscriber) -> None:
        self._put("subscribers", subscriber.name, subscriber)

    def drop_subscriber(self, name: str) -> None:
        self._db.execute("DELETE FROM subscribers WHERE name = ?", (name,))

    def api_keys(self) -> list[ApiKey]:
        """Return them in the order in which they were made."""
        found = self._all("SELECT body FROM keys", ApiKey)
        return sorted(found, key=lambda k: (k.created_ms, k.key))

    def put_key(self, key: ApiKey) -> None:
        self._put("keys", key.key, key)

    def drop_key(self, key: str) -> None:
        self._db.execute("DELETE FROM keys WHERE key = ?", (key,))

    def _put(self, table: str, key: str, value: object) -> None:
        put = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608 - a name of our own
        self._db.execute(put, (key, sealed(value)))

    def _all(self, query: str, kind: type[T]) -> list[T]:
        with self._readable():
            return [unsealed(body, kind) for (body,) in self._db.execute(query)]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, RowDamaged, msgspec.MsgspecError) as error:
            raise StateUnusable(self._path, f"it is damaged ({error}); {INSTEAD}") from error

    def _counted(self) -> "_Counts":
        with self._readable():
            return _Counts(*(self._count(t) for t in _COUNTED))

    def _counts_with(self, batch: Batch) -> "tuple[_Counts, int]":
        """Return how many rows there are with those of *batch*, and the newest order."""
        self._positions.update(batch.positions)
        newest = self._newest_order
        counts = _Counts(
            self._count("accounts") if batch.profiles else self._counts.accounts,
            len(self._positions),
            self._counts.orders + sum(seq > newest for seq in batch.orders),
            self._counts.bookings + len(batch.bookings),
        )
        return counts, max(newest, *batch.orders) if batch.orders else newest

    def _count(self, table: str) -> int:
        asked = f"SELECT count(*) FROM {table}"  # noqa: S608 - a name of our own
        (count,) = self._db.execute(asked).fetchone()
        return int(count)


class _Counts(msgspec.Struct, frozen=True):
    """How many rows there are; a row that is missing shows."""

    accounts: int = 0
    positions: int = 0
    orders: int = 0
    bookings: int = 0

    def __str__(self) -> str:
        return (
            f"{self.accounts} accounts, {self.positions} positions, {self.orders} orders "
            f"and {self.bookings} bookings"
        )


def _order_row(order: Order) -> tuple[object, ...]:
    return (
        order.seq,
        order.account,
        order.order_id,
        order.link,
        order.symbol,
        order.is_open,
        is_stop(order),
        bool(order.filled),
        order.status.value,
        ms(order.created),
        ms(order.updated),
        sealed(order),
    )


def _booking_row(booking: Booking) -> tuple[object, ...]:
    cause = booking.cause
    columns: tuple[object, ...]
    if isinstance(cause, Transfer):
        columns = (TRANSFER, cause.transfer_id, "", ms(cause.time), False)
    else:
        of, time_ms = cause.order_id, ms(cause.time)
        columns = (cause.exec_type.value, of, cause.symbol, time_ms, bool(cause.closed_size))
    return (cause.seq, cause.account, *columns, sealed((cause, booking.cash, booking.size)))
