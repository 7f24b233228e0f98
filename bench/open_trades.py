"""What open trades cost while nothing happens: memory, CPU, and the time to reconcile them.

``python -m bench.open_trades [TRADES]`` runs the whole system at speed 1, opens so many trades,
each on a symbol of its own, and prints the memory of Temporal's server and of the worker for each
of them, the CPU of both while the trades are only held, and how long a reconciliation takes.
"""

import asyncio
import itertools
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.system.live_system import LiveSystem, until
from tradewright.app import operate
from tradewright.app.connect import connect
from tradewright.app.system import Market, on_free_ports, system
from tradewright.domain.account import Limits
from tradewright.journal import Journal
from tradewright.settings import Settings

LIMITS = Limits(
    max_open_trades=1000,
    max_orders_per_minute=10_000,
    max_total_exposure=Decimal(10_000_000),
    max_heat_fraction=Decimal(1),
    max_leverage=Decimal(100),
)
NOTIONAL = 100
FIRST = "BTCUSDT"
"""Its trade is open before anything is measured."""
AT_ONCE = 20
SETTLE_S = 15.0
WATCH_S = 30.0
RUNS = 3
SERVERS = ("temporal", "worker")


def memory(live: LiveSystem) -> dict[str, int]:
    return {name: psutil.Process(live.child(name).pid).memory_info().rss for name in SERVERS}


async def cpu(live: LiveSystem) -> dict[str, float]:
    """Return what share of a core each takes."""
    watched = {name: psutil.Process(live.child(name).pid) for name in (*SERVERS, "kill-worker")}
    for process in watched.values():
        process.cpu_percent()
    await asyncio.sleep(WATCH_S)
    return {name: process.cpu_percent() for name, process in watched.items()}


async def open_trades(live: LiveSystem, count: int) -> None:
    answer = await live.bybit.call("get_tickers", category="linear")
    names = [row["symbol"] for row in answer["result"]["list"] if row["symbol"].endswith("USDT")]
    symbols = itertools.islice((name for name in names if name != FIRST), count)

    async def some() -> None:
        for symbol in symbols:
            await live.open(symbol, notional=NOTIONAL)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def reconciled(live: LiveSystem) -> float:
    began = time.perf_counter()
    now = datetime.now(UTC)
    done = await operate.reconcile(live.client, live.settings.account, now=now)
    took = time.perf_counter() - began
    assert not done.report.found, done.report
    return took


async def main(trades: int) -> None:
    with TemporaryDirectory() as folder:
        settings = on_free_ports(Settings(limits=LIMITS), Path(folder))
        async with system(settings, Market(speed="1", arguments=("--seed", "3"))) as supervisor:
            journal = await Journal.open(settings.journal_url, venue=settings.venue)
            live = LiveSystem(settings, supervisor, await connect(settings), journal)

            async def is_reconciled() -> bool:
                desk = await live.desk()
                return desk.reconciled_at is not None and desk.snapshot is not None

            await until(is_reconciled)
            anchor = await reconciled(live)
            await live.open(FIRST, notional=NOTIONAL)
            await asyncio.sleep(SETTLE_S)
            before = memory(live)
            began = time.perf_counter()
            await open_trades(live, trades)
            opening = time.perf_counter() - began
            await asyncio.sleep(SETTLE_S)
            after = memory(live)
            shares = await cpu(live)
            runs = [await reconciled(live) for _ in range(RUNS)]
            live.close()
            await journal.close()
    each = {name: (after[name] - before[name]) / trades / 1024 for name in SERVERS}
    print(f"trades                       {trades}, opened in {opening:.1f} s")
    print(
        f"memory for each              {sum(each.values()):.0f} KiB: "
        + ", ".join(f"{name} {kib:.0f}" for name, kib in each.items())
    )
    print("CPU while they are held      " + ", ".join(f"{n} {s:.1f} %" for n, s in shares.items()))
    print(f"anchor: nothing to reconcile {anchor:.2f} s")
    print(f"reconciliation, of {RUNS} runs     {statistics.median(runs):.2f} s, {max(runs):.2f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
    sys.stdout.flush()
    os._exit(0)
