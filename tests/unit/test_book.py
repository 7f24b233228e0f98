"""The order book: put together from messages, and what is reckoned from it."""

import gzip
import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.book import CLUSTER_BPS, NUMBERS, Book, BookBroken, Ladder

RECORDED = Path("/work/shared/data/bybit_xrpusdt_orderbook500_2024-12-01.jsonl.gz")

Levels = list[tuple[str, str]]

BIDS: Levels = [("100.0", "2"), ("99.9", "1"), ("99.0", "4")]
ASKS: Levels = [("100.1", "1"), ("100.2", "1")]


def ladder(bids: Levels = BIDS, asks: Levels = ASKS) -> Ladder:
    made = Ladder("BTCUSDT")
    made.restart(7, 1_000, bids, asks)
    return made


def book_of(made: Ladder) -> Book:
    found = made.book()
    assert found is not None
    return found


def test_the_numbers_of_a_book_follow_from_its_levels() -> None:
    book = book_of(ladder())

    assert (book.best_bid, book.best_ask) == (100.0, 100.1)
    assert (book.best_bid_qty, book.best_ask_qty) == (2, 1)
    assert book.bid_volume == pytest.approx(200 + 99.9 + 396)
    assert book.ask_volume == pytest.approx(100.1 + 100.2)
    assert book.imbalance == pytest.approx(695.9 / (695.9 + 200.3))
    assert book.spread_bps == pytest.approx(0.1 / 100.05 * 10_000)
    assert book.at.timestamp() == 1


def test_a_cluster_is_the_largest_volume_within_a_narrow_band() -> None:
    near = 100 * (1 - CLUSTER_BPS / 20_000)
    bids = [("100", "1"), (str(near), "2"), ("99", "1"), ("98.99", "1"), ("98.98", "3")]

    book = book_of(ladder(bids))

    assert book.bid_cluster == pytest.approx(99 + 98.99 + 98.98 * 3)
    assert book.ask_cluster == pytest.approx(100.2)


def test_a_change_puts_moves_and_removes_levels() -> None:
    made = ladder()

    made.change(8, 2_000, [("100.0", "0"), ("99.95", "5")], [("100.1", "3"), ("555", "0")])

    book = book_of(made)
    assert (book.best_bid, book.best_bid_qty) == (99.95, 5)
    assert book.best_ask_qty == 3
    assert book.at_ms == 2_000


def test_a_change_that_was_taken_before_changes_nothing() -> None:
    made = ladder()
    before = made.book()

    assert not made.change(7, 9_000, [("100.0", "50")], [])
    assert made.book() == before


def test_a_missing_change_breaks_the_book() -> None:
    made = ladder()

    with pytest.raises(BookBroken, match="change 9 follows 7; subscribe to it again"):
        made.change(9, 2_000, [], [])


def test_a_change_before_the_snapshot_breaks_the_book() -> None:
    with pytest.raises(BookBroken, match="before a snapshot"):
        Ladder("BTCUSDT").change(1, 1, [], [])


@pytest.mark.parametrize(
    "level", [("x", "1"), ("1", "nan"), ("inf", "1"), ("-1", "1"), ("1", "-1")]
)
def test_what_is_no_level_breaks_the_book(level: tuple[str, str]) -> None:
    made = ladder()

    with pytest.raises(BookBroken):
        made.change(8, 2_000, [level], [])
    assert made.book() is None


@pytest.mark.parametrize("at_ms", [0, -1, 10**14, 10**20])
def test_what_is_no_time_breaks_the_book(at_ms: int) -> None:
    made = ladder()

    with pytest.raises(BookBroken, match="time"):
        made.change(8, at_ms, [], [])
    assert made.book() is None


def test_a_snapshot_begins_anew_whatever_its_number() -> None:
    made = ladder()

    made.restart(1, 5_000, [("50", "1")], [("51", "1")])

    assert book_of(made).best_bid == 50
    assert made.change(2, 5_001, [("50", "2")], [])


@pytest.mark.parametrize("bids", [[], [("100.1", "1")], [("101", "1")]])
def test_an_empty_or_crossed_book_is_none(bids: Levels) -> None:
    made = ladder(bids)

    assert made.book() is None
    assert made.is_crossed is bool(bids)


def test_a_forgotten_book_is_none_until_it_is_told_anew() -> None:
    made = ladder()

    made.forget()

    assert made.book() is None
    assert not made.is_crossed


def test_a_book_is_made_again_from_its_numbers() -> None:
    book = book_of(ladder())

    told = json.loads(json.dumps(book.numbers()))

    assert tuple(told) == NUMBERS
    assert Book.of("BTCUSDT", book.at_ms, told) == book


def test_the_best_prices_are_exact_as_money() -> None:
    book = book_of(ladder([("0.00001230", "1")], [("0.00001240", "1")]))

    assert (book.bid, book.ask) == (Decimal("0.0000123"), Decimal("0.0000124"))


PRICES = st.integers(min_value=1, max_value=2_000)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["bid", "ask"]), PRICES, st.integers(min_value=0, max_value=50)),
    max_size=60,
)


@given(changes=CHANGES, size=st.integers(min_value=1, max_value=7))
def test_a_book_made_by_changes_equals_the_one_made_at_once(
    changes: list[tuple[str, int, int]], size: int
) -> None:
    """The numbers depend on the levels alone, not on the way to them: to the bit."""
    stands: dict[str, dict[int, int]] = {"bid": {100_000: 1}, "ask": {103_000: 1}}
    changed = ladder([("100000", "1")], [("103000", "1")])
    for number, begin in enumerate(range(0, len(changes), size)):
        rows: dict[str, Levels] = {"bid": [], "ask": []}
        for side, offset, qty in changes[begin : begin + size]:
            price = 100_000 - offset if side == "bid" else 103_000 + offset
            rows[side].append((str(price), str(qty)))
            stands[side][price] = qty
        changed.change(8 + number, 2_000, rows["bid"], rows["ask"])
    told = {
        side: [(str(price), str(qty)) for price, qty in levels.items() if qty]
        for side, levels in stands.items()
    }
    at_once = Ladder("BTCUSDT")
    at_once.restart(1, changed.at_ms, told["bid"], told["ask"])

    assert at_once.book() == changed.book()
    book = book_of(changed)
    assert 0 < book.bid_cluster <= book.bid_volume * (1 + 1e-12)
    for side, sign, found in (("bid", -1, book.bid_cluster), ("ask", 1, book.ask_cluster)):
        levels = sorted((sign * price, qty) for price, qty in stands[side].items() if qty)
        width = abs(levels[0][0]) * CLUSTER_BPS / 10_000
        windows = (
            sum(abs(key) * qty for key, qty in levels if first <= key <= first + width)
            for first, _ in levels
        )
        assert found == pytest.approx(max(windows))


def recorded() -> Iterator[dict[str, Any]]:
    if not RECORDED.exists():
        pytest.skip(f"{RECORDED} is not on this machine")
    with gzip.open(RECORDED, "rt") as lines:
        yield from map(json.loads, lines)


def test_a_recorded_book_of_bybit_is_followed_without_a_gap() -> None:
    made, books = Ladder("XRPUSDT"), []
    for message in recorded():
        data = message["data"]
        take = made.restart if message["type"] == "snapshot" else made.change
        take(data["u"], message["cts"], data["b"], data["a"])
        books.append(book_of(made))

    assert len(books) == 50
    assert all(0 < book.spread_bps < 2 for book in books)
    assert all(0.3 < book.imbalance < 0.7 for book in books)
    assert all(a.at_ms < b.at_ms for a, b in itertools.pairwise(books))
