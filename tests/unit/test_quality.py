"""Bad data is told apart from good, and by its own code."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright import quality, testing
from tradewright.book import Book
from tradewright.domain.account.refusal import EXPLANATIONS, RefusalCode
from tradewright.domain.market import Timeframe
from tradewright.plugin import COLUMNS, Candles

AT = datetime(2025, 1, 1, tzinfo=UTC)
STEP = 60_000
COUNT = 40


def candles_of(count: int = COUNT) -> Candles:
    end = round(AT.timestamp() * 1000)
    times = np.arange(end - count * STEP, end, STEP, dtype=np.int64)
    close = 100 + np.sin(np.arange(count))
    columns = (close - 0.1, close + 1, close - 1, close, np.full(count, 5.0))
    return Candles(times, *columns)


def changed(column: str, row: int, value: float) -> Candles:
    candles = candles_of()
    values = getattr(candles, column).copy()
    values[row] = value
    return replace(candles, **{column: values})


def without(row: int) -> Candles:
    candles = candles_of()
    names = ("open_time", *COLUMNS)
    return Candles(*(np.delete(getattr(candles, name), row) for name in names))


def swapped(row: int) -> Candles:
    candles = candles_of()
    order = list(range(COUNT))
    order[row], order[row - 1] = order[row - 1], order[row]
    return Candles(*(getattr(candles, name)[order] for name in ("open_time", *COLUMNS)))


def codes(candles: Candles, **terms: int) -> set[RefusalCode]:
    terms = {"max_flat": 30, "max_empty": 30} | terms
    found = quality.candle_flaws(candles, Timeframe.M1, at=AT, **terms)
    return {flaw.code for flaw in found}


@pytest.mark.parametrize("count", [1, 2, COUNT])
def test_sound_candles_have_no_flaw(count: int) -> None:
    assert codes(candles_of(count)) == set()


@pytest.mark.parametrize(
    ("candles", "code"),
    [
        (candles_of(0), RefusalCode.DATA_EMPTY),
        (changed("close", 7, np.nan), RefusalCode.DATA_MALFORMED),
        (changed("volume", 7, np.nan), RefusalCode.DATA_MALFORMED),
        (changed("volume", 7, -1.0), RefusalCode.DATA_MALFORMED),
        (changed("high", 0, np.inf), RefusalCode.DATA_MALFORMED),
        (changed("high", 39, 50.0), RefusalCode.DATA_MALFORMED),
        (changed("low", 3, 0.0), RefusalCode.DATA_MALFORMED),
        (changed("low", 3, 1000.0), RefusalCode.DATA_MALFORMED),
        (without(20), RefusalCode.DATA_GAP),
        (changed("open_time", 20, candles_of().open_time[19]), RefusalCode.DATA_DUPLICATE),
        (swapped(20), RefusalCode.DATA_OUT_OF_ORDER),
        (changed("open_time", 39, candles_of().open_time[39] - 1), RefusalCode.DATA_OUT_OF_ORDER),
        (changed("open_time", 39, candles_of().open_time[39] + 1), RefusalCode.DATA_FUTURE),
    ],
)
def test_each_kind_of_bad_candles_has_its_code(candles: Candles, code: RefusalCode) -> None:
    assert code in codes(candles)


@pytest.mark.parametrize(
    ("columns", "code"),
    [(COLUMNS[:4], RefusalCode.DATA_FLAT), (COLUMNS[4:], RefusalCode.DATA_NO_VOLUME)],
)
def test_a_market_in_which_nothing_happens_for_long_is_none(
    columns: tuple[str, ...], code: RefusalCode
) -> None:
    def still(rows: int) -> Candles:
        candles = candles_of()
        value = 100.0 if len(columns) > 1 else 0.0
        values = {name: getattr(candles, name).copy() for name in columns}
        for each in values.values():
            each[COUNT - rows :] = value
        return replace(candles, **values)

    assert codes(still(30)) == {code}
    assert codes(still(29)) == set()
    assert codes(still(5), max_flat=5, max_empty=5) == {code}
    assert codes(still(5).tail(4), max_flat=5, max_empty=5) == set()


@given(
    column=st.sampled_from(COLUMNS),
    row=st.integers(0, COUNT - 1),
    value=st.sampled_from([np.nan, np.inf, -np.inf, -1.0]),
)
def test_no_number_that_is_none_gets_through(column: str, row: int, value: float) -> None:
    assert RefusalCode.DATA_MALFORMED in codes(changed(column, row, value))


def test_a_flaw_says_which_candle_it_is() -> None:
    (flaw,) = quality.candle_flaws(without(20), Timeframe.M1, at=AT, max_flat=30, max_empty=30)

    assert flaw.detail == "the candle of 2024-12-31 23:41 comes after a gap"


@pytest.mark.parametrize(
    ("price", "mark", "index", "found"),
    [
        (100.0, 100.0, 100.0, []),
        (104.9, 100.0, 100.0, []),
        (95.1, 100.0, 100.0, []),
        (105.1, 100.0, 102.0, [RefusalCode.DATA_OUTLIER]),
        (94.0, 100.0, 100.0, [RefusalCode.DATA_OUTLIER] * 2),
        (float("nan"), 100.0, 100.0, [RefusalCode.DATA_OUTLIER] * 2),
        (100.0, None, 100.0, [RefusalCode.DATA_UNVERIFIED]),
        (100.0, 0.0, float("nan"), [RefusalCode.DATA_UNVERIFIED] * 2),
    ],
)
def test_a_price_far_from_mark_or_index_is_none(
    price: float, mark: float | None, index: float | None, found: list[RefusalCode]
) -> None:
    assert [flaw.code for flaw in quality.outlier_flaws(price, mark, index, 0.05)] == found


@pytest.fixture
def make_book() -> Callable[..., Book]:
    def make(**changes: Any) -> Book:
        fields: dict[str, Any] = {
            "at_ms": round(AT.timestamp() * 1000),
            "best_bid": 100.0,
            "best_ask": 100.1,
        }
        return replace(testing.make_book(0), **(fields | changes))

    return make


def test_a_crossed_or_old_book_is_told(make_book: Callable[..., Book]) -> None:
    within, late = AT + timedelta(seconds=5), AT + timedelta(seconds=5.5)
    age = timedelta(seconds=5)

    def found(now: datetime, **changes: float) -> list[RefusalCode]:
        return [flaw.code for flaw in quality.book_flaws(make_book(**changes), now, age)]

    assert found(within) == []
    assert found(within, best_bid=100.1) == [RefusalCode.BOOK_CROSSED]
    assert found(within, best_bid=float("nan")) == [RefusalCode.BOOK_CROSSED]
    assert found(late) == [RefusalCode.BOOK_STALE]


def test_every_code_of_bad_data_is_explained() -> None:
    told = [code for code in RefusalCode if code.startswith(("data_", "book_"))]

    assert len(told) == 13
    assert set(told) <= EXPLANATIONS.keys()
