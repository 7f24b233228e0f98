"""The instruments that the paper exchange lists."""

import math
from decimal import Decimal
from functools import cached_property

import msgspec

from tradewright.domain.market import Instrument
from tradewright.matching.market import Market, Tier
from tradewright.paper.market.roster import FOUR_HOURLY, HOURLY, MAJORS, OTHERS
from tradewright.paper.market.tier import tiers_of

USUAL_FUNDING_MINUTES = 480


class Listing(msgspec.Struct, frozen=True, dict=True):
    """A symbol, its rules, and the character of its generated market."""

    instrument: Instrument
    symbol_id: int
    first_price: Decimal
    """Around which the generated market goes."""
    day_turnover: float = 1e7
    funding_minutes: int = USUAL_FUNDING_MINUTES
    told_tiers: tuple[Tier, ...] = ()
    """As another exchange tells them."""

    @cached_property
    def tiers(self) -> tuple[Tier, ...]:
        return self.told_tiers or tiers_of(self.instrument.symbol, self.instrument.max_leverage)

    @property
    def swing(self) -> float:
        """Return how much wilder it is than the calmest: the more, the less it is traded."""
        return min(2.2, max(1.0, 1.0 + 0.3 * math.log10(2e9 / self.day_turnover)))

    @property
    def market_share(self) -> float:
        """Return how much of its moves are the market's: 0.8 of a major's, 0.6 of others'."""
        return 0.8 if self.day_turnover > 1e8 else 0.6

    @property
    def level_depth(self) -> Decimal:
        """Return the USDT that usually stand at one price."""
        return Decimal(round(max(2_000.0, self.day_turnover * 4e-5)))

    @property
    def funding_cap(self) -> Decimal:
        """Return the most that funding can be, either way.

        Three quarters of the least initial margin, at least 0.375 %, at most 3 %.
        """
        cap = Decimal("0.75") / self.instrument.max_leverage
        return min(Decimal("0.03"), max(Decimal("0.00375"), round(cap, 5)))

    def market(
        self, spread_ticks: int = 1, depth: Decimal | None = None, lean: Decimal = Decimal(0)
    ) -> Market:
        """Return what the engine must know of it."""
        return Market(
            instrument=self.instrument,
            spread_ticks=spread_ticks,
            depth=depth,
            lean=lean,
            tiers=self.tiers,
            funding_minutes=self.funding_minutes,
        )


def _major(number: int, row: str) -> Listing:
    symbol, price, tick, step, largest, largest_market, leverage, turnover = row.split()
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
    return Listing(instrument, number, Decimal(price), float(turnover) * 1e6)


def _other(number: int, row: str) -> Listing:
    """Return a listing whose price has five digits, and whose quantity step is worth a dollar."""
    symbol, price_text, leverage, turnover = row.split()
    price = Decimal(price_text)
    magnitude = price.adjusted()
    step = _plain(Decimal(1).scaleb(-magnitude - 1))
    notional = {"75": 5_000_000, "50": 2_000_000}.get(leverage, 600_000)
    largest = _plain(Decimal(notional).scaleb(-magnitude))
    instrument = Instrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        tick_size=_plain(Decimal(1).scaleb(magnitude - 4)),
        qty_step=step,
        min_qty=step,
        max_qty=largest,
        max_market_qty=_plain(largest / 5),
        max_leverage=Decimal(leverage),
    )
    minutes = 60 if symbol in HOURLY else 240 if symbol in FOUR_HOURLY else USUAL_FUNDING_MINUTES
    return Listing(instrument, number, price, float(turnover) * 1e6, minutes)


def _plain(number: Decimal) -> Decimal:
    """Return *number* without an exponent, as clients read it."""
    return Decimal(f"{number.normalize():f}")


_MAJORS, _OTHERS = MAJORS.strip().splitlines(), OTHERS.strip().splitlines()

LISTED: dict[str, Listing] = {
    listing.instrument.symbol: listing
    for listing in (
        *(_major(number, row) for number, row in enumerate(_MAJORS, start=1)),
        *(_other(number, row) for number, row in enumerate(_OTHERS, start=len(_MAJORS) + 1)),
    )
}


def listing_of(symbol: str, tick_size: Decimal, first_price: Decimal = Decimal(1)) -> Listing:
    """Return the listing of *symbol*, or one made up for prices that have *tick_size*."""
    if symbol in LISTED:
        return LISTED[symbol]
    instrument = Instrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        tick_size=tick_size,
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1_000_000),
        max_market_qty=Decimal(1_000_000),
    )
    return Listing(instrument, len(LISTED) + 1, first_price)
