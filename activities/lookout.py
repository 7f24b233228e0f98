"""Views of the market: all that a preset needs to see, put together and looked over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from activities.candles import CandleCache, Window
from activities.facts import rows_of
from activities.history import Histories
from tradewright.domain.account import RefusalCode
from tradewright.domain.errors import TradewrightError
from tradewright.domain.market import Timeframe
from tradewright.plugin import HISTORY_SERIES, Candles, Need, View
from tradewright.preset import LoadedPreset
from tradewright.quality import Flaw, candle_flaws

log = structlog.get_logger(__name__)

CANDLE_TRIES = 5
CANDLE_WAIT = 0.3
"""Seconds between tries for a candle that has closed and is not listed yet."""
RENEWED = frozenset(
    {
        *(RefusalCode.DATA_MALFORMED, RefusalCode.DATA_GAP, RefusalCode.DATA_DUPLICATE),
        *(RefusalCode.DATA_OUT_OF_ORDER, RefusalCode.DATA_FUTURE),
    }
)
"""What is wrong with an answer, not with the market: the candles are fetched anew."""
LOOK_AGAIN = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DOUBTS = {
    "duplicate": Flaw(RefusalCode.DATA_DUPLICATE, "the exchange's answer holds a candle twice"),
    "out_of_order": Flaw(
        RefusalCode.DATA_OUT_OF_ORDER, "the exchange's answer is not in the order of its times"
    ),
}


class MarketSource(Protocol):
    """The part of the exchange's client that is used here."""

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Sight:
    """What a preset sees of one symbol, and what is wrong with it."""

    window: Window
    view: View
    flaws: tuple[Flaw, ...]
    is_short: bool
    """Whether there are not enough candles to decide on, for whatever strategy."""


_SHORT = frozenset({RefusalCode.CANDLE_MISSING, RefusalCode.WARMING_UP, RefusalCode.DATA_EMPTY})


class Lookout:
    """Puts views together; what several presets need is fetched once."""

    def __init__(self, source: MarketSource, candles: CandleCache) -> None:
        self._candles = candles
        self._histories = Histories(source)
        self._looked_again: dict[tuple[str, Timeframe], datetime] = {}

    async def sight(
        self,
        loaded: LoadedPreset,
        symbol: str,
        at: datetime,
        facts: Callable[[float], Awaitable[Mapping[str, float]]] | None = None,
    ) -> Sight:
        """Return what the preset sees of *symbol* at *at*, by the market's clock.

        Args:
            loaded: Whose needs count.
            symbol: What is looked at.
            at: Candles are those that had closed then; it need not be a close.
            facts: Tells what is known only now, from the last close on.

        Raises:
            TradewrightError: The preset's own candles cannot be read.
        """
        needs, timeframe = loaded.strategy.needs, loaded.preset.trigger.timeframe
        own, others = await asyncio.gather(
            self._window(symbol, timeframe, at, needs.candles),
            self._others(needs.others, symbol, timeframe, at),
        )
        flaws = [*self._flaws(loaded, own, at, needs.candles)]
        for name, (window, error) in others.items():
            if window is None:
                flaws.append(Flaw(RefusalCode.DATA_EMPTY, f"{name}: {error}"))
                continue
            found = self._flaws(loaded, window, at, needs.others[name].candles)
            flaws += [Flaw(flaw.code, f"{name}: {flaw.detail}") for flaw in found]
        known = await facts(float(own.candles.close[-1])) if facts and len(own.candles) else {}
        series, more = await self._series(loaded, own, at, known)
        view = View(
            symbol=symbol,
            at=_last_close(at, timeframe),
            timeframe=timeframe,
            candles=own.candles,
            others={n: w.candles if w else _NONE for n, (w, _) in others.items()},
            series=series,
        )
        is_short = any(flaw.code in _SHORT for flaw in flaws)
        return Sight(own, view, (*flaws, *more), is_short)

    async def _others(
        self, needs: Mapping[str, Need], symbol: str, timeframe: Timeframe, at: datetime
    ) -> dict[str, tuple[Window | None, str]]:
        async def look(need: Need) -> tuple[Window | None, str]:
            try:
                return await self._window(
                    need.symbol or symbol, need.timeframe or timeframe, at, need.candles
                ), ""
            except TradewrightError as e:
                return None, str(e)

        found = await asyncio.gather(*(look(need) for need in needs.values()))
        return dict(zip(needs, found, strict=True))

    async def _window(self, symbol: str, timeframe: Timeframe, at: datetime, needed: int) -> Window:
        for _ in range(CANDLE_TRIES - 1):
            window = await self._candles.window(symbol, timeframe, at, needed)
            if window.is_complete:
                return window
            await asyncio.sleep(CANDLE_WAIT)
        return await self._candles.window(symbol, timeframe, at, needed)

    def _flaws(self, loaded: LoadedPreset, window: Window, at: datetime, needed: int) -> list[Flaw]:
        terms, closed = loaded.preset.data, _last_close(at, window.timeframe)
        found = candle_flaws(
            window.candles,
            window.timeframe,
            at=closed,
            max_flat=terms.max_flat_candles,
            max_empty=terms.max_empty_candles,
        ) + [_DOUBTS[doubt] for doubt in window.doubts]
        if any(flaw.code in RENEWED for flaw in found):
            log.warning("candles_bad", window=window.key, flaws=[flaw.detail for flaw in found])
            self._candles.forget(window.symbol, window.timeframe)
        if found and found[0].code is RefusalCode.DATA_EMPTY:
            return found
        if not window.is_complete:
            detail = f"the candle that closed at {closed} is not listed yet"
            return [Flaw(RefusalCode.CANDLE_MISSING, detail), *found]
        if len(window.candles) < needed:
            self._look_again(window, closed)
            detail = f"warming up, {len(window.candles)} of {needed} candles"
            return [Flaw(RefusalCode.WARMING_UP, detail), *found]
        return found

    def _look_again(self, window: Window, closed: datetime) -> None:
        """Have the candles fetched anew, once in a while.

        Perhaps the answer was short, and not the market young; of one that is there are few.
        """
        key = window.symbol, window.timeframe
        if closed - self._looked_again.get(key, _EPOCH) >= LOOK_AGAIN:
            self._looked_again[key] = closed
            self._candles.forget(*key)

    async def _series(
        self, loaded: LoadedPreset, own: Window, at: datetime, facts: Mapping[str, float]
    ) -> tuple[dict[str, NDArray[np.float64]], list[Flaw]]:
        wanted, candles = loaded.strategy.needs.series, own.candles
        series, flaws = rows_of(facts, wanted, len(candles)), list[Flaw]()
        for name in wanted:
            if name not in HISTORY_SERIES:
                continue
            try:
                series[name] = await self._histories.series(
                    name, own.symbol, own.timeframe, candles, at, loaded.strategy.needs.candles
                )
            except TradewrightError as e:
                series[name] = np.full(len(candles), np.nan)
                flaws.append(Flaw(RefusalCode.DATA_EMPTY, f"{name}: {e}"))
        for each in series.values():
            each.flags.writeable = False
        return series, flaws


def _last_close(at: datetime, timeframe: Timeframe) -> datetime:
    seconds = timeframe.length // timedelta(seconds=1)
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)


_EMPTY = np.empty(0)
_NONE = Candles(np.empty(0, dtype=np.int64), _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY)
