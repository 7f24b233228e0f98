"""The whole system as real processes, on a market that moves only when a test says so.

One system per module: its tests share it, each with symbols of its own. The market is in
lockstep and waits for us after every candle, so that nothing happens between two steps but
what a test, or the system itself, does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.system.live_system import LIMITS, LiveSystem, until
from tests.system.second_look import hasten
from tradewright.app.connect import connect
from tradewright.app.supervisor import STOP_SIGNALS
from tradewright.app.system import Market, on_free_ports, system
from tradewright.journal import Journal
from tradewright.settings import Settings


@pytest.fixture(scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveSystem]:
    """A running system, reconciled, its market at the end of its first candle."""
    home = tmp_path_factory.mktemp("system")
    async with running_system(Settings(limits=LIMITS), home) as running:
        yield running


@asynccontextmanager
async def running_system(settings: Settings, home: Path) -> AsyncIterator[LiveSystem]:
    """Run a system with these settings, moved to *home*, for the length of the block."""
    settings = on_free_ports(settings, home)
    async with system(settings, Market(speed="lockstep", arguments=("--seed", "3"))) as supervisor:
        # A Ctrl-C is the test runner's; children die with it all the same
        for signum in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(signum)
        journal = await Journal.open(settings.journal_url, venue=settings.venue)
        running = LiveSystem(settings, supervisor, await connect(settings), journal)
        try:
            await running.begin()

            async def is_reconciled() -> bool:
                desk = await running.desk()
                return desk.reconciled_at is not None and desk.snapshot is not None

            await until(is_reconciled)
            await hasten(running)
            yield running
        finally:
            running.close()
            await journal.close()
