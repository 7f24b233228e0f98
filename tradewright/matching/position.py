"""Positions, executions and the balance; booking a fill; margin by mark price."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Side
from tradewright.matching.order import ZERO, Order, OrderType, StopKind

CENT = Decimal("1E-8")  # Bybit counts USDT in eight decimals


class RequestRejected(TradewrightError):
    """The exchange refuses a request, with Bybit's code and text."""

    def __init__(self, code: int, text: str, reasons: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"request was rejected: {text} (retCode {code})")
        self.code = code
        self.text = text
        self.reasons = reasons
        """Codes and texts of a margin mode that cannot be set."""


class Fees(msgspec.Struct, frozen=True):
    """Fee rates as fractions of the executed value."""

    taker: Decimal = Decimal("0.00055")
    maker: Decimal = Decimal("0.0002")


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Net holding in one symbol; flat when `size` is zero.

    `cost` is the exact entry value of what is held, so that realised profit adds up exactly;
    `avg_price` is only derived from it.
    """

    account: str
    symbol: str
    leverage: Decimal
    side: Side = Side.BUY
    size: Decimal = ZERO
    cost: Decimal = ZERO
    open_fee: Decimal = ZERO
    realised: Decimal = ZERO
    """Net of fees, of the current holding."""
    total_realised: Decimal = ZERO
    """Net of fees, of all time."""
    extra_margin: Decimal = ZERO
    """Added to (or, negative, taken by funding from) the margin of an isolated position."""
    auto_add_margin: bool = False
    created: datetime | None = None
    opened: datetime | None = None
    updated: datetime | None = None
    seq: int = -1

    @property
    def avg_price(self) -> Decimal:
        return self.cost / self.size if self.size else ZERO

    def reducible(self, side: Side) -> Decimal:
        """Return how much an order on *side* can reduce."""
        return self.size if self.size and side is not self.side else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return (self.size * mark - self.cost) * self.side.sign


class ExecType(StrEnum):
    TRADE = "Trade"
    FUNDING = "Funding"
    """`price` is the mark price, `qty` the position, `fee` what is paid (negative: received)."""
    BUST = "BustTrade"
    """A liquidated position taken over at its bankruptcy price."""


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    exec_id: str
    seq: int
    account: str
    order_id: str
    link: str
    symbol: str
    side: Side
    order_type: OrderType | None
    """None of a funding payment."""
    order_price: Decimal
    order_qty: Decimal
    leaves: Decimal
    stop: StopKind
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    fee_rate: Decimal
    is_maker: bool
    time: datetime
    mark: Decimal
    leverage: Decimal
    closed_size: Decimal = ZERO
    pnl: Decimal = ZERO
    """Realised by this execution, before fees."""
    closed_cost: Decimal = ZERO
    open_fee: Decimal = ZERO
    """Share of the opening fee that belongs to what was closed."""
    close_fee: Decimal = ZERO
    exec_type: ExecType = ExecType.TRADE
    create_type: str = "CreateByUser"
    index: Decimal = ZERO

    @property
    def closed_pnl(self) -> Decimal:
        return self.pnl - self.open_fee - self.close_fee


class Balance(msgspec.Struct, frozen=True):
    """The wallet of an account: ``start + transfers + realised - fees - funding``, exactly."""

    start: Decimal
    account: str
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    """Paid (negative: received)."""
    transfers: Decimal = ZERO
    """In (negative: out)."""

    @property
    def cash(self) -> Decimal:
        return self.start + self.transfers + self.realised - self.fees - self.funding


class MarginMode(StrEnum):
    CROSS = "REGULAR_MARGIN"
    ISOLATED = "ISOLATED_MARGIN"


class Profile(msgspec.Struct, frozen=True):
    """How an account trades."""

    account: str
    uid: int
    fees: Fees = Fees()
    leverage: Decimal = Decimal(10)
    """Of every symbol whose leverage was never set."""
    margin_mode: MarginMode = MarginMode.CROSS
    rejects_outside_band: bool = False
    """Whether a limit price outside the price band is refused; else it is moved to the band."""


def share(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return *total* * *part* / *whole* in whole cents; all of it when *part* is *whole*."""
    return total if part == whole else (total * part / whole).quantize(CENT)


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """A match before it is booked."""

    order: Order
    price: Decimal
    qty: Decimal
    fee_rate: Decimal
    is_maker: bool
    time: datetime
    seq: int
    exec_id: str
    mark: Decimal
    index: Decimal
    exec_type: ExecType = ExecType.TRADE


def book(position: Position, fill: Fill) -> tuple[Position, Execution]:
    """Return *position* after *fill*, and its execution.

    The part against the position closes at its average price, the rest opens or adds.
    """
    side, qty = fill.order.side, fill.qty
    value = fill.price * qty
    fee = (value * fill.fee_rate).quantize(CENT)
    closed = min(qty, position.reducible(side))
    closed_cost = share(position.cost, closed, position.size) if closed else ZERO
    open_fee = share(position.open_fee, closed, position.size) if closed else ZERO
    close_fee = share(fee, closed, qty)
    pnl = (fill.price * closed - closed_cost) * position.side.sign
    opened = qty - closed
    left = position.size - closed
    fresh = opened > 0 and left == 0
    net = pnl - fee
    after = msgspec.structs.replace(
        position,
        side=side if opened else position.side,
        size=left + opened,
        cost=position.cost - closed_cost + fill.price * opened,
        open_fee=position.open_fee - open_fee + fee - close_fee,
        extra_margin=ZERO if not left else share(position.extra_margin, left, position.size),
        realised=-(fee - close_fee) if fresh else position.realised + net,
        total_realised=position.total_realised + net,
        created=position.created or fill.time,
        opened=fill.time if fresh else position.opened,
        updated=fill.time,
        seq=fill.seq,
    )
    order = fill.order
    return after, Execution(
        exec_id=fill.exec_id,
        seq=fill.seq,
        account=order.account,
        order_id=order.order_id,
        link=order.link,
        symbol=order.symbol,
        side=side,
        order_type=order.order_type,
        order_price=order.price,
        order_qty=order.qty,
        leaves=order.qty - order.filled - qty,
        stop=order.stop,
        price=fill.price,
        qty=qty,
        value=value,
        fee=fee,
        fee_rate=fill.fee_rate,
        is_maker=fill.is_maker,
        time=fill.time,
        mark=fill.mark,
        leverage=position.leverage,
        closed_size=closed,
        pnl=pnl,
        closed_cost=closed_cost,
        open_fee=open_fee,
        close_fee=close_fee,
        exec_type=fill.exec_type,
        create_type=order.create_type,
        index=fill.index,
    )


def fund(
    position: Position,
    rate: Decimal,
    *,
    mark: Decimal,
    index: Decimal,
    exec_id: str,
    seq: int,
    time: datetime,
) -> tuple[Position, Execution]:
    """Return *position* after funding at *rate*, and what it paid: the long pays if positive."""
    value = position.size * mark
    fee = (value * rate * position.side.sign).quantize(CENT)
    after = msgspec.structs.replace(
        position,
        realised=position.realised - fee,
        total_realised=position.total_realised - fee,
        updated=time,
        seq=seq,
    )
    return after, Execution(
        exec_id=exec_id,
        seq=seq,
        account=position.account,
        order_id="",
        link="",
        symbol=position.symbol,
        side=position.side,
        order_type=None,
        order_price=ZERO,
        order_qty=ZERO,
        leaves=ZERO,
        stop=StopKind.NONE,
        price=mark,
        qty=position.size,
        value=value,
        fee=fee,
        fee_rate=rate,
        is_maker=False,
        time=time,
        mark=mark,
        leverage=position.leverage,
        exec_type=ExecType.FUNDING,
        create_type="",
        index=index,
    )
