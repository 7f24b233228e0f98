"""The matching engine: orders, stops, fills and margin of all accounts on given prices.

Pure and deterministic: no clock, no chance, no I/O. The same calls in the same order give the
same events with the same ids, so the backtest and the paper exchange share it.

The market is a last price per symbol. The book stands half a spread around it, rounded away
from it to whole ticks, with unlimited depth. The mark and index prices are the last price.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching import rules
from tradewright.matching.account import Account
from tradewright.matching.board import Board
from tradewright.matching.event import (
    Event,
    Executed,
    OrderChanged,
    PositionChanged,
    ProfileChanged,
    StopTrailed,
    WalletChanged,
)
from tradewright.matching.market import Market
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
    TriggerDirection,
)
from tradewright.matching.position import (
    Balance,
    Execution,
    Fill,
    Position,
    Profile,
    RequestRejected,
    book,
)

_IDS = uuid.UUID("6f0c1b9e-6d0f-5a43-9d0c-1f6b7d1f0a11")
# At one price a stop comes before a target, and both before what rests in the book
_RANK = {
    StopKind.STOP_LOSS: 0,
    StopKind.TRAILING: 0,
    StopKind.CONDITIONAL: 1,
    StopKind.TAKE_PROFIT: 2,
    StopKind.NONE: 3,
}


class Links(Protocol):
    """The order links that were ever used, with their accounts."""

    def __contains__(self, link: object, /) -> bool: ...
    def add(self, link: tuple[str, str], /) -> None: ...


class Engine:
    """All accounts. Every call returns the events that it caused, in their order."""

    def __init__(
        self, markets: Iterable[Market], *, seed: str = "", links: Links | None = None
    ) -> None:
        self.board = Board(markets)
        self.markets = self.board.markets
        self.last, self.mark, self.index = self.board.last, self.board.mark, self.board.index
        self.accounts: dict[str, Account] = {}
        self.seq = 0
        self._seed = seed
        self._links: Links = set() if links is None else links
        self._events: list[Event] = []
        self._trailed: dict[str, Order] = {}

    def open_account(self, profile: Profile, cash: Decimal) -> list[Event]:
        balance = Balance(account=profile.account, start=cash)
        self.accounts[profile.account] = Account(profile, balance, self.board)
        self._emit(ProfileChanged(profile))
        self._emit(WalletChanged(balance))
        return self._drain()

    def restore(
        self,
        *,
        profiles: Iterable[Profile],
        balances: Iterable[Balance],
        positions: Iterable[Position],
        orders: Iterable[Order],
        last: Mapping[str, Decimal],
        mark: Mapping[str, Decimal] | None = None,
        index: Mapping[str, Decimal] | None = None,
        seq: int,
    ) -> None:
        """Take over a state that earlier events described; *orders* are the open ones."""
        of = {b.account: b for b in balances}
        for profile in profiles:
            self.accounts[profile.account] = Account(profile, of[profile.account], self.board)
        for position in positions:
            self.accounts[position.account].positions[position.symbol] = position
        for order in orders:
            self.accounts[order.account].orders[order.symbol][order.order_id] = order
        self.last |= last
        self.mark |= {**last, **(mark or {})}
        self.index |= {**last, **(index or {})}
        self.seq = seq

    def begin(self, symbol: str, price: Decimal) -> None:
        """Let *price* be the last one of *symbol* if none is known yet."""
        if symbol not in self.last:
            self.board.move(symbol, price)

    def touch(self, symbol: str, side: Side) -> Decimal:
        """Return the price at which a taker on *side* trades now."""
        return self.board.touch(symbol, side)

    def place(self, account: str, request: OrderRequest, now: datetime) -> list[Event]:
        """Accept *request* as a new order, whose state is in the first event, and match it.

        Raises:
            RequestRejected: The order breaks a rule or cannot be paid for.
        """
        owner = self.accounts[account]
        market = self.board.market(request.symbol)
        last = self.board.last_of(request.symbol)
        if request.link and (account, request.link) in self._links:
            raise RequestRejected(110072, "OrderLinkedID is duplicate")
        reducible = owner.positions[request.symbol].reducible(request.side)
        qty = rules.accepted_qty(request, market.instrument, reducible)
        rules.check(request, market.instrument, last, qty)
        conditional = bool(request.trigger_price)
        order = Order(
            order_id="",
            seq=0,
            account=account,
            symbol=request.symbol,
            side=request.side,
            order_type=request.order_type,
            qty=qty,
            price=request.price
            if request.order_type is OrderType.LIMIT
            else rules.market_price_limit(market.instrument, request.side, last),
            time_in_force=request.time_in_force
            if request.order_type is OrderType.LIMIT
            else TimeInForce.IOC,
            status=OrderStatus.UNTRIGGERED if conditional else OrderStatus.NEW,
            created=now,
            updated=now,
            last_on_created=last,
            link=request.link,
            reduce_only=request.reduce_only or request.close_on_trigger,
            close_on_trigger=request.close_on_trigger,
            stop=StopKind.CONDITIONAL if conditional else StopKind.NONE,
            trigger_price=request.trigger_price,
            trigger_direction=request.trigger_direction if conditional else 0,
            trigger_by=request.trigger_by if conditional else "",
            take_profit=request.take_profit,
            stop_loss=request.stop_loss,
            tp_trigger_by=request.tp_trigger_by if request.take_profit else "",
            sl_trigger_by=request.sl_trigger_by if request.stop_loss else "",
        )
        if not conditional and not owner.can_afford(order):
            raise RequestRejected(110007, "ab not enough for new order")
        if order.link:
            self._links.add((account, order.link))
        # Only an accepted order counts, so that refusals leave no gap that a restart would close
        order = replace(order, order_id=self._id("order"), seq=self.seq)
        self._put(order)
        if not conditional:
            self._match(order, now)
        self._settle(order.symbol, now, traded=False)
        return self._drain()

    def amend(self, account: str, order_id: str, change: Change, now: datetime) -> list[Event]:
        owner = self.accounts[account]
        order = owner.found(order_id)
        instrument = self.markets[order.symbol].instrument
        last = self.board.last_of(order.symbol)
        amended = rules.amended(order, change, instrument, last)
        amended = replace(amended, updated=now)
        if amended.is_resting and not owner.can_afford(amended):
            raise RequestRejected(110007, "ab not enough for new order")
        self._put(amended)
        if amended.is_resting:
            self._match(amended, now)
        self._settle(order.symbol, now, traded=False)
        return self._drain()

    def cancel(self, account: str, order_id: str, now: datetime) -> list[Event]:
        self._end(self.accounts[account].found(order_id), now, cancel_type="CancelByUser")
        return self._drain()

    def cancel_all(
        self,
        account: str,
        symbols: Collection[str],
        now: datetime,
        kinds: Collection[StopKind] = tuple(StopKind),
    ) -> list[Event]:
        for order in self.accounts[account].open_orders():
            if order.symbol in symbols and order.stop in kinds:
                self._end(order, now, cancel_type="CancelByUser")
        return self._drain()

    def set_stops(
        self, account: str, symbol: str, request: StopRequest, now: datetime
    ) -> list[Event]:
        """Set, move or remove the stops of the whole position in *symbol*."""
        owner = self.accounts[account]
        market = self.board.market(symbol)
        position = owner.positions[symbol]
        if not position.size:
            raise RequestRejected(10001, "can not set tp/sl/ts for zero position")
        before = owner.stops(symbol)
        rules.check_stops(request, position, market.instrument, self.board.last_of(symbol))
        self._stop(position, StopKind.STOP_LOSS, request.stop_loss, request.sl_trigger_by, now)
        self._stop(position, StopKind.TAKE_PROFIT, request.take_profit, request.tp_trigger_by, now)
        self._trail(position, request, now)
        if owner.stops(symbol) == before:
            raise RequestRejected(34040, "not modified")
        self._emit(PositionChanged(replace(position, updated=now)))
        self._settle(symbol, now, traded=False)
        return self._drain()

    def set_leverage(
        self, account: str, symbol: str, leverage: Decimal, now: datetime
    ) -> list[Event]:
        owner = self.accounts[account]
        market = self.board.market(symbol)
        position = owner.positions[symbol]
        if not 1 <= leverage <= market.instrument.max_leverage:
            raise RequestRejected(10001, "leverage invalid")
        if leverage == position.leverage:
            raise RequestRejected(110043, "leverage not modified")
        changed = replace(position, leverage=leverage, updated=now)
        mark, fees = self.board.last_of(symbol), owner.profile.fees
        held = position.initial_margin(mark, fees)
        if changed.initial_margin(mark, fees) - held > owner.available():
            raise RequestRejected(110044, "Available margin is insufficient.")
        self._emit(PositionChanged(changed))
        return self._drain()

    def play(self, symbol: str, path: Sequence[Decimal], now: datetime) -> list[Event]:
        """Trade along *path*: jump to its first price, then move continuously to the others.

        What a jump skips fills at the price where it lands; a limit order at its own price.
        """
        self._move(symbol, path[0], now)
        for price in path[1:]:
            self._glide(symbol, price, now)
        return self._drain()

    def glide(self, symbol: str, price: Decimal, now: datetime) -> list[Event]:
        """Trade continuously from the last price to *price*."""
        self._glide(symbol, price, now)
        return self._drain()

    def _match(self, order: Order, now: datetime) -> None:
        price = self.touch(order.symbol, order.side)
        crosses = order.order_type is OrderType.MARKET or (
            price <= order.price if order.side is Side.BUY else price >= order.price
        )
        if order.time_in_force is TimeInForce.POST_ONLY and crosses:
            self._end(order, now, reason="EC_PostOnlyWillTakeLiquidity")
        elif crosses:
            self._fill(order, price, now, is_maker=False)
        elif order.time_in_force is TimeInForce.IOC:
            self._end(order, now, reason="EC_NoImmediateQtyToFill")
        elif order.time_in_force is TimeInForce.FOK:
            self._end(order, now, reason="EC_NoEnoughQtyToFill")

    def _fill(self, order: Order, price: Decimal, now: datetime, *, is_maker: bool) -> None:
        owner = self.accounts[order.account]
        position, fees = owner.positions[order.symbol], owner.profile.fees
        qty = order.qty - order.filled
        if order.reduce_only:
            qty = min(qty, position.reducible(order.side))
            if not qty:
                self._end(order, now, cancel_type="CancelByReduceOnly")
                return
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
            ),
        )
        filled = _filled(order, execution, now)
        self._emit(Executed(execution))
        self._put(filled)
        if filled.is_open:
            self._end(filled, now, cancel_type="CancelByReduceOnly")
        self._emit(PositionChanged(after))
        self._follow(position, after, now)
        if after.size and after.side is order.side and (order.take_profit or order.stop_loss):
            self._attach(order, now)
        owner.balance = replace(
            owner.balance,
            realised=owner.balance.realised + execution.pnl,
            fees=owner.balance.fees + execution.fee,
        )
        self._emit(WalletChanged(owner.balance))

    def _follow(self, before: Position, after: Position, now: datetime) -> None:
        gone = before.size and (not after.size or before.side is not after.side)
        for order in self.accounts[after.account].open_orders(after.symbol):
            if gone and order.stop.is_of_position:
                self._end(order, now, cancel_type="CancelByTpSlTsClear")
            elif gone and order.reduce_only and order.side is not before.side:
                self._end(order, now, cancel_type="CancelByReduceOnly")
            elif order.stop.is_of_position and order.qty != after.size:
                self._put(replace(order, qty=after.size, updated=now))

    def _attach(self, order: Order, now: datetime) -> None:
        positions = self.accounts[order.account].positions
        for kind, price, by in (
            (StopKind.STOP_LOSS, order.stop_loss, order.sl_trigger_by),
            (StopKind.TAKE_PROFIT, order.take_profit, order.tp_trigger_by),
        ):
            if price:
                self._stop(positions[order.symbol], kind, price, by, now, parent_link=order.link)
        self._emit(PositionChanged(positions[order.symbol]))

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
        rises = (kind is StopKind.TAKE_PROFIT) == (position.side is Side.BUY)
        direction = TriggerDirection.RISE if rises else TriggerDirection.FALL
        wish: dict[str, Any] = {"trigger_price": price} if price else {}
        if trigger_by:
            wish["trigger_by"] = trigger_by
        if parent_link is not None:
            wish["parent_link"] = parent_link
        self._set(position, kind, present, direction, wish, now)

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
        held_long = position.side is Side.BUY
        direction = TriggerDirection.FALL if held_long else TriggerDirection.RISE
        self._set(position, StopKind.TRAILING, present, direction, wish, now)

    def _set(
        self,
        position: Position,
        kind: StopKind,
        present: Order | None,
        direction: int,
        wish: dict[str, Any],
        now: datetime,
    ) -> None:
        if present is not None:
            if any(getattr(present, name) != value for name, value in wish.items()):
                self._put(self._armed(replace(present, updated=now, **wish)))
            return
        order = Order(
            order_id=self._id("order"),
            seq=self.seq,
            account=position.account,
            symbol=position.symbol,
            side=position.side.opposite,
            order_type=OrderType.MARKET,
            qty=position.size,
            price=ZERO,
            time_in_force=TimeInForce.IOC,
            status=OrderStatus.UNTRIGGERED,
            created=now,
            updated=now,
            last_on_created=self.last[position.symbol],
            reduce_only=True,
            close_on_trigger=True,
            stop=kind,
            trigger_direction=direction,
            **{"trigger_by": LAST_PRICE, **wish},
        )
        self._put(self._armed(order))

    def _armed(self, order: Order) -> Order:
        if order.stop is not StopKind.TRAILING:
            return order
        return order.trailed(self.last[order.symbol])

    def _glide(self, symbol: str, price: Decimal, now: datetime) -> None:
        if not self._is_watched(symbol):
            self.board.move(symbol, price)
            return
        # The next trade is where the last one was: it fills what rests there
        self._settle(symbol, now, traded=True)
        while (level := self._next_level(symbol, price)) is not None:
            self._move(symbol, level, now)
        self._move(symbol, price, now)

    def _is_watched(self, symbol: str) -> bool:
        return any(a.orders[symbol] for a in self.accounts.values())

    def _orders(self, symbol: str) -> list[Order]:
        return [o for a in self.accounts.values() for o in a.orders[symbol].values()]

    def _next_level(self, symbol: str, price: Decimal) -> Decimal | None:
        last = self.last[symbol]
        low, high = min(last, price), max(last, price)
        levels = [v for o in self._orders(symbol) if (v := o.level) and low < v < high]
        nearest: Callable[[list[Decimal]], Decimal] = min if price > last else max
        return nearest(levels) if levels else None

    def _move(self, symbol: str, price: Decimal, now: datetime) -> None:
        self.board.move(symbol, price)
        for order in self._orders(symbol):
            if order.stop is StopKind.TRAILING and (moved := order.trailed(price)) is not order:
                self.accounts[order.account].orders[symbol][order.order_id] = moved
                self._trailed[order.order_id] = moved
        self._settle(symbol, now, traded=True)

    def _settle(self, symbol: str, now: datetime, *, traded: bool) -> None:
        """Fill and trigger what is due at the last price; what rests, only where it *traded*."""
        last = self.last[symbol]
        while due := [
            o for o in self._orders(symbol) if (traded or not o.is_resting) and o.is_due(last)
        ]:
            order = min(due, key=lambda o: (_RANK[o.stop], o.seq))
            if order.is_resting:
                self._fill(order, order.price, now, is_maker=True)
            else:
                self._trigger(order, now)

    def _trigger(self, order: Order, now: datetime) -> None:
        self._put(replace(order, status=OrderStatus.TRIGGERED, updated=now))
        # Once triggered it is an order like any other, and its stop kind only says whence
        live = replace(order, status=OrderStatus.NEW, updated=now)
        if not live.reduce_only and not self.accounts[order.account].can_afford(live):
            self._end(live, now, cancel_type="CancelByCannotAffordOrderCost")
            return
        self._put(live)
        self._match(live, now)

    def _id(self, kind: str) -> str:
        self.seq += 1
        return str(uuid.uuid5(_IDS, f"{self._seed}/{kind}/{self.seq}"))

    def _drain(self) -> list[Event]:
        for order in self._trailed.values():
            of_symbol = self.accounts[order.account].orders[order.symbol]
            if order.order_id in of_symbol:
                self._events.append(StopTrailed(of_symbol[order.order_id]))
        self._trailed.clear()
        events, self._events = self._events, []
        return events

    def _emit(self, event: Event) -> None:
        if isinstance(event, PositionChanged):
            position = event.position
            self.accounts[position.account].positions[position.symbol] = position
        self._events.append(event)

    def _put(self, order: Order) -> None:
        of_symbol = self.accounts[order.account].orders[order.symbol]
        if order.is_open:
            of_symbol[order.order_id] = order
        else:
            of_symbol.pop(order.order_id, None)
        self._events.append(OrderChanged(order))

    def _end(
        self, order: Order, now: datetime, *, cancel_type: str = "UNKNOWN", reason: str = ""
    ) -> None:
        cancelled = replace(
            order,
            status=OrderStatus.CANCELLED,
            updated=now,
            cancel_type=cancel_type,
            reject_reason=reason or "EC_NoError",
        )
        self._put(cancelled)


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
