"""What is known of one symbol beside its candles."""

from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.market import Side
from tradewright.matching import Market
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series, bucket_end
from tradewright.paper.market.listing import LISTED
from tradewright.paper.quote import DAY_MS, HOUR_MS, DayStats, Quote
from tradewright.paper.reference import References

START_MS = 1_700_006_400_000


def bar(minute: int, *prices: int, volume: int = 1) -> Bar:
    opened, high, low, close = (Decimal(p) for p in (prices or (10,) * 4))
    size = Decimal(volume)
    return Bar(START_MS + minute * MINUTE_MS, opened, high, low, close, size, size * close)


@pytest.fixture
def quote() -> Quote:
    return Quote(Market(LISTED["BTCUSDT"].instrument), Series(1))


class Minute(NamedTuple):
    gap: int
    low: int
    spread: int
    volume: int


MINUTES = st.lists(
    st.builds(
        Minute,
        st.sampled_from([1, 1, 1, 30, 700, 3000]),
        st.integers(1, 50),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=60,
)


@given(MINUTES, st.integers(1, 7))
def test_figures_of_the_day_are_those_of_its_candles(minutes: list[Minute], every: int) -> None:
    series = Series(1)
    stats = DayStats(series)
    bars: list[Bar] = []
    at = 0
    for number, (gap, low, spread, volume) in enumerate(minutes):
        at += gap
        bars.append(bar(at, low, low + spread, low, low + spread // 2, volume=volume))
        series.add(bars[-1])
        if number % every == 0:
            stats.day()

    day = stats.day()

    recent = [b for b in bars if b.open_ms > bars[-1].open_ms - DAY_MS]
    hour = [b for b in recent if b.open_ms > bars[-1].open_ms - HOUR_MS]
    assert day is not None
    assert (day.ago, day.hour_ago) == (recent[0].open, hour[0].open)
    assert (day.high, day.low) == (max(b.high for b in recent), min(b.low for b in recent))
    assert day.volume == sum(b.volume for b in recent)
    assert day.turnover == sum(b.turnover for b in recent)


def test_the_forming_candle_counts_for_the_day(quote: Quote) -> None:
    quote.series.add(bar(0, 10, 12, 9, 11, volume=2))
    for price in (15, 8, 10):
        quote.series.trade(START_MS + MINUTE_MS, Decimal(price), Decimal(1))

    day = quote.stats.day()

    assert day is not None
    assert [day.high, day.low, day.volume, day.ago] == [15, 8, 5, 10]


def test_there_are_no_figures_before_the_first_candle(quote: Quote) -> None:
    assert quote.stats.day() is None
    assert quote.open_interest(START_MS) == 0


def test_a_print_says_where_the_price_came_from(quote: Quote) -> None:
    prices = [10, 11, 11, 9, 9, 9, 10]

    made = [quote.print(Side.BUY, Decimal(p), Decimal(1), START_MS) for p in prices]

    assert [p.direction for p in made] == [
        "PlusTick",
        "PlusTick",
        "ZeroPlusTick",
        "MinusTick",
        "ZeroMinusTick",
        "ZeroMinusTick",
        "PlusTick",
    ]
    assert len({p.trade_id("BTCUSDT") for p in made}) == len(made)
    assert made[0].trade_id("BTCUSDT") != made[0].trade_id("ETHUSDT")


def test_sequence_numbers_grow_also_over_a_restart(quote: Quote) -> None:
    first = [quote.sequence(START_MS) for _ in range(3)]
    again = Quote(quote.market, quote.series).sequence(START_MS + 5)

    assert first == sorted(set(first))
    assert again > first[-1]


def test_without_references_mark_and_index_are_the_last_price() -> None:
    bars = [bar(1, 5, 9, 4, 7), bar(0, 3, 6, 2, 5)]
    ends = [b.open_ms + MINUTE_MS for b in bars]
    references = References()

    for kind in ("mark", "index"):
        assert references.candles(kind, bars, ends) == [b[:5] for b in bars]
    premiums = references.candles("premium", bars, ends)
    assert premiums == [(b.open_ms, *[Decimal(0)] * 4) for b in bars]


def test_references_make_candles_of_any_timeframe() -> None:
    series, references = Series(1), References()
    for minute in range(10):
        series.add(bar(minute))
        for second, mark in ((10, 100 + minute), (50, 90 + minute)):
            at_ms = START_MS + minute * MINUTE_MS + second * 1000
            references.take(at_ms, Decimal(mark), Decimal(100))

    def candles(kind: str, interval: str) -> list[tuple[Decimal | int, ...]]:
        bars = series.between(interval, None, None, 10)
        ends = [bucket_end(interval, b.open_ms) for b in bars]
        return [c[1:] for c in references.candles(kind, bars, ends)]  # type: ignore[arg-type]

    assert candles("mark", "1")[0] == (98, 109, 98, 99)
    assert candles("mark", "5") == [(94, 109, 94, 99), (90, 104, 90, 94)]
    assert candles("index", "5") == [(100, 100, 100, 100)] * 2
    assert candles("premium", "5")[0] == tuple(
        Decimal(p) for p in ("-0.06", "-0.01", "-0.06", "-0.01")
    )


@given(
    st.integers(0, 400),
    st.none() | st.integers(-5, 420),
    st.none() | st.integers(-5, 420),
    st.integers(1, 50),
    st.sampled_from(["1", "5", "60"]),
    st.booleans(),
)
def test_a_window_of_candles_is_what_a_scan_finds(
    count: int,
    start: int | None,
    end: int | None,
    limit: int,
    interval: str,
    is_live: bool,
) -> None:
    series = Series(1)
    for minute in range(count):
        series.add(bar(minute))
    if is_live:
        series.trade(START_MS + count * MINUTE_MS, Decimal(10), Decimal(1))
    start_ms = None if start is None else START_MS + start * MINUTE_MS
    end_ms = None if end is None else START_MS + end * MINUTE_MS

    found = series.between(interval, start_ms, end_ms, limit)

    within = [
        b
        for b in series.newest(interval)
        if (start_ms is None or b.open_ms >= start_ms) and (end_ms is None or b.open_ms <= end_ms)
    ]
    from_start = start_ms is not None and end_ms is None
    assert found == (within[-limit:] if from_start else within[:limit])
