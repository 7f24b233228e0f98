"""How long the kill switch takes, from the trip until flat was read twice.

``python bench/kill_switch.py [POSITIONS …]`` opens so many positions with their stops on the paper
exchange (speed 1, with the rate limits of Bybit), trips the kill switch, and prints the time as a
ratio to what no program could beat: orders at ten a second, and then the spacing of the two reads
that the quiet time asks for. Beside it stands the time until the last position was closed, as a
ratio to the orders alone, and what a trip takes that finds nothing.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.bybit import LINEAR, SETTLE_COIN, BybitClient
from activities.interceptor import DomainErrors
from activities.journal import JournalActivities
from activities.kill import BybitKillSwitch
from activities.pace import PaperPace
from activities.secrets import ExchangeKey
from activities.urgency import Urgency
from tradewright import ids, telemetry
from tradewright.app.process import ProcessSpec, running
from tradewright.app.services import LOOPBACK, free_port, http_ready, temporal_server
from tradewright.app.workers import workflow_runner
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.errors import TradewrightError
from tradewright.domain.gate import QUIET_TIME, GateState
from tradewright.journal import Journal
from tradewright.ports import KillSwitchState, activities_of
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow, RearmWish, TripWish

KEY, SECRET = "bench-key-q7xw", "bench-secret-m2vt9d"
ACCOUNT = "main"
ORDERS_PER_SECOND = 10
NOTIONAL = Decimal(1000)
POLL = 0.1


class BenchKey:
    async def exchange_key(self) -> ExchangeKey:
        return ExchangeKey(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))


class Ready(NamedTuple):
    switch: WorkflowHandle[Any, Any]
    person: BybitClient
    pace: PaperPace


class Took(NamedTuple):
    flat: float
    """Seconds until flat was read twice."""
    closed: float
    """Seconds until the last order was filled; 0 if there was none."""


async def open_positions(client: BybitClient, count: int) -> None:
    """Open *count* positions, each with its stop."""
    answer = await client.call("get_tickers", category=LINEAR)
    tickers = [row for row in answer["result"]["list"] if row["symbol"].endswith(SETTLE_COIN)]
    if len(tickers) < count:
        raise SystemExit(f"the exchange lists {len(tickers)} symbols only")
    for row in tickers[:count]:
        symbol, price = row["symbol"], Decimal(row["lastPrice"])
        instrument = await client.instrument(symbol)
        order = {
            "symbol": symbol,
            "side": "Buy",
            "orderType": "Market",
            "qty": f"{instrument.floor_qty(NOTIONAL / price):f}",
            "stopLoss": f"{instrument.floor_price(price * 9 / 10):f}",
        }
        while True:
            try:
                await client.call("place_order", category=LINEAR, **order)
                break
            except TradewrightError as e:
                if e.retry_after is None:
                    raise
                await asyncio.sleep(e.retry_after.total_seconds())


async def last_fill(client: BybitClient, since: float) -> float:
    """Return when the last order of the kill switch was done, in seconds after *since*."""
    newest, cursor = since, ""
    while True:
        page = {"cursor": cursor} if cursor else {}
        answer = await client.call("get_order_history", category=LINEAR, limit=50, **page)
        rows = [r for r in answer["result"]["list"] if int(r["updatedTime"]) / 1000 >= since]
        times = [int(r["updatedTime"]) / 1000 for r in rows if ids.is_kill_link(r["orderLinkId"])]
        newest = max([newest, *times])
        cursor = answer["result"].get("nextPageCursor") or ""
        if not cursor or not rows:
            return newest - since


async def waiting(switch: WorkflowHandle[Any, Any], gate: GateState) -> None:
    while True:
        state = await switch.query("state", result_type=KillSwitchState)
        if state.step == "waiting" and not state.flattening and state.gate.state is gate:
            return
        await asyncio.sleep(POLL)


async def measure(ready: Ready, count: int) -> Took:
    switch, client, pace = ready
    if count:
        await open_positions(client, count)
        # What was opened shall not count against what is closed
        await asyncio.sleep(1.5)
    # The exchange stamps orders by its own clock
    began, clock = (await pace.market_now()).timestamp(), time.perf_counter()
    await switch.signal("trip", TripWish(reason="bench", by="bench"))
    await waiting(switch, GateState.HALTED)
    took = time.perf_counter() - clock
    closed = await last_fill(client, began)
    await switch.signal("rearm", RearmWish(reason="bench", by="bench"))
    await waiting(switch, GateState.OPEN)
    return Took(flat=took, closed=closed)


@asynccontextmanager
async def stage(home: Path) -> AsyncIterator[Ready]:
    """Run Temporal, the exchange and a kill worker; yield what measures them."""
    temporal_port, paper_port = free_port(), free_port()
    paper = ProcessSpec(
        name="paper-exchange",
        argv=(sys.executable, "-m", "tradewright", "paper", "--port", str(paper_port)),
        env={"TRADEWRIGHT_PAPER_API_KEY": KEY, "TRADEWRIGHT_PAPER_API_SECRET": SECRET},
        log=home / "paper.log",
        ready=http_ready(LOOPBACK, paper_port, "/paper/clock"),
    )
    url = f"http://{LOOPBACK}:{paper_port}"
    temporal = temporal_server(port=temporal_port, log=home / "temporal.log")
    async with running(temporal), running(paper):
        client = await Client.connect(f"{LOOPBACK}:{temporal_port}", data_converter=DATA_CONVERTER)
        journal = await Journal.open(f"sqlite:///{home / 'journal.db'}", venue="paper")
        person = BybitClient(url, BenchKey())
        worker = Worker(
            client,
            task_queue=ids.QUEUE_KILL,
            workflows=[KillSwitchWorkflow],
            activities=activities_of(
                BybitKillSwitch(BybitClient(url, BenchKey(), urgency=Urgency.EXIT), journal),
                JournalActivities(journal),
            ),
            workflow_runner=workflow_runner(),
            interceptors=[DomainErrors()],
        )
        async with worker:
            switch = await client.start_workflow(
                KillSwitchWorkflow.run,
                KillSwitchStart(account=ACCOUNT),
                id=ids.kill_switch_workflow(ACCOUNT),
                task_queue=ids.QUEUE_KILL,
            )
            yield Ready(switch, person, PaperPace(url))
        await journal.close()


async def main(sizes: list[int]) -> None:
    quiet = QUIET_TIME.total_seconds()
    with TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        telemetry.configure("bench", level="warning", logs=logs)
        async with stage(Path(folder)) as ready:
            nothing = await measure(ready, 0)
            print(f"  0 positions: flat twice after {nothing.flat:6.2f} s", flush=True)
            for count in sizes:
                took = await measure(ready, count)
                orders = count / ORDERS_PER_SECOND
                print(
                    f"{count:3} positions: flat twice after {took.flat:6.2f} s = "
                    f"{took.flat / (orders + quiet):.2f} of {orders:g} s + {quiet:g} s; "
                    f"all closed after {took.closed:.2f} s = {took.closed / orders:.2f}",
                    flush=True,
                )
        limited = sum("10006" in line for line in (logs / "bench.jsonl").open(encoding="utf-8"))
        print(f"orders refused for the rate limit: {limited}")
    logging.shutdown()


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [1, 20, 100]))
    sys.stdout.flush()
    os._exit(0)
