"""Books told as a snapshot and what changes."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.market import Side
from tradewright.paper.ladder import Level, Row, difference, rows
from tradewright.paper.scale import Scale

SCALE = Scale(price=2, qty=3)
SIDES = st.sampled_from([Side.BUY, Side.SELL])
SIZES = st.dictionaries(st.integers(1, 60), st.integers(1, 5), max_size=40)


def ladder(sizes: dict[int, int], side: Side) -> list[Level]:
    """Return levels as the engine gives them: best first."""
    ordered = sorted(sizes.items(), reverse=side is Side.BUY)
    return [(Decimal(price) / 10, Decimal(size)) for price, size in ordered]


def applied(book: dict[str, str], delta: list[Row]) -> dict[str, str]:
    """Apply *delta* as pybit does: it fails where a price is taken away that it does not know."""
    after = dict(book)
    for price, size in delta:
        if size == "0":
            del after[price]
        else:
            after[price] = size
    return after


@given(SIDES, SIZES, SIZES)
def test_a_difference_turns_one_book_into_the_other(
    side: Side, before: dict[int, int], after: dict[int, int]
) -> None:
    old, new = ladder(before, side), ladder(after, side)

    delta = difference(old, new, side, SCALE)

    assert applied(dict(rows(old, SCALE)), delta) == dict(rows(new, SCALE))


@given(SIDES, SIZES, SIZES)
def test_a_difference_names_what_changed_and_nothing_else(
    side: Side, before: dict[int, int], after: dict[int, int]
) -> None:
    old, new = ladder(before, side), ladder(after, side)

    delta = difference(old, new, side, SCALE)

    prices = [price for price, _ in delta]
    changed = set(old) ^ set(new)
    assert len(prices) == len(set(prices))
    assert {Decimal(price) for price in prices} == {price for price, _ in changed}


def test_levels_are_shown_in_full_length_unless_that_made_them_others() -> None:
    shown = rows([(Decimal("50000.1"), Decimal(2)), (Decimal("0.1234"), Decimal("1E-9"))], SCALE)

    assert shown == [("50000.10", "2.000"), ("0.1234", "0.000000001")]
