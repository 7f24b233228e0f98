"""The demo: two presets on a generated market, from nothing to closed trades."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime

import tradewright
from activities.pace import moment
from tradewright.app.line import StrategyLine
from tradewright.app.replay import Stage, stage
from tradewright.app.survey import strategies
from tradewright.app.system import Market, forget, on_free_ports
from tradewright.domain.account import Limits
from tradewright.domain.market import Value
from tradewright.domain.trade import FINAL
from tradewright.journal import TradeRow
from tradewright.preset import load
from tradewright.settings import Settings

PRESETS: Final = ("demo-ema-cross.yaml", "demo-breakout.yaml")
SPEED: Final = 60
SEED: Final = 11
START: Final = "2026-01-18T07:00:00Z"
"""Of the market: the same prices for everybody."""
HOME: Final = "demo"
LIMITS: Final = Limits(max_total_exposure=Decimal(25_000))
"""Room for both presets on all four symbols."""
FRAME: Final = 0.5
CLOSED_WANTED: Final = 3
SHOWN_FOR: Final = 20.0
LONGEST: Final = 90.0
"""Seconds: the demo shows at least the one, and gives up after the other."""


class Frame(Value):
    """What the live table shows at one moment."""

    market_at: AwareDatetime
    strategies: tuple[StrategyLine, ...]
    trades: tuple[TradeRow, ...]

    @property
    def closed(self) -> tuple[TradeRow, ...]:
        return tuple(t for t in self.trades if t.state in FINAL and t.opened_at is not None)


def preset_folder() -> Path:
    """Return the folder of the presets that ship with the product."""
    return Path(tradewright.__file__).resolve().parents[1] / "strategies"


@asynccontextmanager
async def demo(settings: Settings) -> AsyncIterator[Stage]:
    """Run the demo's system for the length of the block; an earlier one is forgotten."""
    home = settings.home / HOME
    forget(home)
    presets = [load(preset_folder() / name) for name in PRESETS]
    market = Market(speed=str(SPEED), arguments=("--seed", str(SEED), "--from", START))
    placed = on_free_ports(settings, home).model_copy(
        # Not those of the user's own file: the demo shows the same to everybody
        update={"limits": LIMITS, "limits_file": None, "presets": None}
    )
    async with stage(placed, market, presets, by="demo") as ready:
        yield ready


async def frames(ready: Stage, *, endless: bool = False) -> AsyncIterator[Frame]:
    """Yield what there is to see, until enough has been seen."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        frame = await _frame(ready)
        yield frame
        passed = clock() - began
        enough = len(frame.closed) >= CLOSED_WANTED and passed > SHOWN_FOR
        if not endless and (enough or passed > LONGEST):
            return
        await asyncio.sleep(FRAME)


async def _frame(ready: Stage) -> Frame:
    account = ready.settings.account
    status = await ready.pace.status()
    found: Sequence[StrategyLine] = await strategies(ready.client, account)
    trades = await ready.journal.trades(account, limit=None)
    return Frame(
        market_at=moment(status["market_ms"]), strategies=tuple(found), trades=tuple(trades)
    )
