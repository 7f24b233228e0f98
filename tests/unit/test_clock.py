"""The market clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewright.clock import MarketClock

WALL = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MARKET = datetime(2022, 1, 1, tzinfo=UTC)


def test_on_a_real_venue_both_clocks_agree() -> None:
    clock = MarketClock(anchor=WALL, market=WALL)

    assert clock.at(WALL + timedelta(seconds=5)) == WALL + timedelta(seconds=5)


def test_a_recorded_market_runs_at_its_speed() -> None:
    clock = MarketClock(anchor=WALL, market=MARKET, speed=600)

    assert clock.at(WALL + timedelta(seconds=6)) == MARKET + timedelta(hours=1)


def test_in_lockstep_the_market_stands_still() -> None:
    clock = MarketClock(anchor=WALL, market=MARKET, speed=0)

    assert clock.at(WALL + timedelta(days=1)) == MARKET


@given(st.floats(0, 1000), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_market_never_runs_backwards(speed: float, first: int, second: int) -> None:
    clock = MarketClock(anchor=WALL, market=MARKET, speed=speed)
    early, late = sorted((first, second))

    assert clock.at(WALL + timedelta(seconds=early)) <= clock.at(WALL + timedelta(seconds=late))


def test_a_clock_without_a_zone_or_backwards_is_refused() -> None:
    with pytest.raises(ValidationError):
        MarketClock(anchor=WALL.replace(tzinfo=None), market=MARKET)
    with pytest.raises(ValidationError):
        MarketClock(anchor=WALL, market=MARKET, speed=-1)
