"""The state of one account on the given prices: what is open, held and free."""

from collections.abc import Iterable
from decimal import Decimal

from tradewright.domain.market import Side
from tradewright.matching import margin
from tradewright.matching.board import Board
from tradewright.matching.market import Tier
from tradewright.matching.order import ZERO, Order, OrderType, StopKind
from tradewright.matching.position import (
    Balance,
    MarginMode,
    Position,
    Profile,
    RequestRejected,
)

_SIDES = tuple(Side)
_MOST_TICKS = 19_999_998  # of the highest price that an instrument has


class Account:
    """Orders, positions and balance; only the engine changes them."""

    def __init__(self, profile: Profile, balance: Balance, board: Board) -> None:
        self.profile = profile
        self.balance = balance
        self.board = board
        self.positions = {
            s: Position(account=profile.account, symbol=s, leverage=profile.leverage)
            for s in board.markets
        }
        self.orders: dict[str, dict[str, Order]] = {s: {} for s in board.markets}
        self._held: dict[str, None] = {}
        self._demand: dict[tuple[str, Side], tuple[Decimal, Decimal]] = {}
        """Quantity and value of what rests and may open a position."""

    @property
    def name(self) -> str:
        return self.profile.account

    @property
    def is_isolated(self) -> bool:
        return self.profile.margin_mode is MarginMode.ISOLATED

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders of *symbol* or of all, oldest first."""
        books: Iterable[dict[str, Order]] = (
            self.orders.values() if symbol is None else [self.orders.get(symbol, {})]
        )
        return sorted((o for orders in books for o in orders.values()), key=lambda o: o.seq)

    def order(self, order_id: str) -> Order:
        for orders in self.orders.values():
            if order_id in orders:
                return orders[order_id]
        raise RequestRejected(110001, "order not exists or too late to cancel")

    def stops(self, symbol: str) -> dict[StopKind, Order]:
        """Return the waiting stops that follow the whole position in *symbol*."""
        return {
            o.stop: o
            for o in self.orders[symbol].values()
            if o.stop.is_of_position and not o.stop.is_partial and not o.is_resting
        }

    def partial_stops(self, symbol: str) -> list[Order]:
        """Return the waiting stops of a size of their own, oldest first."""
        orders = self.orders[symbol].values()
        return [o for o in orders if o.stop.is_partial and not o.is_resting]

    def held(self) -> list[Position]:
        return [self.positions[s] for s in self._held]

    def equity(self) -> Decimal:
        return self.balance.cash + self.unrealised()

    def unrealised(self) -> Decimal:
        mark = self.board.mark
        return sum((p.unrealised(mark[p.symbol]) for p in self.held()), ZERO)

    def position_margin(self) -> Decimal:
        return sum((self.initial_margin_of(s) for s in self._held), ZERO)

    def maintenance_margin(self) -> Decimal:
        return sum((self.maintenance_margin_of(s) for s in self._held), ZERO)

    def initial_margin_of(self, symbol: str) -> Decimal:
        """Return the margin that the position occupies, with what was added to it."""
        position, taker = self.positions[symbol], self.profile.fees.taker
        if not position.size:
            return ZERO
        value = self._entry_or_mark_value(position)
        extra = position.extra_margin if self.is_isolated else ZERO
        return margin.initial_margin(position, value, taker) + extra

    def maintenance_margin_of(self, symbol: str) -> Decimal:
        position, taker = self.positions[symbol], self.profile.fees.taker
        if not position.size:
            return ZERO
        value = position.size * self.board.mark[symbol]
        fee = margin.closing_fee(position, self._entry_or_mark_value(position), taker)
        return margin.maintenance_margin(self.board.markets[symbol], value) + fee

    def order_margin(self) -> Decimal:
        return sum((self._cost(*key, *demand) for key, demand in self._demand.items()), ZERO)

    def available(self) -> Decimal:
        """Return what new orders may use.

        Gains and losses that are not realised count with cross margin alone.
        """
        own = self.balance.cash if self.is_isolated else self.equity()
        return own - self.position_margin() - self.order_margin()

    def withdrawable(self) -> Decimal:
        return max(min(self.available(), self.balance.cash), ZERO)

    def cost(self, order: Order) -> Decimal:
        """Return how much more margin *order* occupies than its present state does."""
        symbol, side = order.symbol, order.side
        before, after = self._wanted(symbol, side), self._wanted_with(order)
        return self._cost(symbol, side, *after) - self._cost(symbol, side, *before)

    def can_afford(self, order: Order) -> bool:
        cost = self.cost(order)
        return cost <= 0 or cost <= self.available()

    def value_with(self, symbol: str, order: Order | None = None) -> Decimal:
        """Return the value of the position and of the orders that add to it, and of *order*."""
        position = self.positions[symbol]
        value = position.size * self.board.mark.get(symbol, ZERO)
        for side in _SIDES:
            if order is not None and order.side is side:
                qty, worth = self._wanted_with(order)
            else:
                qty, worth = self._wanted(symbol, side)
            if qty:
                value += _beyond(position.reducible(side), qty, worth)
        return value

    def tier_of(self, symbol: str) -> Tier:
        """Return the risk tier of the position and the orders together."""
        return self.board.markets[symbol].tier_of(self.value_with(symbol))

    def liq_price(self, symbol: str) -> Decimal | None:
        """Return the mark price of liquidation; None if there is none that can be reached."""
        position, market = self.positions[symbol], self.board.markets[symbol]
        if not position.size:
            return None
        if self.is_isolated:
            price = margin.isolated_liq_price(position, market)
        else:
            others = self.maintenance_margin() - self.maintenance_margin_of(symbol)
            price = margin.cross_liq_price(
                position,
                market,
                mark=self.board.mark[symbol],
                equity=self.equity(),
                other_maintenance=others,
                taker=self.profile.fees.taker,
            )
        tick = market.instrument.tick_size
        return price if price and tick <= price <= tick * _MOST_TICKS else None

    def bust_price(self, position: Position) -> Decimal:
        """Return the price at which the open *position* is worth nothing any more."""
        market = self.board.markets[position.symbol]
        if self.is_isolated:
            return margin.isolated_bust_price(position, market)
        mark, taker = self.board.mark[position.symbol], self.profile.fees.taker
        return margin.cross_bust_price(
            position, market, mark=mark, equity=self.equity(), taker=taker
        )

    def is_doomed(self, symbol: str) -> bool:
        """Return whether too little margin is left: of the position, or with cross of them all."""
        if not self.is_isolated:
            return bool(self._held) and self.equity() <= self.maintenance_margin()
        if symbol not in self._held:
            return False
        gain = self.positions[symbol].unrealised(self.board.mark[symbol])
        return self.initial_margin_of(symbol) + gain <= self.maintenance_margin_of(symbol)

    def hold(self, position: Position) -> None:
        self.positions[position.symbol] = position
        if position.size and position.symbol not in self._held:
            # In an order that does not tell which came first
            self._held = dict.fromkeys(sorted([*self._held, position.symbol]))
        elif not position.size:
            self._held.pop(position.symbol, None)

    def put(self, order: Order) -> Order | None:
        """Keep *order* for as long as it is open; return its former state."""
        orders = self.orders[order.symbol]
        before = orders.get(order.order_id)
        if order.is_open:
            orders[order.order_id] = order
        elif before is not None:
            del orders[order.order_id]
        if before is not None and _opens(before):
            self._demand_more(before, -1)
        if _opens(order):
            self._demand_more(order, 1)
        return before

    def _entry_or_mark_value(self, position: Position) -> Decimal:
        if self.is_isolated:
            return position.cost
        return position.size * self.board.mark[position.symbol]

    def _demand_more(self, order: Order, sign: int) -> None:
        key = order.symbol, order.side
        qty, value = self._wanted(*key)
        more = sign * order.leaves
        qty += more
        if qty:
            self._demand[key] = qty, value + more * order.price
        else:
            self._demand.pop(key, None)

    def _wanted(self, symbol: str, side: Side) -> tuple[Decimal, Decimal]:
        return self._demand.get((symbol, side), (ZERO, ZERO))

    def _wanted_with(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return quantity and value of what may open if *order* takes its former state's place."""
        qty, value = self._wanted(order.symbol, order.side)
        known = self.orders[order.symbol].get(order.order_id)
        if known is not None and _opens(known):
            qty, value = qty - known.leaves, value - known.leaves * known.price
        if order.reduce_only:
            return qty, value
        return qty + order.leaves, value + order.leaves * self._likely_price(order)

    def _cost(self, symbol: str, side: Side, qty: Decimal, value: Decimal) -> Decimal:
        position = self.positions[symbol]
        rate = 1 / position.leverage
        rate += self.profile.fees.taker * (2 - side.sign * rate)
        return _beyond(position.reducible(side), qty, value) * rate

    def _likely_price(self, order: Order) -> Decimal:
        price = self.board.touch(order.symbol, order.side)
        if order.order_type is OrderType.MARKET:
            return price
        return min(price, order.price) if order.side is Side.BUY else max(price, order.price)


def _opens(order: Order) -> bool:
    return not order.reduce_only and order.is_resting


def _beyond(reducible: Decimal, qty: Decimal, value: Decimal) -> Decimal:
    """Return the *value* of what *qty* opens after it has reduced a position."""
    if not reducible:
        return value
    return value * (qty - reducible) / qty if qty > reducible else ZERO
