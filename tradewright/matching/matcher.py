"""Matching: takers walk the book, resting orders fill, fills are booked."""

from datetime import datetime
from decimal import Decimal

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching import rules
from tradewright.matching.account import Account
from tradewright.matching.liquidity import Depth
from tradewright.matching.order import (
    ZERO,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    StopKind,
    TimeInForce,
)
from tradewright.matching.position import ExecType, Execution, Fill, RequestRejected, book
from tradewright.matching.stops import Stops

# At one price a stop comes before a target
_RANK = {
    StopKind.STOP_LOSS: 0,
    StopKind.PARTIAL_STOP_LOSS: 0,
    StopKind.TRAILING: 0,
    StopKind.CONDITIONAL: 1,
    StopKind.TAKE_PROFIT: 2,
    StopKind.PARTIAL_TAKE_PROFIT: 2,
}
_ENDS_COUNTERPART = {
    StopKind.PARTIAL_STOP_LOSS: "CancelByOCOTpCanceledBySlTriggered",
    StopKind.PARTIAL_TAKE_PROFIT: "CancelByOCOSlCanceledByTpTriggered",
}


class Matcher(Stops):
    _passed = ""
    """The symbol whose price is moving through its book just now."""

    def _match(self, order: Order, now: datetime, most: Decimal | None = None) -> None:
        """Let *order*, which is open but not in the book, trade; what is left rests or ends.

        Args:
            order: As it was put last.
            now: Market time.
            most: How much of it may trade now; None is all.
        """
        rests = order.time_in_force in (TimeInForce.GTC, TimeInForce.POST_ONLY)
        if order.time_in_force is TimeInForce.POST_ONLY and self._crosses(order):
            self._end(order, now, reason="EC_PostOnlyWillTakeLiquidity")
            return
        is_capped = most is not None and most < order.leaves
        if order.time_in_force is TimeInForce.FOK and (is_capped or not self._fills_whole(order)):
            self._end(order, now, reason="EC_NoEnoughQtyToFill")
            return
        while self._take_once(order, now, most):
            pass
        live = self._live(order)
        if live is None:
            return
        if live.reduce_only and not self._reducible(live) and self._crosses(live):
            self._end(live, now, cancel_type="CancelByReduceOnly")
        elif rests:
            self._rest(live)
        else:
            self._end(live, now, reason="EC_NoImmediateQtyToFill")

    def _front(self, symbol: str, side: Side) -> Order | None:
        """Return the first of the accounts' orders on *side* that a taker can trade with."""
        order = self.board.books[symbol].queues[side].front()
        if order is None or symbol != self._passed:
            return order
        # What the market is trading through is the market's, not a stop's that it triggers
        return None if (order.price - self.last[symbol]) * side.sign >= 0 else order

    def _best(self, symbol: str, side: Side) -> Decimal | None:
        own, market = self._front(symbol, side), self.board.books[symbol].liquidity.best(side)
        if own is None or market is None:
            return market if own is None else own.price
        return max(market, own.price) if side is Side.BUY else min(market, own.price)

    def _crosses(self, order: Order) -> bool:
        best = self._best(order.symbol, order.side.opposite)
        return best is not None and (best - order.price) * order.side.sign <= 0

    def _fills_whole(self, order: Order) -> bool:
        if not self._crosses(order):
            return False
        wanted = order.leaves
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order))
        side, book_ = order.side.opposite, self.board.books[order.symbol]
        queue = book_.queues[side]
        reducible: dict[str, Decimal] = {}
        for maker in queue.orders() if self._front(order.symbol, side) else ():
            if wanted <= 0 or (maker.price - order.price) * order.side.sign > 0:
                break
            qty = maker.leaves
            if maker.reduce_only:
                left = reducible.setdefault(maker.account, self._reducible(maker))
                qty = min(qty, left)
                reducible[maker.account] = left - qty
            wanted -= qty
        for price, qty in book_.liquidity.levels(side):
            if wanted <= 0 or (price - order.price) * order.side.sign > 0:
                break
            if book_.liquidity.at(side, price) is None:
                return True
            wanted -= qty
        return wanted <= 0

    def _take_once(self, order: Order, now: datetime, most: Decimal | None) -> bool:
        """Let *order* trade with whoever is first on the other side; return whether it did."""
        taker = self._live(order)
        if taker is None:
            return False
        wanted = min(taker.leaves, self._reducible(taker)) if taker.reduce_only else taker.leaves
        if most is not None:
            wanted = min(wanted, most - taker.filled)
        side, book_ = taker.side.opposite, self.board.books[taker.symbol]
        price = self._best(taker.symbol, side)
        if not wanted or price is None or (price - taker.price) * taker.side.sign > 0:
            return False
        offered = book_.liquidity.at(side, price)
        maker = self._front(taker.symbol, side)
        if maker is not None and maker.price != price:
            maker = None
        if maker is None or offered is None or (in_front := min(maker.ahead, offered)) > 0:
            if offered is None:
                qty = wanted
            else:
                qty = min(wanted, offered if maker is None else in_front)
                book_.liquidity.take(side, price, qty)
                self._put_untold(book_.advance(side, price, qty))
            self._fill(taker, price, qty, now, is_maker=False)
            return True
        qty = min(wanted, maker.leaves)
        if maker.reduce_only:
            qty = min(qty, self._reducible(maker))
        if not qty:
            self._end(maker, now, cancel_type="CancelByReduceOnly")
            return True
        self._fill(taker, price, qty, now, is_maker=False)
        self._fill(maker, price, qty, now, is_maker=True)
        return True

    def _fill_resting(self, order: Order, qty: Decimal, now: datetime) -> Decimal:
        """Fill up to *qty* of a resting order at its price; return how much."""
        qty = min(qty, order.leaves)
        if order.reduce_only:
            qty = min(qty, self._reducible(order))
            if not qty:
                self._end(order, now, cancel_type="CancelByReduceOnly")
                return ZERO
        self._fill(order, order.price, qty, now, is_maker=True)
        return qty

    def _fill(
        self,
        order: Order,
        price: Decimal,
        qty: Decimal,
        now: datetime,
        *,
        is_maker: bool,
        exec_type: ExecType = ExecType.TRADE,
    ) -> None:
        owner = self.accounts[order.account]
        position, fees = owner.positions[order.symbol], owner.profile.fees
        after, execution = book(
            position,
            Fill(
                order=order,
                price=price,
                qty=qty,
                fee_rate=fees.maker if is_maker else fees.taker,
                is_maker=is_maker,
                time=now,
                exec_id=self._id("execution"),
                seq=self.seq,
                mark=self.mark[order.symbol],
                index=self.index[order.symbol],
                exec_type=exec_type,
            ),
        )
        filled = _filled(order, execution, now)
        self._tell(execution)
        self._put(filled)
        if filled.is_open and filled.reduce_only and not after.reducible(order.side):
            self._end(filled, now, cancel_type="CancelByReduceOnly")
        self._change_position(after)
        self._follow(position, after, now)
        opened = qty - execution.closed_size
        if opened and (order.take_profit or order.stop_loss):
            self._attach(order, opened, now)
        self._pay(execution)
        if owner.balance.cash < 0 and not owner.held():
            # The insurance fund bears what an account cannot pay
            balance = owner.balance
            self._change_balance(replace(balance, transfers=balance.transfers - balance.cash))

    def _trigger(self, order: Order, now: datetime) -> None:
        self._put(replace(order, status=OrderStatus.TRIGGERED, updated=now))
        if order.stop.is_partial:
            self._release(order, now, _ENDS_COUNTERPART[order.stop])
        owner = self.accounts[order.account]
        # Once triggered it is an order like any other, and its stop kind only says whence
        live = replace(order, status=OrderStatus.NEW, updated=now)
        if live.order_type is OrderType.MARKET:
            live = replace(live, price=self._protective_price(live))
        else:
            live = self._queued(replace(live, price=self._banded(live)))
            if live.price != order.price and owner.profile.rejects_outside_band:
                self._end(live, now, reason="EC_ReachRiskPriceLimit", status=OrderStatus.REJECTED)
                return
        if live.reduce_only:
            reducible = self._reducible(live)
            if not reducible:
                self._end(live, now, cancel_type="CancelByReduceOnly")
                return
            live = replace(live, qty=min(live.qty, reducible))
        elif not owner.can_afford(live):
            self._end(live, now, cancel_type="CancelByCannotAffordOrderCost")
            return
        else:
            try:
                self._check_tier(owner, live)
            except RequestRejected:
                self._end(live, now, reason="EC_Others", status=OrderStatus.REJECTED)
                return
        self._put(live)
        self._match(live, now)

    def _check_tier(self, owner: Account, order: Order) -> None:
        market = self.markets[order.symbol]
        if not market.tiers:
            return
        value = owner.value_with(order.symbol, order)
        most = market.tier_of(value).max_leverage
        is_beyond = value > market.tiers[-1].limit
        if not is_beyond and owner.positions[order.symbol].leverage <= most:
            return
        if value <= owner.value_with(order.symbol):
            # Whatever the market made of a position, it can be closed
            return
        if is_beyond:
            raise RequestRejected(110089, "Exceeds the maximum risk limit level")
        raise RequestRejected(
            110090,
            "Order placement failed as your position may exceed the max limit. Please adjust "
            f"your leverage to {most} or below to increase the max. position limit",
        )

    def _protective_price(self, order: Order | OrderRequest) -> Decimal:
        """Return how far a market order may go: 1 % from the last price, or as it tolerates."""
        market, side = self.markets[order.symbol], order.side
        touch = self.board.touch(order.symbol, side)
        if order.slippage_type:
            return rules.tolerated_price(
                market.instrument, side, touch, order.slippage_type, order.slippage
            )
        limit = rules.market_price_limit(market.instrument, side, self.last[order.symbol])
        if isinstance(self.board.books[order.symbol].liquidity, Depth):
            return limit
        # A made-up book is never out of reach, however coarse its ticks
        return max(limit, touch) if side is Side.BUY else min(limit, touch)

    def _banded(self, order: Order | OrderRequest) -> Decimal:
        """Return the price of *order*, moved to the price band if it is outside."""
        highest, lowest = self.board.price_limit(order.symbol)
        return min(order.price, highest) if order.side is Side.BUY else max(order.price, lowest)

    def _next_due(self, symbol: str) -> Order | None:
        """Return the stop or conditional order that is to be triggered first now."""
        waiting = self.board.books[symbol].waiting
        if not waiting:
            return None
        price = self.board.price
        due = [o for o in waiting.values() if o.is_due(price(symbol, o.trigger_by))]
        return min(due, key=lambda o: (_RANK[o.stop], o.seq)) if due else None


def _filled(order: Order, execution: Execution, now: datetime) -> Order:
    filled = order.filled + execution.qty
    done = filled == order.qty
    return replace(
        order,
        filled=filled,
        filled_value=order.filled_value + execution.value,
        fee=order.fee + execution.fee,
        closed_pnl=order.closed_pnl + execution.closed_pnl,
        status=OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED,
        updated=now,
    )
