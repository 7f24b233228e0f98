"""The public streams: who runs the market calls them, and they tell only what somebody wants."""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from tradewright.domain.market import Side
from tradewright.matching import Event, ExecType, Executed, Execution, Liquidated, OrderChanged
from tradewright.paper.clock import ms, wall
from tradewright.paper.market.candle import Bar
from tradewright.paper.quote import Print, Quote
from tradewright.paper.stream.book import BookTopic
from tradewright.paper.stream.catalogue import INSURANCE, is_of_events, topic_of
from tradewright.paper.stream.hub import Hub
from tradewright.paper.stream.topic import KlineTopic, Message, Topic, message

if TYPE_CHECKING:
    from tradewright.paper.exchange import Exchange

SYSTEM_STATUS = "system.status"
_MOST_TRADES = 1024
_LIQUIDATIONS_S = 0.5
_INSURANCE = "100000000"


class PublicFeed:
    """Calls go to `trade`, `market`, `candle`, `refer`, `fund` and `liquidation`.

    A topic is told at most as often as its pace allows, and then what it has come to; in lockstep
    at once, so that every step is told whole.
    """

    idle_s = 3.0
    """After so long without a change the best level is told again."""

    def __init__(self, exchange: "Exchange", hub: Hub) -> None:
        self.hub = hub
        self._exchange = exchange
        self._topics: dict[str, Topic] = {}
        self._live: dict[str, list[Topic]] = {}
        self._next_s: dict[str, float] = {}
        self._waiting: set[str] = set()
        self.idle: set[str] = set()
        """Topics whose best level is told again when it stays the same."""
        self._batches: dict[str, list[dict[str, Any]]] = {}

    def is_known(self, name: str) -> bool:
        """Return whether *name* is a topic of linear contracts here."""
        if name in self._topics or name in INSURANCE:
            return True
        exchange = self._exchange
        return is_of_events(name, exchange) or topic_of(name, exchange) is not None

    def greeting(self, name: str) -> list[Message]:
        """Return what a new subscriber of *name* is sent at once; call it after subscribing."""
        if name in INSURANCE:
            return [self._insurance(name)]
        found = self._topics.get(name) or topic_of(name, self._exchange)
        if found is None:
            return []
        self._topics[name] = found
        live = self._live.setdefault(name.rpartition(".")[2], [])
        if found not in live:
            live.append(found)
        if isinstance(found, BookTopic) and found.depth == 1 and name not in self.idle:
            self.idle.add(name)
            self._watch(found, self.idle_s)
        return found.greeting()

    def market(self, symbol: str) -> None:
        """Tell what changed in *symbol*: books, ticker, forming candles, price limits."""
        if self._batches:
            self._flush(f"publicTrade.{symbol}")
        live = self._live.get(symbol)
        if not live:
            return
        for found in tuple(live):
            if not self.hub.wants(found.name):
                found.forget()
                live.remove(found)
            elif self._exchange.settings.is_lockstep:
                self._tell(found)
            elif found.name not in self._waiting:
                self._pace(found)

    def trade(
        self, symbol: str, side: Side, price: Decimal, qty: Decimal, *, at_ms: int | None = None
    ) -> None:
        """Tell a print; *side* is the taker's."""
        if qty <= 0:
            return
        now_ms = self._exchange.clock.now_ms() if at_ms is None else at_ms
        quote = self._exchange.quotes[symbol]
        printed = quote.print(side, price, qty, now_ms)
        name = f"publicTrade.{symbol}"
        if self.hub.wants(name):
            self._batch(name, _trade_row(quote, printed), 0)

    def candle(self, symbol: str, interval: str, bar: Bar, *, confirm: bool) -> None:
        """Tell that a candle has closed; one that is forming is told by `market`."""
        found = self._topics.get(f"kline.{interval}.{symbol}")
        if isinstance(found, KlineTopic) and self.hub.wants(found.name):
            self.hub.publish(found.name, found.candle(bar, confirm=confirm))

    def refer(
        self, symbol: str, mark: Decimal | None, index: Decimal | None, rate: Decimal | None
    ) -> None:
        """Take what the engine was told of mark and index, and the coming funding rate."""
        quote, engine = self._exchange.quotes[symbol], self._exchange.engine
        if mark is not None or index is not None:
            now_ms = self._exchange.clock.now_ms()
            quote.refer(now_ms, mark or engine.mark[symbol], index or engine.index[symbol])
        if rate is not None:
            quote.funding_rate = rate

    def fund(self, symbol: str, rate: Decimal, at_ms: int) -> None:
        """Take a funding that was paid at *at_ms*."""
        self._exchange.quotes[symbol].fund(at_ms, rate)

    def liquidation(self, symbol: str, side: Side, qty: Decimal, price: Decimal) -> None:
        """Tell that a position on *side* was liquidated, bankrupt at *price*."""
        now_ms = self._exchange.clock.now_ms()
        name, former = f"allLiquidation.{symbol}", f"liquidation.{symbol}"
        scale = self._exchange.quotes[symbol].scale
        size, bust = scale.shown_qty(qty), scale.shown_price(price)
        if self.hub.wants(name):
            row = {"T": now_ms, "s": symbol, "S": side.value, "v": size, "p": bust}
            self._batch(name, row, _LIQUIDATIONS_S)
        if self.hub.wants(former):
            data = {
                "updatedTime": now_ms,
                "symbol": symbol,
                "side": side.value,
                "size": size,
                "price": bust,
            }
            self.hub.publish(former, message(former, "snapshot", data))

    def status(self, rows: list[dict[str, Any]]) -> None:
        """Tell all who listen that the system's state is another."""
        if self.hub.wants(SYSTEM_STATUS):
            self.hub.publish(
                SYSTEM_STATUS, {"topic": SYSTEM_STATUS, "ts": ms(wall()), "data": rows}
            )

    def tell(self, events: Iterable[Event]) -> None:
        """Tell what the orders of accounts did to the market: their trades, and the book."""
        touched: dict[str, None] = {}
        for event in events:
            if isinstance(event, OrderChanged):
                touched[event.order.symbol] = None
            elif isinstance(event, Executed):
                self._executed(event.execution)
            elif isinstance(event, Liquidated):
                self.liquidation(event.symbol, event.side, event.qty, event.price)
        for symbol in touched:
            self.market(symbol)

    def _executed(self, execution: Execution) -> None:
        if execution.exec_type is not ExecType.FUNDING and not execution.is_maker:
            self.trade(
                execution.symbol,
                execution.side,
                execution.price,
                execution.qty,
                at_ms=ms(execution.time),
            )

    def _insurance(self, name: str) -> Message:
        """Return the pools of a coin: one, which nothing here takes from."""
        coin = name.partition(".")[2]
        quotes = self._exchange.quotes.values()
        symbols = [q.symbol for q in quotes if q.market.instrument.quote_coin == coin]
        row = {
            "coin": coin,
            "symbols": ",".join(symbols),
            "balance": _INSURANCE,
            "updateTime": str(self._exchange.clock.now_ms()),
        }
        return message(name, "snapshot", [row] if symbols else [])

    def _pace(self, found: Topic) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._next_s.get(found.name, 0) - loop.time()
        if wait_s <= 0:
            self._next_s[found.name] = loop.time() + found.pace_s
            self._tell(found)
        else:
            self._later(found.name, wait_s, partial(self._pace, found))

    def _tell(self, found: Topic) -> None:
        if not self.hub.wants(found.name):
            found.forget()
        elif (news := found.news()) is not None:
            if isinstance(found, BookTopic):
                found.told_s = asyncio.get_running_loop().time()
            self.hub.publish(found.name, news)

    def _batch(self, name: str, row: dict[str, Any], wait_s: float) -> None:
        """Send *row* with others of its kind, after *wait_s* at the latest."""
        rows = self._batches.setdefault(name, [])
        rows.append(row)
        if len(rows) == _MOST_TRADES:
            self._flush(name)
        elif name not in self._waiting:
            is_lockstep = self._exchange.settings.is_lockstep
            self._later(name, 0 if is_lockstep else wait_s, partial(self._flush, name))

    def _flush(self, name: str) -> None:
        if rows := self._batches.pop(name, None):
            self.hub.publish(name, message(name, "snapshot", rows))

    def _later(self, name: str, wait_s: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._waiting.discard(name)
            call()

        self._waiting.add(name)
        asyncio.get_running_loop().call_later(wait_s, run)

    def _watch(self, found: BookTopic, wait_s: float) -> None:
        """Tell the best level again when it was the same for so long; with the same ``u``."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            if not self.hub.wants(found.name):
                self.idle.discard(found.name)
                return
            rest_s = found.told_s + self.idle_s - loop.time()
            if rest_s <= 0:
                found.told_s, rest_s = loop.time(), self.idle_s
                self.hub.publish(found.name, found.snapshot())
            self._watch(found, rest_s)

        loop.call_later(wait_s, run)


def _trade_row(quote: Quote, printed: Print) -> dict[str, Any]:
    return {
        "T": printed.at_ms,
        "s": quote.symbol,
        "S": printed.side.value,
        "v": quote.scale.shown_qty(printed.qty),
        "p": quote.scale.shown_price(printed.price),
        "L": printed.direction,
        "i": printed.trade_id(quote.symbol),
        "BT": False,
        "RPI": False,
        "seq": printed.seq,
    }
