"""Universes of presets: what the exchange lists now, and what a filter chooses of it."""

import asyncio
from collections.abc import Collection
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError

from activities import parse
from activities.flight import SingleFlight
from activities.parse import Row
from tradewright.domain.errors import AnswerMalformed
from tradewright.domain.universe import Filter, Listed, chosen
from tradewright.ports import Universe

log = structlog.get_logger(__name__)

LINEAR: Final = "linear"
MAX_AGE: Final = 30.0
"""Seconds that lists serve all who ask; presets of one hour ask at the same moment."""
PAGE: Final = 1000


class ListSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


class Universes:
    """Chooses symbols from the lists of contracts and tickers, each read once for all presets."""

    def __init__(self, source: ListSource) -> None:
        self._source = source
        self._flights: SingleFlight[tuple[Listed, ...]] = SingleFlight()
        self._known: tuple[Listed, ...] = ()
        self._read_at = float("-inf")

    async def choose(
        self, wanted: Filter, current: Collection[str], held: Collection[str]
    ) -> Universe:
        """Return the symbols of *wanted*, and those that are *held* until they are left.

        Args:
            wanted: What is asked of the symbols.
            current: What was chosen last time.
            held: On which the preset has open trades: they stay watched, whatever they are worth.

        Raises:
            AnswerMalformed: The exchange lists nothing at all: nobody's universe is emptied by it.
        """
        found = chosen(wanted, await self._listed(), current)
        kept = tuple(sorted(set(held) - set(found)))
        told = []
        if not found:
            told.append("no symbol passes the filter")
        elif len(found) < wanted.top:
            told.append(f"{len(found)} of {wanted.top} symbols pass the filter")
        if kept:
            told.append(f"kept for their open trades: {', '.join(kept)}")
        return Universe(symbols=found, kept=kept, note="; ".join(told))

    async def _listed(self) -> tuple[Listed, ...]:
        if asyncio.get_running_loop().time() - self._read_at < MAX_AGE:
            return self._known
        return await self._flights.fetch(LINEAR, self._read)

    async def _read(self) -> tuple[Listed, ...]:
        traded, tickers = await asyncio.gather(self._traded(), self._tickers())
        found = tuple(one for row in tickers if (one := _listed(row)) and one.symbol in traded)
        if not found:
            raise AnswerMalformed("get_tickers", "none of its symbols is traded")
        self._known, self._read_at = found, asyncio.get_running_loop().time()
        return found

    async def _tickers(self) -> list[Row]:
        answer = await self._source.call("get_tickers", category=LINEAR)
        return parse.rows("get_tickers", answer)

    async def _traded(self) -> set[str]:
        """Return the USDT perpetuals that take orders."""
        found: set[str] = set()
        query: dict[str, Any] = {"category": LINEAR, "limit": PAGE}
        while True:
            answer = await self._source.call("get_instruments_info", **query)
            page = parse.rows("get_instruments_info", answer)
            found |= {str(row["symbol"]) for row in page if _is_traded(row)}
            query["cursor"] = answer["result"].get("nextPageCursor")
            if not query["cursor"] or not page:
                return found


def _is_traded(row: Row) -> bool:
    return (
        row.get("status") == "Trading"
        and row.get("contractType") == "LinearPerpetual"
        and row.get("settleCoin") == "USDT"
        and not row.get("isPreListing")
    )


def _listed(row: Row) -> Listed | None:
    try:
        return Listed.model_validate(
            {
                "symbol": row["symbol"],
                "turnover": row["turnover24h"],
                # Empty while a side of the book is
                "bid": row["bid1Price"] or 0,
                "ask": row["ask1Price"] or 0,
            }
        )
    except (KeyError, ValidationError) as e:
        # One that cannot be read is one that cannot be chosen
        log.warning("ticker_not_understood", symbol=row.get("symbol"), detail=str(e)[:200])
        return None
