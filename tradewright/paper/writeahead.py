"""The write-ahead log beside the state: what is acknowledged, before SQLite has it.

To append a batch costs a tenth of a transaction. A record is its length, its checksum and its
body. What is appended survives the death of the process, though not of the machine.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tradewright.matching import Balance, Execution, Order, Position, Profile
from tradewright.paper.batch import Batch, Prices
from tradewright.paper.layout import INSTEAD, StateUnusable
from tradewright.paper.query import Booking, StoredExecution, StoredTransfer, Transfer

_HEAD = 8


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    state: str
    number: int
    orders: list[Order]
    executed: list[StoredExecution]
    transferred: list[StoredTransfer]
    positions: list[Position]
    balances: list[Balance]
    profiles: list[Profile]
    prices: dict[str, Prices]
    facts: dict[str, msgspec.Raw]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Entry).decode


class Writeahead:
    """Batches of the state with the id *state*; those of another one are not its own.

    Raises:
        StateUnusable: The log cannot be opened.
    """

    def __init__(self, path: Path, state: str) -> None:
        self._path = path
        self._state = state
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise StateUnusable(path, f"{error}; name a file that can be written") from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        # Whoever writes to it after this must fail
        self._file = -1

    def append(self, number: int, batch: Batch) -> None:
        bookings = [(b.cause, b.cash, b.size) for b in batch.bookings]
        body = _encode(
            (
                self._state,
                number,
                list(batch.orders.values()),
                [b for b in bookings if isinstance(b[0], Execution)],
                [b for b in bookings if isinstance(b[0], Transfer)],
                list(batch.positions.values()),
                list(batch.balances.values()),
                list(batch.profiles.values()),
                batch.prices,
                batch.facts,
            )
        )
        record = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body
        if os.write(self._file, record) != len(record):
            raise OSError(f"log {self._path} took only a part of a record; its disk may be full")

    def after(self, number: int) -> Iterator[tuple[int, Batch]]:
        """Yield the batches after *number*, but for a last one that is incomplete.

        What ends the process cuts it off, before it is acknowledged; what ends the machine may
        leave zeros instead of its end, or of all of it.

        Raises:
            StateUnusable: A batch is not what it was.
        """
        content, start = self._path.read_bytes(), 0
        written = len(content.rstrip(b"\0"))
        while len(content) >= start + _HEAD:
            head, begin = content[start : start + _HEAD], start + _HEAD
            start = begin + int.from_bytes(head[:4], "big")
            if start > len(content):
                return
            body = content[begin:start]
            # The checksum of nothing is that of zeros
            if not body or zlib.crc32(body) != int.from_bytes(head[4:], "big"):
                if written < start:
                    return
                raise StateUnusable(self._path, f"a record is not what it was; {INSTEAD}")
            entry = _decode(body)
            if entry.state == self._state and entry.number > number:
                yield entry.number, _batch(entry)

    def clear(self) -> None:
        os.ftruncate(self._file, 0)


def _batch(entry: _Entry) -> Batch:
    batch = Batch()
    batch.orders = {o.seq: o for o in entry.orders}
    batch.bookings = [
        *(Booking(*b) for b in entry.executed),
        *(Booking(*b) for b in entry.transferred),
    ]
    batch.positions = {(p.account, p.symbol): p for p in entry.positions}
    batch.balances = {b.account: b for b in entry.balances}
    batch.profiles = {p.account: p for p in entry.profiles}
    batch.prices = entry.prices
    batch.facts = dict(entry.facts)
    return batch
