"""The trading rules of symbols, read once an hour and once for all who ask at the same time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from activities import parse
from activities.flight import SingleFlight
from tradewright.domain.errors import (
    ExchangeUnreachable,
    OrderRejected,
    SymbolUnknown,
    TradewrightError,
)
from tradewright.domain.market import Instrument

log = structlog.get_logger(__name__)

LINEAR: Final = "linear"
MAX_AGE: Final = 3600.0
EXIT_PATIENCE: Final = 1.0
"""Seconds that an exit waits for fresh rules; then it takes old ones, or goes without."""

Call = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


class InstrumentCache:
    """Serves rules at most an hour old; to an exit also older ones, rather than none."""

    def __init__(self, call: Call, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._clock = clock
        self._known: dict[str, tuple[float, Instrument]] = {}
        self._flights: SingleFlight[Instrument] = SingleFlight()

    async def instrument(self, symbol: str, *, for_exit: bool) -> Instrument:
        """Return the trading rules of *symbol*.

        Raises:
            ExchangeUnreachable: There are none, and none come as soon as an exit wants them.
            SymbolUnknown: Bybit does not list it.
        """
        read_at, known = self._known.get(symbol, (0.0, None))
        age = self._clock() - read_at
        if known is not None and age < MAX_AGE:
            return known
        # What an exit asks goes first, so it does not wait for what somebody else asks
        share = self._flights.fetch((symbol, for_exit), lambda: self._fetch(symbol))
        if not for_exit:
            return await share
        try:
            async with asyncio.timeout(EXIT_PATIENCE):
                return await share
        except SymbolUnknown:
            raise
        except (TradewrightError, TimeoutError) as e:
            if known is None:
                if isinstance(e, TradewrightError):
                    raise
                late = f"not within {EXIT_PATIENCE:g} s"
                raise ExchangeUnreachable(f"get_instruments_info {symbol}", late) from e
            log.warning("instrument_stale", symbol=symbol, age_s=round(age), detail=str(e))
            return known

    async def _fetch(self, symbol: str) -> Instrument:
        try:
            answer = await self._call("get_instruments_info", category=LINEAR, symbol=symbol)
        except OrderRejected:
            raise SymbolUnknown(symbol) from None
        rows = parse.rows("get_instruments_info", answer)
        if not rows:
            raise SymbolUnknown(symbol)
        instrument = parse.instrument(rows[0])
        self._known[symbol] = (self._clock(), instrument)
        return instrument
