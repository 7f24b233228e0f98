"""Warmup: what the first close would wait for is done before it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from activities.library import PresetUnusable
from activities.pace import WallPace
from activities.strategist import StrategyFailed
from activities.warmup import Warmup
from tradewright.domain.market import Timeframe
from tradewright.ports import Watch

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


class Workshop:
    """Stands in for presets, market and strategies; notes what is asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.seen: list[tuple[str, str]] = []
        self.unusable: set[str] = set()
        self.short: set[str] = set()
        self.failing: set[str] = set()

    async def preset(self, preset_hash: str) -> Any:
        if preset_hash in self.unusable:
            raise PresetUnusable(preset_hash, "its plugin is gone")
        return SimpleNamespace(hash=preset_hash)

    async def eyes(self, loaded: Any, symbol: str, at: datetime) -> Any:
        assert at == NOON
        self.seen.append((loaded.hash, symbol))
        return SimpleNamespace(view=symbol, is_short=symbol in self.short)

    async def ask(self, loaded: Any, view: Any) -> None:
        self.asked.append((loaded.hash, view))
        if view in self.failing:
            raise StrategyFailed("any", "it always does")


class AtNoon(WallPace):
    async def market_now(self) -> datetime:
        return NOON


def watch(preset_hash: str, *symbols: str) -> Watch:
    return Watch(preset="any", symbols=symbols, timeframe=Timeframe.M1, preset_hash=preset_hash)


@asynccontextmanager
async def warming(shop: Workshop) -> AsyncIterator[Warmup]:
    made: Any = shop
    warmup = Warmup(made, made, shop.eyes, AtNoon())
    task = asyncio.create_task(warmup.run())
    try:
        yield warmup
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - another task does it
            await asyncio.sleep(0)


async def test_every_symbol_of_a_version_is_made_ready_once() -> None:
    shop = Workshop()
    async with warming(shop) as warmup:
        for _ in range(3):
            warmup.want([watch("v1", "BTCUSDT", "ETHUSDT")])
        await eventually(lambda: len(shop.asked) == 2)
        warmup.want([watch("v1", "BTCUSDT", "ETHUSDT", "SOLUSDT"), watch("v2", "BTCUSDT")])
        await eventually(lambda: len(shop.asked) == 4)

    assert shop.asked == [
        *(("v1", "BTCUSDT"), ("v1", "ETHUSDT")),
        *(("v1", "SOLUSDT"), ("v2", "BTCUSDT")),
    ]


async def test_what_cannot_be_made_ready_keeps_nothing_else() -> None:
    shop = Workshop()
    shop.unusable.add("v1")
    shop.short.add("NEWUSDT")
    shop.failing.add("BTCUSDT")
    async with warming(shop) as warmup:
        warmup.want([watch("v1", "BTCUSDT"), watch("v2", "NEWUSDT", "BTCUSDT", "ETHUSDT")])
        await eventually(lambda: len(shop.asked) == 2)

    assert shop.asked == [("v2", "BTCUSDT"), ("v2", "ETHUSDT")]
    assert ("v2", "NEWUSDT") in shop.seen


async def test_watches_that_name_no_version_are_left_alone() -> None:
    shop = Workshop()
    async with warming(shop) as warmup:
        warmup.want([watch("", "BTCUSDT"), watch("v1", "ETHUSDT")])
        await eventually(lambda: bool(shop.asked))

    assert shop.seen == [("v1", "ETHUSDT")]
