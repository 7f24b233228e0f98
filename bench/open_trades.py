"""What open trades cost while nothing happens: memory, CPU, and the time to reconcile them.

``python -m bench.open_trades [TRADES]`` runs the whole system at speed 1, opens so many trades,
each on a symbol of its own, and prints the memory of Temporal's server and of the worker for each
of them: of all, and of the second half, which leaves out what they need once. A few more are open
before anything is measured. The size of a trade's history, the CPU of both while the trades are
only held, and how long a reconciliation takes follow.
"""

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.system.live_system import LiveSystem, TradeHandle, until
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
WARM = 20
"""So many more are: they bring up threads, connections and caches that serve all."""
AT_ONCE = 8
"""The desk hears ten updates at once; what it turns away would come again as another trade."""
SETTLE_S = 15.0
WATCH_S = 30.0
RUNS = 3
SERVERS = ("temporal", "worker")


def memory(live: LiveSystem) -> dict[str, int]:
    """Return the bytes that each holds for itself, without pages of its program and its files."""
    return {name: _anonymous(live.child(name).pid) for name in SERVERS}


def _anonymous(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def each(before: dict[str, int], after: dict[str, int], trades: int) -> str:
    kib = {name: (after[name] - before[name]) / trades / 1024 for name in SERVERS}
    found = ", ".join(f"{name} {size:.0f}" for name, size in kib.items())
    return f"{sum(kib.values()):.0f} KiB: {found}"


async def cpu(live: LiveSystem) -> dict[str, float]:
    """Return what share of a core each takes."""
    watched = {name: psutil.Process(live.child(name).pid) for name in (*SERVERS, "kill-worker")}
    for process in watched.values():
        process.cpu_percent()
    await asyncio.sleep(WATCH_S)
    return {name: process.cpu_percent() for name, process in watched.items()}


async def names(live: LiveSystem) -> list[str]:
    answer = await live.bybit.call("get_tickers", category="linear")
    found = [row["symbol"] for row in answer["result"]["list"]]
    return [name for name in found if name.endswith("USDT") and name != FIRST]


async def open_trades(live: LiveSystem, symbols: Iterator[str]) -> None:
    async def some() -> None:
        for symbol in symbols:
            await live.open(symbol, notional=NOTIONAL)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    await asyncio.sleep(SETTLE_S)


async def history(handle: TradeHandle) -> str:
    found = (await handle.describe()).raw_description.workflow_execution_info
    return f"{found.history_length} events, {found.history_size_bytes / 1024:.0f} KiB"


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
            first = await live.open(FIRST, notional=NOTIONAL)
            await asyncio.sleep(SETTLE_S)
            found = iter(await names(live))
            await open_trades(live, itertools.islice(found, WARM))
            symbols = itertools.islice(found, trades)
            before = memory(live)
            began = time.perf_counter()
            await open_trades(live, itertools.islice(symbols, trades // 2))
            halfway = memory(live)
            await open_trades(live, symbols)
            opening = time.perf_counter() - began - 2 * SETTLE_S
            after = memory(live)
            size = await history(first)
            shares = await cpu(live)
            runs = [await reconciled(live) for _ in range(RUNS)]
            began_with = ", ".join(f"{name} {before[name] >> 20}" for name in SERVERS)
            live.close()
            await journal.close()
    print(f"trades                       {trades}, opened in {opening:.1f} s")
    print(f"memory before                MiB: {began_with}")
    print(f"memory for each              {each(before, after, trades)}")
    print(f"of the second half           {each(halfway, after, trades - trades // 2)}")
    print(f"history of one               {size}")
    print("CPU while they are held      " + ", ".join(f"{n} {s:.1f} %" for n, s in shares.items()))
    print(f"anchor: nothing to reconcile {anchor:.2f} s")
    print(f"reconciliation, of {RUNS} runs     {statistics.median(runs):.2f} s, {max(runs):.2f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
    sys.stdout.flush()
    os._exit(0)
