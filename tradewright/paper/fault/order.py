"""Faults of orders: refused, accepted and ended, filled in part."""

from msgspec.structs import replace

from tradewright.matching import (
    Event,
    Fate,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    RequestRejected,
)
from tradewright.paper.exchange import Exchange
from tradewright.paper.fault.air import FaultyAir
from tradewright.paper.fault.board import FaultBoard
from tradewright.paper.fault.request import PartialFill, RejectedOrder
from tradewright.paper.fault.when import Subject

_CREATE = "/v5/order/create"
_ENDS = {"rejected": OrderStatus.REJECTED, "cancelled": OrderStatus.CANCELLED}


class FaultyOrders:
    """Stands where the exchange takes new orders, those of batches too."""

    def __init__(self, board: FaultBoard, exchange: Exchange, air: FaultyAir) -> None:
        self._board = board
        self._air = air
        self._place = exchange.place
        exchange.place = self.place

    def place(self, account: str, request: OrderRequest) -> list[Event]:
        """Place an order, or what a fault makes of it.

        Raises:
            RequestRejected: A fault or the exchange refuses it.
        """
        if not self._board.any_on("order"):
            return self._place(account, request)
        subject = Subject(
            endpoint=_CREATE,
            method="POST",
            account=account,
            symbols=(request.symbol,),
            links=(request.link,) if request.link else (),
        )
        # What waits for a trigger trades later, on its own
        but = ("partial_fill",) if request.trigger_price else ()
        silence = None
        for strike in self._board.strike("order", subject, but=but):
            match strike.fault:
                case RejectedOrder(how="answer", code=code, text=text):
                    raise RequestRejected(code, text)
                case RejectedOrder(how=how, reason=reason):
                    request = replace(request, fate=Fate(ends=_ENDS[how], reason=reason))
                case PartialFill(fraction=fraction) if request.fate is None:
                    request = replace(request, fate=Fate(fraction=fraction))
                    silence = strike
        events = self._place(account, request)
        if silence is not None:
            order = next(e.order for e in events if isinstance(e, OrderChanged))
            self._air.silence_after(order.order_id, account, silence)
        return events
