"""What the simulated exchange holds: one position, its orders and executions, and their past."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.simulation.loop import NOON, VirtualLoop
from tradewright.domain.market import Side

SYMBOL = "BTCUSDT"
FEE = Decimal("0.00055")
STEP = Decimal("0.001")
REMEMBERED = 20.0
"""Seconds; more than any read lags."""
Row = dict[str, Any]


@dataclass
class Order:
    number: int
    side: Side
    qty: Decimal
    link: str = ""
    price: Decimal | None = None
    reduces: bool = False
    created_by: str = "CreateByUser"
    stop: Decimal | None = None
    target: Decimal | None = None
    filled: Decimal = Decimal(0)
    status: str = "New"
    reason: str = "UNKNOWN"

    @property
    def works(self) -> bool:
        return self.status in {"New", "PartiallyFilled"}

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled

    @property
    def row(self) -> Row:
        return {
            "orderId": f"o{self.number}",
            "orderLinkId": self.link,
            "symbol": SYMBOL,
            "side": self.side.value,
            "orderStatus": self.status,
            "qty": str(self.qty),
            "cumExecQty": str(self.filled),
            "reduceOnly": self.reduces,
            "stopOrderType": "",
            "cancelType": self.reason,
            "rejectReason": "EC_NoError",
        }


@dataclass(frozen=True)
class Holding:
    qty: Decimal = Decimal(0)
    """Negative when short."""
    stop: Decimal | None = None
    target: Decimal | None = None
    trailing: Decimal | None = None
    trails_from: Decimal | None = None
    best: Decimal | None = None
    """Of the price, since it trails."""

    @property
    def side(self) -> Side:
        return Side.BUY if self.qty > 0 else Side.SELL

    @property
    def row(self) -> Row:
        return {
            "symbol": SYMBOL,
            "side": self.side.value if self.qty else "",
            "size": str(abs(self.qty)),
            "avgPrice": "50000" if self.qty else "0",
            "stopLoss": str(self.stop or ""),
            "takeProfit": str(self.target or ""),
            "trailingStop": str(self.trailing or ""),
        }


@dataclass
class Book:
    """Every change is told to *tell*, and remembered for reads that lag."""

    loop: VirtualLoop
    tell: Callable[[str, Row], None]
    note: Callable[..., None]
    leaves_resting: Callable[[], bool]
    holding: Holding = field(default_factory=Holding)
    orders: list[Order] = field(default_factory=list)
    executions: list[tuple[float, Row]] = field(default_factory=list)
    cash: Decimal = Decimal(0)
    turned: bool = False
    """Whether what reduces has ever opened the other side."""
    longest_naked: float = 0.0
    _naked_since: float | None = None
    _past: list[tuple[float, Holding, list[Order]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.remember()

    def remember(self) -> None:
        now = self.loop.elapsed
        self._past = [moment for moment in self._past if moment[0] > now - REMEMBERED]
        self._past.append((now, self.holding, [dataclasses.replace(o) for o in self.orders]))
        self.look_at_the_stop()

    def look_at_the_stop(self) -> None:
        now, before = self.loop.elapsed, self._naked_since
        if before is not None:
            self.longest_naked = max(self.longest_naked, now - before)
        is_naked = bool(self.holding.qty) and self.holding.stop is None
        self._naked_since = (before if before is not None else now) if is_naked else None

    def seen(self, age: float) -> tuple[Holding, list[Order]]:
        """Return holding and orders as they stood *age* seconds ago."""
        until = self.loop.elapsed - age
        shown = [moment for moment in self._past if moment[0] <= until] or self._past[:1]
        return shown[-1][1], shown[-1][2]

    def add(self, side: Side, qty: Decimal, **more: Any) -> Order:
        order = Order(len(self.orders) + 1, side, qty, **more)
        self.orders.append(order)
        return order

    def change(self, **fields: Any) -> None:
        self.holding = dataclasses.replace(self.holding, **fields)
        self.remember()

    def fill(self, order: Order, price: Decimal, qty: Decimal, *, attaches: bool = True) -> None:
        """Trade *qty* of *order*; what opens brings its stop and target along if it *attaches*."""
        before = self.holding
        held = before.qty + order.side.sign * qty
        fee = (qty * price * FEE).quantize(Decimal("0.0001"))
        self.cash -= order.side.sign * qty * price + fee
        order.filled += qty
        order.status = "PartiallyFilled" if order.left else "Filled"
        self.turned |= held * before.qty < 0
        self._execute(order, price, qty, fee)
        if not held:
            self.holding = Holding()
            for other in self.orders:
                if other.reduces and other.works and not self.leaves_resting():
                    self.end(other, "CancelByReduceOnly")
        else:
            self.holding = dataclasses.replace(before, qty=held)
            if order.stop is not None and attaches:
                target = order.target or before.target
                self.holding = dataclasses.replace(self.holding, stop=order.stop, target=target)
        self.remember()

    def _execute(self, order: Order, price: Decimal, qty: Decimal, fee: Decimal) -> None:
        number = len(self.executions) + 1
        at = NOON.timestamp() + self.loop.elapsed
        row = {
            "execId": f"x{number}",
            "seq": number,
            "orderId": f"o{order.number}",
            "orderLinkId": order.link,
            "symbol": SYMBOL,
            "side": order.side.value,
            "execPrice": str(price),
            "execQty": str(qty),
            "execFee": str(fee),
            "execType": "Trade",
            "execTime": str(int(at * 1000)),
            "createType": order.created_by,
        }
        self.executions.append((self.loop.elapsed, row))
        self.note("fill", row["execId"], order.link or order.created_by, order.side, price, qty)
        self.tell("execution", row)

    def end(self, order: Order, reason: str) -> None:
        if order.works:
            order.status, order.reason = "Cancelled", reason
            self.note("end", order.link or order.created_by, reason, order.filled)
            self.tell("order", order.row)
            self.remember()
