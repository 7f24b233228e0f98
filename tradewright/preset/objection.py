"""What speaks against an entry before the desk is asked; apart, for presets are checked without."""

from datetime import datetime

from tradewright.domain.account import RefusalCode
from tradewright.domain.market import Price, Side
from tradewright.domain.protection import session_fault, slippage_fault, spread_fault
from tradewright.preset.protection import Protections


def objection(
    protections: Protections,
    *,
    at: datetime,
    side: Side,
    price: Price,
    bid: Price | None,
    ask: Price | None,
    at_market: bool,
) -> tuple[RefusalCode, str] | None:
    """Return what a preset's protections have against an entry at this moment, if anything.

    Args:
        protections: Of the preset.
        at: Of the trigger; market clock.
        side: Of the entry.
        price: That was decided on.
        bid: Best price at which the market buys; None if unknown, as is *ask*.
        ask: Best price at which the market sells.
        at_market: Whether it is entered at what the market asks, not at a limit.
    """
    if why := session_fault([session.domain() for session in protections.sessions], at):
        return RefusalCode.OUTSIDE_SESSION, why
    if why := spread_fault(protections.max_spread_bp, bid, ask):
        return RefusalCode.SPREAD_TOO_WIDE, why
    limit = protections.max_slippage_bp if at_market else None
    if why := slippage_fault(limit, side, price, bid, ask):
        return RefusalCode.SLIPPAGE_TOO_LARGE, why
    return None
