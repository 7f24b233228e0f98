"""The state of one account on the given prices: what is open, held and free."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from tradewright.domain.market import Instrument, Side
from tradewright.matching.event import Event, OrderChanged, PositionChanged, StopTrailed
from tradewright.matching.order import ZERO, Order, OrderStatus, OrderType, StopKind
from tradewright.matching.position import Balance, Fees, Position, RequestRejected

_IDS = uuid.UUID("6f0c1b9e-6d0f-5a43-9d0c-1f6b7d1f0a11")


class Market(msgspec.Struct, frozen=True):
    """One symbol: its trading rules and the width of its book."""

    instrument: Instrument
    spread_ticks: int = 1


class Account:
    """Orders, positions, balance and last prices; every change to them is also an event."""

    def __init__(
        self,
        markets: Iterable[Market],
        *,
        cash: Decimal,
        fees: Fees = Fees(),  # noqa: B008 - frozen
        leverage: Decimal = Decimal(10),
        maintenance_rate: Decimal = Decimal("0.005"),
        seed: str = "",
    ) -> None:
        self.markets = {m.instrument.symbol: m for m in markets}
        self.fees = fees
        self.maintenance_rate = maintenance_rate
        self.balance = Balance(start=cash)
        self.positions = {s: Position(symbol=s, leverage=leverage) for s in self.markets}
        self.last: dict[str, Decimal] = {}
        self.seq = 0
        self._seed = seed
        self._links: set[str] = set()
        self._open: dict[str, dict[str, Order]] = {s: {} for s in self.markets}
        self._events: list[Event] = []
        self._trailed: dict[str, Order] = {}

    def restore(
        self,
        *,
        orders: Iterable[Order],
        positions: Iterable[Position],
        balance: Balance,
        last: Mapping[str, Decimal],
        seq: int,
    ) -> None:
        """Take over a state that earlier events described; *orders* are all that ever were."""
        for order in orders:
            self._links.add(order.link)
            if order.is_open:
                self._open[order.symbol][order.order_id] = order
        self.positions |= {p.symbol: p for p in positions}
        self.balance, self.seq = balance, seq
        self.last |= last

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders of *symbol* or of all, oldest first."""
        books = self._open.values() if symbol is None else [self._open.get(symbol, {})]
        return sorted((o for orders in books for o in orders.values()), key=lambda o: o.seq)

    def stops(self, symbol: str) -> dict[StopKind, Order]:
        """Return the stops of the position in *symbol*."""
        return {o.stop: o for o in self._open[symbol].values() if o.stop.is_of_position}

    def touch(self, symbol: str, side: Side) -> Decimal:
        """Return the price at which a taker on *side* trades now."""
        market = self.markets[symbol]
        half = market.instrument.tick_size * market.spread_ticks / 2
        price = self._last(symbol) + side.sign * half
        rounded = (
            market.instrument.ceil_price(price)
            if side is Side.BUY
            else market.instrument.floor_price(price)
        )
        return max(rounded, market.instrument.tick_size)

    def unrealised(self) -> Decimal:
        held = [p for p in self.positions.values() if p.size]
        return sum((p.unrealised(self.last[p.symbol]) for p in held), ZERO)

    def position_margin(self) -> Decimal:
        held = [p for p in self.positions.values() if p.size]
        return sum((p.initial_margin(self.last[p.symbol], self.fees) for p in held), ZERO)

    def maintenance_margin(self) -> Decimal:
        held = [p for p in self.positions.values() if p.size]
        rate = self.maintenance_rate
        return sum((p.maintenance_margin(self.last[p.symbol], self.fees, rate) for p in held), ZERO)

    def order_margin(self, without: str = "") -> Decimal:
        resting = [o for o in self.open_orders() if o.is_resting and o.order_id != without]
        return sum((self._cost(o) for o in resting), ZERO)

    def available(self, without: str = "") -> Decimal:
        """Return what new orders may use, as if the order *without* were not there."""
        equity = self.balance.cash + self.unrealised()
        return equity - self.position_margin() - self.order_margin(without)

    def _market(self, symbol: str) -> Market:
        if symbol not in self.markets:
            raise RequestRejected(10001, "params error: symbol invalid")
        return self.markets[symbol]

    def _last(self, symbol: str) -> Decimal:
        if symbol not in self.last:
            raise RequestRejected(110074, "This contract is not live")
        return self.last[symbol]

    def _found(self, order_id: str) -> Order:
        for orders in self._open.values():
            if order_id in orders:
                return orders[order_id]
        raise RequestRejected(110001, "order not exists or too late to cancel")

    def _id(self, kind: str) -> str:
        self.seq += 1
        return str(uuid.uuid5(_IDS, f"{self._seed}/{kind}/{self.seq}"))

    def _drain(self) -> list[Event]:
        for order in self._trailed.values():
            if order.order_id in self._open[order.symbol]:
                self._events.append(StopTrailed(self._open[order.symbol][order.order_id]))
        self._trailed.clear()
        events, self._events = self._events, []
        return events

    def _emit(self, event: Event) -> None:
        if isinstance(event, PositionChanged):
            self.positions[event.position.symbol] = event.position
        self._events.append(event)

    def _put(self, order: Order) -> None:
        if order.is_open:
            self._open[order.symbol][order.order_id] = order
        else:
            self._open[order.symbol].pop(order.order_id, None)
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

    def _cost(self, order: Order) -> Decimal:
        position = self.positions[order.symbol]
        opening = order.leaves - position.reducible(order.side)
        if order.reduce_only or opening <= 0:
            return ZERO
        price = self.touch(order.symbol, order.side)
        if order.order_type is OrderType.LIMIT:
            price = min(price, order.price) if order.side is Side.BUY else max(price, order.price)
        bankrupt = 1 - order.side.sign / position.leverage
        rate = 1 / position.leverage + self.fees.taker * (1 + bankrupt)
        return opening * price * rate

    def _affordable(self, order: Order) -> bool:
        cost = self._cost(order)
        return not cost or cost <= self.available(without=order.order_id)
