"""Tickers: read once for all who decide at one close, and never one of another close."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from activities.ticker import Tickers

CLOSE = datetime(2022, 1, 1, 12, 0, tzinfo=UTC)
"""By the market's clock, which may be years behind the wall's."""


class RisingPrices:
    """Lists a higher price each time that it is asked."""

    def __init__(self) -> None:
        self._prices = count(100)

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        price = str(next(self._prices))
        return {"result": {"list": [{"symbol": arguments["symbol"], "lastPrice": price}]}}


def price_of(tickers: Tickers) -> str:
    row = tickers.row("BTCUSDT", timedelta(minutes=1))
    assert row is not None
    return str(row["lastPrice"])


async def test_one_ticker_serves_all_who_decide_at_a_close() -> None:
    tickers = Tickers(RisingPrices(), {})

    await tickers.read(["BTCUSDT"], CLOSE)
    await tickers.read(["BTCUSDT"], CLOSE)

    assert price_of(tickers) == "100"


async def test_the_next_close_reads_anew_however_soon_it_comes() -> None:
    tickers = Tickers(RisingPrices(), {})

    await tickers.read(["BTCUSDT"], CLOSE)
    await tickers.read(["BTCUSDT"], CLOSE + timedelta(minutes=1))

    assert price_of(tickers) == "101"


async def test_what_a_closed_trade_has_seen_serves_no_later_decision() -> None:
    tickers = Tickers(RisingPrices(), {})

    seen, _ = await tickers.price("BTCUSDT")
    await tickers.read(["BTCUSDT"], CLOSE)

    assert seen == Decimal(100)
    assert price_of(tickers) == "101"
