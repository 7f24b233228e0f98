"""Which topics of the private stream owe a message: the exchange's lists show what they have not.

A connection can live, and one of its topics be dead. Silence alone proves nothing, for an
account may be quiet; what the lists show and the topic does not tell of does.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from activities.parse import OrderStatus, Row, rows
from tradewright import ids
from tradewright.domain.errors import AnswerMalformed, TradewrightError

log = structlog.get_logger(__name__)

SILENT_AFTER = 3.0
"""Seconds that a topic may lag behind the lists."""
REMEMBERED = 2_000
MOST_ASKED = 10
"""Orders that are asked for one by one, after they have gone from the list without a word."""
PAGE = 50
ANSWER_WITHIN = 3.0
"""Seconds for the question whose order it was; the symbol tells it, too."""


class Source(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class Silence:
    """Remembers what each topic owes, and since when."""

    def __init__(self) -> None:
        self._owed: dict[tuple[str, str], float] = {}

    def owes(self, topic: str, keys: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for key in keys:
            self._owed.setdefault((topic, key), now)

    def heard(self, topic: str, key: str) -> None:
        self._owed.pop((topic, key), None)

    def forget(self) -> None:
        self._owed.clear()

    @property
    def topic(self) -> str | None:
        """Return a topic that has owed a message for too long."""
        now = asyncio.get_running_loop().time()
        for (topic, _), since in self._owed.items():
            if now - since > SILENT_AFTER:
                return topic
        return None


class Orders:
    """What the order topic has told: when each order last changed, and whose stop it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._told: dict[str, tuple[int, tuple[str, str]]] = {}
        """When and what it became, by order id: by the stream, and by a connection's first list."""
        self._parents: dict[str, str] = {}
        """The order link of the entry that a stop belongs to; empty for what is no stop."""
        self._ended: dict[str, None] = {}
        self._working: set[str] = set()
        """As far as the stream or a list has told."""

    def hear(self, row: Row) -> str:
        """Take one order from the stream; return its id."""
        order_id = str(row.get("orderId"))
        self._note(row)
        if row.get("orderStatus") not in WORKING:
            self._ended[order_id] = None
            self._working.discard(order_id)
        else:
            self._working.add(order_id)
        for known in (self._told, self._parents, self._ended):
            _shorten(known)
        return order_id

    def knows(self, order_id: str) -> bool:
        return order_id in self._told

    async def begin(self) -> None:
        """Read what works now: a new connection is told of none of it."""
        self._working.clear()
        for row in await self._listed():
            self._note(row)
            self._working.add(str(row.get("orderId")))

    async def untold(self) -> list[str]:
        """Return the orders of which the exchange tells something that the stream has not."""
        before = self._working - self._ended.keys()
        listed = {str(row.get("orderId")): row for row in await self._listed()}
        changed = [
            order_id
            for order_id, row in listed.items()
            if order_id not in self._ended and self._is_news(order_id, row)
        ]
        gone = sorted(before - listed.keys() - self._ended.keys())[:MOST_ASKED]
        ended = [order_id for order_id in gone if await self._has_ended(order_id)]
        self._working = (self._working | listed.keys()) - self._ended.keys() - set(ended)
        return changed + [order_id for order_id in ended if order_id not in self._ended]

    async def _has_ended(self, order_id: str) -> bool:
        """Return whether an order that is listed no more has ended; a list may lag, too."""
        try:
            row = await self._order("", order_id)
        except TradewrightError as e:
            # It is asked for again; the others are judged meanwhile
            log.warning("order_not_read", order_id=order_id, detail=str(e))
            return False
        return row is not None and row.get("orderStatus") not in WORKING

    async def parent(self, symbol: str, order_id: str) -> str:
        """Return the order link of the entry whose stop or target the order is, if it is one."""
        known = self._parents.get(order_id)
        if known is not None or not order_id:
            return known or ""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                row = await self._order(symbol, order_id)
        except (TradewrightError, TimeoutError) as e:
            log.warning("order_not_read", order_id=order_id, detail=str(e) or type(e).__name__)
            return ""
        if row is None:
            return ""
        # It may trade in many parts
        self._parents[order_id] = str(row.get("parentOrderLinkId") or "")
        return self._parents[order_id]

    async def _order(self, symbol: str, order_id: str) -> Row | None:
        # An id alone is refused
        where = {"symbol": symbol} if symbol else {"settleCoin": "USDT"}
        for method in ("get_open_orders", "get_order_history"):
            answer = await self._source.call(method, category="linear", orderId=order_id, **where)
            for row in rows(method, answer):
                if row.get("orderId") == order_id:
                    return row
        return None

    def _is_news(self, order_id: str, row: Row) -> bool:
        at, state = self._told.get(order_id, (-1, ("", "")))
        # A list may lag behind the stream, and prices may move without a message
        return at < _updated(row) and state != _state(row)

    def _note(self, row: Row) -> None:
        order_id, at = str(row.get("orderId")), _updated(row)
        if at >= self._told.get(order_id, (-1, ()))[0]:
            self._told[order_id] = (at, _state(row))
        self._parents[order_id] = str(row.get("parentOrderLinkId") or "")

    async def _listed(self) -> list[Row]:
        query: dict[str, Any] = {
            "category": "linear",
            "settleCoin": "USDT",
            "openOnly": 0,
            "limit": PAGE,
        }
        found: list[Row] = []
        while True:
            answer = await self._source.call("get_open_orders", **query)
            page = rows("get_open_orders", answer)
            found += page
            query["cursor"] = answer["result"].get("nextPageCursor")
            if not query["cursor"] or not page:
                return found


WORKING = frozenset(status for status in OrderStatus if not status.is_terminal)


def was_placed_by_us(row: Row) -> bool:
    """Return whether the order of an execution must have been told of by the order topic."""
    return row.get("execType") == "Trade" and ids.is_ours(str(row.get("orderLinkId") or ""))


def _state(row: Row) -> tuple[str, str]:
    return str(row.get("orderStatus")), str(row.get("cumExecQty"))


def _updated(row: Row) -> int:
    try:
        return int(row.get("updatedTime") or 0)
    except ValueError as e:
        raise AnswerMalformed("a read of orders", f"{e} in {dict(row)!r}") from None


def _shorten(known: "dict[str, Any]") -> None:
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
