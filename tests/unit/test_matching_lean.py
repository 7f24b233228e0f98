"""Books around candles that lean: one side is thicker, as the price goes."""

from collections.abc import Callable
from decimal import Decimal
from itertools import islice

import pytest

from tradewright.domain.market import Instrument, Side
from tradewright.matching import Market
from tradewright.matching.liquidity import Ladder

STEPS = 21 * 8
MakeInstrument = Callable[..., Instrument]


def shares(market: Market) -> list[Decimal]:
    """Return the bids' share of the book at many prices in a row."""
    ladder, found = Ladder(market), []
    for ticks in range(STEPS):
        ladder.move(Decimal(50_000) + ticks * market.instrument.tick_size)
        bids, asks = (
            sum(qty for _, qty in islice(ladder.levels(side), 50)) for side in (Side.BUY, Side.SELL)
        )
        found.append(Decimal(bids / (bids + asks)))
    return found


@pytest.mark.parametrize("depth", [None, Decimal(600_000)])
def test_a_market_leans_either_way_and_is_even_on_the_whole(
    make_instrument: MakeInstrument, depth: Decimal | None
) -> None:
    market = Market(make_instrument(), depth=depth, lean=Decimal("0.8"))

    found = shares(market)

    assert found == shares(market)
    assert min(found) < Decimal("0.15")
    assert max(found) > Decimal("0.85")
    assert abs(sum(found, Decimal(0)) / len(found) - Decimal("0.5")) < Decimal("0.01")


def test_a_market_is_even_unless_it_is_told_to_lean(make_instrument: MakeInstrument) -> None:
    assert set(shares(Market(make_instrument()))) == {Decimal("0.5")}


def test_what_a_leaning_market_shows_can_be_taken(make_instrument: MakeInstrument) -> None:
    market = Market(make_instrument(), depth=Decimal(600_000), lean=Decimal("0.8"))
    ladder = Ladder(market)
    ladder.move(Decimal(50_000))

    (price, qty), behind = islice(ladder.levels(Side.SELL), 2)
    ladder.take(Side.SELL, price, qty)

    assert ladder.at(Side.SELL, price) == 0
    assert next(iter(ladder.levels(Side.SELL))) == behind
