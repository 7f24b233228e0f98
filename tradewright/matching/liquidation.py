"""Liquidation: positions whose margin is used up are reduced or taken over.

A position in the lowest tier is taken over whole at its bankruptcy price; one in a higher tier
is first reduced tier by tier, as far as the book takes it. With cross margin the largest loss
is closed first, in the book if there are others, until the account is healthy.

What a position lost beyond its margin never reaches the account: the insurance fund bears it,
for the price of a take-over is the bankruptcy price wherever the market is; and what an
account without positions still owes is paid in as a transfer.
"""

from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from msgspec.structs import replace

from tradewright.matching.account import Account
from tradewright.matching.event import Liquidated
from tradewright.matching.matcher import Matcher
from tradewright.matching.order import ZERO, Order, OrderStatus, OrderType, TimeInForce
from tradewright.matching.position import ExecType, Position

_TAKE_OVER = "CreateByTakeOver_PassThrough"
_REDUCE = "CreateByLiq"


class Liquidator(Matcher):
    def _liquidate(self, symbol: str, now: datetime) -> bool:
        """Liquidate who can no longer hold a position in *symbol*; return whether anybody was."""
        names = {*self._holders[symbol], *self._touched}
        self._touched.clear()
        doomed = [a for n in sorted(names) if (a := self.accounts[n]).is_doomed(symbol)]
        for account in doomed:
            if account.is_isolated:
                self._liquidate_isolated(account, symbol, now)
            else:
                self._liquidate_cross(account, now)
        return bool(doomed)

    def _liquidate_isolated(self, account: Account, symbol: str, now: datetime) -> None:
        if self._replenish(account, account.positions[symbol], now):
            return
        self._cancel_resting(account, symbol, "CancelAllBeforeLiq", now)
        # The orders may have bound what was missing
        if self._replenish(account, account.positions[symbol], now):
            return
        while account.is_doomed(symbol) and self._step_down(account, symbol, now):
            pass
        if account.is_doomed(symbol):
            self._take_over(account, symbol, now)

    def _liquidate_cross(self, account: Account, now: datetime) -> None:
        for order in account.open_orders():
            if order.is_resting and not order.reduce_only:
                self._end(order, now, cancel_type="CancelByPrepareLiq")
        while held := account.held():
            worst = min(held, key=lambda p: (p.unrealised(self.mark[p.symbol]), p.symbol)).symbol
            if not account.is_doomed(worst):
                break
            self._cancel_resting(account, worst, "CancelAllBeforeLiq", now)
            # A take-over costs all equity, so it is for the last position, or a book too thin
            if not self._step_down(account, worst, now) and not (
                len(held) > 1 and self._close(account, worst, now)
            ):
                self._take_over(account, worst, now)

    def _replenish(self, account: Account, position: Position, now: datetime) -> bool:
        """Add what is free to an isolated position that asks for it; return whether it helped.

        At most as much as it has, and as leaves it at a leverage of one.
        """
        if not position.auto_add_margin:
            return False
        margin = account.initial_margin_of(position.symbol)
        free = min(account.available(), margin, position.cost - margin)
        if free <= 0:
            return False
        more = replace(position, extra_margin=position.extra_margin + free, updated=now)
        self._change_position(more)
        return not account.is_doomed(position.symbol)

    def _cancel_resting(
        self, account: Account, symbol: str, cancel_type: str, now: datetime
    ) -> None:
        for order in account.open_orders(symbol):
            if order.is_resting:
                self._end(order, now, cancel_type=cancel_type)

    def _step_down(self, account: Account, symbol: str, now: datetime) -> bool:
        """Reduce the position to the next lower tier, if the book takes that; else do nothing."""
        position, market = account.positions[symbol], self.markets[symbol]
        mark = self.mark[symbol]
        value = position.size * mark
        lower = [t for t in market.ladder if t.limit < value]
        if not lower:
            return False
        step = market.instrument.qty_step
        excess = (value - lower[-1].limit) / mark
        qty = min((excess / step).to_integral_value(ROUND_CEILING) * step, position.size)
        return self._reduce(account, position, qty, now)

    def _close(self, account: Account, symbol: str, now: datetime) -> bool:
        position = account.positions[symbol]
        return self._reduce(account, position, position.size, now)

    def _reduce(self, account: Account, position: Position, qty: Decimal, now: datetime) -> bool:
        """Sell *qty* into the book, all of it or nothing; return whether that was possible."""
        bust = account.bust_price(position)
        if not self._fills_whole(self._draft(position, qty, bust, _REDUCE, now)):
            return False
        order = self._liquidation_order(position, qty, bust, _REDUCE, now)
        self._put(order)
        self._match(order, now)
        self._tell_liquidation(position, qty, bust, now)
        return True

    def _take_over(self, account: Account, symbol: str, now: datetime) -> None:
        position = account.positions[symbol]
        bust = account.bust_price(position)
        order = self._liquidation_order(position, position.size, bust, _TAKE_OVER, now)
        self._put(order)
        self._fill(order, bust, position.size, now, is_maker=False, exec_type=ExecType.BUST)
        self._tell_liquidation(position, position.size, bust, now)

    def _liquidation_order(
        self, position: Position, qty: Decimal, price: Decimal, create_type: str, now: datetime
    ) -> Order:
        draft = self._draft(position, qty, price, create_type, now)
        return replace(draft, order_id=self._id("order"), seq=self.seq)

    def _draft(
        self, position: Position, qty: Decimal, price: Decimal, create_type: str, now: datetime
    ) -> Order:
        return Order(
            order_id="",
            seq=0,
            account=position.account,
            symbol=position.symbol,
            side=position.side.opposite,
            order_type=OrderType.LIMIT if create_type == _TAKE_OVER else OrderType.MARKET,
            qty=qty,
            price=price,
            time_in_force=TimeInForce.FOK,
            status=OrderStatus.NEW,
            created=now,
            updated=now,
            last_on_created=self.last.get(position.symbol, ZERO),
            reduce_only=True,
            create_type=create_type,
        )

    def _tell_liquidation(
        self, position: Position, qty: Decimal, price: Decimal, now: datetime
    ) -> None:
        self._events.append(
            Liquidated(
                account=position.account,
                symbol=position.symbol,
                side=position.side,
                qty=qty,
                price=price,
                time=now,
            )
        )
