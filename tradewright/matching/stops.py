"""Stops and targets of positions: setting, attaching, following, trailing."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching.ledger import Ledger
from tradewright.matching.order import (
    LAST_PRICE,
    ZERO,
    Order,
    OrderStatus,
    OrderType,
    StopKind,
    StopRequest,
    TimeInForce,
    TpslMode,
    TriggerDirection,
)
from tradewright.matching.position import Position, RequestRejected

_MOST_PARTIAL = 20
_PARTIAL = {
    StopKind.STOP_LOSS: StopKind.PARTIAL_STOP_LOSS,
    StopKind.TAKE_PROFIT: StopKind.PARTIAL_TAKE_PROFIT,
}


class Stops(Ledger):
    def _stop_whole(self, position: Position, request: StopRequest, now: datetime) -> None:
        """Set, move or remove the stops that follow *position*."""
        for kind, price, by in (
            (StopKind.STOP_LOSS, request.stop_loss, request.sl_trigger_by),
            (StopKind.TAKE_PROFIT, request.take_profit, request.tp_trigger_by),
        ):
            self._stop(position, kind, price, by, now)
        self._trail(position, request, now)

    def _stop_part(self, position: Position, request: StopRequest, now: datetime) -> None:
        """Add stops of a size of their own."""
        account = self.accounts[position.account]
        wishes = [
            (StopKind.STOP_LOSS, request.stop_loss, request.sl_trigger_by, request.sl_size,
             request.sl_order_type, request.sl_limit_price),
            (StopKind.TAKE_PROFIT, request.take_profit, request.tp_trigger_by, request.tp_size,
             request.tp_order_type, request.tp_limit_price),
        ]  # fmt: skip
        wanted = [w for w in wishes if w[1]]
        if len(account.partial_stops(position.symbol)) + len(wanted) > _MOST_PARTIAL:
            raise RequestRejected(
                110061, "Not allowed to have more than 20 TP/SLs under Partial tpSlMode"
            )
        pair = self._id("pair") if len(wanted) > 1 else ""
        for kind, price, by, size, order_type, limit in wanted:
            wish = {
                "trigger_price": price,
                "trigger_by": by or LAST_PRICE,
                "qty": size,
                "order_type": order_type,
                "price": limit,
                "parent_id": pair,
            }
            self._set(position, _PARTIAL[kind], None, wish, now)

    def _attach(self, order: Order, qty: Decimal, now: datetime) -> None:
        """Give the position what *order* carries, of which *qty* was filled."""
        position = self._position(order)
        for kind, price, by, order_type, limit in (
            (StopKind.STOP_LOSS, order.stop_loss, order.sl_trigger_by,
             order.sl_order_type, order.sl_limit_price),
            (StopKind.TAKE_PROFIT, order.take_profit, order.tp_trigger_by,
             order.tp_order_type, order.tp_limit_price),
        ):  # fmt: skip
            if not price:
                continue
            if order.tpsl_mode is not TpslMode.PARTIAL:
                self._stop(position, kind, price, by, now, parent_link=order.link)
                continue
            partial = self.accounts[order.account].partial_stops(order.symbol)
            own = [o for o in partial if (o.parent_id, o.stop) == (order.order_id, _PARTIAL[kind])]
            if own:
                self._put(replace(own[0], qty=own[0].qty + qty, updated=now))
                continue
            wish = {
                "trigger_price": price,
                "trigger_by": by,
                "qty": qty,
                "order_type": order_type,
                "price": limit,
                "parent_link": order.link,
                "parent_id": order.order_id,
            }
            self._set(position, _PARTIAL[kind], None, wish, now)
        self._change_position(self._position(order))

    def _release(self, order: Order, now: datetime, cancel_type: str) -> None:
        """End what was set together with the stop *order*, which waits no more: they are a pair."""
        if not order.parent_id:
            return
        for other in self.accounts[order.account].partial_stops(order.symbol):
            if other.parent_id == order.parent_id and other.stop is not order.stop:
                self._end(other, now, cancel_type=cancel_type)

    def _follow(self, before: Position, after: Position, now: datetime) -> None:
        """Let the stops of a position have its size, or end with it."""
        orders = self.accounts[after.account].orders[after.symbol]
        if not orders:
            return
        gone = before.size and (not after.size or before.side is not after.side)
        for order in sorted(orders.values(), key=lambda o: o.seq):
            if gone and order.stop.is_of_position:
                self._end(order, now, cancel_type="CancelByTpSlTsClear")
            elif gone and order.is_resting and order.reduce_only and order.side is not before.side:
                self._end(order, now, cancel_type="CancelByReduceOnly")
            elif order.stop.follows and not order.is_resting and order.qty != after.size:
                self._put(replace(order, qty=after.size, updated=now))

    def _stop(
        self,
        position: Position,
        kind: StopKind,
        price: Decimal | None,
        trigger_by: str | None,
        now: datetime,
        parent_link: str | None = None,
    ) -> None:
        present = self.accounts[position.account].stops(position.symbol).get(kind)
        if price is None and (trigger_by is None or present is None):
            return
        if price is not None and not price:
            if present:
                self._end(present, now, cancel_type="CancelByUser")
            return
        wish: dict[str, Any] = {"trigger_price": price} if price else {}
        if trigger_by:
            wish["trigger_by"] = trigger_by
        if parent_link is not None:
            wish["parent_link"] = parent_link
        self._set(position, kind, present, wish, now)

    def _trail(self, position: Position, request: StopRequest, now: datetime) -> None:
        stops = self.accounts[position.account].stops(position.symbol)
        present = stops.get(StopKind.TRAILING)
        distance = request.trailing_stop
        if distance is not None and not distance:
            if present:
                self._end(present, now, cancel_type="CancelByUser")
            return
        wish: dict[str, Any] = {}
        if distance:
            wish["trail"] = distance
        if request.active_price is not None:
            wish["trigger_price"] = request.active_price
        if not wish or (present is None and not distance):
            return
        self._set(position, StopKind.TRAILING, present, wish, now)

    def _set(
        self,
        position: Position,
        kind: StopKind,
        present: Order | None,
        wish: dict[str, Any],
        now: datetime,
    ) -> None:
        if present is not None:
            if any(getattr(present, name) != value for name, value in wish.items()):
                changed = replace(present, updated=now, **wish)
                if changed.trigger_price != present.trigger_price:
                    # A trailing stop waits anew for the price that activates it
                    changed = replace(changed, best=ZERO)
                self._put(self._armed(changed))
            return
        gains = kind in (StopKind.TAKE_PROFIT, StopKind.PARTIAL_TAKE_PROFIT)
        rises = gains == (position.side is Side.BUY)
        fields: dict[str, Any] = {
            "order_type": OrderType.MARKET,
            "qty": position.size,
            "price": ZERO,
            "trigger_by": LAST_PRICE,
            **wish,
        }
        is_limit = fields["order_type"] is OrderType.LIMIT
        order = Order(
            order_id=self._id("order"),
            seq=self.seq,
            account=position.account,
            symbol=position.symbol,
            side=position.side.opposite,
            time_in_force=TimeInForce.GTC if is_limit else TimeInForce.IOC,
            status=OrderStatus.UNTRIGGERED,
            created=now,
            updated=now,
            last_on_created=self.last[position.symbol],
            reduce_only=True,
            close_on_trigger=True,
            stop=kind,
            tpsl_mode=TpslMode.PARTIAL if kind.is_partial else TpslMode.FULL,
            trigger_direction=TriggerDirection.RISE if rises else TriggerDirection.FALL,
            create_type=kind.create_type,
            **fields,
        )
        self._put(self._armed(order))

    def _armed(self, order: Order) -> Order:
        if order.stop is not StopKind.TRAILING:
            return order
        return order.trailed(self.last[order.symbol])

    def _trail_all(self, symbol: str) -> None:
        last = self.last[symbol]
        waiting = self.board.books[symbol].waiting.values()
        trailing = [o for o in waiting if o.stop is StopKind.TRAILING]
        self._put_untold([moved for o in trailing if (moved := o.trailed(last)) is not o])
