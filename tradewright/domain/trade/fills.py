"""What a trade's executions add up to."""

from decimal import Decimal

from pydantic import Field

from tradewright import ids
from tradewright.domain.execution import Execution
from tradewright.domain.market import Value
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade.event import TargetOrder


class Fills(Value):
    """A plan and what was traded for it; money is in quote currency."""

    plan: TradePlan
    executions: tuple[Execution, ...] = ()
    adopted_qty: Decimal = Decimal(0)
    adopted_price: Decimal = Decimal(0)
    targets: tuple[TargetOrder, ...] = ()
    funding: Decimal = Field(default=Decimal(0), description="Received; what was paid is negative.")

    @property
    def entries(self) -> tuple[Execution, ...]:
        return tuple(e for e in self.executions if e.side is self.plan.side)

    @property
    def exits(self) -> tuple[Execution, ...]:
        return tuple(e for e in self.executions if e.side is not self.plan.side)

    @property
    def entry_qty(self) -> Decimal:
        return sum((e.qty for e in self.entries), self.adopted_qty)

    @property
    def exit_qty(self) -> Decimal:
        return sum((e.qty for e in self.exits), Decimal(0))

    @property
    def open_qty(self) -> Decimal:
        """Return what the fills say is held; the exchange's own answer decides."""
        return self.entry_qty - self.exit_qty

    @property
    def was_open(self) -> bool:
        return self.entry_qty > 0

    @property
    def entry_price(self) -> Decimal | None:
        """Return the average price of what was opened."""
        if not self.was_open:
            return None
        value = sum((e.qty * e.price for e in self.entries), self.adopted_qty * self.adopted_price)
        return value / self.entry_qty

    @property
    def exit_price(self) -> Decimal | None:
        """Return the average price of what was closed."""
        if not self.exit_qty:
            return None
        return sum((e.qty * e.price for e in self.exits), Decimal(0)) / self.exit_qty

    @property
    def fees(self) -> Decimal:
        return sum((e.fee for e in self.executions), Decimal(0))

    @property
    def pnl(self) -> Decimal:
        """Return what the closed part earned, net of all fees and funding so far."""
        costs = self.fees - self.funding
        if self.entry_price is None or self.exit_price is None:
            return -costs
        gain = (self.exit_price - self.entry_price) * self.exit_qty * self.plan.side.sign
        return gain - costs

    @property
    def r_multiple(self) -> Decimal | None:
        """Return the PnL in multiples of the initial risk; None without a risk."""
        return self.pnl / self.plan.risk if self.plan.risk else None

    @property
    def is_filled(self) -> bool:
        """Return whether all that was planned was opened."""
        return self.entry_qty >= self.plan.qty

    @property
    def targets_reached(self) -> int:
        """Return how many of the targets' orders were filled to their end."""
        return sum(self.filled(order.order_link_id) >= order.qty for order in self.targets)

    def is_target(self, execution: Execution) -> bool:
        """Return whether an order of one of the targets was matched, answered for or not yet."""
        link = ids.parse_link(execution.order_link_id)
        return link is not None and (link.trade, link.leg) == (self.plan.trade_id, "t")

    def filled(self, order_link_id: str) -> Decimal:
        """Return what was traded under that link."""
        return sum((e.qty for e in self.executions if e.order_link_id == order_link_id), Decimal(0))

    def target_orders(self, number: int) -> tuple[TargetOrder, ...]:
        """Return the orders that take the planned parts of what was opened.

        A part that rounds down to less than the exchange trades is left to the take profit.

        Args:
            number: Of the trade's next leg.
        """
        instrument = self.plan.instrument
        orders: list[TargetOrder] = []
        for target in self.plan.targets:
            qty = instrument.floor_qty(self.entry_qty * target.fraction)
            if qty < instrument.min_qty:
                continue
            link = ids.order_link(self.plan.trade_id, "t", number + len(orders))
            orders.append(TargetOrder(order_link_id=link, price=target.price, qty=qty))
        return tuple(orders)
