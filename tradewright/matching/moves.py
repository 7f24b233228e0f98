"""What the market does: candles, recorded books and trades, other prices, funding."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching.book import Book
from tradewright.matching.event import Event
from tradewright.matching.liquidation import Liquidator
from tradewright.matching.liquidity import Level
from tradewright.matching.order import ZERO, Order
from tradewright.matching.position import fund


class Moves(Liquidator):
    def begin(self, symbol: str, price: Decimal) -> None:
        """Let *price* be the last one of *symbol* if none is known yet."""
        if symbol not in self.last:
            self.board.move(symbol, price)

    def play(self, symbol: str, path: Sequence[Decimal], now: datetime) -> list[Event]:
        """Trade along *path*: jump to its first price, then move continuously to the others.

        What a jump skips fills at the price where it lands; a limit order at its own price.
        """
        self._move(symbol, path[0], now, None)
        for price in path[1:]:
            self._glide(symbol, price, now, None)
        return self._drain()

    def glide(
        self, symbol: str, price: Decimal, now: datetime, volume: Decimal | None = None
    ) -> list[Event]:
        """Trade continuously from the last price to *price*.

        Resting orders fill where the price touches them: wholly, or with a *volume* up to what
        is left of it after those in front of them.
        """
        self._glide(symbol, price, now, volume)
        return self._drain()

    def depth(
        self,
        symbol: str,
        bids: Collection[Level],
        asks: Collection[Level],
        now: datetime,
        snapshot: bool,
    ) -> list[Event]:
        """Take a recorded book, or what changed in it: levels without quantity go."""
        book = self.board.books[symbol]
        depth = book.depth()
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            if snapshot:
                depth.replace(side, levels)
            else:
                depth.update(side, levels)
        if symbol not in self.last:
            self._begin_between(symbol)
        if book.queues[Side.BUY].at or book.queues[Side.SELL].at:
            for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
                self._put_untold(book.clip(side, None if snapshot else levels))
                self._cross(symbol, side, now)
            if self._events:
                self._settle(symbol, now)
        return self._drain()

    def trade(
        self, symbol: str, side: Side, price: Decimal, qty: Decimal, now: datetime
    ) -> list[Event]:
        """Take a recorded trade, whose taker was on *side*: it also fills who was in its way."""
        self._fill_printed(symbol, side.opposite, price, qty, now)
        self.board.move(symbol, price)
        self._trail_all(symbol)
        self._settle(symbol, now)
        return self._drain()

    def refer(
        self,
        symbol: str,
        now: datetime,
        mark: Decimal | None = None,
        index: Decimal | None = None,
    ) -> list[Event]:
        """Set mark and index price, which from then on follow the last price no longer."""
        self.board.set(symbol, mark, index)
        if symbol in self.last:
            self._settle(symbol, now)
        return self._drain()

    def fund(self, symbol: str, rate: Decimal, now: datetime) -> list[Event]:
        """Let the holders of *symbol* pay each other *rate* of the value of what they hold."""
        for name in sorted(self._holders[symbol]):
            account = self.accounts[name]
            after, execution = fund(
                account.positions[symbol],
                rate,
                mark=self.mark[symbol],
                index=self.index[symbol],
                exec_id=self._id("execution"),
                seq=self.seq,
                time=now,
            )
            lacking = min(execution.fee - max(account.available(), ZERO), execution.fee)
            if account.is_isolated and lacking > 0:
                after = replace(after, extra_margin=after.extra_margin - lacking)
            self._tell(execution)
            self._change_position(after)
            self._pay(execution)
        if symbol in self.last:
            self._settle(symbol, now)
        return self._drain()

    def _begin_between(self, symbol: str) -> None:
        book = self.board.books[symbol]
        sides = [p for s in Side if (p := book.liquidity.best(s)) is not None]
        if sides:
            instrument = self.markets[symbol].instrument
            self.begin(symbol, instrument.floor_price(sum(sides, ZERO) / len(sides)))

    def _glide(self, symbol: str, price: Decimal, now: datetime, volume: Decimal | None) -> None:
        book = self.board.books[symbol]
        if symbol not in self.last or not self._is_watched(symbol, book):
            self.board.move(symbol, price)
            return
        # The next trade is where the last one was: it fills what rests there
        volume = self._settle_trade(symbol, now, volume)
        while (level := self._next_level(symbol, book, price)) is not None:
            volume = self._move(symbol, level, now, volume)
        if price != self.last[symbol]:
            self._move(symbol, price, now, volume)

    def _is_watched(self, symbol: str, book: Book) -> bool:
        return bool(
            book.waiting
            or book.queues[Side.BUY].at
            or book.queues[Side.SELL].at
            or self._holders[symbol]
        )

    def _next_level(self, symbol: str, book: Book, price: Decimal) -> Decimal | None:
        """Return the nearest price on the way to *price* at which anything happens."""
        last, board = self.last[symbol], self.board
        levels = [
            level
            for o in book.waiting.values()
            if board.follows(symbol, o.trigger_by) and (level := o.level) is not None
        ]
        resting = (
            book.queues[Side.SELL].next_above(last)
            if price > last
            else book.queues[Side.BUY].next_below(last)
        )
        if resting is not None:
            levels.append(resting)
        if symbol not in board.marked:
            levels += self._liq_levels(symbol)
        low, high = min(last, price), max(last, price)
        on_the_way = [v for v in levels if low < v < high]
        if not on_the_way:
            return None
        return min(on_the_way) if price > last else max(on_the_way)

    def _liq_levels(self, symbol: str) -> Iterable[Decimal]:
        tick = self.markets[symbol].instrument.tick_size
        for name in self._holders[symbol]:
            account = self.accounts[name]
            price = account.liq_price(symbol)
            if price is not None:
                falls = account.positions[symbol].side is Side.BUY
                rounding = ROUND_FLOOR if falls else ROUND_CEILING
                yield (price / tick).to_integral_value(rounding) * tick

    def _move(
        self, symbol: str, price: Decimal, now: datetime, volume: Decimal | None
    ) -> Decimal | None:
        self.board.move(symbol, price)
        self._trail_all(symbol)
        return self._settle_trade(symbol, now, volume)

    def _settle(self, symbol: str, now: datetime) -> None:
        """Trigger and liquidate what is due at the present prices."""
        while True:
            # A stop that is reached together with the liquidation price still goes first
            if (order := self._next_due(symbol)) is not None:
                self._trigger(order, now)
            elif not (self._holders[symbol] or self._touched) or not self._liquidate(symbol, now):
                return

    def _settle_trade(self, symbol: str, now: datetime, volume: Decimal | None) -> Decimal | None:
        """Settle, and fill who rests where the last price is; return what is left of *volume*."""
        book = self.board.books[symbol]
        while True:
            self._passed = symbol
            self._settle(symbol, now)
            self._passed = ""
            due = self._next_resting(symbol, book)
            if due is None:
                return volume
            if volume is None:
                self._fill_resting(due, due.leaves, now)
                continue
            passed = min(due.ahead, volume)
            if passed:
                self._put_untold(book.advance(due.side, due.price, passed))
                volume -= passed
            elif volume:
                volume -= self._fill_resting(due, volume, now)
            else:
                return volume

    def _next_resting(self, symbol: str, book: Book) -> Order | None:
        last = self.last[symbol]
        for side in Side:
            order = book.queues[side].front()
            if order is not None and (order.price - last) * side.sign >= 0:
                return order
        return None

    def _fill_printed(
        self, symbol: str, side: Side, price: Decimal, qty: Decimal, now: datetime
    ) -> None:
        """Give those on *side* what a trade of *qty* at *price* would have given them."""
        book = self.board.books[symbol]
        queue = book.queues[side]
        while (
            qty and (order := queue.front()) is not None and (order.price - price) * side.sign >= 0
        ):
            if order.price == price and (passed := min(order.ahead, qty)):
                self._put_untold(book.advance(side, price, passed))
                qty -= passed
                continue
            qty -= self._fill_resting(order, qty, now)

    def _cross(self, symbol: str, side: Side, now: datetime) -> None:
        """Fill those on *side* whose price the other side of the recorded book now crosses."""
        book = self.board.books[symbol]
        queue, liquidity = book.queues[side], book.depth()
        while (order := queue.front()) is not None:
            offer = liquidity.best(side.opposite)
            if offer is None or (order.price - offer) * side.sign < 0:
                return
            filled = self._fill_resting(order, liquidity.at(side.opposite, offer), now)
            if filled:
                liquidity.take(side.opposite, offer, filled)
