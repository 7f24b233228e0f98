"""How a symbol moves with those that are held."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import structlog

from activities.candles import CandleCache
from activities.messenger import Messenger
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Timeframe
from tradewright.plugin import Candles

log = structlog.get_logger(__name__)

WITHIN: Final = 5.0
"""Seconds that the desk may take to say what is held."""
FEWEST: Final = 20
"""Returns that a correlation is told from."""


class Correlations:
    def __init__(self, messenger: Messenger, candles: CandleCache) -> None:
        self._messenger = messenger
        self._candles = candles

    async def with_held(
        self, account: str, symbol: str, timeframe: Timeframe, at: datetime, count: int
    ) -> dict[str, float]:
        """Return the correlation of *symbol* with each other symbol that *account* trades.

        Over the last *count* returns of *timeframe* at *at*; what cannot be told is missing.
        """
        desk = await self._messenger.ask_in_time(
            ids.account_workflow(account), "account", Account, WITHIN
        )
        held = sorted({r.plan.symbol for r in desk.reservations} - {symbol}) if desk else []
        if not held:
            return {}
        own, *others = [
            await self._last(each, timeframe, at, count + 1) for each in (symbol, *held)
        ]
        found = {}
        for name, other in zip(held, others, strict=True):
            value = correlation(own, other) if own and other else float("nan")
            if np.isfinite(value):
                found[name] = round(value, 6)
        return found

    async def _last(
        self, symbol: str, timeframe: Timeframe, at: datetime, count: int
    ) -> Candles | None:
        try:
            window = await self._candles.window(symbol, timeframe, at, count)
        except TradewrightError as e:
            log.warning("candles_not_read", symbol=symbol, detail=str(e))
            return None
        return window.candles.tail(count)


def correlation(own: Candles, other: Candles) -> float:
    """Return the correlation of logarithmic returns, of the candles that both have.

    NaN where it cannot be told: too few returns, no true prices, or one that never moves.
    """
    _, here, there = np.intersect1d(own.open_time, other.open_time, return_indices=True)
    if len(here) <= FEWEST:
        return float("nan")
    with np.errstate(all="ignore"):
        returns: Sequence[np.ndarray] = [
            np.diff(np.log(closes)) for closes in (own.close[here], other.close[there])
        ]
        x, y = (each - each.mean() for each in returns)
        value = float(x @ y / np.sqrt((x @ x) * (y @ y)))
    return max(-1.0, min(1.0, value)) if np.isfinite(value) else float("nan")
