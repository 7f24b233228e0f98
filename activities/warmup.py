"""What the first close after a start would wait for, done before it comes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import structlog

from activities.library import Library
from activities.lookout import Sight
from activities.pace import Pace
from activities.strategist import Strategist
from tradewright.domain.errors import TradewrightError
from tradewright.ports import Watch
from tradewright.preset import LoadedPreset

log = structlog.get_logger(__name__)

Eyes = Callable[[LoadedPreset, str, datetime], Awaitable[Sight]]

Place = tuple[str, str]
"""Version and symbol."""


class Warmup:
    """Has presets loaded, candles fetched and followers brought up to date, one after the other.

    Whatever fails fails again when it counts, and is told of then.
    """

    def __init__(self, library: Library, strategist: Strategist, eyes: Eyes, pace: Pace) -> None:
        self._library = library
        self._strategist = strategist
        self._eyes = eyes
        self._pace = pace
        self._wanted: dict[Place, None] = {}
        self._done: set[Place] = set()
        self._wake = asyncio.Event()

    def want(self, watches: Iterable[Watch]) -> None:
        """Make these ready, unless they are; those of versions that are gone are forgotten."""
        wanted = {
            (watch.preset_hash, symbol): None
            for watch in watches
            if watch.preset_hash
            for symbol in watch.symbols
        }
        self._done &= wanted.keys()
        self._wanted = {place: None for place in wanted if place not in self._done}
        if self._wanted:
            self._wake.set()

    async def run(self) -> None:
        """Make ready what is wanted until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                place = next(iter(self._wanted))
                del self._wanted[place]
                self._done.add(place)
                await self._make_ready(*place)

    async def _make_ready(self, preset_hash: str, symbol: str) -> None:
        try:
            loaded = await self._library.preset(preset_hash)
            sight = await self._eyes(loaded, symbol, await self._pace.market_now())
            if not sight.is_short:
                await self._strategist.ask(loaded, sight.view)
        except TradewrightError as e:
            log.warning("not_made_ready", version=preset_hash, symbol=symbol, detail=str(e))
