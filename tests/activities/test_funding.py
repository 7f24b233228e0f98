"""Funding of virtual trades, by the public history."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities import funding
from activities.funding import fetch_fundings
from activities.pace import milliseconds
from tests.activities.exchange_of_data import START, DataExchange
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.market import Instrument
from tradewright.ports import FundingWish

EIGHT = timedelta(hours=8)


@pytest.fixture
def exchange(make_instrument: Callable[..., Instrument]) -> DataExchange:
    return DataExchange(make_instrument())


def wish(hours: int) -> FundingWish:
    return FundingWish(symbol="BTCUSDT", since=START - timedelta(hours=hours), until=START)


async def test_every_rate_within_comes_with_the_mark_price_of_its_time(
    exchange: DataExchange,
) -> None:
    found = (await fetch_fundings(exchange, wish(16))).rates

    assert [rate.at for rate in found] == [START - 2 * EIGHT, START - EIGHT, START]
    assert found[0].rate == Decimal(repr(milliseconds(found[0].at) // 28_800_000 / 1e9))
    hours = await exchange.call(
        "get_mark_price_kline",
        symbol="BTCUSDT",
        interval="60",
        start=milliseconds(START - EIGHT),
        end=milliseconds(START - EIGHT),
        limit=1,
    )
    assert found[1].price == Decimal(hours["result"]["list"][0][1])


async def test_a_long_time_takes_as_many_pages_as_it_needs(
    exchange: DataExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funding, "PAGE", 3)
    monkeypatch.setattr(funding, "MARKS", 24)

    found = (await fetch_fundings(exchange, wish(80))).rates

    assert [rate.at for rate in found] == [START - n * EIGHT for n in reversed(range(11))]
    assert exchange.count("get_funding_rate_history") == 4
    assert exchange.count("get_mark_price_kline") == 4


async def test_a_time_without_funding_asks_for_no_prices(exchange: DataExchange) -> None:
    quiet = FundingWish(
        symbol="BTCUSDT", since=START + timedelta(hours=1), until=START + timedelta(hours=2)
    )

    assert (await fetch_fundings(exchange, quiet)).rates == ()
    assert exchange.count("get_mark_price_kline") == 0


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("get_funding_rate_history", {"fundingRateTimestamp": "soon", "fundingRate": "0.1"}),
        ("get_funding_rate_history", {"fundingRateTimestamp": "1646092800000"}),
        ("get_mark_price_kline", ["1646092800000"]),
        ("get_mark_price_kline", ["0", "1", "1", "1", "1"]),
    ],
)
async def test_what_makes_no_sense_is_no_funding(
    exchange: DataExchange, monkeypatch: pytest.MonkeyPatch, method: str, row: Any
) -> None:
    monkeypatch.setattr(exchange, f"_{method}", lambda **_: [row], raising=False)

    with pytest.raises(AnswerMalformed, match=method):
        await fetch_fundings(exchange, wish(16))
