"""What was due for holding a symbol, by the exchange's public history."""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

from activities import parse
from activities.pace import moment
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.shadow import FundingRate
from tradewright.ports import Fundings, FundingWish

PAGE: Final = 200
"""Rows per request, Bybit's most: eight days of hourly funding, months of the usual."""
LINEAR: Final = "linear"


class FundingSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


async def fetch_fundings(source: FundingSource, wish: FundingWish) -> Fundings:
    """Return the rates that were due, each with the mark price of its minute, oldest first.

    Raises:
        AnswerMalformed: What the exchange says cannot be understood.
    """
    method, end = "get_funding_rate_history", _ms(wish.until)
    found: dict[int, Decimal] = {}
    while True:
        answer = await source.call(
            method,
            category=LINEAR,
            symbol=wish.symbol,
            startTime=_ms(wish.since),
            endTime=end,
            limit=PAGE,
        )
        page = {}
        for row in parse.rows(method, answer):
            try:
                page[int(row["fundingRateTimestamp"])] = Decimal(row["fundingRate"])
            except (KeyError, TypeError, ValueError, InvalidOperation) as e:
                raise AnswerMalformed(method, f"a row is no rate: {e!r}") from None
        found |= page
        if len(page) < PAGE:
            break
        end = min(page) - 1
    rates = [
        FundingRate(at=moment(at), rate=found[at], price=await _mark(source, wish.symbol, at))
        for at in sorted(found)
        if _ms(wish.since) <= at <= _ms(wish.until)
    ]
    return Fundings(rates=tuple(rates))


async def _mark(source: FundingSource, symbol: str, at: int) -> Decimal:
    """Return the mark price at *at*, in ms: where the minute that begins then has opened."""
    method = "get_mark_price_kline"
    answer = await source.call(
        method, category=LINEAR, symbol=symbol, interval="1", start=at, end=at, limit=1
    )
    try:
        return Decimal(answer["result"]["list"][0][1])
    except (KeyError, IndexError, TypeError, InvalidOperation) as e:
        raise AnswerMalformed(method, f"no mark price at {moment(at)}: {e!r}") from None


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
