"""The topics that follow the market: what a new subscriber is told, and what changed since.

All subscribers of a topic were told the same, so a change is worked out once for all of them; a
new one is given what the others know already, for the next change builds on that. ``ts`` is wall
time, when the message was made; times inside the data are market time.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tradewright.domain.market import Side
from tradewright.paper.clock import ms, wall
from tradewright.paper.ladder import Row, difference, rows
from tradewright.paper.market.candle import Bar, bucket_end
from tradewright.paper.quote import Level, Quote, levels, price_limits, ticker_row
from tradewright.paper.wire import changed, num

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

Message = dict[str, Any]
DEPTHS = {"1": 0.01, "50": 0.02, "200": 0.1, "1000": 0.2}
"""Seconds between two messages, by depth."""


def message(topic: str, kind: str, data: object) -> Message:
    return {"topic": topic, "type": kind, "ts": ms(wall()), "data": data}


class Topic(ABC):
    pace_s: float
    """Least time between two messages."""

    def __init__(self, name: str, exchange: "Exchange", quote: Quote) -> None:
        self.name = name
        self._exchange = exchange
        self._quote = quote

    @abstractmethod
    def greeting(self) -> list[Message]:
        """Return what a new subscriber is told at once."""

    @abstractmethod
    def news(self) -> Message | None:
        """Return what changed since all subscribers were told last."""

    @abstractmethod
    def forget(self) -> None:
        """Take note that nobody listens any more, so that nobody knows what was told."""

    def _sequence(self) -> int:
        return self._quote.sequence(self._exchange.clock.now_ms())


class BookTopic(Topic):
    """A snapshot, then changes; of the best level only snapshots. ``u`` is consecutive."""

    def __init__(self, name: str, exchange: "Exchange", quote: Quote, depth: str) -> None:
        super().__init__(name, exchange, quote)
        self.pace_s = DEPTHS[depth]
        self.depth = int(depth)
        self.told_s = 0.0
        self._told: tuple[list[Level], list[Level]] | None = None
        self._seq = 0

    @property
    def update_id(self) -> int:
        return self._quote.update_ids.get(self.depth, 0)

    def greeting(self) -> list[Message]:
        if self._told is None:
            self._tell(self._book())
        return [self.snapshot()]

    def snapshot(self) -> Message:
        bids, asks = self._told or ([], [])
        return self._message("snapshot", rows(bids), rows(asks))

    def news(self) -> Message | None:
        before, after = self._told, self._book()
        if before == after:
            return None
        self._tell(after)
        if before is None or self.depth == 1:
            return self.snapshot()
        bids = difference(before[0], after[0], Side.BUY)
        asks = difference(before[1], after[1], Side.SELL)
        return self._message("delta", bids, asks)

    def forget(self) -> None:
        self._told = None

    def _book(self) -> tuple[list[Level], list[Level]]:
        return levels(self._exchange.engine, self._quote.symbol, self.depth)

    def _tell(self, book: tuple[list[Level], list[Level]]) -> None:
        self._told = book
        self._quote.update_ids[self.depth] = self.update_id + 1
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


class TickerTopic(Topic):
    pace_s = 0.1

    def __init__(self, name: str, exchange: "Exchange", quote: Quote) -> None:
        super().__init__(name, exchange, quote)
        self._told: dict[str, Any] | None = None

    def greeting(self) -> list[Message]:
        if self._told is None:
            self._told = self._ticker()
        return [message(self.name, "snapshot", self._told) | {"cs": self._sequence()}]

    def news(self) -> Message | None:
        before, after = self._told, self._ticker()
        if before == after:
            return None
        self._told = after
        data = after if before is None else changed(before, after, ("symbol",))
        kind = "snapshot" if before is None else "delta"
        return message(self.name, kind, data) | {"cs": self._sequence()}

    def forget(self) -> None:
        self._told = None

    def _ticker(self) -> dict[str, Any]:
        row = ticker_row(self._exchange.engine, self._quote, self._exchange.clock.now_ms())
        return row | {"tickDirection": self._quote.direction}


class KlineTopic(Topic):
    """The forming candle, as it changes; that one has closed is told by `closed`."""

    def __init__(self, name: str, exchange: "Exchange", quote: Quote, interval: str) -> None:
        super().__init__(name, exchange, quote)
        speed = exchange.settings.speed
        # A second of the market, but no flood where the market hurries
        self.pace_s = 1.0 if speed == "lockstep" else max(0.1, 1 / speed)
        self._interval = interval
        self._told: Bar | None = None

    def greeting(self) -> list[Message]:
        # Else a market that reconnects within the barrier would never see what it waits for
        barrier = self._exchange.barriers.standing
        bar = self._quote.series.last_closed(self._interval)
        if barrier is None or barrier.phase != "close" or bar is None:
            return []
        if bucket_end(self._interval, bar.open_ms) != barrier.at_ms:
            return []
        return [self.candle(bar, confirm=True)]

    def news(self) -> Message | None:
        if self._exchange.settings.is_lockstep:
            return None
        bar = self._quote.series.forming(self._interval)
        if bar is None or bar == self._told:
            return None
        self._told = bar
        return self.candle(bar, confirm=False)

    def forget(self) -> None:
        self._told = None

    def candle(self, bar: Bar, *, confirm: bool) -> Message:
        row = {
            "start": bar.open_ms,
            "end": bucket_end(self._interval, bar.open_ms) - 1,
            "interval": self._interval,
            "open": num(bar.open),
            "close": num(bar.close),
            "high": num(bar.high),
            "low": num(bar.low),
            "volume": num(bar.volume),
            "turnover": num(round(bar.turnover, 8)),
            "confirm": confirm,
            "timestamp": self._exchange.clock.now_ms(),
        }
        return message(self.name, "snapshot", [row])


class PriceLimitTopic(Topic):
    pace_s = 0.3

    def __init__(self, name: str, exchange: "Exchange", quote: Quote) -> None:
        super().__init__(name, exchange, quote)
        self._told: dict[str, str] | None = None

    def greeting(self) -> list[Message]:
        if self._told is None:
            self._told = self._limits()
        return [self._message()]

    def news(self) -> Message | None:
        limits = self._limits()
        if limits == self._told:
            return None
        self._told = limits
        return self._message()

    def forget(self) -> None:
        self._told = None

    def _limits(self) -> dict[str, str]:
        highest, lowest = price_limits(self._exchange.engine, self._quote)
        return {"symbol": self._quote.symbol, "buyLmt": num(highest), "sellLmt": num(lowest)}

    def _message(self) -> Message:
        return {"topic": self.name, "ts": ms(wall()), "data": self._told}


def topic(name: str, exchange: "Exchange") -> Topic | None:
    """Return the topic *name*; None if it does not follow the market, or is none here."""
    kind, _, rest = name.partition(".")
    detail, _, symbol = rest.rpartition(".")
    quote = exchange.quotes.get(symbol)
    if quote is None:
        return None
    if kind == "orderbook" and detail in DEPTHS:
        return BookTopic(name, exchange, quote, detail)
    if kind == "kline" and detail in quote.series.intervals:
        return KlineTopic(name, exchange, quote, detail)
    if kind == "tickers" and not detail:
        return TickerTopic(name, exchange, quote)
    if kind == "priceLimit" and not detail:
        return PriceLimitTopic(name, exchange, quote)
    return None
