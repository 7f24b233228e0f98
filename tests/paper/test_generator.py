"""The made-up market: the same for the same seed, whole, lively, and known at any time."""

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.paper.conftest import START
from tradewright.paper import PaperSettings
from tradewright.paper.market.candle import MINUTE_MS, Bar, Series
from tradewright.paper.market.funding import funding_rate
from tradewright.paper.market.generator import Generator
from tradewright.paper.market.listing import LISTED
from tradewright.paper.market.made import MadeSeries
from tradewright.paper.market.move import Beat, Close, Nowhere, Path, Reference, Width

MakeSettings = Callable[..., PaperSettings]
MINUTE = int(START.timestamp()) // 60


class Visitors(Nowhere):
    """The exchange as the market sees it: who watches what, and how late it is."""

    def __init__(self, *watched: str, behind_ms: int = 0) -> None:
        self.symbols = watched
        self.late_ms = behind_ms

    def watched(self) -> Collection[str]:
        return self.symbols

    def behind_ms(self, at_ms: int) -> int:
        return self.late_ms


def played(
    generator: Generator, steps: int, floor: Visitors, *, whole: bool = False
) -> list[Beat | Close]:
    async def play() -> list[Beat | Close]:
        items: list[Beat | Close] = []
        left = steps
        async for item in generator.play(0, floor, whole=whole):
            items.append(item)
            left -= isinstance(item, Close)
            if not left:
                break
        return items

    return asyncio.run(play())


def candles(generator: Generator, symbol: str, count: int) -> list[Bar]:
    first = generator.start_ms // MINUTE_MS
    return [generator.bar(symbol, first + n) for n in range(count)]


def test_the_same_seed_makes_the_same_candles(make_settings: MakeSettings) -> None:
    one, again = (Generator(make_settings(seed=3), START) for _ in range(2))
    other = Generator(make_settings(seed=4), START)

    assert candles(one, "ETHUSDT", 50) == candles(again, "ETHUSDT", 50)
    assert candles(one, "ETHUSDT", 50) != candles(other, "ETHUSDT", 50)


def test_a_candle_does_not_depend_on_when_the_market_was_begun(
    make_settings: MakeSettings,
) -> None:
    later = START + timedelta(days=400)
    early, late = (Generator(make_settings(start=s), START) for s in (START, later))

    minute = int(later.timestamp()) // 60 + 5

    assert early.bar("XRPUSDT", minute) == late.bar("XRPUSDT", minute)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT", "LEVERUSDT"])
def test_a_generated_market_is_whole_and_keeps_its_steps(
    make_settings: MakeSettings, symbol: str
) -> None:
    made = candles(Generator(make_settings(seed=1), START), symbol, 3500)

    instrument = LISTED[symbol].instrument
    for before, after in pairwise(made):
        assert after.open_ms == before.open_ms + MINUTE_MS
        assert abs(after.open - before.close) <= instrument.tick_size
        assert after.low <= min(after.open, after.close) <= max(after.open, after.close)
        assert max(after.open, after.close) <= after.high
        assert not any(price % instrument.tick_size for price in after[1:5])
        assert after.volume > 0
        assert not after.volume % instrument.qty_step


def test_generated_averages_cross_and_volatility_comes_in_clusters(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(seed=1), START)
    closes = [float(bar.close) for bar in candles(generator, "BTCUSDT", 4000)]

    fast = slow = closes[0]
    sides = []
    for close in closes:
        fast += (close - fast) * 2 / 13
        slow += (close - slow) * 2 / 27
        sides.append(fast > slow)
    crosses = sum(a != b for a, b in pairwise(sides))
    moves = [abs(b / a - 1) for a, b in pairwise(closes)]
    mean = sum(moves) / len(moves)
    spread = sum((m - mean) ** 2 for m in moves)
    clustering = sum((a - mean) * (b - mean) for a, b in pairwise(moves)) / spread

    assert 50 < crosses < 800
    assert clustering > 0.05
    assert max(moves) > 5 * mean


def test_all_symbols_go_with_the_market_and_with_nobody_alike(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(seed=2), START)

    def moves(symbol: str) -> Any:
        return np.diff(np.log([float(b.close) for b in candles(generator, symbol, 2880)]))

    bitcoin, ether, other = moves("BTCUSDT"), moves("ETHUSDT"), moves("ZRXUSDT")

    assert 0.5 < np.corrcoef(bitcoin, ether)[0, 1] < 0.95
    assert 0.25 < np.corrcoef(ether, other)[0, 1] < 0.8
    assert other.std() > ether.std()


def test_over_years_no_price_runs_away_and_none_stands_still(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(seed=5), START)
    day = 1440

    for symbol in ("BTCUSDT", "DOGEUSDT", "MTLUSDT"):
        first = float(LISTED[symbol].first_price)
        closes = [float(generator.bar(symbol, MINUTE + n * 10 * day).close) for n in range(200)]
        assert 0.2 * first < min(closes) < 0.9 * first
        assert 1.1 * first < max(closes) < 5 * first


def test_listed_symbols_are_many_and_their_rules_plausible() -> None:
    assert len(LISTED) >= 200
    for symbol, listing in LISTED.items():
        instrument, tiers = listing.instrument, listing.tiers
        assert instrument.symbol == symbol
        assert 1e-6 <= instrument.tick_size / listing.first_price <= 1e-3
        assert instrument.min_qty * listing.first_price < 120
        assert instrument.max_market_qty <= instrument.max_qty
        assert "E" not in f"{instrument.tick_size:f}{instrument.qty_step:f}"
        assert tiers[0].max_leverage == instrument.max_leverage
        for lower, upper in pairwise(tiers):
            assert lower.limit < upper.limit
            assert lower.maintenance_rate <= upper.maintenance_rate
            # No margin jumps where one tier ends
            due = lower.limit * lower.maintenance_rate - lower.deduction
            assert due == lower.limit * upper.maintenance_rate - upper.deduction
    assert {x.funding_minutes for x in LISTED.values()} == {60, 240, 480}


def test_the_recorded_risk_tiers_of_bitcoin_are_all_there() -> None:
    tiers = LISTED["BTCUSDT"].tiers

    assert len(tiers) == 34
    second, last = (tuple(map(float, msgspec.structs.astuple(tiers[n]))) for n in (1, -1))
    assert second == (4_000_000, 0.01, 0.0175, 57.14, 10_000)
    assert last == (200_000_000, 0.6, 1, 1, 42_750_000)


def test_candles_of_a_made_series_are_those_of_a_kept_one(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(history=3000, start=START), START)
    made = generator.series(200)["ETHUSDT"]
    kept = Series(1)
    first = generator.start_ms // MINUTE_MS
    for minute in range(first - 3000, first + 200):
        kept.add(generator.bar("ETHUSDT", minute))
    for series in (made, kept):
        series.trade(generator.start_ms + 200 * MINUTE_MS, Decimal(3000), Decimal(1))

    hour = 60 * MINUTE_MS
    middle = generator.start_ms - 30 * hour
    for interval in kept.intervals:
        assert list(made.newest(interval)) == list(kept.newest(interval))
        assert made.last_closed(interval) == kept.last_closed(interval)
        assert made.forming(interval) == kept.forming(interval)
        for bounds in (
            (None, None, 7),
            (middle, None, 7),
            (None, middle, 7),
            (middle, middle + 3 * hour, 200),
            (middle + 1, middle + 3 * hour - 1, 2),
            (0, None, 3),
            (generator.start_ms + hour, None, 500),
        ):
            assert made.between(interval, *bounds) == kept.between(interval, *bounds)


def test_a_made_series_that_trades_bend_still_has_all_that_was_before(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(history=60 * 1440, start=START), START)
    made = generator.series(0)["ETHUSDT"]
    whole = Series(1)
    first = generator.start_ms // MINUTE_MS
    for minute in range(first - 60 * 1440, first):
        whole.add(generator.bar("ETHUSDT", minute))

    assert isinstance(made, MadeSeries)
    made.keep()
    for series in (made, whole):
        # The third trade is of a price beyond all that a machine word holds
        for minute, price in enumerate(("5000", "2500.5", "9e20", "4000.05")):
            at_ms = generator.start_ms + minute * MINUTE_MS
            series.trade(at_ms, Decimal(price), Decimal("0.37"))
            series.trade(at_ms + 1, Decimal("3000.01"), Decimal("0.01"))
            if minute < 3:
                series.seal(at_ms + MINUTE_MS)

    day = 1440 * MINUTE_MS
    for interval in whole.intervals:
        assert made.last_closed(interval) == whole.last_closed(interval)
        assert made.forming(interval) == whole.forming(interval)
        for bounds in ((None, None, 1000), (generator.start_ms - 3 * day, None, 7)):
            assert made.between(interval, *bounds) == whole.between(interval, *bounds)
    assert made.oldest() == generator.bar("ETHUSDT", first - 60 * 1440)


def test_a_bent_minute_without_trades_stands_where_the_last_one_ended(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(history=60, start=START), START)
    made = generator.series(0)["ETHUSDT"]
    assert isinstance(made, MadeSeries)

    made.keep()
    made.trade(generator.start_ms, Decimal(2000), Decimal(1))
    made.seal(generator.start_ms + 3 * MINUTE_MS)

    newest = [(int(bar.close), int(bar.volume)) for bar in made.between("1", None, None, 3)]
    assert newest == [(2000, 0), (2000, 0), (2000, 1)]


def test_symbols_that_nobody_watches_move_four_times_a_minute(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(speed=60.0), START)

    items = played(generator, 1, Visitors("BTCUSDT"))

    moves = [m for i in items if isinstance(i, Beat) for m in i.moves]
    paths = [m.symbol for m in moves if isinstance(m, Path)]
    assert paths.count("BTCUSDT") == 12
    assert paths.count("ETHUSDT") == 4
    bar = generator.bar("ETHUSDT", generator.start_ms // MINUTE_MS)
    prices = [p for m in moves if isinstance(m, Path) and m.symbol == "ETHUSDT" for p in m.prices]
    assert prices == bar.path()


def test_mark_and_index_stay_near_the_last_price(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(speed=60.0), START)

    last: dict[str, Decimal] = {}
    seen = 0
    for item in played(generator, 3, Visitors("BTCUSDT", "ETHUSDT")):
        for move in item.moves if isinstance(item, Beat) else ():
            if isinstance(move, Path):
                last[move.symbol] = move.prices[-1]
            elif isinstance(move, Reference) and move.mark is not None:
                assert move.index is not None
                assert abs(move.mark / last[move.symbol] - 1) < Decimal("0.001")
                assert abs(move.index / last[move.symbol] - 1) < Decimal("0.01")
                seen += 1
    assert seen > 200


def test_spreads_widen_and_books_thin_out_with_volatility(make_settings: MakeSettings) -> None:
    generator = Generator(make_settings(symbols=("BTCUSDT",), speed=600.0), START)

    items = played(generator, 3000, Visitors("BTCUSDT"))

    widths = [m for i in items if isinstance(i, Beat) for m in i.moves if isinstance(m, Width)]
    depths = [w.depth for w in widths if w.depth is not None]
    assert {1} < {w.spread_ticks for w in widths}
    assert max(depths) > 2 * min(depths)
    wide = [w.depth for w in widths if w.spread_ticks > 1 and w.depth is not None]
    assert max(wide) < max(depths)


def test_funding_follows_the_premium_within_its_bounds(make_settings: MakeSettings) -> None:
    cap = Decimal("0.00375")
    even = np.zeros(480)

    assert funding_rate(even, 480, cap) == Decimal("0.0001")
    assert funding_rate(even + 0.001, 480, cap) == Decimal("0.0005")
    assert funding_rate(even - 0.001, 480, cap) == Decimal("-0.0005")
    assert funding_rate(even + 1, 480, cap) == cap
    generator = Generator(make_settings(), START)
    eight_hours = 480 * MINUTE_MS
    rates = [
        generator.funding_rate("WIFUSDT", generator.start_ms + n * eight_hours) for n in range(100)
    ]
    assert len(set(rates)) > 10
    assert max(abs(rate) for rate in rates) < cap


def test_a_long_break_in_which_nobody_holds_anything_is_passed_over(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(speed=1.0), START)
    month_ms = 30 * 1440 * MINUTE_MS

    began = time.perf_counter()
    (close,) = played(generator, 1, Visitors(behind_ms=month_ms))

    assert isinstance(close, Close)
    assert close.steps == 30 * 1440 - 1
    assert time.perf_counter() - began < 1


def test_a_long_break_in_which_somebody_holds_something_is_played_for_that_alone(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(speed=1.0), START)

    items = played(generator, 5, Visitors("SOLUSDT", behind_ms=1440 * MINUTE_MS))

    moves = [m for i in items if isinstance(i, Beat) for m in i.moves]
    assert {m.symbol for m in moves} == {"SOLUSDT"}
    assert [i.steps for i in items if isinstance(i, Close)] == [1] * 5


def test_lockstep_plays_a_candle_at_once_and_the_watched_with_their_marks(
    make_settings: MakeSettings,
) -> None:
    generator = Generator(make_settings(symbols=("BTCUSDT", "ETHUSDT")), START)

    (beat, close) = played(generator, 1, Visitors("BTCUSDT"), whole=True)

    assert isinstance(beat, Beat)
    assert beat.at_ms == generator.start_ms + MINUTE_MS - 1
    paths = {
        s: [p for m in beat.moves if isinstance(m, Path) and m.symbol == s for p in m.prices]
        for s in ("BTCUSDT", "ETHUSDT")
    }
    for symbol, prices in paths.items():
        assert prices == generator.bar(symbol, generator.start_ms // MINUTE_MS).path()
    marks = [m.symbol for m in beat.moves if isinstance(m, Reference) and m.mark is not None]
    assert (marks.count("BTCUSDT"), marks.count("ETHUSDT")) == (4, 1)
    assert close == Close(generator.start_ms, generator.start_ms + MINUTE_MS)


def test_a_market_of_all_symbols_begins_at_once(make_settings: MakeSettings) -> None:
    began = time.process_time()

    generator = Generator(make_settings(speed=1.0), datetime.now(UTC))
    series, prices = generator.series(0), generator.prices(0)
    played(generator, 1, Visitors())

    assert time.process_time() - began < 2
    assert series.keys() == prices.keys() == LISTED.keys()
