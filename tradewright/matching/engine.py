"""The matching engine: what accounts ask for, on what the market does.

Pure and deterministic: no clock, no chance, no I/O. The same calls in the same order give the
same events with the same ids, so the backtest and the paper exchange share it. Only what is
open is kept; of what ended only the order links, in a collection that can be injected.

Each call returns the events that it caused, in their order; a refused one causes none.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from tradewright.matching import margin, rules
from tradewright.matching.account import Account
from tradewright.matching.event import Event
from tradewright.matching.order import (
    LAST_PRICE,
    ZERO,
    Change,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    StopKind,
    StopRequest,
    TimeInForce,
    TpslMode,
)
from tradewright.matching.position import RequestRejected
from tradewright.matching.terms import Terms

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_ACTIVE = 500
_MOST_CONDITIONAL = 10


class PreCheck(msgspec.Struct, frozen=True):
    """Initial and maintenance margin as shares of the margin balance, around an order."""

    im_rate_before: Decimal
    mm_rate_before: Decimal
    im_rate_after: Decimal
    mm_rate_after: Decimal


class Engine(Terms):
    def place(self, account: str, request: OrderRequest, now: datetime) -> list[Event]:
        """Accept *request* as a new order, whose state is in the first event, and match it.

        Raises:
            RequestRejected: The order breaks a rule or cannot be paid for.
        """
        orders = self._accepted(account, request, now)
        if request.link:
            self._links.add((account, request.link))
        for number, accepted in enumerate(orders):
            # Only an accepted order counts, so that refusals leave no gap
            order_id = self._id("order")
            order = replace(
                accepted, order_id=order_id, seq=self.seq, link="" if number else accepted.link
            )
            fate = request.fate
            if fate is not None and fate.ends is not None:
                self._put(order)
                self._end(order, now, reason=fate.reason, status=fate.ends)
                continue
            if order.status is OrderStatus.UNTRIGGERED:
                self._put(order)
                continue
            if order.order_type is OrderType.LIMIT:
                order = self._queued(order)
            self._put(order)
            share = None if fate is None else fate.fraction
            instrument = self.markets[order.symbol].instrument
            self._match(
                order, now, None if share is None else instrument.floor_qty(order.qty * share)
            )
        self._settle(request.symbol, now)
        return self._drain()

    def precheck(self, account: str, request: OrderRequest) -> PreCheck:
        """Return what margin would be in use if *request* were accepted and filled."""
        owner = self.accounts[account]
        order = self._accepted(account, request, None)[0]
        equity, position = owner.equity(), owner.positions[request.symbol]
        im, mm = owner.position_margin() + owner.order_margin(), owner.maintenance_margin()
        mark = self.mark[order.symbol]
        signed = position.side.sign * position.size + order.side.sign * order.qty
        after = replace(
            position,
            side=position.side if signed * position.side.sign > 0 else order.side,
            size=abs(signed),
        )
        value, taker = after.size * mark, owner.profile.fees.taker
        mm_after = mm - owner.maintenance_margin_of(order.symbol)
        mm_after += margin.maintenance_margin(self.markets[order.symbol], value)
        mm_after += margin.closing_fee(after, value, taker)
        im_after = im + owner.cost(order)

        def rate(amount: Decimal) -> Decimal:
            return amount / equity if equity > 0 else ZERO

        return PreCheck(rate(im), rate(mm), rate(im_after), rate(mm_after))

    def amend(self, account: str, order_id: str, change: Change, now: datetime) -> list[Event]:
        owner = self.accounts[account]
        order = owner.order(order_id)
        instrument = self.markets[order.symbol].instrument
        current = self.board.price(order.symbol, change.trigger_by or order.trigger_by)
        amended = replace(rules.amended(order, change, instrument, current), updated=now)
        if change.price is not None and amended.is_resting:
            amended = replace(amended, price=self._allowed_price(owner, amended))
        if amended.trigger_price != order.trigger_price:
            amended = self._armed(replace(amended, best=ZERO))
        if not amended.reduce_only:
            self._check_tier(owner, amended)
        if not amended.is_resting:
            self._put(amended)
        elif not owner.can_afford(amended):
            raise self._unaffordable(owner)
        elif amended.price == order.price and amended.qty <= order.qty:
            self._put(amended)
        else:
            self.board.books[order.symbol].queues[order.side].drop(order)
            amended = self._queued(amended)
            self._put(amended)
            self._match(amended, now)
        self._settle(order.symbol, now)
        return self._drain()

    def cancel(self, account: str, order_id: str, now: datetime) -> list[Event]:
        order = self.accounts[account].order(order_id)
        self._end(order, now, cancel_type="CancelByUser")
        if not order.is_resting:
            self._release(order, now, "CancelByUser")
        return self._drain()

    def cancel_all(
        self,
        account: str,
        symbols: Collection[str],
        now: datetime,
        kinds: Collection[StopKind] = tuple(StopKind),
    ) -> list[Event]:
        for order in self.accounts[account].open_orders():
            # What rests is active, even if it had to be triggered first
            kind = StopKind.NONE if order.is_resting else order.stop
            if order.symbol in symbols and kind in kinds:
                self._end(order, now, cancel_type="CancelByUser")
        return self._drain()

    def set_stops(
        self, account: str, symbol: str, request: StopRequest, now: datetime
    ) -> list[Event]:
        """Set, move or remove the stops of the position in *symbol*, or add partial ones."""
        owner = self.accounts[account]
        market = self.board.market(symbol)
        position = owner.positions[symbol]
        if not position.size:
            raise RequestRejected(10001, "can not set tp/sl/ts for zero position")
        before = owner.stops(symbol), owner.partial_stops(symbol)
        # What a request leaves out stays as it is, and must fit what it changes
        follow = before[0] if request.tpsl_mode is TpslMode.FULL else {}
        loss, target = follow.get(StopKind.STOP_LOSS), follow.get(StopKind.TAKE_PROFIT)
        sl_by, tp_by = request.sl_trigger_by, request.tp_trigger_by
        rules.check_stops(
            replace(
                request,
                stop_loss=_else_present(request.stop_loss, loss if sl_by else None),
                take_profit=_else_present(request.take_profit, target if tp_by else None),
            ),
            position,
            market.instrument,
            self.board.price(symbol, sl_by or (loss.trigger_by if loss else LAST_PRICE)),
            self.board.price(symbol, tp_by or (target.trigger_by if target else LAST_PRICE)),
        )
        if request.tpsl_mode is TpslMode.FULL:
            self._stop_whole(position, request, now)
        else:
            self._stop_part(position, request, now)
            self._trail(position, request, now)
        if (owner.stops(symbol), owner.partial_stops(symbol)) == before:
            raise RequestRejected(34040, "not modified")
        self._change_position(replace(position, updated=now))
        self._settle(symbol, now)
        return self._drain()

    def _accepted(self, account: str, request: OrderRequest, now: datetime | None) -> list[Order]:
        """Return the orders that *request* makes, without ids; more than one if it is split."""
        owner = self.accounts[account]
        market = self.board.market(request.symbol)
        last = self.board.last_of(request.symbol)
        if request.link and (account, request.link) in self._links:
            raise RequestRejected(110072, "OrderLinkedID is duplicate")
        reducible = owner.positions[request.symbol].reducible(request.side)
        qtys = rules.accepted_qtys(request, market.instrument, reducible)
        trigger = self.board.price(request.symbol, request.trigger_by)
        rules.check(request, market.instrument, last, qtys[0], trigger)
        order = self._new(owner, request, qtys[0], last, now)
        self._check_count(owner, order)
        if not order.reduce_only:
            self._check_tier(owner, order)
        if order.status is OrderStatus.NEW and not owner.can_afford(order):
            raise self._unaffordable(owner)
        return [order, *(replace(order, qty=qty) for qty in qtys[1:])]

    def _new(
        self,
        owner: Account,
        request: OrderRequest,
        qty: Decimal,
        last: Decimal,
        now: datetime | None,
    ) -> Order:
        stop = StopKind.CONDITIONAL if request.trigger_price else StopKind.NONE
        is_limit = request.order_type is OrderType.LIMIT
        has_stops = bool(request.take_profit or request.stop_loss)
        if is_limit:
            price = request.price if stop else self._allowed_price(owner, request)
        elif stop:
            instrument = self.markets[request.symbol].instrument
            price = rules.market_price_limit(instrument, request.side, last)
        else:
            price = self._protective_price(request)
        moment = now or _EPOCH
        return Order(
            order_id="",
            seq=0,
            account=owner.name,
            symbol=request.symbol,
            side=request.side,
            order_type=request.order_type,
            qty=qty,
            price=price,
            time_in_force=request.time_in_force if is_limit else TimeInForce.IOC,
            status=OrderStatus.UNTRIGGERED if stop else OrderStatus.NEW,
            created=moment,
            updated=moment,
            last_on_created=last,
            link=request.link,
            reduce_only=request.reduce_only or request.close_on_trigger,
            close_on_trigger=request.close_on_trigger,
            stop=stop,
            create_type=stop.create_type,
            trigger_price=request.trigger_price,
            trigger_direction=request.trigger_direction if stop else 0,
            trigger_by=request.trigger_by if stop else "",
            take_profit=request.take_profit,
            stop_loss=request.stop_loss,
            tp_trigger_by=request.tp_trigger_by if request.take_profit else "",
            sl_trigger_by=request.sl_trigger_by if request.stop_loss else "",
            tpsl_mode=request.tpsl_mode if has_stops else None,
            tp_order_type=request.tp_order_type,
            sl_order_type=request.sl_order_type,
            tp_limit_price=request.tp_limit_price,
            sl_limit_price=request.sl_limit_price,
            slippage_type=request.slippage_type,
            slippage=request.slippage,
        )

    def _allowed_price(self, owner: Account, order: Order | OrderRequest) -> Decimal:
        price = self._banded(order)
        if price != order.price and owner.profile.rejects_outside_band:
            raise RequestRejected(110003, "Order price exceeds the allowable range.")
        return price

    def _check_count(self, owner: Account, order: Order) -> None:
        orders = owner.orders[order.symbol]
        if order.status is OrderStatus.UNTRIGGERED:
            conditional = sum(
                o.stop is StopKind.CONDITIONAL and not o.is_resting for o in orders.values()
            )
            if conditional >= _MOST_CONDITIONAL:
                raise RequestRejected(
                    110009, "The number of stop orders exceeds the maximum allowable limit"
                )
        elif len(orders) >= _MOST_ACTIVE and (
            sum(o.is_resting for o in orders.values()) >= _MOST_ACTIVE
        ):
            raise RequestRejected(110020, "Not allowed to have more than 500 active orders.")

    def _unaffordable(self, owner: Account) -> RequestRejected:
        if owner.balance.cash <= 0:
            return RequestRejected(110004, "Wallet balance is insufficient")
        return RequestRejected(110007, "ab not enough for new order")


def _else_present(price: Decimal | None, stop: Order | None) -> Decimal | None:
    return stop.trigger_price if price is None and stop else price
