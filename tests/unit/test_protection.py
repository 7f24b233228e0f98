"""When a preset does not trade, by the clock and by the market."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright.domain.market import Side
from tradewright.domain.protection import (
    Session,
    Weekday,
    session_fault,
    slippage_fault,
    spread_fault,
)

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
WORKDAYS = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)
OFFICE = Session(days=WORKDAYS, begins=8 * 60, ends=16 * 60)
NIGHT = Session(days=(Weekday.FRI,), begins=22 * 60, ends=6 * 60)


@pytest.mark.parametrize(
    ("day", "hour", "minute", "is_on"),
    [
        (0, 8, 0, True),
        (0, 7, 59, False),
        (0, 15, 59, True),
        (0, 16, 0, False),
        (4, 12, 0, True),
        (5, 12, 0, False),
        (6, 12, 0, False),
    ],
)
def test_a_session_is_on_from_its_first_minute_to_its_last(
    day: int, hour: int, minute: int, is_on: bool
) -> None:
    assert OFFICE.is_on(MONDAY + timedelta(days=day, hours=hour, minutes=minute)) is is_on


@pytest.mark.parametrize(
    ("day", "hour", "is_on"),
    [(4, 21, False), (4, 22, True), (5, 0, True), (5, 5, True), (5, 6, False), (4, 5, False)],
)
def test_a_session_over_midnight_belongs_to_the_day_on_which_it_begins(
    day: int, hour: int, is_on: bool
) -> None:
    assert NIGHT.is_on(MONDAY + timedelta(days=day, hours=hour)) is is_on


def test_a_sunday_night_reaches_into_monday() -> None:
    night = NIGHT.model_copy(update={"days": (Weekday.SUN,)})

    assert night.is_on(MONDAY + timedelta(hours=1))
    assert not night.is_on(MONDAY + timedelta(days=1, hours=1))


@pytest.mark.parametrize(
    ("at", "is_on"),
    [
        # Berlin is an hour ahead in winter, two in summer; clocks change on 29 March 2026
        (datetime(2026, 3, 27, 7, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 27, 6, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 30, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 30, 14, 0, tzinfo=UTC), False),
        (datetime(2026, 3, 27, 14, 0, tzinfo=UTC), True),
    ],
)
def test_a_session_follows_the_clocks_of_its_place(at: datetime, is_on: bool) -> None:
    berlin = OFFICE.model_copy(update={"timezone": "Europe/Berlin"})

    assert berlin.is_on(at) is is_on


@given(
    st.integers(0, 10**6),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"]),
)
def test_a_day_is_covered_once_by_a_session_and_its_opposite(
    minutes: int, begins: int, ends: int, zone: str
) -> None:
    every = tuple(Weekday)
    if begins == ends:
        ends = (ends + 1) % 1440
    one = Session(days=every, begins=begins, ends=ends, timezone=zone)
    other = Session(days=every, begins=ends, ends=begins, timezone=zone)

    moment = MONDAY + timedelta(minutes=minutes)

    assert one.is_on(moment) is not other.is_on(moment)


def test_without_sessions_it_is_always_on_and_one_is_enough() -> None:
    noon = MONDAY + timedelta(hours=12)

    assert session_fault((), noon) == ""
    assert session_fault((NIGHT, OFFICE), noon) == ""
    assert session_fault((NIGHT,), noon) == "none of its sessions is on at Mon 12:00 UTC"


@pytest.mark.parametrize(
    ("bid", "ask", "fault"),
    [
        ("99.99", "100.01", ""),
        ("99.98", "100.01", "bid 99.98 and ask 100.01 are 3.0 bp apart, more than 2"),
        (None, "100", "bid and ask are unknown"),
        ("100", None, "bid and ask are unknown"),
        ("0", "100", "bid and ask are unknown"),
    ],
)
def test_a_wide_spread_is_a_fault(bid: str | None, ask: str | None, fault: str) -> None:
    prices = [Decimal(each) if each is not None else None for each in (bid, ask)]

    assert spread_fault(Decimal(2), *prices) == fault
    assert spread_fault(None, *prices) == ""


@pytest.mark.parametrize(
    ("side", "bid", "ask", "fault"),
    [
        (Side.BUY, "90", "100.1", ""),
        (Side.BUY, "90", "100.2", "a Buy at 100.2 is 20.0 bp worse than 100, more than 10"),
        (Side.SELL, "99.9", "110", ""),
        (Side.SELL, "99.8", "110", "a Sell at 99.8 is 20.0 bp worse than 100, more than 10"),
        # Better than decided on is no slippage
        (Side.BUY, "80", "81", ""),
        (Side.BUY, "80", None, "the ask is unknown"),
        (Side.SELL, None, "80", "the bid is unknown"),
    ],
)
def test_slippage_is_what_an_entry_at_market_costs_more(
    side: Side, bid: str | None, ask: str | None, fault: str
) -> None:
    prices = [Decimal(each) if each is not None else None for each in (bid, ask)]

    assert slippage_fault(Decimal(10), side, Decimal(100), *prices) == fault
    assert slippage_fault(None, side, Decimal(100), *prices) == ""
