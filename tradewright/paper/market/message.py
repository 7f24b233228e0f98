"""What recorded and relayed stream messages say: Bybit's, and those of depth and trade streams.

Bybit: ``{"topic": "orderbook.50.X" | "publicTrade.X" | "tickers.X", "type", "ts", "data"}``.
Others: ``{"stream", "data": {"e": "depthUpdate" | "trade" | "aggTrade" | "bookTicker", ...}}``,
with or without the outer part, and a snapshot ``{"lastUpdateId", "bids", "asks"}``.
What is neither is passed over: acknowledgements, pongs, other topics.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from tradewright.domain.market import Side
from tradewright.paper.market.ladder import Ladder
from tradewright.paper.market.move import Depth, Level, Move, Print, Reference

_KEPT = 500
_MOST_DIGITS = 24
_KNOWN = 2**16


class Slip(Exception):
    """What is wrong with one message."""


class Told(NamedTuple):
    """What one message says happened."""

    at_ms: int
    moves: list[Move]


class _Book:
    def __init__(self) -> None:
        self.ladder = Ladder()
        self.quoted: tuple[int, Level, Level] | None = None
        self.recent: deque[tuple[int, list[Level], list[Level]]] = deque(maxlen=_KEPT)


class Reader:
    """Reads messages in their order; keeps the books that they make."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}

    @property
    def ladders(self) -> dict[str, Ladder]:
        return {symbol: book.ladder for symbol, book in self._books.items()}

    def read(self, message: Any) -> Told | None:
        """Return what *message* says; None if it says nothing about a market.

        Raises:
            Slip: It cannot be.
        """
        if not isinstance(message, dict):
            raise Slip("it is no JSON object")
        try:
            if "topic" in message:
                return self._bybit(message)
            data = message.get("data", message)
            if not isinstance(data, dict):
                return None
            if "lastUpdateId" in data:
                return self._snapshot(data)
            return self._event(data) if "e" in data else None
        except KeyError as error:
            raise Slip(f"{error.args[0]} is missing") from None
        except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise Slip(f"it is not of the form expected: {error}") from None

    def _bybit(self, message: dict[str, Any]) -> Told | None:
        kind, _, rest = message["topic"].partition(".")
        symbol = rest.rpartition(".")[2]
        data = message["data"] if kind in ("orderbook", "publicTrade", "tickers") else {}
        if kind == "orderbook":
            at_ms = _time(message.get("cts") or message["ts"])
            bids, asks = _levels(data["b"]), _levels(data["a"])
            book = self._book(symbol).ladder
            if is_snapshot := message["type"] == "snapshot":
                book.clear()
            bids, asks = book.put(bids, asks)
            return Told(at_ms, [Depth(symbol, bids, asks, is_snapshot)])
        if kind == "publicTrade":
            moves: list[Move] = [
                Print(row["s"], _side(row["S"]), _price(row["p"]), _qty(row["v"])) for row in data
            ]
            return Told(_time(data[-1]["T"]), moves) if moves else None
        if kind == "tickers":
            mark, index, rate = (
                _number(data[name]) if data.get(name) else None
                for name in ("markPrice", "indexPrice", "fundingRate")
            )
            if mark is None and index is None and rate is None:
                return None
            return Told(_time(message["ts"]), [Reference(symbol, mark, index, rate)])
        return None

    def _event(self, data: dict[str, Any]) -> Told | None:
        kind = data["e"]
        if kind not in ("depthUpdate", "trade", "aggTrade", "bookTicker"):
            return None
        symbol, at_ms = data["s"], _time(data.get("T") or data["E"])
        if kind == "depthUpdate":
            return self._diff(symbol, at_ms, data)
        if kind == "bookTicker":
            bid, ask = (_price(data["b"]), _qty(data["B"])), (_price(data["a"]), _qty(data["A"]))
            if bid[0] >= ask[0]:
                raise Slip(f"the best bid {bid[0]} is not below the best ask {ask[0]}")
            book = self._book(symbol)
            book.quoted = data["u"], bid, ask
            return Told(at_ms, [Depth(symbol, *book.ladder.quote(bid, ask))])
        if data.get("X", "MARKET") != "MARKET" or not Decimal(data["p"]):
            # Of the insurance fund and the like; not traded in the book
            return None
        side = Side.SELL if data["m"] else Side.BUY
        return Told(at_ms, [Print(symbol, side, _price(data["p"]), _qty(data["q"]))])

    def _diff(self, symbol: str, at_ms: int, data: dict[str, Any]) -> Told | None:
        bids, asks = _levels(data["b"]), _levels(data["a"])
        book = self._book(symbol)
        book.recent.append((data["u"], bids, asks))
        if book.quoted is None and not book.ladder.is_whole:
            # Nobody knows yet on which side of these levels the market is
            return None
        if book.quoted is not None and book.quoted[0] > data["u"]:
            # The best quotes are newer than this
            _, (bid, _), (ask, _) = book.quoted
            bids = [level for level in bids if level[0] < bid]
            asks = [level for level in asks if level[0] > ask]
        return Told(at_ms, [Depth(symbol, *book.ladder.put(bids, asks))])

    def _snapshot(self, data: dict[str, Any]) -> Told | None:
        if len(self._books) != 1:
            # It names no symbol
            return None
        ((symbol, book),) = self._books.items()
        book.ladder.clear()
        book.ladder.put(_levels(data["bids"]), _levels(data["asks"]))
        for update, bids, asks in book.recent:
            if update > data["lastUpdateId"]:
                book.ladder.put(bids, asks)
        if book.quoted is not None and book.quoted[0] > data["lastUpdateId"]:
            book.ladder.quote(*book.quoted[1:])
        at_ms = _time(data.get("T") or data["E"])
        return Told(at_ms, [Depth(symbol, *book.ladder.levels(), snapshot=True)])

    def _book(self, symbol: str) -> _Book:
        if symbol not in self._books:
            self._books[symbol] = _Book()
        return self._books[symbol]


def _levels(rows: Iterable[Any]) -> list[Level]:
    return [(_price(price), _qty(qty)) for price, qty in rows]


def _side(text: Any) -> Side:
    if text not in ("Buy", "Sell"):
        raise Slip(f"side {text!r} is neither Buy nor Sell")
    return Side(text)


# The same prices and quantities are told again and again
@lru_cache(maxsize=_KNOWN)
def _price(text: Any) -> Decimal:
    price = _number(text)
    if price <= 0:
        raise Slip(f"price {price} is not above zero")
    return price


@lru_cache(maxsize=_KNOWN)
def _qty(text: Any) -> Decimal:
    qty = _number(text)
    if qty < 0:
        raise Slip(f"quantity {qty} is below zero")
    return qty


def _number(text: Any) -> Decimal:
    if not isinstance(text, str):
        raise Slip(f"{text!r} is no number in quotes")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Slip(f"{text!r} is no number") from None
    if not number.is_finite() or len(text) > _MOST_DIGITS:
        raise Slip(f"{text[:40]!r} is no number")
    return number


def _time(at_ms: Any) -> int:
    if type(at_ms) is not int or not 0 < at_ms < 10**13:
        raise Slip(f"time {at_ms!r} is not in milliseconds since 1970")
    return at_ms
