"""How long after a close everything is decided: many symbols, several presets, one worker.

``python -m bench.decisions [SYMBOLS] [PRESETS] [CLOSES]`` runs the whole system on a generated
market at speed 1, applies so many presets of one-minute candles that all trade the same symbols,
and prints, for each close, when the candle's signal, the first and the last decision stood in
Temporal's histories. The anchor is one preset on one symbol, decided at the same closes.
"""

import asyncio
import itertools
import os
import statistics
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from tests.system.live_system import LiveSystem, until
from tradewright import ids
from tradewright.app.apply import apply
from tradewright.app.connect import connect
from tradewright.app.system import Market, on_free_ports, system
from tradewright.journal import Journal
from tradewright.ports import Evaluation, StrategyStatus
from tradewright.preset import loads
from tradewright.settings import Settings

MINUTE = timedelta(minutes=1)
LATE = 2.0
"""Seconds after a close by which all is to be decided."""
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED


def document(name: str, symbols: list[str], fast: int) -> str:
    return f"""\
version: 1
name: {name}
mode: alert
market: {{category: linear, symbols: [{", ".join(symbols)}]}}
trigger: {{on: candle, timeframe: 1m}}
strategy:
  plugin: rules
  params:
    indicators:
      fast: {{ta: EMA, timeperiod: {fast}}}
      slow: {{ta: EMA, timeperiod: {3 * fast}}}
      rsi: {{ta: RSI, timeperiod: 14}}
      atr: {{ta: ATR, timeperiod: 14}}
    long: cross_up(fast, slow) and rsi < 70
    short: cross_down(fast, slow) and rsi > 30
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{indicator: atr, times: 2}}, target: {{r: 2}}}}
risk: {{sizing: fixed_notional, notional: 100}}
"""


async def decided(client: Client, preset: str, ahead: timedelta) -> dict[datetime, list[float]]:
    """Return, by close, the seconds after it at which it was told of, and at which decided.

    Args:
        client: Of the system's namespace.
        preset: Whose history is read.
        ahead: How far the market's clock is ahead of the wall's.
    """
    found: dict[datetime, list[float]] = {}
    asked: dict[int, datetime] = {}
    told: datetime | None = None
    handle = client.get_workflow_handle(ids.strategy_workflow(preset))
    async for event in handle.fetch_history_events():
        at = event.event_time.ToDatetime(UTC) + ahead
        if event.event_type == SIGNALED:
            told = at
        elif event.event_type == SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == "evaluate" and told is not None:
                (asks,) = await client.data_converter.decode(scheduled.input.payloads, [Evaluation])
                asked[event.event_id] = asks.close_time
                found[asks.close_time] = [(told - asks.close_time).total_seconds()]
        elif event.event_type == COMPLETED:
            number = event.activity_task_completed_event_attributes.scheduled_event_id
            if close := asked.get(number):
                found[close].append((at - close).total_seconds())
    return {close: times for close, times in found.items() if len(times) == 2}


def memory(live: LiveSystem) -> dict[str, float]:
    names = ("worker", "temporal", "paper-exchange")
    return {n: psutil.Process(live.child(n).pid).memory_info().rss / 2**20 for n in names}


async def main(symbols: int, presets: int, closes: int) -> None:
    with TemporaryDirectory() as folder:
        settings = on_free_ports(Settings(), Path(folder))
        async with system(settings, Market(speed="1", arguments=("--seed", "3"))) as supervisor:
            journal = await Journal.open(settings.journal_url, venue=settings.venue)
            live = LiveSystem(settings, supervisor, await connect(settings), journal)
            answer = await live.bybit.call("get_tickers", category="linear")
            listed = [row["symbol"] for row in answer["result"]["list"]]
            traded = list(itertools.islice((s for s in listed if s.endswith("USDT")), symbols))
            before = memory(live)
            names = [f"bench-{number}" for number in range(presets)]
            texts = [document(name, traded, 8 + n) for n, name in enumerate(names)]
            for text in (document("anchor", traded[:1], 8), *texts):
                await apply(live.client, journal, live.bybit, loads(text), by="bench")
            ahead = await live.pace.market_now() - datetime.now(UTC)

            async def enough() -> bool:
                status = await live.told(
                    live.client.get_workflow_handle(ids.strategy_workflow(names[-1])),
                    "status",
                    StrategyStatus,
                )
                # The first close finds candles of all symbols to be fetched
                return status.candles > closes

            await until(enough, within=60.0 * (closes + 4))
            after = memory(live)
            refused = Counter[str]()
            for name in names:
                handle = live.client.get_workflow_handle(ids.strategy_workflow(name))
                status = await live.told(handle, "status", StrategyStatus)
                refused.update(refusal.code for refusal in status.refusals)
            by_close: dict[datetime, list[list[float]]] = defaultdict(list)
            for name in names:
                for close, times in (await decided(live.client, name, ahead)).items():
                    by_close[close].append(times)
            anchor = await decided(live.client, "anchor", ahead)
            live.close()
            await journal.close()
    print(f"{len(traded)} symbols, {presets} presets, one-minute candles")
    lasts = []
    for number, (close, each) in enumerate(sorted(by_close.items())):
        told, ends = [t for t, _ in each], [end for _, end in each]
        what = "first close, candles fetched" if not number else "close"
        alone = f", anchor {anchor[close][1]:.2f} s" if close in anchor else ""
        print(
            f"{what} {close:%H:%M}: {len(each)} told at {min(told):.2f} to {max(told):.2f} s, "
            f"decided at {min(ends):.2f} to {max(ends):.2f} s{alone}"
        )
        lasts += [max(ends)] if number else []
    print(
        f"last decision after a close  median {statistics.median(lasts):.2f} s, "
        f"worst {max(lasts):.2f} s (aim: {LATE:g} s)"
    )
    unseen = ", ".join(f"{count} {code}" for code, count in refused.items()) or "none"
    print(f"refused before a decision    {unseen} of {len(traded) * presets} at the last close")
    print(
        "memory                       "
        + ", ".join(
            f"{name} {after[name]:.0f} MiB ({after[name] - before[name]:+.0f})" for name in after
        )
    )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    asyncio.run(main(*(given + [100, 5, 5][len(given) :])))
    sys.stdout.flush()
    os._exit(0)
