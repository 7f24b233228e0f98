"""How much to trade: the sizing that a preset declares, cut to the limits, never rounded up."""

from decimal import Decimal

from tradewright.domain.market import Instrument, Price, Value
from tradewright.domain.plan import FixedNotional, RiskFraction, Sizing


class TooSmall(Value):
    """The size falls below what the exchange takes; nothing is sent."""

    reason: str


def order_size(
    *,
    sizing: Sizing,
    equity: Decimal,
    price: Price,
    stop_loss: Price,
    confidence: Decimal,
    share: Decimal = Decimal(1),
    max_notional: Decimal,
    min_notional: Decimal = Decimal(0),
    instrument: Instrument,
) -> Decimal | TooSmall:
    """Return the quantity to trade, a multiple of ``qty_step``, or why it is too small.

    Each of these times *confidence* and *share*, cut to *max_notional* and to the instrument's
    largest market order, and rounded down:

    - fixed fractional: ``equity * risk_fraction / |price - stop_loss|``
    - fixed notional: ``notional / price``
    - volatility target: ``equity * target / measured / price``, at most the fixed fractional
      quantity of `max_risk_fraction`

    Fees and slippage are not part of the distance.

    Args:
        sizing: What the preset declares.
        equity: Account equity, USDT.
        price: Expected entry.
        stop_loss: Protective stop, different from *price*.
        confidence: Scales the size, 0 to 1.
        share: What is left of it for other reasons, 0 to 1.
        max_notional: Largest position value, USDT.
        min_notional: Smallest order value beside the instrument's own, USDT.
        instrument: Steps and limits of the symbol.

    Source:
        R. Vince, *Portfolio Management Formulas* (Wiley, 1990): fixed-fractional sizing.

    Example:
        >>> from tradewright.domain.plan import RiskFraction
        >>> btc = Instrument(symbol="BTCUSDT", base_coin="BTC", tick_size="0.1", qty_step="0.001",
        ...                  min_qty="0.001", max_qty="100", max_market_qty="50")
        >>> order_size(sizing=RiskFraction(risk_fraction="0.01"), equity=Decimal(10_000),
        ...            price=Decimal(50_000), stop_loss=Decimal(49_300), confidence=Decimal(1),
        ...            max_notional=Decimal(100_000), instrument=btc)
        Decimal('0.142')
    """
    wished = _wished(sizing, equity, price, abs(price - stop_loss)) * confidence * share
    capped = min(wished, max_notional / price, instrument.max_qty, instrument.max_market_qty)
    qty = instrument.floor_qty(capped)
    if qty < instrument.min_qty:
        return TooSmall(
            reason=f"{capped:.8f} {instrument.base_coin} rounds down to {qty}, below the minimum "
            f"order of {instrument.min_qty} {instrument.base_coin}"
        )
    smallest = max(min_notional, instrument.min_notional)
    if qty * price < smallest:
        return TooSmall(
            reason=f"{qty} {instrument.base_coin} is worth {qty * price:.2f} USDT, below the "
            f"minimum order of {smallest} USDT"
        )
    return qty


def _wished(sizing: Sizing, equity: Decimal, price: Decimal, distance: Decimal) -> Decimal:
    """Return the quantity that the preset declares, before any limit."""
    if isinstance(sizing, FixedNotional):
        return sizing.notional / price
    if isinstance(sizing, RiskFraction):
        return equity * sizing.risk_fraction / distance
    calm = equity * sizing.target / sizing.measured / price
    return min(calm, equity * sizing.max_risk_fraction / distance)
