"""Universes: which symbols a filter chooses, and that they do not come and go."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.universe import Filter, Listed, chosen


def listed(symbol: str, turnover: int | str, **changes: Any) -> Listed:
    fields = {"bid": "100", "ask": "100.01"} | changes
    return Listed.model_validate({"symbol": f"{symbol}USDT", "turnover": turnover} | fields)


def names(*symbols: str) -> tuple[str, ...]:
    return tuple(f"{symbol}USDT" for symbol in symbols)


def test_the_symbols_of_the_most_turnover_are_chosen() -> None:
    market = [listed("A", 1), listed("B", 3), listed("C", 2)]

    assert chosen(Filter(top=2), market, ()) == names("B", "C")


def test_wide_spreads_little_turnover_and_what_is_excluded_are_left_out() -> None:
    market = [
        listed("WIDE", 9, ask="100.03"),
        listed("EMPTY", 9, ask="0"),
        listed("OUT", 9),
        listed("GOOD", 9),
        listed("QUIET", 4),
    ]
    wanted = Filter(top=5, max_spread_bp=Decimal(2), min_turnover=Decimal(5), exclude=names("OUT"))

    assert chosen(wanted, market, ()) == names("GOOD")


def test_one_that_is_in_stays_until_it_is_clearly_worse() -> None:
    """Else two that take turns at the last place would be subscribed to and dropped all day."""
    market = [listed("A", 50), listed("B", 40), listed("C", 30), listed("D", 21), listed("E", 20)]
    wanted = Filter(top=4)

    assert chosen(wanted, market, ()) == names("A", "B", "C", "D")
    assert chosen(wanted, market, names("A", "B", "C", "E")) == names("A", "B", "C", "E")
    assert chosen(Filter(top=3), market, names("A", "B", "E")) == names("A", "B", "C")


def test_limits_are_lenient_with_what_is_in_and_strict_with_newcomers() -> None:
    market = [listed("A", 90, ask="100.022"), listed("B", 85, ask="100.03")]
    wanted = Filter(top=9, max_spread_bp=Decimal(2), min_turnover=Decimal(100))

    assert chosen(wanted, market, ()) == ()
    assert chosen(wanted, market, names("A", "B")) == names("A")


MARKETS = st.lists(
    st.tuples(
        st.sampled_from("ABCDEFGH"), st.integers(1, 100), st.decimals("0.01", "0.1", places=2)
    ),
    unique_by=lambda row: row[0],
    max_size=8,
)


@given(
    rows=MARKETS,
    top=st.integers(1, 6),
    current=st.sets(st.sampled_from("ABCDEFGHIJ")),
    spread=st.sampled_from([None, 3, 6]),
    turnover=st.sampled_from([None, 10, 50]),
)
def test_a_choice_is_small_lawful_and_final(
    rows: list[tuple[str, int, Decimal]],
    top: int,
    current: set[str],
    spread: int | None,
    turnover: int | None,
) -> None:
    market = [listed(name, worth, ask=100 + width) for name, worth, width in rows]
    wanted = Filter(
        top=top,
        max_spread_bp=None if spread is None else Decimal(spread),
        min_turnover=None if turnover is None else Decimal(turnover),
    )

    found = chosen(wanted, market, names(*current))

    assert len(found) == len(set(found)) <= top
    assert chosen(wanted, market, found) == found
    assert chosen(wanted, market[::-1], names(*current)) == found
    by_name = {one.symbol: one for one in market}
    for symbol in found:
        assert wanted.passes(by_name[symbol], Decimal(0)) or symbol in names(*current)
