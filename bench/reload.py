"""From the save of a preset to the running strategy that trades it.

``python bench/reload.py [SAVES] [OTHERS]`` starts the whole system with a watched folder of OTHERS
more presets, saves one of them again and again, and asks its strategy every few milliseconds until
it has the version. Beside it: an update of the same strategy alone, sent by a
client that has done everything else before, which no reload can beat.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from tradewright import ids
from tradewright.app.connect import connect
from tradewright.app.system import Market, on_free_ports, system
from tradewright.ports import Applied, ApplyWish, StrategyStatus
from tradewright.preset import loads
from tradewright.settings import Settings

PRESET = """\
version: 1
name: {name}
mode: shadow
market: {{category: linear, symbols: [BTCUSDT, ETHUSDT]}}
trigger: {{on: candle, timeframe: 1h}}
strategy:
  plugin: rules
  params:
    indicators:
      fast: {{ta: EMA, timeperiod: {fast}}}
      slow: {{ta: EMA, timeperiod: 200}}
      atr: {{ta: ATR, timeperiod: 14}}
    long: cross_up(fast, slow)
    short: cross_down(fast, slow)
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{indicator: atr, times: 2}}, target: {{r: 2}}}}
risk: {{sizing: risk_fraction, risk_fraction: 0.005}}
"""
POLL = 0.005
WITHIN = 30.0


async def until_runs(handle: WorkflowHandle[object, object], version: str) -> None:
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                status = await handle.query("status", result_type=StrategyStatus)
            except RPCError:
                # It is being started
                status = None
            if status is not None and status.preset_hash == version:
                return
            await asyncio.sleep(POLL)


def told(name: str, seconds: list[float]) -> str:
    ms = sorted(s * 1000 for s in seconds)
    p95 = ms[max(0, round(0.95 * len(ms)) - 1)]
    return f"{name:<28} p50 {statistics.median(ms):6.0f} ms   p95 {p95:6.0f} ms   max {ms[-1]:6.0f}"


def fill(folder: Path, others: int) -> None:
    folder.mkdir()
    for number in range(others):
        name = f"other-{number}"
        Path(folder, f"{name}.yaml").write_text(PRESET.format(name=name, fast=12))


async def measure(saves: int, others: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, watched = Path(folder, "home"), Path(folder, "strategies")
        fill(watched, others)
        settings = on_free_ports(Settings(presets=watched), home)
        async with system(settings, Market(speed="1")):
            client = await connect(settings)
            handle = client.get_workflow_handle(ids.strategy_workflow("saved"))
            file = watched / "saved.yaml"
            saved: list[float] = []
            for number in range(saves + 1):
                text = PRESET.format(name="saved", fast=10 + number)
                version = loads(text).hash
                began = time.perf_counter()
                file.write_text(text)
                await until_runs(handle, version)
                # The first one is a start
                if number:
                    saved.append(time.perf_counter() - began)
                await asyncio.sleep(0.1)
            alone: list[float] = []
            status = await handle.query("status", result_type=StrategyStatus)
            for number in range(saves):
                applied = Applied(
                    preset="saved",
                    preset_hash=f"{number:016x}",
                    account=status.account,
                    symbols=status.symbols,
                    timeframe=status.timeframe,
                    mode=status.mode,
                    enabled=False,
                )
                began = time.perf_counter()
                await handle.execute_update("apply", ApplyWish(applied=applied))
                alone.append(time.perf_counter() - began)
            print(f"{saves} saves, {others} other presets in the folder")
            print(told("save -> strategy changed", saved))
            print(told("an update alone", alone))


if __name__ == "__main__":
    asyncio.run(measure(*(int(a) for a in (sys.argv[1:] + ["60", "20"][len(sys.argv) - 1 :]))))
    sys.stdout.flush()
    os._exit(0)
