"""Every workflow once in a closed sandbox, where clock, chance and input are refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tradewright import ids
from tradewright.domain.gate import GateState
from tradewright.ports import CandleClosed, Proposals
from workflows.account import AccountWorkflow
from workflows.market import MarketStart, MarketWorkflow
from workflows.stream import StreamStart, StreamWorkflow
from workflows.trade import ExitWish

Until = Callable[..., Any]


async def test_a_preset_trades_and_leaves(strict_stage: Any, until: Until) -> None:
    stage = strict_stage
    stage.market.script.answer("evaluate", Proposals(proposals=(stage.proposal(),)))
    strategy = await stage.start_strategy()
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

    await strategy.signal("candle", CandleClosed(symbols=("BTCUSDT",), close_time=now))
    await until(strategy, "status", lambda status: status["approved"] == 1)
    plan = stage.proposal()
    trade = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
    stage.keep(trade)
    await until(trade, "trade", lambda view: view["trade"]["state"] == "open")
    await trade.signal("exit", ExitWish(by="ann"))

    assert (await trade.result())["state"] == "closed"


async def test_the_desk_decides(strict_stage: Any, until: Until) -> None:
    desk = await strict_stage.start_account()
    await until(desk, "account", lambda account: account["snapshot"])

    decision = await desk.execute_update(AccountWorkflow.reserve, strict_stage.proposal())

    assert decision.kind == "refused"


async def test_the_kill_switch_flattens(strict_stage: Any, until: Until) -> None:
    switch = await strict_stage.start_kill_switch()

    await switch.signal("trip", {"reason": "panic", "by": "ann"})
    await until(switch, "state", lambda state: state["step"] == "waiting")

    assert strict_stage.kill.row.state is GateState.HALTED


async def test_the_books_are_compared(strict_stage: Any) -> None:
    run = await strict_stage.reconcile()

    assert (await run.result()).found == 0


async def test_the_streams_are_held(strict_stage: Any) -> None:
    stage = strict_stage
    stage.market.script.hold("consume_market")
    stage.stream.script.hold("consume_stream")

    await stage.start(
        MarketWorkflow.run,
        MarketStart(account=stage.account),
        ids.market_workflow(stage.account),
    )
    await stage.start(
        StreamWorkflow.run,
        StreamStart(account=stage.account),
        ids.stream_workflow(stage.account),
    )

    await stage.market.script.called("consume_market")
    await stage.stream.script.called("consume_stream")
