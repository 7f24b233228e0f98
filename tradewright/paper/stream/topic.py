"""The topics that follow the market: what a new subscriber is told, and what changed since.

All subscribers of a topic were told the same, so a change is worked out once for all of them; a
new one is given what the others know already, for the next change builds on that. ``ts`` is wall
time, when the message was made; times inside the data are market time.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tradewright.paper.clock import ms, wall
from tradewright.paper.market.candle import Bar, bucket_end
from tradewright.paper.quote import Quote, ticker_row
from tradewright.paper.wire import changed, num

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

Message = dict[str, Any]

_PAIRS = (("bid1Price", "bid1Size"), ("ask1Price", "ask1Size"))


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
        if before is None:
            return message(self.name, "snapshot", after) | {"cs": self._sequence()}
        data = changed(before, after, ("symbol",))
        for pair in _PAIRS:
            # A price goes with its size: clients take a missing one for none
            if any(key in data for key in pair):
                data |= {key: after[key] for key in pair}
        return message(self.name, "delta", data) | {"cs": self._sequence()}

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
        highest, lowest = self._exchange.engine.price_limit(self._quote.symbol)
        price = self._quote.scale.shown_price
        return {
            "symbol": self._quote.symbol,
            "buyLmt": price(highest),
            "sellLmt": price(lowest),
        }

    def _message(self) -> Message:
        return {"topic": self.name, "ts": ms(wall()), "data": self._told}
