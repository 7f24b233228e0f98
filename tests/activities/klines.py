"""An exchange that is scripted after Bybit: candles newest first, the open one included."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.candles import Window
from tradewright.domain.market import Timeframe
from tradewright.plugin import anchor

BORN = datetime(2022, 1, 1, tzinfo=UTC)
M1, M15 = Timeframe.M1, Timeframe.M15


def at(minutes: int) -> datetime:
    return BORN + timedelta(minutes=minutes)


class ScriptedKlines:
    """A market that is *age* minutes old and has one candle per minute, the last one open."""

    def __init__(self, age: int, missing: frozenset[int] = frozenset()) -> None:
        self.age = age
        self.missing = missing
        self.calls: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert method == "get_kline"
        self.calls.append(arguments)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        minutes = int(arguments["interval"])
        first = max(0, (arguments["start"] - opened(0)) // 60_000)
        last = min(self.age, (arguments["end"] - opened(0)) // 60_000)
        rows = [
            row(number, minutes)
            for number in range(first, last + 1)
            if number % minutes == 0 and number not in self.missing
        ]
        rows.reverse()
        return {"retCode": 0, "result": {"list": rows[: arguments["limit"]]}}


def opened(number: int) -> int:
    return int(at(number).timestamp() * 1000)


def row(number: int, minutes: int = 1) -> list[str]:
    price = 100 + number
    prices = (price, price + 2, price - 1, price + 1)
    return [str(opened(number)), *(f"{p}.50" for p in prices), "3.25", "325"]


def minutes(window: Window) -> list[int]:
    """Return the open times of *window* as minutes since the market was born."""
    return [(int(t) - opened(0)) // 60_000 for t in window.candles.open_time]


def first_of(end: int, needed: int) -> int:
    """Return the minute at which a window of minutes begins whose last candle opens at *end*."""
    return (anchor(opened(end), 60_000, needed) - opened(0)) // 60_000
