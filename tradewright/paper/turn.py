"""What the market does between two pauses: applied at once, handed over and shown together."""

from collections.abc import Callable
from time import monotonic

from tradewright.domain.market import Side
from tradewright.matching import Event
from tradewright.paper.clock import moment
from tradewright.paper.exchange import Exchange
from tradewright.paper.market.candle import MINUTE_MS
from tradewright.paper.market.move import (
    Beat,
    Depth,
    Funding,
    Halt,
    Path,
    Print,
    Reference,
    Width,
)

_HOUR_MS = 60 * MINUTE_MS
_NOTED_S = 0.5
"""How often it is noted how far the market has come, where it touched nobody."""


class Turn:
    def __init__(self, exchange: Exchange) -> None:
        self.events: list[Event] = []
        self._exchange = exchange
        self._shows: list[Callable[[], None]] = []
        self._moved: dict[str, None] = {}
        self._noted = 0.0

    def show(self, call: Callable[[], None]) -> None:
        """Have *call* tell the public, once what came before it is handed over."""
        self._shows.append(call)

    def commit(self) -> None:
        """Hand over what has happened in this turn, and show it."""
        if self.events or monotonic() > self._noted + _NOTED_S:
            events, self.events = self.events, []
            self._exchange.advance(events, self._exchange.progress)
            self._noted = monotonic()
        shows, self._shows = self._shows, []
        moved, self._moved = self._moved, {}
        for show in shows:
            show()
        for symbol in moved:
            self._exchange.feed.market(symbol)

    def apply(self, beat: Beat) -> None:
        now = moment(beat.at_ms)
        engine = self._exchange.engine
        for move in beat.moves:
            match move:
                case Path():
                    self._glide(move, beat.at_ms)
                case Reference(symbol, mark, index, rate):
                    if mark is not None or index is not None:
                        self.events += engine.refer(symbol, now, mark, index)
                        mark, index = engine.mark[symbol], engine.index[symbol]
                    self._exchange.feed.refer(symbol, mark, index, rate)
                    self._moved[symbol] = None
                case Depth(symbol, bids, asks, snapshot):
                    self.events += engine.depth(symbol, bids, asks, now, snapshot)
                    self._moved[symbol] = None
                case Print():
                    self._print(move, beat.at_ms)
                case Width(symbol, spread_ticks, depth):
                    engine.board.widen(symbol, spread_ticks, depth)
                case Funding(symbol, rate):
                    self.events += engine.fund(symbol, rate, now)
                    self._exchange.feed.fund(symbol, rate, beat.at_ms)
                case Halt(symbol, halted):
                    engine.board.halt(symbol, halted=halted)

    def fund(self, at_ms: int) -> None:
        """Let funding be paid where *at_ms* is its time."""
        exchange = self._exchange
        if at_ms % _HOUR_MS:
            # No interval is shorter, nor broken
            return
        for symbol, market in exchange.engine.markets.items():
            if at_ms % (market.funding_minutes * MINUTE_MS):
                continue
            rate = exchange.source.funding_rate(symbol, at_ms)
            if rate is not None:
                self.events += exchange.engine.fund(symbol, rate, moment(at_ms))
                exchange.feed.fund(symbol, rate, at_ms)

    def _glide(self, path: Path, at_ms: int) -> None:
        engine, symbol, now = self._exchange.engine, path.symbol, moment(at_ms)
        before = engine.last[symbol]
        prices = path.prices
        if path.jumps:
            self.events += engine.play(symbol, prices, now)
        else:
            for price in prices:
                self.events += engine.glide(symbol, price, now)
        rules = engine.markets[symbol].instrument
        part = rules.floor_qty(path.volume / len(prices)) if len(prices) > 1 else path.volume
        series = self._exchange.series[symbol]
        for price in prices:
            series.trade(at_ms, price, part)
            side = Side.BUY if price >= before else Side.SELL
            self._show_trade(Print(symbol, side, price, part), at_ms)
            before = price
        self._moved[symbol] = None

    def _print(self, trade: Print, at_ms: int) -> None:
        exchange, symbol = self._exchange, trade.symbol
        self.events += exchange.engine.trade(
            symbol, trade.side, trade.price, trade.qty, moment(at_ms)
        )
        exchange.series[symbol].trade(at_ms, trade.price, trade.qty)
        self._show_trade(trade, at_ms)
        self._moved[symbol] = None

    def _show_trade(self, trade: Print, at_ms: int) -> None:
        feed = self._exchange.feed

        def tell() -> None:
            feed.trade(trade.symbol, trade.side, trade.price, trade.qty, at_ms=at_ms)

        self.show(tell)
