"""Tickers of symbols: read once for all who decide at one close."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, Protocol

import structlog

from activities import parse
from activities.feed import LastPrice
from activities.flight import SingleFlight
from tradewright.domain.errors import AnswerMalformed, TradewrightError

log = structlog.get_logger(__name__)

LINEAR: Final = "linear"
WITHIN: Final = 3.0
"""Seconds for one read; then what was known last has to do, where it may."""
FRESH: Final = timedelta(seconds=1)
"""Wall time for which a ticker serves all who decide."""
UNDATED: Final = datetime.min.replace(tzinfo=UTC)
"""Of what was read by the wall's clock alone: it vouches for no moment of the market's."""
WHOLE_FROM: Final = 5
"""From so many symbols on, one answer with all of them is cheaper than one for each."""
SHOWN: Final = {
    "mark_price": "markPrice",
    "index_price": "indexPrice",
    "funding_rate": "fundingRate",
    "bid": "bid1Price",
    "ask": "ask1Price",
    "open_interest": "openInterest",
}


class TickerSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class _Read(NamedTuple):
    row: parse.Row
    at: datetime
    """Wall clock."""
    since: datetime
    """It was read after this moment of the market's clock."""


class Tickers:
    """Reads tickers, and remembers the last one of each symbol."""

    def __init__(self, source: TickerSource, heard: Mapping[str, LastPrice]) -> None:
        """Ask *source*; what the stream *heard* serves where it is newer than the last read."""
        self._source = source
        self._heard = heard
        self._reads: dict[str, _Read] = {}
        self._flights: SingleFlight[None] = SingleFlight()

    async def price(self, symbol: str) -> tuple[Decimal, dict[str, str]]:
        """Return the last price and what else is known of the market, read now.

        By the exchange's list; when that cannot be read, what was known last, and its age.
        """
        now = datetime.now(UTC)
        try:
            row = (await self._read_one(symbol, UNDATED)).row
        except (TradewrightError, TimeoutError) as e:
            return self._remembered(symbol, now, e)
        return Decimal(row["lastPrice"]), shown(row)

    async def read(
        self, symbols: Collection[str], since: datetime, fresh: timedelta = FRESH
    ) -> None:
        """Have tickers of *symbols* that are of *since*, by the market's clock, or later.

        A failure is told by `row` alone: what was read before may do.

        Args:
            symbols: Whose.
            since: Market clock.
            fresh: Wall time for which one that was read before does.
        """
        wanted = sorted(symbol for symbol in symbols if not self._is_fresh(symbol, since, fresh))
        if not wanted:
            return
        reads = (
            [self._flights.fetch(("", since), lambda: self._read_all(since))]
            if len(wanted) >= WHOLE_FROM
            else [self._shared(symbol, since) for symbol in wanted]
        )
        for end in await asyncio.gather(*reads, return_exceptions=True):
            if isinstance(end, (TradewrightError, TimeoutError)):
                log.warning("tickers_not_read", detail=str(end) or "no answer in time")
            elif isinstance(end, BaseException):
                raise end

    def row(self, symbol: str, max_age: timedelta) -> parse.Row | None:
        """Return the last ticker of *symbol* if it was read within *max_age* of wall time."""
        read = self._reads.get(symbol)
        if read is None or datetime.now(UTC) - read.at > max_age:
            return None
        return read.row

    def _is_fresh(self, symbol: str, since: datetime, fresh: timedelta) -> bool:
        read = self._reads.get(symbol)
        return read is not None and read.since >= since and datetime.now(UTC) - read.at <= fresh

    async def _shared(self, symbol: str, since: datetime) -> None:
        async def read() -> None:
            await self._read_one(symbol, since)

        await self._flights.fetch((symbol, since), read)

    async def _read_one(self, symbol: str, since: datetime) -> _Read:
        rows = await self._rows(symbol=symbol)
        row = next((row for row in rows if row.get("symbol", symbol) == symbol), None)
        if row is None:
            raise AnswerMalformed(f"get_tickers {symbol}", "it holds no row")
        return self._keep(symbol, row, since)

    async def _read_all(self, since: datetime) -> None:
        for row in await self._rows():
            if "symbol" in row:
                self._keep(str(row["symbol"]), row, since)

    async def _rows(self, **which: str) -> list[parse.Row]:
        async with asyncio.timeout(WITHIN):
            answer = await self._source.call("get_tickers", category=LINEAR, **which)
        return parse.rows("get_tickers", answer)

    def _keep(self, symbol: str, row: parse.Row, since: datetime) -> _Read:
        read = self._reads[symbol] = _Read(row, datetime.now(UTC), since)
        return read

    def _remembered(
        self, symbol: str, now: datetime, error: Exception
    ) -> tuple[Decimal, dict[str, str]]:
        read, heard = self._reads.get(symbol), self._heard.get(symbol)
        if heard is not None and (read is None or heard.heard_at > read.at):
            price, at, market = heard.price, heard.heard_at, dict[str, str]()
        elif read is not None:
            price, at, market = Decimal(read.row["lastPrice"]), read.at, shown(read.row)
        else:
            raise error
        age = f"{(now - at).total_seconds():.1f}"
        log.warning(
            "market_data_old", symbol=symbol, age_s=age, detail=str(error) or "no answer in time"
        )
        return price, market | {"age_s": age}


def shown(row: parse.Row) -> dict[str, str]:
    """Return what a trade's record keeps of a ticker."""
    return {name: str(row[key]) for name, key in SHOWN.items() if row.get(key)}


def quoted(row: parse.Row | None, key: str) -> Decimal | None:
    """Return a price of a ticker; None where there is none."""
    try:
        price = Decimal(row[key]) if row and row.get(key) else None
    except (InvalidOperation, TypeError):
        return None
    return price if price is not None and price.is_finite() and price > 0 else None
