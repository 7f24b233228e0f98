"""What the exchange accepts: sizes, prices and triggers, with Bybit's codes and texts."""

import re
from decimal import Decimal

from msgspec.structs import replace

from tradewright.domain.market import Instrument, Side
from tradewright.matching.order import (
    ZERO,
    Change,
    Order,
    OrderRequest,
    OrderType,
    StopKind,
    StopRequest,
    TriggerDirection,
)
from tradewright.matching.position import Position, RequestRejected

_LINK = re.compile(r"[A-Za-z0-9_-]{1,36}")
_MARKET_BAND = Decimal("0.01")  # a market order's stored price is its protective limit


def accepted_qty(request: OrderRequest, instrument: Instrument, reducible: Decimal) -> Decimal:
    """Return the quantity to trade: what was asked, cut to the position if it only reduces."""
    qty = request.qty
    limit = (
        instrument.max_market_qty if request.order_type is OrderType.MARKET else instrument.max_qty
    )
    reduces = request.reduce_only or request.close_on_trigger
    if reduces and not request.trigger_price:
        if not reducible:
            raise RequestRejected(
                110017, "current position is zero, cannot fix reduce-only order qty"
            )
        if not qty and request.close_on_trigger:
            return min(reducible, limit)
    check_qty(qty, instrument, limit)
    return min(qty, reducible) if reduces and not request.trigger_price else qty


def check_qty(qty: Decimal, instrument: Instrument, limit: Decimal) -> None:
    if qty < instrument.qty_step:
        raise RequestRejected(110017, "orderQty will be truncated to zero.")
    if qty % instrument.qty_step:
        raise RequestRejected(10001, "Qty invalid")
    if qty < instrument.min_qty:
        raise RequestRejected(10001, "The number of contracts exceeds minimum limit allowed")
    if qty > limit:
        raise RequestRejected(
            10001, "The number of contracts exceeds maximum limit allowed: too large"
        )


def check(request: OrderRequest, instrument: Instrument, last: Decimal, qty: Decimal) -> None:
    """Raise RequestRejected unless link, prices and triggers are ones that Bybit takes."""
    if request.link and not _LINK.fullmatch(request.link):
        raise RequestRejected(10001, "params error: orderLinkId invalid")
    is_limit = request.order_type is OrderType.LIMIT
    if is_limit:
        if request.price <= 0:
            raise RequestRejected(10001, "params error: Price invalid")
        check_tick(request.price, instrument, "Price")
    reduces = request.reduce_only or request.close_on_trigger
    if not reduces and qty * (request.price if is_limit else last) < instrument.min_notional:
        raise RequestRejected(
            110094, f"Order does not meet minimum order value {instrument.min_notional}USDT"
        )
    if reduces and (request.take_profit or request.stop_loss):
        raise RequestRejected(10001, "reduce-only order can not carry tp/sl")
    if request.trigger_price:
        check_tick(request.trigger_price, instrument, "TriggerPrice")
        _check_direction(request.trigger_direction, request.trigger_price, last)
    current = request.price if is_limit else (request.trigger_price or last)
    _check_stop(StopKind.STOP_LOSS, request.side, request.stop_loss, current, instrument)
    _check_stop(StopKind.TAKE_PROFIT, request.side, request.take_profit, current, instrument)


def check_stops(
    request: StopRequest, position: Position, instrument: Instrument, last: Decimal
) -> None:
    side = position.side
    _check_stop(StopKind.STOP_LOSS, side, request.stop_loss or ZERO, last, instrument)
    _check_stop(StopKind.TAKE_PROFIT, side, request.take_profit or ZERO, last, instrument)
    for price in (request.trailing_stop, request.active_price):
        if price:
            check_tick(price, instrument, "TrailingStop")


def amended(order: Order, change: Change, instrument: Instrument, last: Decimal) -> Order:
    """Return *order* with *change*.

    Raises:
        RequestRejected: A value is not allowed, or nothing would change.
    """
    wish = {
        name: value
        for name in ("qty", "price", "trigger_price", "take_profit", "stop_loss")
        if (value := getattr(change, name)) is not None and value != getattr(order, name)
    }
    if not wish or (order.stop.is_of_position and set(wish) != {"trigger_price"}):
        raise RequestRejected(
            10001,
            "The order remains unchanged as the parameters entered match the existing ones.",
        )
    if "qty" in wish:
        if wish["qty"] <= order.filled:
            raise RequestRejected(
                110064,
                "The modified contract quantity cannot be less than or equal to the filled "
                "quantity.",
            )
        check_qty(wish["qty"], instrument, instrument.max_qty)
    if "price" in wish:
        if order.order_type is OrderType.MARKET or wish["price"] <= 0:
            raise RequestRejected(10001, "params error: Price invalid")
        check_tick(wish["price"], instrument, "Price")
    if "trigger_price" in wish:
        if not order.stop or wish["trigger_price"] <= 0:
            raise RequestRejected(10001, "params error: TriggerPrice invalid")
        check_tick(wish["trigger_price"], instrument, "TriggerPrice")
        if order.stop is not StopKind.TRAILING:
            _check_direction(order.trigger_direction, wish["trigger_price"], last)
    after: Order = replace(order, **wish)
    current = after.price if after.order_type is OrderType.LIMIT else last
    _check_stop(StopKind.STOP_LOSS, order.side, after.stop_loss, current, instrument)
    _check_stop(StopKind.TAKE_PROFIT, order.side, after.take_profit, current, instrument)
    return after


def market_price_limit(instrument: Instrument, side: Side, last: Decimal) -> Decimal:
    """Return the protective limit that Bybit stores as a market order's price."""
    return instrument.floor_price(last * (1 + side.sign * _MARKET_BAND))


def check_tick(price: Decimal, instrument: Instrument, name: str) -> None:
    if price < 0 or price % instrument.tick_size:
        raise RequestRejected(
            10001, f"params error: {name} invalid, tick size is {instrument.tick_size}"
        )


def _check_stop(
    kind: StopKind, side: Side, price: Decimal, current: Decimal, instrument: Instrument
) -> None:
    if not price:
        return
    check_tick(price, instrument, kind.value)
    falls = (kind is StopKind.STOP_LOSS) == (side is Side.BUY)
    direction = TriggerDirection.FALL if falls else TriggerDirection.RISE
    _check_direction(direction, price, current, (10001, 10001))


def _check_direction(
    direction: int, trigger: Decimal, current: Decimal, codes: tuple[int, int] = (110092, 110093)
) -> None:
    if direction == TriggerDirection.RISE and trigger <= current:
        text = f"expect Rising, but trigger_price[{trigger}] <= current[{current}]??LastPrice"
        raise RequestRejected(codes[0], text)
    if direction == TriggerDirection.FALL and trigger >= current:
        text = f"expect Falling, but trigger_price[{trigger}] >= current[{current}]??LastPrice"
        raise RequestRejected(codes[1], text)
    if direction not in (TriggerDirection.RISE, TriggerDirection.FALL):
        raise RequestRejected(10001, "params error: triggerDirection invalid")
