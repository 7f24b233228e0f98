"""How fast the journal takes and gives while a hundred trades write at once.

``python -m bench.journal [TRADES] [WRITERS]`` writes the events of so many trades, each of
which waits for its own like a trade's workflow does, and prints the p95 of a write and of the
queries behind `status`, beside an anchor from the same run: one bare insert and commit in a
SQLite file, and one bare select.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, text

from bench.state_machine import life, plan
from tradewright import ids
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.trade import EntryPlaced, Executed, Trade, TradeEvent
from tradewright.journal import Journal

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ANCHORS = 300


def p(share: float, times: list[float]) -> float:
    """Return the quantile of *times* in milliseconds."""
    return 1000 * statistics.quantiles(times, n=100)[round(100 * share) - 1]


async def timed(call: Callable[[], Awaitable[object]], into: list[float]) -> None:
    began = time.perf_counter()
    await call()
    into.append(time.perf_counter() - began)


def events_of(number: int) -> list[list[JournalEvent]]:
    """Return what one trade writes, in the batches in which it does."""
    of = plan().model_copy(update={"trade_id": ids.trade_id("main", f"p{number}", "BTCUSDT", NOON)})
    chain = ids.trade_workflow(of.symbol, of.trade_id)
    common = {"chain": chain, "account": "main", "trade_id": of.trade_id, "symbol": of.symbol}
    link = ids.order_link(of.trade_id, "e", 1)
    intent = JournalEvent.model_validate(
        common
        | {
            "event_id": f"{chain}/intent",
            "kind": EventKind.ENTRY_INTENDED,
            "at": NOON,
            "preset": of.preset,
            "data": {"plan": of.model_dump(mode="json"), "order_link_id": link},
        }
    )
    trade, changes = Trade(plan=of), []
    for count, event in enumerate(life(of), start=1):
        event = _of(number, event)
        trade = trade.after(event)
        changes.append(
            JournalEvent.model_validate(
                common
                | {
                    "event_id": f"{chain}/run/{count}",
                    "kind": EventKind.TRADE_CHANGED,
                    "at": NOON + timedelta(seconds=count),
                    "preset": of.preset,
                    "data": {
                        "event": event.model_dump(mode="json"),
                        "trade": trade.model_dump(mode="json"),
                    },
                }
            )
        )
    return [[intent], changes[:5], changes[5:8], changes[8:]]


def _of(number: int, event: TradeEvent) -> TradeEvent:
    """Return *event* with the ids that an exchange would give to this trade's alone."""
    match event:
        case EntryPlaced(order_id=order_id):
            return event.model_copy(update={"order_id": f"{number}-{order_id}"})
        case Executed(execution=execution):
            own = {name: f"{number}-{getattr(execution, name)}" for name in ("exec_id", "order_id")}
            return event.model_copy(update={"execution": execution.model_copy(update=own)})
        case _:
            return event


def anchors(url: str) -> tuple[list[float], list[float]]:
    """Return the times of bare writes and reads, each in a transaction of its own."""
    writes: list[float] = []
    reads: list[float] = []
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE anchor (id INTEGER PRIMARY KEY, body TEXT)"))
    for number in range(ANCHORS):
        began = time.perf_counter()
        with engine.begin() as connection:
            row = {"id": number, "body": "x" * 2000}
            connection.execute(text("INSERT INTO anchor VALUES (:id, :body)"), row)
        writes.append(time.perf_counter() - began)
        began = time.perf_counter()
        with engine.connect() as connection:
            connection.execute(text("SELECT body FROM anchor WHERE id = :id"), {"id": number})
        reads.append(time.perf_counter() - began)
    engine.dispose()
    return writes, reads


async def measure(trades: int, writers: int, folder: Path) -> None:
    bare_writes, bare_reads = await asyncio.to_thread(anchors, f"sqlite:///{folder}/bare.db")
    journal = await Journal.open(f"sqlite:///{folder}/journal.db", venue="bench")
    writes: list[float] = []
    queries: dict[str, list[float]] = {"trades of the account": [], "one trade": [], "gate": []}
    numbers = iter(range(trades))
    began = time.perf_counter()

    async def writer() -> None:
        for number in numbers:
            for batch in events_of(number):
                await timed(lambda batch=batch: journal.append(batch), writes)  # type: ignore[misc]

    async def reader() -> None:
        trade_id = ids.trade_id("main", "p0", "BTCUSDT", NOON)
        while True:
            await timed(lambda: journal.trades("main", limit=50), queries["trades of the account"])
            await timed(lambda: journal.trade(trade_id), queries["one trade"])
            await timed(lambda: journal.gate("main"), queries["gate"])
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(reader())
    await asyncio.gather(*(writer() for _ in range(writers)))
    took = time.perf_counter() - began
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    faults = await journal.verify()
    await journal.close()
    assert not faults, faults
    anchor, read = p(0.95, bare_writes), p(0.95, bare_reads)
    print(f"trades, writers              {trades}, {writers}; chains whole")
    print(
        f"throughput                   {trades / took:.0f} trades/s, "
        f"{len(writes) / took:.0f} writes/s"
    )
    print(f"anchor: bare write           p50 {p(0.5, bare_writes):.2f}, p95 {anchor:.2f} ms")
    print(f"anchor: bare read            p50 {p(0.5, bare_reads):.2f}, p95 {read:.2f} ms")
    print(
        f"write, {writers} at once          p50 {p(0.5, writes):.1f}, p95 {p(0.95, writes):.1f} ms "
        f"= {p(0.95, writes) / anchor / writers:.2f} anchors for each in the queue"
    )
    for name, times in queries.items():
        print(
            f"{name:<29}p50 {p(0.5, times):.1f}, p95 {p(0.95, times):.1f} ms "
            f"= {p(0.95, times) / read:.1f} anchors"
        )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    at_once = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with TemporaryDirectory() as name:
        asyncio.run(measure(count, at_once, Path(name)))
