"""What histories are asked for, and what they answer."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

import msgspec

from tradewright.matching import Execution

FOREVER_MS = 2**53
TRANSFER = "Transfer"

T = TypeVar("T")
Page = tuple[list[T], str]
"""Rows, and the cursor of the page after them; "" at the end."""


class OrderQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which ended orders; by creation time, from `start_ms` to `end_ms`, both included."""

    symbols: frozenset[str] | None = None
    """None: all."""
    start_ms: int = 0
    end_ms: int = FOREVER_MS
    unfilled_since_ms: int = 0
    """What ended without a fill up to then is not shown."""
    status: str = ""
    are_stops: bool | None = None
    """Only ``StopOrder`` (True) or only ``Order`` (False)."""
    order_id: str = ""
    link: str = ""
    limit: int = 20
    cursor: str = ""


class BookingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions (or transfers); by time, from `start_ms` to `end_ms`, both included."""

    symbols: frozenset[str] | None = None
    """None: all. A transfer has no symbol."""
    start_ms: int = 0
    end_ms: int = FOREVER_MS
    types: frozenset[str] | None = None
    """Of `ExecType`, and `TRANSFER`; None: all."""
    order_id: str = ""
    link: str = ""
    """The order's."""
    limit: int = 50
    cursor: str = ""


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came into the account or, negative, left it."""

    seq: int
    account: str
    amount: Decimal
    time: datetime
    transfer_id: str = ""
    source: str = ""
    """As the client named it, like ``FUND``."""
    target: str = ""


class Booking(msgspec.Struct, frozen=True):
    """What changed the wallet, and what it left behind."""

    cause: Execution | Transfer
    cash: Decimal
    """The wallet balance after it."""
    size: Decimal
    """The position after it, negative if short."""


class StoredExecution(NamedTuple):
    """A booking as it lies in the state, where its kind must be known."""

    cause: Execution
    cash: Decimal
    size: Decimal


class StoredTransfer(NamedTuple):
    cause: Transfer
    cash: Decimal
    size: Decimal


class Hidden(msgspec.Struct, frozen=True):
    """What is written but not shown yet."""

    order_ids: frozenset[str] = frozenset()
    from_seq: int = FOREVER_MS
    """Bookings from this one on."""


NOTHING = Hidden()
