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
    TpslMode,
    TriggerDirection,
)
from tradewright.matching.position import Position, RequestRejected

_LINK = re.compile(r"[A-Za-z0-9_-]{1,36}")
_STOPS = {
    "take_profit",
    "stop_loss",
    "tp_trigger_by",
    "sl_trigger_by",
    "tp_limit_price",
    "sl_limit_price",
}
_AMENDABLE_STOP = {"trigger_price", "trigger_by"}
_AMENDABLE_PARTIAL = _AMENDABLE_STOP | {"qty", "price"}
_MARKET_BAND = Decimal("0.01")  # a market order's stored price is its protective limit


def accepted_qtys(
    request: OrderRequest, instrument: Instrument, reducible: Decimal
) -> list[Decimal]:
    """Return the quantity to trade: what was asked, cut to the position if it only reduces.

    What reduces more than one order may is split into several.
    """
    qty = request.qty
    limit = _most(request.order_type, instrument)
    reduces = request.reduce_only or request.close_on_trigger
    if not reduces or request.trigger_price:
        check_qty(qty, instrument, limit)
        return [qty]
    if not reducible:
        raise RequestRejected(110017, "current position is zero, cannot fix reduce-only order qty")
    if not qty and request.close_on_trigger:
        return [min(reducible, limit)]
    check_qty(qty, instrument, max(limit, qty))
    qty = min(qty, reducible)
    whole = int(qty // limit)
    return [limit] * whole + ([qty - whole * limit] if qty % limit else [])


def _most(order_type: OrderType, instrument: Instrument) -> Decimal:
    is_market = order_type is OrderType.MARKET
    return instrument.max_market_qty if is_market else instrument.max_qty


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


def check(
    request: OrderRequest, instrument: Instrument, last: Decimal, qty: Decimal, trigger: Decimal
) -> None:
    """Raise RequestRejected unless link, prices and stops are ones that Bybit takes.

    *trigger* is the present price of the kind that triggers it.
    """
    if request.link and not _LINK.fullmatch(request.link):
        raise RequestRejected(10001, "params error: orderLinkId invalid")
    is_limit = request.order_type is OrderType.LIMIT
    if is_limit:
        check_price(request.price, instrument, "Price")
    reduces = request.reduce_only or request.close_on_trigger
    if not reduces:
        _check_notional(qty * (request.price if is_limit else last), instrument)
    if reduces and (request.take_profit or request.stop_loss):
        raise RequestRejected(10001, "reduce-only order can not carry tp/sl")
    _check_slippage(request)
    if request.trigger_price:
        check_tick(request.trigger_price, instrument, "TriggerPrice")
        _check_direction(request.trigger_direction, request.trigger_price, trigger)
    _check_stop_types(request, instrument)
    current = request.price if is_limit else (request.trigger_price or last)
    _check_stop(StopKind.STOP_LOSS, request.side, request.stop_loss, current, instrument)
    _check_stop(StopKind.TAKE_PROFIT, request.side, request.take_profit, current, instrument)


def check_stops(
    request: StopRequest,
    position: Position,
    instrument: Instrument,
    sl_current: Decimal,
    tp_current: Decimal,
) -> None:
    """Raise RequestRejected unless the stops are ones that Bybit takes.

    *sl_current* and *tp_current* are the present prices of the kinds that trigger them.
    """
    side = position.side
    _check_stop(StopKind.STOP_LOSS, side, request.stop_loss or ZERO, sl_current, instrument)
    _check_stop(StopKind.TAKE_PROFIT, side, request.take_profit or ZERO, tp_current, instrument)
    for price in (request.trailing_stop, request.active_price):
        if price:
            check_tick(price, instrument, "TrailingStop")
    _check_stop_types(request, instrument)
    if request.tpsl_mode is TpslMode.FULL:
        return
    pairs = [(request.take_profit, request.tp_size), (request.stop_loss, request.sl_size)]
    sizes = {size for price, size in pairs if price and size is not None}
    if not sizes or any(price and size is None for price, size in pairs):
        raise RequestRejected(
            10001,
            '"tpSize" and "takeProfit" or "slSize" and "stopLoss" need to input in pairs and '
            "must set at least one pair when tpslMode is Partial.",
        )
    if len(sizes) > 1:
        raise RequestRejected(10001, "params error: tpSize must equal slSize")
    for size in sizes:
        if size <= 0 or size % instrument.qty_step:
            raise RequestRejected(10001, "params error: tpSize or slSize invalid")
        if size > position.size:
            raise RequestRejected(
                110058,
                "You can't set take profit and stop loss due to insufficient size of remaining "
                "position size.",
            )


def _check_notional(value: Decimal, instrument: Instrument) -> None:
    if value < instrument.min_notional:
        raise RequestRejected(
            110094, f"Order does not meet minimum order value {instrument.min_notional}USDT"
        )


def _check_slippage(request: OrderRequest) -> None:
    kind, slippage = request.slippage_type, request.slippage
    if not kind:
        return
    if request.order_type is not OrderType.MARKET or kind not in ("TickSize", "Percent"):
        raise RequestRejected(10001, "params error: slippageToleranceType invalid")
    if kind == "TickSize" and (not 1 <= slippage <= 10_000 or slippage % 1):
        raise RequestRejected(110108, "Allowable range: 1 to 10000 tick size")
    if kind == "Percent" and (not Decimal("0.01") <= slippage <= 10 or slippage * 100 % 1):
        raise RequestRejected(110109, "Allowable range: 0.01% to 10%")


def _check_stop_types(request: OrderRequest | StopRequest, instrument: Instrument) -> None:
    for price, order_type, limit in (
        (request.take_profit, request.tp_order_type, request.tp_limit_price),
        (request.stop_loss, request.sl_order_type, request.sl_limit_price),
    ):
        if not price or order_type is OrderType.MARKET:
            continue
        if request.tpsl_mode is TpslMode.FULL:
            raise RequestRejected(10001, "params error: tpslMode Full only supports Market tp/sl")
        check_price(limit, instrument, "LimitPrice")


def amended(order: Order, change: Change, instrument: Instrument, last: Decimal) -> Order:
    """Return *order* with *change*; *last* is the price that its trigger goes by.

    Raises:
        RequestRejected: A value is not allowed, or nothing would change.
    """
    wish = {
        name: value
        for name in Change.__struct_fields__
        if (value := getattr(change, name)) is not None and value != getattr(order, name)
    }
    allowed = _AMENDABLE_PARTIAL if order.stop.is_partial else _AMENDABLE_STOP
    if not wish or (order.stop.is_of_position and not set(wish) <= allowed):
        raise RequestRejected(
            10001,
            "The order remains unchanged as the parameters entered match the existing ones.",
        )
    if order.filled and set(wish) & _STOPS:
        raise RequestRejected(
            110059, "Not allowed to modify the TP/SL of a partially filled open order"
        )
    if "qty" in wish:
        if wish["qty"] <= order.filled:
            raise RequestRejected(
                110064,
                "The modified contract quantity cannot be less than or equal to the filled "
                "quantity.",
            )
        check_qty(wish["qty"], instrument, _most(order.order_type, instrument))
    if "price" in wish:
        if order.order_type is OrderType.MARKET:
            raise RequestRejected(10001, "params error: Price invalid")
        check_price(wish["price"], instrument, "Price")
    if "trigger_price" in wish:
        if order.is_resting or not order.stop or wish["trigger_price"] <= 0:
            raise RequestRejected(10001, "params error: TriggerPrice invalid")
        check_tick(wish["trigger_price"], instrument, "TriggerPrice")
    after: Order = replace(order, **wish)
    waits = order.stop and not order.is_resting and order.stop is not StopKind.TRAILING
    if waits and set(wish) & _AMENDABLE_STOP:
        _check_direction(order.trigger_direction, after.trigger_price, last)
    is_limit = after.order_type is OrderType.LIMIT
    if set(wish) & {"qty", "price"} and not order.reduce_only:
        _check_notional(after.qty * (after.price if is_limit else last), instrument)
    if set(wish) & (_STOPS | {"price"}):
        current = after.price if is_limit else (after.trigger_price or last)
        _check_stop(StopKind.STOP_LOSS, order.side, after.stop_loss, current, instrument)
        _check_stop(StopKind.TAKE_PROFIT, order.side, after.take_profit, current, instrument)
    return after


def market_price_limit(instrument: Instrument, side: Side, last: Decimal) -> Decimal:
    """Return the protective limit that Bybit stores as a market order's price."""
    return instrument.floor_price(last * (1 + side.sign * _MARKET_BAND))


def tolerated_price(
    instrument: Instrument, side: Side, touch: Decimal, kind: str, slippage: Decimal
) -> Decimal:
    """Return how far from the best price a market order may trade that tolerates *slippage*."""
    if kind == "TickSize":
        return touch + side.sign * slippage * instrument.tick_size
    price = touch * (1 + side.sign * slippage / 100)
    return instrument.floor_price(price) if side is Side.BUY else instrument.ceil_price(price)


def check_price(price: Decimal, instrument: Instrument, name: str) -> None:
    if price <= 0:
        raise RequestRejected(10001, f"params error: {name} invalid")
    check_tick(price, instrument, name)


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
        raise RequestRejected(codes[0], _wrong_side("Rising", trigger, "<=", current))
    if direction == TriggerDirection.FALL and trigger >= current:
        raise RequestRejected(codes[1], _wrong_side("Falling", trigger, ">=", current))
    if direction not in (TriggerDirection.RISE, TriggerDirection.FALL):
        raise RequestRejected(10001, "params error: triggerDirection invalid")


def _wrong_side(expected: str, trigger: Decimal, relation: str, current: Decimal) -> str:
    prices = f"{trigger.normalize():f}", f"{current.normalize():f}"
    return (
        f"expect {expected}, but trigger_price[{prices[0]}] {relation} "
        f"current[{prices[1]}]??LastPrice"
    )
