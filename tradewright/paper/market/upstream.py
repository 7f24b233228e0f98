"""Bybit's public side as a client sees it: what is listed, recent candles, and the stream."""

import asyncio
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect

from tradewright.domain.errors import Retry, TradewrightError
from tradewright.domain.market import Instrument
from tradewright.matching.market import Tier
from tradewright.paper.market.candle import MINUTE_MS, Bar
from tradewright.paper.market.listing import Listing

log = logging.getLogger(__name__)

_TIMEOUT_S = 10
_PING_S = 20
_MOST_CANDLES = 1000
_ARGS_AT_ONCE = 10


class MarketUnreachable(TradewrightError):
    """The exchange whose market is to be relayed does not answer as it should."""

    retry = Retry.SAFE

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"market {url} cannot be relayed: {detail}; check the network, or name another "
            "exchange with TRADEWRIGHT_PAPER_LIVE_REST and TRADEWRIGHT_PAPER_LIVE_STREAM"
        )


class Ticker(msgspec.Struct, frozen=True):
    last: Decimal
    mark: Decimal
    index: Decimal
    funding_rate: Decimal


class Upstream:
    def __init__(self, rest_url: str, stream_url: str) -> None:
        if not rest_url.startswith(("http://", "https://")):
            raise MarketUnreachable(rest_url, "it is no http address")
        self._rest_url = rest_url.rstrip("/")
        self._stream_url = stream_url

    def listing(self, symbol: str, number: int) -> Listing:
        """Return the rules of *symbol*, its risk tiers included.

        Raises:
            MarketUnreachable: There is no answer, no such symbol, or none that is understood.
        """
        (row,) = self._rows("instruments-info", symbol=symbol)
        tiers = self._rows("risk-limit", symbol=symbol)
        try:
            lot, price = row["lotSizeFilter"], row["priceFilter"]
            instrument = Instrument(
                symbol=symbol,
                base_coin=row["baseCoin"],
                quote_coin=row["quoteCoin"],
                tick_size=Decimal(price["tickSize"]),
                qty_step=Decimal(lot["qtyStep"]),
                min_qty=Decimal(lot["minOrderQty"]),
                max_qty=Decimal(lot["maxOrderQty"]),
                max_market_qty=Decimal(lot["maxMktOrderQty"]),
                min_notional=Decimal(lot.get("minNotionalValue") or 5),
                max_leverage=Decimal(row["leverageFilter"]["maxLeverage"]),
            )
            return Listing(
                instrument,
                number,
                Decimal(1),
                funding_minutes=int(row["fundingInterval"]),
                told_tiers=tuple(map(_tier, sorted(tiers, key=_limit))),
            )
        except (KeyError, TypeError, InvalidOperation, ValidationError) as error:
            raise self._odd("instruments-info", error) from error

    def ticker(self, symbol: str) -> Ticker:
        (row,) = self._rows("tickers", symbol=symbol)
        try:
            last = Decimal(row["lastPrice"])
            mark, index = row.get("markPrice") or last, row.get("indexPrice") or last
            rate = row.get("fundingRate") or 0
            return Ticker(last, Decimal(mark), Decimal(index), Decimal(rate))
        except (KeyError, TypeError, InvalidOperation) as error:
            raise self._odd("tickers", error) from error

    def candles(self, symbol: str, count: int, start_ms: int | None = None) -> list[Bar]:
        """Return the newest *count* closed minutes, from *start_ms* on, oldest first."""
        found: dict[int, Bar] = {}
        window: dict[str, int] = {}
        while len(found) < count:
            limit = min(_MOST_CANDLES, count - len(found) + 1)
            rows = self._rows("kline", symbol=symbol, interval=1, limit=limit, **window)
            try:
                bars = [Bar(int(row[0]), *map(Decimal, row[1:7])) for row in rows]
            except (IndexError, TypeError, ValueError, InvalidOperation) as error:
                raise self._odd("kline", error) from error
            fresh = [b for b in bars if b.open_ms not in found and b.open_ms >= (start_ms or 0)]
            if not fresh:
                break
            found |= {bar.open_ms: bar for bar in fresh}
            window = {"end": min(found) - MINUTE_MS}
        # The newest is still forming
        return [found[open_ms] for open_ms in sorted(found)[:-1]][-count:]

    @asynccontextmanager
    async def stream(self, topics: Iterable[str]) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the messages of *topics* for the length of the block; they end with a loss."""
        wanted = list(topics)
        async with connect(
            self._stream_url, open_timeout=_TIMEOUT_S, max_size=None, compression=None
        ) as socket:
            for first in range(0, len(wanted), _ARGS_AT_ONCE):
                args = wanted[first : first + _ARGS_AT_ONCE]
                await socket.send(json.dumps({"op": "subscribe", "args": args}))
            pinging = asyncio.create_task(_ping(socket))
            try:
                yield _messages(socket)
            finally:
                pinging.cancel()
                with suppress(asyncio.CancelledError):
                    await pinging

    def _rows(self, name: str, **params: Any) -> list[Any]:
        query = urllib.parse.urlencode({"category": "linear", **params})
        url = f"{self._rest_url}/v5/market/{name}"
        try:
            # Of the scheme that was checked at first
            with urllib.request.urlopen(f"{url}?{query}", timeout=_TIMEOUT_S) as answer:  # noqa: S310
                body = msgspec.json.decode(answer.read())
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            detail = getattr(reason, "strerror", None) or reason
            raise MarketUnreachable(url, f"{detail}") from error
        if not isinstance(body, dict) or body.get("retCode") != 0:
            told = body.get("retMsg") if isinstance(body, dict) else body
            raise MarketUnreachable(url, f"it refuses {params}: {told}")
        rows = body.get("result", {}).get("list")
        if not isinstance(rows, list) or (not rows and name != "kline"):
            raise MarketUnreachable(url, f"it has nothing of {params}")
        return rows

    def _odd(self, name: str, error: Exception) -> MarketUnreachable:
        url = f"{self._rest_url}/v5/market/{name}"
        return MarketUnreachable(url, f"its answer is not understood: {error!r}")


async def _messages(socket: ClientConnection) -> AsyncIterator[Any]:
    async for text in socket:
        message = msgspec.json.decode(text)
        if isinstance(message, dict) and message.get("success") is False:
            log.error("relayed exchange refuses a subscription: %s", message.get("ret_msg"))
        yield message


async def _ping(socket: ClientConnection) -> None:
    while True:
        await asyncio.sleep(_PING_S)
        await socket.send('{"op":"ping"}')


def _limit(row: Any) -> Decimal:
    return Decimal(row["riskLimitValue"])


def _tier(row: Any) -> Tier:
    return Tier(
        limit=_limit(row),
        maintenance_rate=Decimal(row["maintenanceMargin"]),
        initial_rate=Decimal(row["initialMargin"]),
        max_leverage=Decimal(row["maxLeverage"]),
        deduction=Decimal(row.get("mmDeduction") or 0),
    )
