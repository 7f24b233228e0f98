"""The state of one account on the given prices: what is open, held and free."""

from collections.abc import Iterable
from decimal import Decimal

from tradewright.domain.market import Side
from tradewright.matching.board import Board
from tradewright.matching.order import ZERO, Order, OrderType, StopKind
from tradewright.matching.position import Balance, Position, Profile, RequestRejected


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

    @property
    def name(self) -> str:
        return self.profile.account

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders of *symbol* or of all, oldest first."""
        books: Iterable[dict[str, Order]] = (
            self.orders.values() if symbol is None else [self.orders.get(symbol, {})]
        )
        return sorted((o for orders in books for o in orders.values()), key=lambda o: o.seq)

    def stops(self, symbol: str) -> dict[StopKind, Order]:
        """Return the stops that follow the position in *symbol*."""
        return {o.stop: o for o in self.orders[symbol].values() if o.stop.is_of_position}

    def equity(self) -> Decimal:
        return self.balance.cash + self.unrealised()

    def unrealised(self) -> Decimal:
        mark = self.board.mark
        return sum((p.unrealised(mark[p.symbol]) for p in self.held()), ZERO)

    def held(self) -> list[Position]:
        return [p for p in self.positions.values() if p.size]

    def position_margin(self) -> Decimal:
        return sum((self.initial_margin_of(p.symbol) for p in self.held()), ZERO)

    def maintenance_margin(self) -> Decimal:
        return sum((self.maintenance_margin_of(p.symbol) for p in self.held()), ZERO)

    def initial_margin_of(self, symbol: str) -> Decimal:
        position = self.positions[symbol]
        if not position.size:
            return ZERO
        return position.initial_margin(self.board.mark[symbol], self.profile.fees)

    def maintenance_margin_of(self, symbol: str) -> Decimal:
        position = self.positions[symbol]
        if not position.size:
            return ZERO
        mark, rate = self.board.mark[symbol], Decimal("0.005")
        return position.maintenance_margin(mark, self.profile.fees, rate)

    def order_margin(self, without: str = "") -> Decimal:
        resting = [o for o in self.open_orders() if o.is_resting and o.order_id != without]
        return sum((self.cost(o) for o in resting), ZERO)

    def available(self, without: str = "") -> Decimal:
        """Return what new orders may use, as if the order *without* were not there."""
        return self.equity() - self.position_margin() - self.order_margin(without)

    def found(self, order_id: str) -> Order:
        for orders in self.orders.values():
            if order_id in orders:
                return orders[order_id]
        raise RequestRejected(110001, "order not exists or too late to cancel")

    def cost(self, order: Order) -> Decimal:
        """Return the margin that *order* needs: of what it opens, with both fees."""
        position, fees = self.positions[order.symbol], self.profile.fees
        opening = order.leaves - position.reducible(order.side)
        if order.reduce_only or opening <= 0:
            return ZERO
        price = self.board.touch(order.symbol, order.side)
        if order.order_type is OrderType.LIMIT:
            price = min(price, order.price) if order.side is Side.BUY else max(price, order.price)
        bankrupt = 1 - order.side.sign / position.leverage
        rate = 1 / position.leverage + fees.taker * (1 + bankrupt)
        return opening * price * rate

    def can_afford(self, order: Order) -> bool:
        cost = self.cost(order)
        return not cost or cost <= self.available(without=order.order_id)
