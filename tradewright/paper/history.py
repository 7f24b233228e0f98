"""What is remembered of orders, executions and transfers, newest first, page by page."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from tradewright.matching import ExecType, Execution, Order, OrderStatus, RequestRejected, StopKind
from tradewright.paper.query import (
    FOREVER_MS,
    NOTHING,
    TRANSFER,
    Booking,
    BookingQuery,
    Hidden,
    OrderQuery,
    Page,
    StoredExecution,
    StoredTransfer,
    Transfer,
)
from tradewright.paper.row import unsealed

_MOST_MERGED = 16
"""Symbols that are looked up one by one; of more than that all rows are gone through."""


T = TypeVar("T")
_Row = tuple[Any, ...]


def is_stop(order: Order) -> bool:
    """Return whether it is a ``StopOrder``; a conditional one is not once it has traded."""
    if order.stop is StopKind.CONDITIONAL:
        return order.status is OrderStatus.UNTRIGGERED or not order.filled
    return order.stop is not StopKind.NONE


class History:
    """Reads of the tables that grow without end; nothing of them is kept in memory.

    Names of tables, columns and indexes are put into the SQL; what is asked for never is.
    """

    def __init__(self, db: sqlite3.Connection, settle: Callable[[], None]) -> None:
        self._db = db
        self._settle = settle

    def orders(self, account: str, query: OrderQuery, hidden: Hidden = NOTHING) -> Page[Order]:
        """Return ended orders, the ones created last first."""
        where = _Where("NOT is_open", ("account = ?", account))
        where.within("created_ms", query.start_ms, query.end_ms)
        where.add("status = ?", query.status)
        if query.are_stops is not None:
            where.add(f"is_stop = {int(query.are_stops)}")
        where.add("(has_fill OR updated_ms > ?)", query.unfilled_since_ms, even=0)
        where.without("order_id", hidden.order_ids)
        indexes = _Indexes("ended_orders", "ended_orders_of_symbol")
        if query.order_id:
            where.add("order_id = ?", query.order_id)
            indexes = _Indexes("order_ids")
        elif query.link:
            where.add("link <> '' AND link = ?", query.link)
            indexes = _Indexes("order_links")
        rows = self._newest("orders", indexes, "created_ms, seq, body", where, query)
        return _page(rows, query.limit, lambda row: unsealed(row[2], Order))

    def executions(
        self, account: str, query: BookingQuery, hidden: Hidden = NOTHING
    ) -> Page[Execution]:
        """Return executions, the last first."""
        where, indexes = self._booked(account, query, hidden)
        where.add(f"type <> '{TRANSFER}'")
        rows = self._newest("bookings", indexes, "time_ms, seq, body", where, query)
        return _page(rows, query.limit, lambda row: unsealed(row[2], StoredExecution).cause)

    def closed(
        self, account: str, query: BookingQuery, hidden: Hidden = NOTHING
    ) -> Page[list[Execution]]:
        """Return the closing executions of each order that closed something, oldest first.

        The time of an order is that of the first of them.
        """
        where, _ = self._booked(account, query, hidden)
        where.add("closes = 1")
        indexes = _Indexes("closings", "closings_of_symbol")
        rows = self._newest("bookings", indexes, "time_ms, seq, order_id", where, query)
        return _page(rows, query.limit, lambda row: self._closing(account, row[2], hidden))

    def transactions(
        self, account: str, query: BookingQuery, hidden: Hidden = NOTHING
    ) -> Page[Booking]:
        """Return what changed the wallet, the last first."""
        where, indexes = self._booked(account, query, hidden)
        rows = self._newest("bookings", indexes, "time_ms, seq, body, type", where, query)
        return _page(rows, query.limit, _booking)

    def transfers(
        self, account: str, query: BookingQuery, hidden: Hidden = NOTHING
    ) -> Page[Transfer]:
        """Return transfers, the last first."""
        only = replace(query, types=frozenset({TRANSFER}))
        where, indexes = self._booked(account, only, hidden)
        rows = self._newest("bookings", indexes, "time_ms, seq, body", where, only)
        return _page(rows, query.limit, lambda row: unsealed(row[2], StoredTransfer).cause)

    def orders_after(self, account: str | None, seq: int, limit: int) -> list[Order]:
        """Return the orders of all states, oldest first."""
        rows = self._after("orders", account, seq, limit, "TRUE")
        return [unsealed(body, Order) for (body,) in rows]

    def executions_after(self, account: str | None, seq: int, limit: int) -> list[Execution]:
        """Return executions, oldest first."""
        rows = self._after("bookings", account, seq, limit, f"type <> '{TRANSFER}'")
        return [unsealed(body, StoredExecution).cause for (body,) in rows]

    def bookings_after(self, account: str, seq: int, last: int, limit: int) -> list[Booking]:
        """Return what changed the wallet, oldest first, up to number *last*."""
        asked = (
            "SELECT time_ms, seq, body, type FROM bookings "
            "WHERE seq > ? AND seq <= ? AND +account = ? ORDER BY seq LIMIT ?"
        )
        return [_booking(row) for row in self._select(asked, (seq, last, account, limit))]

    def last_booking(self) -> int:
        ((seq,),) = self._select("SELECT coalesce(max(seq), 0) FROM bookings")
        return int(seq)

    def last_seq(self) -> int:
        """Return the highest number that an order, an execution or a transfer has."""
        asked = "SELECT max(seq) FROM orders UNION ALL SELECT max(seq) FROM bookings"
        return max(seq or 0 for (seq,) in self._select(asked))

    def count_orders(self, account: str) -> int:
        asked = "SELECT count(*) FROM orders WHERE account = ? AND "
        counts = [self._select(asked + term, (account,)) for term in ("is_open", "NOT is_open")]
        return sum(count for ((count,),) in counts)

    def _after(
        self, table: str, account: str | None, seq: int, limit: int, term: str
    ) -> list[_Row]:
        where = _Where(term, ("seq > ?", seq))
        where.add("+account = ?", account)
        asked = f"SELECT body FROM {table} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
        return self._select(asked, (*where.given, limit))

    def _booked(
        self, account: str, query: BookingQuery, hidden: Hidden
    ) -> "tuple[_Where, _Indexes]":
        where = _Where(("account = ?", account))
        where.within("time_ms", query.start_ms, query.end_ms)
        where.add("seq < ?", hidden.from_seq, even=FOREVER_MS)
        if query.types is not None:
            where.among("type", query.types)
        if query.order_id:
            where.add("order_id = ?", query.order_id)
            return where, _Indexes("bookings_of_order")
        if query.link:
            order = "SELECT order_id FROM orders WHERE account = ? AND link = ? AND link <> ''"
            where.add(f"order_id = ({order})", account, query.link)
            return where, _Indexes("bookings_of_order")
        if query.types is not None and ExecType.TRADE not in query.types:
            where.add(f"type <> '{ExecType.TRADE}'")
            return where, _Indexes("rare_bookings")
        return where, _Indexes("bookings_by_time", "bookings_of_symbol")

    def _closing(self, account: str, order_id: str, hidden: Hidden) -> list[Execution]:
        asked = (
            "SELECT body FROM bookings WHERE order_id = ? AND account = ? AND closes > 0 "
            "AND seq < ? ORDER BY seq"
        )
        rows = self._select(asked, (order_id, account, hidden.from_seq))
        return [unsealed(body, StoredExecution).cause for (body,) in rows]

    def _newest(
        self,
        table: str,
        indexes: "_Indexes",
        columns: str,
        where: "_Where",
        query: OrderQuery | BookingQuery,
    ) -> list[_Row]:
        """Return one row more than asked for, if there are as many."""
        if not (query.order_id + query.link).isascii():
            # No id or link is; and not all that Python takes for text can be asked for
            return []
        time, symbols = columns.partition(",")[0], query.symbols
        if query.cursor:
            where.add(f"({time}, seq) < (?, ?)", *_position(query.cursor))
        end = f"ORDER BY {time} DESC, seq DESC LIMIT {query.limit + 1}"
        start = f"SELECT {columns} FROM {table} INDEXED BY"  # noqa: S608
        if symbols is None or not indexes.of_symbol or len(symbols) > _MOST_MERGED:
            if symbols is not None:
                where.among("symbol", symbols)
            return self._select(f"{start} {indexes.of_all} WHERE {where} {end}", where.given)
        asked = f"{start} {indexes.of_symbol} WHERE {where} AND symbol = ? {end}"
        found = [self._select(asked, [*where.given, s]) for s in sorted(symbols)]
        return list(islice(merge(*found, key=lambda row: row[:2], reverse=True), query.limit + 1))

    def _select(self, asked: str, given: Sequence[object] = ()) -> list[_Row]:
        self._settle()
        return self._db.execute(asked, given).fetchall()


class _Indexes(NamedTuple):
    """Which ones to use; SQLite, without statistics, would go by others."""

    of_all: str
    of_symbol: str = ""


class _Where:
    """Terms of a condition, all of them to hold, and what is given for their marks."""

    def __init__(self, *terms: str | tuple[str, object]) -> None:
        self._terms: list[str] = []
        self.given: list[object] = []
        for term in terms:
            if isinstance(term, str):
                self.add(term)
            else:
                self.add(*term)

    def __str__(self) -> str:
        return " AND ".join(self._terms)

    def add(self, term: str, *given: object, even: object = None) -> None:
        """Add *term* unless what is given for it is empty, or *even*."""
        if given and (given[0] == even or given[0] in ("", None)):
            return
        self._terms.append(term)
        self.given += given

    def within(self, column: str, start_ms: int, end_ms: int) -> None:
        # SQLite knows no larger numbers than those of 64 bits
        self.add(f"{column} >= ?", max(min(start_ms, FOREVER_MS), 0), even=0)
        self.add(f"{column} <= ?", max(min(end_ms, FOREVER_MS), -1), even=FOREVER_MS)

    def among(self, column: str, values: Iterable[str]) -> None:
        self._list(f"{column} IN", values)

    def without(self, column: str, values: Iterable[str]) -> None:
        if values:
            self._list(f"{column} NOT IN", values)

    def _list(self, term: str, values: Iterable[str]) -> None:
        listed = json.dumps(sorted(values))
        self.add(f"{term} (SELECT value FROM json_each(?))", listed)  # noqa: S608


def _position(cursor: str) -> tuple[int, int]:
    parts = cursor.split("-")
    if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and len(p) < 19 for p in parts):
        raise RequestRejected(10001, "params error: cursor invalid")
    return int(parts[0]), int(parts[1])


def _page(rows: list[_Row], limit: int, read: Callable[[_Row], T]) -> Page[T]:
    cursor = f"{rows[limit - 1][0]}-{rows[limit - 1][1]}" if len(rows) > limit else ""
    return [read(row) for row in rows[:limit]], cursor


def _booking(row: _Row) -> Booking:
    if row[3] == TRANSFER:
        return Booking(*unsealed(row[2], StoredTransfer))
    return Booking(*unsealed(row[2], StoredExecution))
