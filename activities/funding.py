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
MARKS: Final = 1000
"""Hours of mark prices per request, Bybit's most."""
HOUR: Final = 3_600_000
LINEAR: Final = "linear"


class FundingSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


async def fetch_fundings(source: FundingSource, wish: FundingWish) -> Fundings:
    """Return the rates that were due, each with the mark price of its hour's begin, oldest first.

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
    times = sorted(at for at in found if _ms(wish.since) <= at <= _ms(wish.until))
    marks = await _marks(source, wish.symbol, times)
    return Fundings(
        rates=tuple(FundingRate(at=moment(at), rate=found[at], price=marks[at]) for at in times)
    )


async def _marks(source: FundingSource, symbol: str, times: list[int]) -> dict[int, Decimal]:
    """Return the mark price at each of *times*, in ms: where the hour that begins then opened."""
    method, marks = "get_mark_price_kline", dict[int, Decimal]()
    for at in times:
        if at not in marks:
            end = min(times[-1], at + (MARKS - 1) * HOUR)
            answer = await source.call(
                method,
                category=LINEAR,
                symbol=symbol,
                interval="60",
                start=at,
                end=end,
                limit=MARKS,
            )
            try:
                marks |= {int(row[0]): Decimal(row[1]) for row in answer["result"]["list"]}
            except (KeyError, IndexError, TypeError, ValueError, InvalidOperation) as e:
                raise AnswerMalformed(method, f"a row is no candle: {e!r}") from None
        if at not in marks:
            raise AnswerMalformed(method, f"no mark price of {symbol} at {moment(at)}")
    return marks


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
