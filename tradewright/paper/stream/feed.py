"""What the streams say: the account's events, and the market."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from tradewright.matching import (
    Event,
    Executed,
    OrderChanged,
    PositionChanged,
    WalletChanged,
)
from tradewright.paper import wire
from tradewright.paper.book import Level, kline_message, levels, ticker_row
from tradewright.paper.clock import ms, wall
from tradewright.paper.market.candle import Bar, bucket_end
from tradewright.paper.stream.hub import Hub

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

PRIVATE_TOPICS = frozenset({"order", "execution", "position", "wallet"})
DEPTHS = ("1", "50")


class Feed:
    """Builds messages, and only those that somebody wants.

    ``ts`` and ``creationTime`` are wall time, when the message was made; times inside the data
    are market time.
    """

    def __init__(self, exchange: "Exchange") -> None:
        self.hub = Hub()
        self._exchange = exchange
        self._messages = 0
        self._untold: list[Event] = []
        self._trades = 0
        self._books: dict[tuple[str, str], tuple[list[Level], list[Level]]] = {}
        self._tickers: dict[str, dict[str, Any]] = {}
        self._direction: dict[str, str] = {}

    def is_known(self, topic: str) -> bool:
        """Return whether *topic* is one of the public ones here."""
        kind, _, rest = topic.partition(".")
        detail, _, symbol = rest.rpartition(".")
        if symbol not in self._exchange.engine.markets:
            return False
        if kind == "kline":
            return detail in self._exchange.series[symbol].intervals
        if kind == "orderbook":
            return detail in DEPTHS
        return kind in ("tickers", "publicTrade") and not detail

    def tell_soon(self, events: list[Event]) -> None:
        """Push *events* once the answer to the request that caused them is on its way."""
        if not self._untold:
            asyncio.get_running_loop().call_soon(self.tell, [])
        self._untold += events

    def tell(self, events: list[Event]) -> None:
        """Push what happened to the account, in the order in which it happened."""
        account = self._exchange.engine.accounts["main"]
        events, self._untold = self._untold + events, []
        touched: dict[str, None] = {}
        for event in events:
            if isinstance(event, OrderChanged):
                self._private("order", partial(wire.order_message, event.order))
                touched[event.order.symbol] = None
            elif isinstance(event, Executed):
                self._private("execution", partial(wire.execution_message, event.execution))
            elif isinstance(event, PositionChanged):
                self._private("position", partial(wire.position_message, event.position, account))
                touched.pop(event.position.symbol, None)
            elif isinstance(event, WalletChanged):
                self._private("wallet", partial(wire.wallet_row, account))
        for symbol in touched:
            # Bybit pushes the position at every order change, though nothing changed in it
            position = account.positions[symbol]
            self._private("position", partial(wire.position_message, position, account))

    def trade(self, symbol: str, price: Decimal, size: Decimal, before: Decimal) -> None:
        """Push one public trade at *price*; the one before it was at *before*."""
        if price != before:
            self._direction[symbol] = "PlusTick" if price > before else "MinusTick"
        elif not self._direction.get(symbol, "Plus").startswith("Zero"):
            self._direction[symbol] = "Zero" + self._direction.get(symbol, "PlusTick")
        topic = f"publicTrade.{symbol}"
        if not self.hub.wants(topic):
            return
        self._trades += 1
        direction = self._direction[symbol]
        trade = {
            "T": self._exchange.clock.now_ms(),
            "s": symbol,
            "S": "Buy" if "Plus" in direction else "Sell",
            "v": wire.num(size),
            "p": wire.num(price),
            "L": direction,
            "i": f"{symbol}-{self._exchange.progress.step}-{self._trades}",
            "BT": False,
            "RPI": False,
            "seq": self._trades,
        }
        self.hub.publish(topic, _market(topic, "snapshot", [trade]))

    def market(self, symbol: str) -> None:
        """Push ticker and book of *symbol*, as far as they changed."""
        topic = f"tickers.{symbol}"
        if self.hub.wants(topic):
            ticker = self._ticker(symbol)
            delta = wire.changed(self._tickers.get(symbol, {}), ticker, ("symbol",))
            self._tickers[symbol] = ticker
            self.hub.publish(topic, _market(topic, "delta", delta) | {"cs": self._sequence()})
        for depth in DEPTHS:
            topic = f"orderbook.{depth}.{symbol}"
            if self.hub.wants(topic):
                self._push_book(topic, symbol, depth)

    def candle(self, symbol: str, interval: str, bar: Bar, *, confirm: bool) -> None:
        topic = f"kline.{interval}.{symbol}"
        if self.hub.wants(topic):
            self.hub.publish(topic, self._candle(topic, interval, bar, confirm=confirm))

    def forming(self, symbol: str) -> None:
        """Push the candles of *symbol* that are not closed yet."""
        series = self._exchange.series[symbol]
        for interval in series.intervals:
            if self.hub.wants(f"kline.{interval}.{symbol}") and (bar := series.forming(interval)):
                self.candle(symbol, interval, bar, confirm=False)

    def greeting(self, topic: str) -> list[dict[str, Any]]:
        """Return what a new subscriber of *topic* is sent at once."""
        kind, _, rest = topic.partition(".")
        detail, _, symbol = rest.rpartition(".")
        if kind == "tickers":
            ticker = self._tickers[symbol] = self._ticker(symbol)
            return [_market(topic, "snapshot", ticker) | {"cs": self._sequence()}]
        if kind == "orderbook":
            # The next delta builds on what the others were sent last
            book = self._books.setdefault(
                (symbol, detail), levels(self._exchange.engine, symbol, int(detail))
            )
            return [self._book(topic, "snapshot", symbol, *book)]
        if kind == "kline":
            return self._missed_candles(topic, symbol, detail)
        return []

    def _missed_candles(self, topic: str, symbol: str, interval: str) -> list[dict[str, Any]]:
        # Else a market that reconnects within the barrier would never see what it waits for
        barrier = self._exchange.barriers.standing
        bar = self._exchange.series[symbol].last_closed(interval)
        if barrier is None or barrier.phase != "close" or bar is None:
            return []
        if bucket_end(interval, bar.open_ms) != barrier.at_ms:
            return []
        return [self._candle(topic, interval, bar, confirm=True)]

    def _private(self, topic: str, row: Callable[[], wire.Row]) -> None:
        topics = [t for t in (topic, f"{topic}.linear") if self.hub.wants(t)]
        if not topics:
            return
        self._messages += 1
        message = {
            "id": f"paper-{topic}-{self._messages}",
            "topic": topic,
            "creationTime": ms(wall()),
            "data": [row()],
        }
        for wanted in topics:
            self.hub.publish(wanted, message | {"topic": wanted})

    def _ticker(self, symbol: str) -> dict[str, Any]:
        exchange = self._exchange
        row = ticker_row(exchange.engine, symbol, exchange.stats[symbol], exchange.clock.now_ms())
        return row | {"tickDirection": self._direction.get(symbol, "PlusTick")}

    def _push_book(self, topic: str, symbol: str, depth: str) -> None:
        after = levels(self._exchange.engine, symbol, int(depth))
        before = self._books.get((symbol, depth))
        if before == after:
            return
        self._books[symbol, depth] = after
        if before is None or depth == "1":
            self.hub.publish(topic, self._book(topic, "snapshot", symbol, *after))
            return
        bids, asks = (_delta(b, a) for b, a in zip(before, after, strict=True))
        self.hub.publish(topic, self._book(topic, "delta", symbol, bids, asks))

    def _book(
        self, topic: str, kind: str, symbol: str, bids: list[Level], asks: list[Level]
    ) -> dict[str, Any]:
        sequence = self._sequence()
        data = {"s": symbol, "b": bids, "a": asks, "u": sequence, "seq": sequence}
        return _market(topic, kind, data) | {"cts": self._exchange.clock.now_ms()}

    def _candle(self, topic: str, interval: str, bar: Bar, *, confirm: bool) -> dict[str, Any]:
        now_ms = self._exchange.clock.now_ms()
        row = kline_message(bar, interval, now_ms, confirm=confirm)
        return _market(topic, "snapshot", [row])

    def _sequence(self) -> int:
        self._messages += 1
        return self._messages + 1  # 1 would mean that the service restarted


def _market(topic: str, kind: str, data: object) -> dict[str, Any]:
    return {"topic": topic, "type": kind, "ts": ms(wall()), "data": data}


def _delta(before: list[Level], after: list[Level]) -> list[Level]:
    sizes = dict(after)
    gone = [(price, "0") for price, _ in before if price not in sizes]
    known = dict(before)
    return gone + [level for level in after if known.get(level[0]) != level[1]]
