"""The instruments that the paper exchange lists."""

from decimal import Decimal
from typing import NamedTuple

from tradewright.domain.market import Instrument


class Listing(NamedTuple):
    instrument: Instrument
    symbol_id: int
    first_price: Decimal
    """Where the generated market starts its history."""


def _listing(number: int, row: str) -> Listing:
    symbol, price, tick, step, largest, largest_market, leverage = row.split()
    instrument = Instrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        tick_size=Decimal(tick),
        qty_step=Decimal(step),
        min_qty=Decimal(step),
        max_qty=Decimal(largest),
        max_market_qty=Decimal(largest_market),
        max_leverage=Decimal(leverage),
    )
    return Listing(instrument, number, Decimal(price))


# symbol, first price, tick, step (and least) quantity, most, most at market, leverage
_ROWS = """
BTCUSDT  60000 0.1     0.001 1190     500     100
ETHUSDT  3000  0.01    0.01  7240     1500    100
SOLUSDT  150   0.01    0.1   79770    11250   100
XRPUSDT  0.6   0.0001  0.1   3911580  2000000 75
DOGEUSDT 0.15  0.00001 1     31790000 4500000 75
BNBUSDT  550   0.1     0.01  11000    1500    75
ADAUSDT  0.45  0.0001  1     6500000  1600000 75
AVAXUSDT 30    0.001   0.1   110000   24000   75
LINKUSDT 14    0.001   0.1   210000   52000   75
LTCUSDT  80    0.01    0.1   33000    8400    75
"""

LISTED = {
    listing.instrument.symbol: listing
    for number, row in enumerate(_ROWS.strip().splitlines(), start=1)
    for listing in [_listing(number, row)]
}


def instrument_of(symbol: str, tick_size: Decimal) -> Instrument:
    """Return the listed instrument, or rules for an unlisted one whose prices have *tick_size*."""
    if symbol in LISTED:
        return LISTED[symbol].instrument
    return Instrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        tick_size=tick_size,
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1_000_000),
        max_market_qty=Decimal(1_000_000),
    )
