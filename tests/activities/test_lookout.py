"""What a preset sees is the same whatever comes after, and whoever asked before."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities import lookout
from activities.candles import CandleCache
from activities.lookout import Lookout, Sight
from activities.pace import milliseconds
from tests.activities.exchange_of_data import START, DataExchange, Rows
from tradewright.domain.market import Instrument, Timeframe
from tradewright.plugin import COLUMNS, Need, Needs, View
from tradewright.preset import LoadedPreset, loads

DOCUMENT = """\
version: 1
name: watched
market: {category: linear, symbols: [BTCUSDT]}
trigger: {on: candle, timeframe: 5m}
strategy: {plugin: donchian_breakout}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}}
risk: {sizing: fixed_notional, notional: 500}
"""
NEEDS = Needs(
    candles=30,
    others={
        "h1": Need(timeframe=Timeframe.H1, candles=20),
        "eth": Need(symbol="ETHUSDT", timeframe=Timeframe.M15, candles=10),
        "fine": Need(timeframe=Timeframe.M1, candles=25),
    },
    series=("funding_rate", "open_interest", "mark_price"),
)
MakeInstrument = Callable[..., Instrument]


class Needing:
    needs = NEEDS


@pytest.fixture(scope="module")
def loaded() -> LoadedPreset:
    strategy: Any = Needing()
    return dataclasses.replace(loads(DOCUMENT), strategy=strategy)


def content(view: View) -> dict[str, list[float]]:
    named = {"": view.candles, **view.others}
    found = {
        f"{name}.{column}": getattr(candles, column).tolist()
        for name, candles in named.items()
        for column in ("open_time", *COLUMNS)
    }
    # NaN equals itself here
    return found | {
        name: np.nan_to_num(values, nan=-1.0).tolist() for name, values in view.series.items()
    }


def of_the_future(now_ms: int) -> Callable[[Rows], None]:
    """Return what makes candles that have not closed look like others; and adds some."""

    def spoil(rows: Rows) -> None:
        for row in rows:
            if int(row[0]) > now_ms:
                row[1:5] = ["1"] * 4
        if rows:
            rows.insert(0, [str(now_ms + 3_600_000), "1", "1", "1", "1", "1"])

    return spoil


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    minutes=st.lists(st.integers(0, 3000), min_size=1, max_size=4),
    seconds=st.integers(0, 59),
)
def test_the_future_changes_nothing_and_nothing_has_to_be_asked_in_order(
    make_instrument: MakeInstrument,
    loaded: LoadedPreset,
    minutes: list[int],
    seconds: int,
) -> None:
    instrument = make_instrument()

    async def seen(eyes: Lookout, minute: int) -> Sight:
        at = START + timedelta(minutes=minute, seconds=seconds)
        return await eyes.sight(loaded, "BTCUSDT", at)

    async def look() -> None:
        # It knows all that will be
        knowing = DataExchange(instrument, START + timedelta(days=4))
        eyes = Lookout(knowing, CandleCache(knowing))
        for minute in minutes:
            at = START + timedelta(minutes=minute, seconds=seconds)
            ignorant = DataExchange(instrument, at)
            ignorant.spoil = of_the_future(milliseconds(at))
            fresh = await seen(Lookout(ignorant, CandleCache(ignorant)), minute)
            sight = await seen(eyes, minute)

            assert content(sight.view) == content(fresh.view)
            assert sight.flaws == fresh.flaws == ()
            for name, candles in {"": sight.view.candles, **sight.view.others}.items():
                need = NEEDS.others.get(name)
                length = (need and need.timeframe) or Timeframe.M5
                closes = candles.open_time + length.length // timedelta(milliseconds=1)
                assert closes[-1] <= milliseconds(at)
                assert len(candles) >= (need.candles if need else NEEDS.candles)

    asyncio.run(look())


async def test_a_funding_rate_that_is_listed_late_is_seen_an_hour_later(
    make_instrument: MakeInstrument, loaded: LoadedPreset
) -> None:
    exchange = DataExchange(make_instrument())
    eyes, listed = Lookout(exchange, CandleCache(exchange)), exchange._get_funding_rate_history
    begun = milliseconds(START) // 28_800_000

    async def rate(minutes: int) -> float:
        exchange.now = START + timedelta(minutes=minutes)
        sight = await eyes.sight(loaded, "BTCUSDT", exchange.now)
        return float(sight.view.series["funding_rate"][-1]) * 1e9 - begun

    def late(**arguments: Any) -> list[dict[str, str]]:
        return [row for row in listed(**arguments) if row["fundingRate"] != repr((begun + 1) / 1e9)]

    assert await rate(475) == pytest.approx(0)
    exchange._get_funding_rate_history = late  # type: ignore[method-assign,assignment]
    assert await rate(485) == pytest.approx(0)
    exchange._get_funding_rate_history = listed  # type: ignore[method-assign]
    assert await rate(545) == pytest.approx(1)


async def test_a_candle_that_is_late_is_waited_for(
    make_instrument: MakeInstrument, loaded: LoadedPreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "CANDLE_WAIT", 0.0)
    exchange = DataExchange(make_instrument())
    late = [2]

    def spoil(rows: Rows) -> None:
        if late[0]:
            late[0] -= 1
            del rows[:2]

    exchange.spoil, exchange.spoiled_symbol = spoil, "BTCUSDT"

    sight = await Lookout(exchange, CandleCache(exchange)).sight(loaded, "BTCUSDT", START)

    assert late == [0]
    assert sight.flaws == ()
