"""The book as its streams tell it."""

from typing import TYPE_CHECKING

from tradewright.domain.market import Side
from tradewright.paper.ladder import Row, difference, rows
from tradewright.paper.quote import Level, Quote
from tradewright.paper.stream.topic import Message, Topic, message

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

RPI = "rpi"
PACES_S = {"1": 0.01, "50": 0.02, "200": 0.1, "1000": 0.2, RPI: 0.1}
"""Seconds between two messages, by depth."""
_RPI_DEPTH = 50


class BookTopic(Topic):
    """A snapshot, then changes; of the best level only snapshots. ``u`` is consecutive."""

    def __init__(self, name: str, exchange: "Exchange", quote: Quote, depth: str) -> None:
        super().__init__(name, exchange, quote)
        self.pace_s = PACES_S[depth]
        self.depth = int(depth) if depth != RPI else _RPI_DEPTH
        self.told_s = 0.0
        self._detail = depth
        self._told: tuple[list[Level], list[Level]] | None = None
        self._seq = 0

    @property
    def update_id(self) -> int:
        return self._quote.update_ids.get(self._detail, 0)

    def greeting(self) -> list[Message]:
        if self._told is None:
            self._tell(self._book())
        return [self.snapshot()]

    def snapshot(self) -> Message:
        bids, asks = self._told or ([], [])
        scale = self._quote.scale
        return self._message("snapshot", rows(bids, scale), rows(asks, scale))

    def news(self) -> Message | None:
        before, after = self._told, self._book()
        if before == after:
            return None
        self._tell(after)
        if before is None or self.depth == 1:
            return self.snapshot()
        bids = difference(before[0], after[0], Side.BUY, self._quote.scale)
        asks = difference(before[1], after[1], Side.SELL, self._quote.scale)
        return self._message("delta", bids, asks)

    def forget(self) -> None:
        self._told = None

    def _book(self) -> tuple[list[Level], list[Level]]:
        return self._exchange.engine.levels(self._quote.symbol, self.depth)

    def _tell(self, book: tuple[list[Level], list[Level]]) -> None:
        self._told = book
        self._quote.update_ids[self._detail] = self.update_id + 1
        self._seq = self._sequence()

    def _message(self, kind: str, bids: list[Row], asks: list[Row]) -> Message:
        data = {
            "s": self._quote.symbol,
            "b": bids,
            "a": asks,
            "u": self.update_id,
            "seq": self._seq,
        }
        return message(self.name, kind, data) | {"cts": self._exchange.clock.now_ms()}


class RpiBookTopic(BookTopic):
    """The book with the quantity of retail price improvement beside; there is none of it here."""

    def _message(self, kind: str, bids: list[Row], asks: list[Row]) -> Message:
        told = super()._message(kind, bids, asks)
        for side in ("b", "a"):
            told["data"][side] = [(price, qty, "0") for price, qty in told["data"][side]]
        return told
