"""How many digits the prices and quantities of a symbol are shown with."""

from decimal import Decimal
from typing import NamedTuple

from tradewright.domain.market import Instrument
from tradewright.paper.wire import num

_LEAST = 2


class Scale(NamedTuple):
    """Bybit's ``priceScale``, and the digits of the quantity step."""

    price: int
    qty: int

    def shown_price(self, price: Decimal) -> str:
        """Return *price* in its full length; unless that would make it another.

        Example:
            >>> Scale(2, 3).shown_price(Decimal("50000.1"))
            '50000.10'
        """
        return _shown(price, self.price)

    def shown_qty(self, qty: Decimal) -> str:
        return _shown(qty, self.qty)

    def row(self, level: tuple[Decimal, Decimal]) -> tuple[str, str]:
        return _shown(level[0], self.price), _shown(level[1], self.qty)


def scale_of(instrument: Instrument) -> Scale:
    return Scale(max(_LEAST, digits_of(instrument.tick_size)), digits_of(instrument.qty_step))


def digits_of(step: Decimal) -> int:
    """Return how many digits behind the point multiples of *step* have.

    Example:
        >>> digits_of(Decimal("0.010")), digits_of(Decimal(10))
        (2, 0)
    """
    return max(0, -int(step.normalize().as_tuple().exponent))


def _shown(number: Decimal, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text if Decimal(text) == number else num(number)
