"""Orders as the matching engine keeps them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from tradewright.domain.market import Side

ZERO = Decimal(0)
LAST_PRICE = "LastPrice"


class OrderType(StrEnum):
    MARKET = "Market"
    LIMIT = "Limit"


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "PostOnly"


class OrderStatus(StrEnum):
    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"


OPEN = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNTRIGGERED})
_ALIVE = OPEN | {OrderStatus.TRIGGERED}
_RESTING = OPEN - {OrderStatus.UNTRIGGERED}


class StopKind(StrEnum):
    """What waits for a trigger, spelled as Bybit's ``stopOrderType``."""

    NONE = ""
    STOP_LOSS = "StopLoss"
    TAKE_PROFIT = "TakeProfit"
    TRAILING = "TrailingStop"
    PARTIAL_STOP_LOSS = "PartialStopLoss"
    PARTIAL_TAKE_PROFIT = "PartialTakeProfit"
    CONDITIONAL = "Stop"

    @property
    def is_of_position(self) -> bool:
        """Return whether it belongs to a position and dies with it."""
        return self in POSITION_STOPS

    @property
    def is_partial(self) -> bool:
        """Return whether it keeps a size of its own; the others follow the position's."""
        return self in _PARTIAL_STOPS

    @property
    def follows(self) -> bool:
        """Return whether it always has the size of its position."""
        return self.is_of_position and not self.is_partial

    @property
    def create_type(self) -> str:
        return _CREATE_TYPES[self]


_PARTIAL_STOPS = frozenset({StopKind.PARTIAL_STOP_LOSS, StopKind.PARTIAL_TAKE_PROFIT})
POSITION_STOPS = frozenset(StopKind) - {StopKind.NONE, StopKind.CONDITIONAL}
_CREATE_TYPES = {
    StopKind.NONE: "CreateByUser",
    StopKind.STOP_LOSS: "CreateByStopLoss",
    StopKind.TAKE_PROFIT: "CreateByTakeProfit",
    StopKind.TRAILING: "CreateByTrailingStop",
    StopKind.PARTIAL_STOP_LOSS: "CreateByPartialStopLoss",
    StopKind.PARTIAL_TAKE_PROFIT: "CreateByPartialTakeProfit",
    StopKind.CONDITIONAL: "CreateByStopOrder",
}


class TriggerDirection:
    RISE = 1
    FALL = 2


class TpslMode(StrEnum):
    """Whether stops follow the whole position or keep a size of their own."""

    FULL = "Full"
    PARTIAL = "Partial"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What befalls an order on purpose when it arrives, to try out whoever placed it."""

    ends: OrderStatus | None = None
    """Rejected or Cancelled, as soon as it is accepted."""
    reason: str = ""
    fraction: Decimal | None = None
    """At most this share of it trades on arrival."""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for. A `trigger_price` makes it conditional."""

    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal = ZERO
    time_in_force: TimeInForce = TimeInForce.GTC
    link: str = ""
    reduce_only: bool = False
    close_on_trigger: bool = False
    take_profit: Decimal = ZERO
    stop_loss: Decimal = ZERO
    tp_trigger_by: str = LAST_PRICE
    sl_trigger_by: str = LAST_PRICE
    tpsl_mode: TpslMode = TpslMode.FULL
    tp_order_type: OrderType = OrderType.MARKET
    sl_order_type: OrderType = OrderType.MARKET
    tp_limit_price: Decimal = ZERO
    sl_limit_price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    trigger_direction: int = 0
    trigger_by: str = LAST_PRICE
    slippage_type: str = ""
    """``TickSize`` or ``Percent``: how far from the best price a market order may trade."""
    slippage: Decimal = ZERO
    fate: Fate | None = None


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    """New stops of a position: None leaves a stop as it is, zero removes it.

    Full sets or moves the stops that follow the position; Partial adds one of its own size.
    """

    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tp_trigger_by: str | None = None
    sl_trigger_by: str | None = None
    tpsl_mode: TpslMode = TpslMode.FULL
    tp_size: Decimal | None = None
    sl_size: Decimal | None = None
    tp_order_type: OrderType = OrderType.MARKET
    sl_order_type: OrderType = OrderType.MARKET
    tp_limit_price: Decimal = ZERO
    sl_limit_price: Decimal = ZERO


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an open order; None leaves a value as it is."""

    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    trigger_by: str | None = None
    tp_trigger_by: str | None = None
    sl_trigger_by: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    seq: int
    account: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal
    time_in_force: TimeInForce
    status: OrderStatus
    created: datetime
    updated: datetime
    last_on_created: Decimal
    link: str = ""
    parent_link: str = ""
    reduce_only: bool = False
    close_on_trigger: bool = False
    filled: Decimal = ZERO
    filled_value: Decimal = ZERO
    fee: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    stop: StopKind = StopKind.NONE
    trigger_price: Decimal = ZERO
    trigger_direction: int = 0
    trigger_by: str = ""
    take_profit: Decimal = ZERO
    stop_loss: Decimal = ZERO
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    tpsl_mode: TpslMode | None = None
    tp_order_type: OrderType = OrderType.MARKET
    sl_order_type: OrderType = OrderType.MARKET
    tp_limit_price: Decimal = ZERO
    sl_limit_price: Decimal = ZERO
    create_type: str = "CreateByUser"
    slippage_type: str = ""
    slippage: Decimal = ZERO
    parent_id: str = ""
    """The order or request that brought a stop of its own size, maybe with its counterpart."""
    turn: int = 0
    """Place in the queue of the accounts' orders at its price; the lowest comes first."""
    ahead: Decimal = ZERO
    """What the market's own liquidity has in front of it at its price."""
    trail: Decimal = ZERO
    best: Decimal = ZERO
    """Best price since a trailing stop was armed; zero before."""
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"

    @property
    def leaves(self) -> Decimal:
        return self.qty - self.filled if self.status in _ALIVE else ZERO

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_resting(self) -> bool:
        """Return whether it stands in the book, at its limit price."""
        return self.status in _RESTING

    @property
    def level(self) -> Decimal | None:
        """Return the price that fills or triggers it; None for a trailing stop not yet armed."""
        if self.is_resting:
            return self.price
        if self.stop is not StopKind.TRAILING:
            return self.trigger_price
        return self.best - self.side.opposite.sign * self.trail if self.best else None

    def is_due(self, last: Decimal) -> bool:
        """Return whether a trade at *last* fills it (resting) or triggers it (waiting)."""
        level = self.level
        if level is None:
            return False
        if self.is_resting:
            return last <= level if self.side is Side.BUY else last >= level
        return last >= level if self.trigger_direction == TriggerDirection.RISE else last <= level

    def trailed(self, last: Decimal) -> "Order":
        """Return it with `best` moved by a trade at *last*: armed, or a better price seen.

        Armed once *last* reaches `trigger_price` (the activation price) from the losing side;
        at once if there is none.
        """
        sign = self.side.opposite.sign
        if self.best:
            moved = (last - self.best) * sign > 0
        else:
            moved = not self.trigger_price or (last - self.trigger_price) * sign >= 0
        return msgspec.structs.replace(self, best=last) if moved else self
