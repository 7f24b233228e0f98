"""The markets: made up or recorded, and what the public reads of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.paper.conftest import START, Desk, Open, WriteCandles
from tradewright.paper.market.candle import Bar, Series, bucket, bucket_end
from tradewright.paper.market.listing import LISTED
from tradewright.paper.market.pace import TICKS, ticks

START_MS = int(START.timestamp() * 1000)


MINUTES = st.lists(
    st.tuples(*[st.integers(min_value=1, max_value=1000)] * 4), min_size=1, max_size=200
)


@given(MINUTES, st.integers(min_value=0, max_value=500))
def test_candles_of_all_timeframes_hold_the_same_trades(
    prices: list[tuple[int, ...]], offset: int
) -> None:
    series = Series(1)
    bars = [
        Bar(
            START_MS + (offset + n) * 60_000,
            Decimal(row[0]),
            Decimal(max(row)),
            Decimal(min(row)),
            Decimal(row[3]),
            volume=Decimal(1),
            turnover=Decimal(row[3]),
        )
        for n, row in enumerate(prices)
    ]
    for bar in bars:
        series.add(bar)

    for interval in series.intervals:
        made = list(series.newest(interval))[::-1]
        assert sum(b.volume for b in made) == len(bars)
        assert (made[0].open, made[-1].close) == (bars[0].open, bars[-1].close)
        assert max(b.high for b in made) == max(b.high for b in bars)
        assert all(b.open_ms == bucket(interval, b.open_ms) for b in made)
        assert all(bucket_end(interval, a.open_ms) == b.open_ms for a, b in pairwise(made))


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    moment = int(datetime(2024, 2, 29, 13, tzinfo=UTC).timestamp() * 1000)

    week, month = bucket("W", moment), bucket("M", moment)

    assert datetime.fromtimestamp(week / 1000, UTC) == datetime(2024, 2, 26, tzinfo=UTC)
    assert datetime.fromtimestamp(month / 1000, UTC) == datetime(2024, 2, 1, tzinfo=UTC)
    end = bucket_end("M", month)
    assert datetime.fromtimestamp(end / 1000, UTC) == datetime(2024, 3, 1, tzinfo=UTC)


def test_the_ticks_of_a_candle_touch_its_four_prices() -> None:
    instrument = LISTED["BTCUSDT"].instrument
    rising = Bar(0, *(Decimal(p) for p in (100, 110, 95, 105, 1, 100)))
    falling = Bar(0, *(Decimal(p) for p in (105, 110, 95, 100, 1, 100)))

    for bar, order in ((rising, (100, 95, 110, 105)), (falling, (105, 110, 95, 100))):
        path = ticks(bar, instrument)

        assert len(path) == TICKS
        assert bar.path() == list(order)
        positions = [path.index(Decimal(price)) for price in order[:3]]
        assert positions == sorted(positions)
        assert path[-1] == order[3]
        assert (max(path), min(path)) == (bar.high, bar.low)


async def test_klines_come_newest_first_within_their_bounds(
    open_desk: Open, write_candles: WriteCandles
) -> None:
    rows = [(n, n + 2, n - 2, n + 1) for n in range(100, 112)]
    desk = await open_desk(market=write_candles(*rows), data_from=START + timedelta(minutes=10))

    async def opens(**params: Any) -> list[int]:
        found = await desk.klines(**params)
        return [(int(row[0]) - START_MS) // 60_000 for row in found]

    assert await opens(interval="1", limit=3) == [9, 8, 7]
    bounds = {"start": START_MS + 2 * 60_000, "end": START_MS + 4 * 60_000}
    assert await opens(interval="1", **bounds) == [4, 3, 2]
    assert await opens(interval="1", start=START_MS, limit=2) == [1, 0]
    assert await opens(interval="5") == [5, 0]
    (row,) = await desk.klines("5", limit=1)
    assert row == [str(START_MS + 300_000), "105", "111", "103", "110", "52.5", "5670"]
    await desk.step()
    assert await opens(interval="5", limit=1) == [10]


async def test_a_symbol_or_interval_that_is_not_there_is_refused(desk: Desk) -> None:
    unknown = await desk.refusal("get_kline", symbol="NOPEUSDT", interval="1")
    odd = await desk.refusal("get_kline", symbol="BTCUSDT", interval="7")
    many = await desk.refusal("get_kline", symbol="BTCUSDT", interval="1", limit=1001)

    assert (unknown[0], odd[0], many[0]) == (10001, 10001, 10001)


async def test_the_book_stands_around_the_last_price(desk: Desk) -> None:
    book = await desk.call("get_orderbook", symbol="BTCUSDT", limit=3)

    assert [price for price, _ in book["b"]] == ["49999.90", "49999.80", "49999.70"]
    assert [price for price, _ in book["a"]] == ["50000.10", "50000.20", "50000.30"]
