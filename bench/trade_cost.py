"""What a trade costs: Temporal's actions and events, and how long a candle takes in a lockstep.

``python bench/trade_cost.py [CANDLES]`` runs the whole system on a generated market and prints the
costs beside an anchor from the same run: one workflow with one empty activity, on the same server.
"""

import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tradewright import ids
from tradewright.app.conductor import Conductor
from tradewright.app.demo import PRESETS, preset_folder
from tradewright.app.replay import NO_TIMER, stage
from tradewright.app.system import Market, on_free_ports
from tradewright.preset import load
from tradewright.settings import Settings

ANCHORS = 50
BILLED = {
    "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED": "start",
    "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED": "activity",
    "EVENT_TYPE_TIMER_STARTED": "timer",
    "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED": "signal",
    "EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": "signal sent",
    "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "search attributes",
}
"""History events that are actions; queries and retries are counted by nobody here."""


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn
class AnchorWorkflow:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))


async def anchor_ms(client: Client) -> float:
    times = []
    async with Worker(
        client,
        task_queue="anchor",
        workflows=[AnchorWorkflow],
        activities=[nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        for number in range(ANCHORS):
            began = time.perf_counter()
            await client.execute_workflow(
                AnchorWorkflow.run, id=f"anchor/{number}", task_queue="anchor"
            )
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


async def main(candles: int) -> None:
    with TemporaryDirectory() as folder:
        settings = on_free_ports(Settings(), Path(folder))
        settings = settings.model_copy(update={"snapshot_every": NO_TIMER})
        market = Market(speed="lockstep", arguments=("--seed", "11", "--steps", str(candles)))
        presets = [load(preset_folder() / name) for name in PRESETS]
        async with stage(settings, market, presets) as ready:
            anchor = await anchor_ms(ready.client)
            conductor = Conductor(ready.client, ready.pace, settings.account)
            await conductor.subscribe()
            await ready.pace.start()
            began = time.perf_counter()
            await conductor.run()
            candle = 1000 * (time.perf_counter() - began) / candles
            await ready.leave()
            trades = await ready.journal.trades(settings.account, limit=None)
            events, actions = [], []
            kinds: Counter[str] = Counter()
            for trade in trades:
                handle = ready.client.get_workflow_handle(
                    ids.trade_workflow(trade.symbol, trade.trade_id)
                )
                names = [
                    EventType.Name(event.event_type)
                    async for event in handle.fetch_history_events()
                ]
                events.append(len(names))
                billed = [BILLED[name] for name in names if name in BILLED]
                actions.append(len(billed))
                kinds.update(billed)
    print(f"trades                      {len(trades)}")
    print(f"history events per trade    {statistics.median(events):.0f} (most {max(events)})")
    print(f"actions per trade           {statistics.median(actions):.0f} (most {max(actions)})")
    for kind, number in kinds.most_common():
        print(f"    {kind:<24}{number / len(trades):.1f}")
    print(f"anchor: workflow, activity  {anchor:.1f} ms")
    print(f"candle, two presets         {candle:.1f} ms = {candle / anchor:.2f} anchors")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 120))
    sys.stdout.flush()
    os._exit(0)
