"""Instruments, candles, sides and timeframes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewright.domain.market import Candle, Instrument, Side, Timeframe

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
amounts = st.decimals(min_value=0, max_value=1_000_000, places=6)
steps = st.sampled_from([Decimal(s) for s in ("0.0001", "0.05", "0.5", "1", "25")])


def instrument(step: Decimal) -> Instrument:
    return Instrument(
        symbol="BTCUSDT",
        base_coin="BTC",
        tick_size=step,
        qty_step=step,
        min_qty=step,
        max_qty=Decimal(1000),
        max_market_qty=Decimal(100),
    )


@given(amounts, steps)
def test_a_quantity_is_rounded_down_to_its_step(qty: Decimal, step: Decimal) -> None:
    floored = instrument(step).floor_qty(qty)

    assert floored % step == 0
    assert 0 <= qty - floored < step


@given(amounts, steps)
def test_a_price_lies_between_its_roundings(price: Decimal, step: Decimal) -> None:
    traded = instrument(step)
    down, up = traded.floor_price(price), traded.ceil_price(price)

    assert down % step == up % step == 0
    assert down <= price <= up
    assert up - down in {0, step}


@given(amounts, steps, st.sampled_from(Side))
def test_a_stop_is_rounded_towards_the_entry(price: Decimal, step: Decimal, side: Side) -> None:
    stop = instrument(step).protective_price(price, side)

    assert (stop - price) * side.sign >= 0


def test_the_sides_are_each_others_opposite() -> None:
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY
    assert [Side.BUY.sign, Side.SELL.sign] == [1, -1]


@pytest.mark.parametrize(
    ("timeframe", "minutes", "interval"),
    [
        (Timeframe.M1, 1, "1"),
        (Timeframe.M15, 15, "15"),
        (Timeframe.H4, 240, "240"),
        (Timeframe.H12, 720, "720"),
        (Timeframe.D1, 1440, "D"),
    ],
)
def test_a_timeframe_knows_its_length_and_its_name_at_bybit(
    timeframe: Timeframe, minutes: int, interval: str
) -> None:
    assert timeframe.length == timedelta(minutes=minutes)
    assert timeframe.interval == interval


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_a_candle_closes_once_in_its_length(timeframe: Timeframe) -> None:
    day = NOON.replace(hour=0)
    closes = [m for m in range(1440) if timeframe.closes_at(day + timedelta(minutes=m))]

    assert len(closes) == timedelta(days=1) // timeframe.length
    assert closes[0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"low": "101"},
        {"high": "99"},
        {"close": "200"},
        {"volume": "-1"},
        {"open": "0"},
        {"low": "NaN"},
    ],
)
def test_a_candle_that_cannot_be_is_refused(changes: dict[str, str]) -> None:
    fields = {"open": "100", "high": "110", "low": "90", "close": "105", "volume": "1"}

    with pytest.raises(ValidationError):
        Candle.model_validate({"open_time": NOON} | fields | changes)


@pytest.mark.parametrize("symbol", ["btcusdt", "BTC/USDT", "BTC", "", "BTCUSDT\n"])
def test_what_is_no_symbol_is_refused(
    make_instrument: Callable[..., Instrument], symbol: str
) -> None:
    with pytest.raises(ValidationError):
        make_instrument(symbol=symbol)
