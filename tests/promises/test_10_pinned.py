"""A trade is pinned to the preset version, and to the code, that opened it."""

from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle
from temporalio.worker import Replayer

from tests.promises.preset_at_work import PresetAtWork
from tests.system.live_system import LiveSystem
from tradewright import ids
from tradewright.app.workers import workflow_runner
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from workflows.strategy import StrategyWorkflow
from workflows.trade import TradeWorkflow

pytestmark = pytest.mark.timeout(300)

BUYS = "long: close > 0"
TURNS = "short: 'close < close[-1]', exit_short: 'close > close[-1]', exit_long: close > 0"
"""Goes short, leaves by rule, and would leave every long at once."""


async def test_a_trade_manages_itself_by_the_version_that_opened_it(
    live: LiveSystem, tmp_path: Path
) -> None:
    """E3: the preset is changed while a trade is open, which keeps to what opened it."""
    preset = PresetAtWork(live, "pinned", "XRPUSDT", tmp_path)
    first = await preset.applied(BUYS, "stop: {fraction: 0.05}, max_candles: 5")
    handle = await preset.trade()
    opened = (await live.view(handle)).trade

    second = await preset.applied(TURNS, "stop: {fraction: 0.2}, max_candles: 1")
    status = await preset.decided()
    await live.kill_and_restart("worker")
    kept = await live.is_open(handle)
    trade = await preset.ended(handle)

    assert (status.preset_hash, status.earlier) == (second, (first,))
    assert kept.plan == trade.plan == opened.plan
    assert (trade.plan.preset_hash, trade.plan.exits.max_candles) == (first, 5)
    assert kept.stop == opened.stop == opened.plan.stop_loss
    # By its own clock: not by the rule of the new version, nor after its single candle
    assert (trade.exit_reason, trade.exit_note) == (ExitReason.TIME_STOP, "5 candles")
    written = await live.journal.trade(trade.plan.trade_id)
    assert written is not None
    assert written.preset_hash == first
    stored = await live.journal.preset(first)
    assert stored is not None
    assert "max_candles: 5" in stored.document
    await preset.stop()


async def test_new_trades_follow_the_new_version_without_a_restart(
    live: LiveSystem, tmp_path: Path
) -> None:
    """E6: what is applied holds for new trades, and its exit rules for the trades it opens."""
    preset = PresetAtWork(live, "reloaded", "ADAUSDT", tmp_path)
    await preset.applied(BUYS)
    old = await preset.trade()

    second = await preset.applied(TURNS)
    await live.leave(old)
    handle = await preset.trade(but=old.id.rpartition("/")[2])
    trade = await preset.ended(handle)

    assert (trade.plan.preset_hash, trade.plan.side) == (second, Side.SELL)
    assert (trade.exit_reason, trade.exit_by) == (ExitReason.SIGNAL, "reloaded")
    assert trade.exit_note.startswith("exit_short: close > close[-1] (")
    assert await live.position("ADAUSDT") is None
    assert await live.differences(trade) == []
    await preset.stop()


async def test_a_paused_preset_still_leaves_by_its_rules(live: LiveSystem, tmp_path: Path) -> None:
    preset = PresetAtWork(live, "paused", "DOGEUSDT", tmp_path)
    await preset.applied(TURNS)
    handle = await preset.trade()
    strategy = live.client.get_workflow_handle(ids.strategy_workflow("paused"))

    await strategy.execute_update("pause", {"reason": "news", "by": "ann"})
    trade = await preset.ended(handle)
    await preset.decided(3)

    assert trade.exit_reason is ExitReason.SIGNAL
    assert [
        r.plan.preset for r in (await live.desk()).reservations if r.plan.preset == "paused"
    ] == []
    await preset.stop()


async def test_what_ran_is_what_the_code_would_do_again(live: LiveSystem, tmp_path: Path) -> None:
    """E4: the histories of this version replay: trades outlive the processes they ran in."""
    preset = PresetAtWork(live, "replayed", "BNBUSDT", tmp_path)
    await preset.applied(BUYS, "stop: {fraction: 0.05}, max_candles: 2")
    handle = await preset.trade()
    await preset.applied(BUYS, "stop: {fraction: 0.02}")
    await preset.ended(handle)
    await preset.stop()
    replayer = Replayer(
        workflows=[TradeWorkflow, StrategyWorkflow],
        data_converter=DATA_CONVERTER,
        workflow_runner=workflow_runner(),
    )
    strategy: WorkflowHandle[object, object] = live.client.get_workflow_handle(
        ids.strategy_workflow("replayed")
    )

    for ran in (handle, strategy):
        replayed = await replayer.replay_workflow(
            await ran.fetch_history(), raise_on_replay_failure=False
        )
        assert replayed.replay_failure is None


async def test_a_named_person_moves_an_open_trade_to_the_version_that_runs(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = PresetAtWork(live, "moved", "XRPUSDT", tmp_path)
    first = await preset.applied(BUYS, "stop: {fraction: 0.05}")
    handle = await preset.trade()
    opened = (await live.view(handle)).trade
    second = await preset.applied(
        f"{BUYS}, exit_long: position.candles >= 2",
        "stop: {fraction: 0.2}, break_even: {after_r: 9}",
    )

    nameless = await live.command("trade", "migrate", handle.id, "--reason", "a rule of its own")
    moved = await live.command(
        *("trade", "migrate", handle.id, "--by", "ann", "--reason", "a rule of its own")
    )
    kept = (await live.view(handle)).trade
    await live.kill_and_restart("worker")
    trade = await preset.ended(handle)

    assert nameless.code != 0
    assert moved.code == 0, moved
    assert (kept.plan.preset_hash, kept.plan.exits.break_even_after_r) == (second, Decimal(9))
    assert (kept.stop, kept.plan.stop_loss) == (opened.stop, opened.plan.stop_loss)
    # By the exit rule of the version that it was moved to: the one that opened it has none
    assert (trade.exit_reason, trade.exit_by) == (ExitReason.SIGNAL, "moved")
    assert trade.migrations[0].from_hash == first
    told = [str(e.event.data) for e in await live.journal.trade_history(trade.plan.trade_id)]
    assert any("'kind': 'migrated'" in each and "a rule of its own" in each for each in told)
    assert await live.differences(trade) == []
    await preset.stop()
