"""Windows of candles: what they hold, when they are fetched, and what is kept."""

import asyncio
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.candles import CandleCache
from tests.activities.klines import BORN, M1, M15, ScriptedKlines, at, first_of, minutes, opened
from tradewright.domain.errors import ExchangeUnreachable
from tradewright.domain.market import Candle
from tradewright.plugin import COLUMNS


async def test_a_window_ends_with_the_candle_that_has_just_closed() -> None:
    window = await CandleCache(ScriptedKlines(age=60)).window("BTCUSDT", M1, at(60), 3)

    assert minutes(window) == [57, 58, 59]
    candles = window.candles
    last = [float(getattr(candles, name)[-1]) for name in COLUMNS]
    assert last == [159.5, 161.5, 158.5, 160.5, 3.25]
    assert {getattr(candles, name).dtype for name in COLUMNS} == {np.dtype("float64")}
    assert window.close == Decimal("160.50")
    assert window.is_complete


async def test_within_a_candle_the_window_ends_before_it() -> None:
    window = await CandleCache(ScriptedKlines(age=62)).window("BTCUSDT", M15, at(52), 2)

    assert minutes(window) == [0, 15, 30]


async def test_a_window_keeps_its_first_candle_for_as_many_closes_as_are_needed() -> None:
    cache = CandleCache(ScriptedKlines(age=500))

    windows = [await cache.window("BTCUSDT", M1, at(n), 10) for n in range(100, 131)]

    firsts = [minutes(window)[0] for window in windows]
    assert firsts == [90] * 10 + [100] * 10 + [110] * 10 + [120]
    assert [len(window.candles) for window in windows[:11]] == [*range(10, 20), 10]


async def test_what_was_handed_out_never_changes_and_cannot_be_written_to() -> None:
    cache = CandleCache(ScriptedKlines(age=3000))
    window = await cache.window("BTCUSDT", M1, at(100), 10)
    before, key = [candle.copy() for candle in (window.candles.close,)], window.key

    for minute in range(101, 1500):
        cache.add("BTCUSDT", M1, streamed(minute - 1))
        await cache.window("BTCUSDT", M1, at(minute), 10)

    assert window.candles.close.tolist() == before[0].tolist()
    fresh = await CandleCache(ScriptedKlines(age=3000)).window("BTCUSDT", M1, at(100), 10)
    assert fresh.key == key
    with pytest.raises(ValueError, match="read-only"):
        window.candles.close[0] = 1.0


async def test_later_only_the_new_candles_are_fetched() -> None:
    exchange = ScriptedKlines(age=900)
    cache = CandleCache(exchange)
    await cache.window("BTCUSDT", M1, at(800), 300)

    await cache.window("BTCUSDT", M1, at(802), 300)
    await cache.window("BTCUSDT", M1, at(802), 100)

    assert [(c["start"], c["end"]) for c in exchange.calls] == [
        (opened(first_of(799, 300)), opened(799)),
        (opened(800), opened(801)),
    ]


async def test_a_longer_window_is_filled_up_before_what_is_known() -> None:
    exchange = ScriptedKlines(age=500)
    cache = CandleCache(exchange)
    await cache.window("BTCUSDT", M1, at(400), 50)
    first, longer = first_of(399, 50), first_of(399, 200)

    window = await cache.window("BTCUSDT", M1, at(400), 200)

    assert minutes(window) == list(range(longer, 400))
    calls = exchange.calls[1]
    assert (calls["start"], calls["end"]) == (opened(longer), opened(first - 1))


async def test_a_long_window_is_fetched_in_pages() -> None:
    exchange = ScriptedKlines(age=6000)

    window = await CandleCache(exchange).window("BTCUSDT", M1, at(6000), 2500)

    assert minutes(window) == list(range(first_of(5999, 2500), 6000))
    assert 2500 <= len(window.candles) < 5000
    assert len(exchange.calls) == -(-len(window.candles) // 1000)


async def test_concurrent_callers_share_one_fetch() -> None:
    exchange = ScriptedKlines(age=100)
    exchange.gate.clear()
    cache = CandleCache(exchange)

    asking = [asyncio.create_task(cache.window("BTCUSDT", M1, at(100), 50)) for _ in range(5)]
    await asyncio.sleep(0)
    exchange.gate.set()
    windows = await asyncio.gather(*asking)

    assert len(exchange.calls) == 1
    assert len({window.key for window in windows}) == 1


async def test_a_candle_that_is_not_listed_yet_is_asked_for_again() -> None:
    exchange = ScriptedKlines(age=100, missing=frozenset({99}))
    cache = CandleCache(exchange)

    early = await cache.window("BTCUSDT", M1, at(100), 10)
    exchange.missing = frozenset()
    later = await cache.window("BTCUSDT", M1, at(100), 10)

    assert (early.is_complete, minutes(early)) == (False, list(range(90, 99)))
    assert (later.is_complete, minutes(later)) == (True, list(range(90, 100)))


async def test_a_hundred_who_wait_for_a_late_candle_ask_for_it_once() -> None:
    exchange = ScriptedKlines(age=100, missing=frozenset({99}))
    cache = CandleCache(exchange)
    await cache.window("BTCUSDT", M1, at(99), 10)
    exchange.gate.clear()

    asking = [asyncio.create_task(cache.window("BTCUSDT", M1, at(100), 10)) for _ in range(100)]
    await asyncio.sleep(0)
    exchange.gate.set()
    windows = await asyncio.gather(*asking)

    assert not any(window.is_complete for window in windows)
    assert len(exchange.calls) == 2


async def test_a_fetch_that_fails_fails_for_all_who_waited_and_is_not_kept() -> None:
    exchange = ScriptedKlines(age=100)
    exchange.gate.clear()
    exchange.failure = ExchangeUnreachable("get_kline", "away")
    cache = CandleCache(exchange)

    asking = [asyncio.create_task(cache.window("BTCUSDT", M1, at(100), 50)) for _ in range(100)]
    await asyncio.sleep(0)
    exchange.gate.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(end) for end in ends} == {ExchangeUnreachable}
    assert len(exchange.calls) == 1

    exchange.failure = None
    window = await cache.window("BTCUSDT", M1, at(100), 50)

    assert window.is_complete


async def test_a_young_market_gives_what_it_has() -> None:
    cache = CandleCache(ScriptedKlines(age=5))

    window = await cache.window("BTCUSDT", M1, at(5), 50)
    nothing = await cache.window("ETHUSDT", M15, BORN, 50)

    assert (len(window.candles), window.is_complete) == (5, True)
    assert (len(nothing.candles), nothing.close, nothing.is_complete) == (0, None, False)


def streamed(number: int, close: str = "7.50") -> Candle:
    return Candle(
        open_time=at(number),
        open=Decimal(5),
        high=Decimal(9),
        low=Decimal(4),
        close=Decimal(close),
        volume=Decimal(1),
    )


async def test_a_candle_of_the_stream_need_not_be_fetched() -> None:
    exchange = ScriptedKlines(age=500)
    cache = CandleCache(exchange)
    await cache.window("BTCUSDT", M1, at(400), 300)

    cache.add("BTCUSDT", M1, streamed(400))
    window = await cache.window("BTCUSDT", M1, at(401), 300)

    assert len(exchange.calls) == 1
    assert window.candles.close[-1] == 7.5


async def test_the_stream_s_close_wins_over_a_list_that_lags() -> None:
    cache = CandleCache(ScriptedKlines(age=99, missing=frozenset({99})))

    cache.add("BTCUSDT", M1, streamed(98, close="8.25"))
    cache.add("BTCUSDT", M1, streamed(99))
    window = await cache.window("BTCUSDT", M1, at(100), 10)

    assert window.candles.close[-2:].tolist() == [8.25, 7.5]
    assert window.is_complete


async def test_a_candle_of_the_stream_beyond_a_gap_does_not_hide_the_gap() -> None:
    exchange = ScriptedKlines(age=500)
    cache = CandleCache(exchange)
    await cache.window("BTCUSDT", M1, at(400), 10)

    cache.add("BTCUSDT", M1, streamed(405))
    window = await cache.window("BTCUSDT", M1, at(406), 10)

    assert minutes(window) == list(range(390, 406))
    assert window.candles.close[-1] == 7.5


async def test_one_candle_is_served_from_the_stream_or_the_list() -> None:
    exchange = ScriptedKlines(age=100)
    cache = CandleCache(exchange)
    cache.add("BTCUSDT", M1, streamed(50))

    from_stream = await cache.candle("BTCUSDT", M1, at(51))
    from_list = await cache.candle("BTCUSDT", M1, at(52))
    unknown = await cache.candle("BTCUSDT", M1, at(5000))

    assert from_stream == streamed(50)
    assert from_list is not None
    assert (from_list.open_time, from_list.close) == (at(51), Decimal("152.50"))
    assert unknown is None


async def test_the_key_names_range_count_and_content() -> None:
    cache = CandleCache(ScriptedKlines(age=100))

    window = await cache.window("BTCUSDT", M1, at(100), 10)
    other = await CandleCache(ScriptedKlines(age=100)).window("BTCUSDT", M1, at(100), 10)
    changed = CandleCache(ScriptedKlines(age=100))
    changed.add("BTCUSDT", M1, streamed(95))

    begin, digest = window.key.rsplit("/", 1)
    assert begin == "BTCUSDT/1m/2022-01-01T01:30:00Z..2022-01-01T01:39:00Z/10"
    assert len(digest) == 12
    assert other.key == window.key
    assert (await changed.window("BTCUSDT", M1, at(100), 10)).key != window.key


async def test_what_is_far_behind_is_served_though_it_is_not_kept() -> None:
    cache = CandleCache(ScriptedKlines(age=9_000))
    for minute in range(5_000, 6_000, 100):
        await cache.window("BTCUSDT", M1, at(minute), 500)

    behind = await cache.window("BTCUSDT", M1, at(5_000), 500)
    further = await cache.window("BTCUSDT", M1, at(4_500), 500)

    assert minutes(behind) == list(range(first_of(4_999, 500), 5_000))
    assert minutes(further) == list(range(first_of(4_499, 500), 4_500))


async def test_memory_is_bounded() -> None:
    exchange = ScriptedKlines(age=40_000)
    cache = CandleCache(exchange)

    for minute in range(1_000, 40_000, 900):
        window = await cache.window("BTCUSDT", M1, at(minute), 1_000)
        assert len(window.candles) >= min(minute, 1_000)

    (place,) = cache._places.values()
    assert len(place.shelf) < 6_000
    assert len(place.shelf._exact) <= 656


@settings(max_examples=50, deadline=None)
@given(
    asks=st.lists(
        st.tuples(st.integers(min_value=1, max_value=300), st.integers(min_value=1, max_value=80)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_was_asked_before_a_window_is_the_same(asks: list[tuple[int, int]]) -> None:
    async def served() -> None:
        cache = CandleCache(ScriptedKlines(age=300))
        for minute, lookback in asks:
            window = await cache.window("BTCUSDT", M1, at(minute), lookback)
            fresh = await CandleCache(ScriptedKlines(age=300)).window(
                "BTCUSDT", M1, at(minute), lookback
            )
            assert window.key == fresh.key
            assert minutes(window) == list(range(max(0, first_of(minute - 1, lookback)), minute))

    asyncio.run(served())
