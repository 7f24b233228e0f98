"""Record a history of every kind of ending; run by hand after a wanted change of a workflow.

    pytest tests/workflows/record_histories.py

The files are what `test_replay.py` replays: they stand for workflows that run while the code
under them is replaced. What says something new is added as a further version (`account.2.json`);
an older one goes when nothing can be running any more that began as it says.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.workflows.recording import HISTORIES, keep
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.trade import Adopted, EntryRejected, Executed, StopMoved
from tradewright.ports import CandleClosed, Comparison, Proposals, Reconciled
from workflows.account import AccountWorkflow
from workflows.trade import ExitWish

Until = Callable[..., Any]


async def save(name: str, handle: Any) -> None:
    keep(HISTORIES, name, json.loads((await handle.fetch_history()).to_json()))


def is_open(view: Any) -> bool:
    return view["trade"]["state"] == "open" and not view["busy"]


async def test_record_closed_by_stop(stage: Any, until: Until) -> None:
    plan = stage.plan()
    handle = await stage.start_trade(plan)
    await until(handle, "trade", is_open)
    await handle.signal("report", StopMoved(price=plan.stop_loss + 100, reason="trailing"))
    await until(handle, "trade", lambda view: view["trade"]["stop"] == "49600")
    execution = stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    await handle.signal("report", Executed(execution=execution))
    await handle.result()
    await save("trade-closed-by-stop", handle)


async def test_record_closed_by_exit(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    await handle.signal("exit", ExitWish(note="news", by="ann"))
    await handle.result()
    await save("trade-closed-by-exit", handle)


async def test_record_cancelled(stage: Any, until: Until) -> None:
    handle = await stage.start_trade(stage.plan())
    await until(handle, "trade", is_open)
    await handle.cancel(reason="holidays")
    await until(handle, "trade", lambda view: view["trade"]["state"] == "closed")
    await stage.journal.script.called("record", 3)
    while (await handle.describe()).close_time is None:
        pass
    await save("trade-cancelled", handle)


async def test_record_rejected(stage: Any) -> None:
    stage.exchange.script.answer(
        "place_entry", EntryRejected(code="bybit_110007", reason="not enough balance")
    )
    handle = await stage.start_trade(stage.plan())
    await handle.result()
    await save("trade-rejected", handle)


async def test_record_adopted(stage: Any, until: Until) -> None:
    plan = stage.plan(origin=Origin.ADOPTED)
    stage.exchange.execute(plan, Side.BUY)
    at = plan.trigger + timedelta(minutes=1)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=at)
    handle = await stage.start_trade(plan, adopted=adopted)
    await until(handle, "trade", is_open)
    execution = stage.exchange.execute(plan, Side.SELL, cause=ExitReason.STOP)
    late = execution.model_copy(update={"at": at + timedelta(minutes=1)})
    await handle.signal("report", Executed(execution=late))
    await handle.result()
    await save("trade-adopted", handle)


async def test_record_account(stage: Any, until: Until) -> None:
    desk = await stage.start_account()
    await desk.signal("reconciled", Reconciled(at=datetime.now(UTC) + timedelta(seconds=1)))
    await until(desk, "account", lambda a: a["snapshot"] and a["reconciled_at"])
    await desk.execute_update(AccountWorkflow.reserve, stage.proposal())
    await desk.signal("gate", stage.gate(GateState.EXITS_ONLY))
    await desk.execute_update(AccountWorkflow.refresh)
    await save("account", desk)


async def test_record_kill_switch(stage: Any, until: Until) -> None:
    switch = await stage.start_kill_switch()
    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await until(switch, "state", lambda s: s["step"] == "waiting")
    await switch.signal("rearm", {"reason": "checked", "by": "ann"})
    await until(switch, "state", lambda s: s["step"] == "waiting" and s["gate"]["state"] == "open")
    await switch.signal("safe_mode", {"on": True, "reason": "news", "by": "ann"})
    await stage.kill.script.called("cancel_entries", 3)
    await save("kill-switch", switch)


async def test_record_strategy(stage: Any, until: Until) -> None:
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    await strategy.signal(
        "candle", CandleClosed(symbols=("BTCUSDT",), close_time=now, acknowledge=True)
    )
    await stage.market.script.called("done")
    await strategy.signal("pause", {"reason": "news", "by": "ann"})
    await strategy.cancel(reason="retired")
    while (await strategy.describe()).close_time is None:
        pass
    await save("strategy", strategy)


async def test_record_reconciliation(stage: Any) -> None:
    unknown = Discrepancy(
        kind=Kind.UNKNOWN_ORDER, symbol="BTCUSDT", detail="unknown", order_id="o1"
    )
    both = Comparison(at=datetime.now(UTC), discrepancies=(unknown,))
    stage.reconciliation.script.answer("compare", both, both)
    run = await stage.reconcile()
    await run.result()
    await save("reconciliation", run)
