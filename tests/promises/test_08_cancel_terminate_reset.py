"""Promise 8: whatever an operator does to a workflow, no position loses its stop or its owner.

Cancel, terminate and reset, as the Web UI does them, on every kind of workflow and on a trade in
each of its states. A cancel is clean at once; after the others, reconciliation brings order within
two runs. A watcher reads the exchange all the while: what is held has its stop, always.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from tests.promises.mistake import (
    ENDED,
    State,
    Status,
    mend,
    never_naked,
    nothing_is_left,
    on,
    reset,
    run_of,
    singleton,
)
from tests.system.live_system import LiveSystem, TradeHandle, until
from tests.system.second_look import reconcile
from tradewright import ids
from tradewright.app import kill_switch, notice
from tradewright.domain.account import RefusalCode
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import GateState
from tradewright.domain.plan import Origin
from tradewright.domain.trade import Trade, TradeState
from tradewright.ports import StrategyStatus, Watchlist
from workflows.reconciliation import (
    ReconciliationStart,
    ReconciliationWorkflow,
)

pytestmark = pytest.mark.timeout(300)


@on("BTCUSDT ETHUSDT SOLUSDT XRPUSDT")
async def test_cancel_flattens_journals_and_ends_a_trade_in_any_state(
    live: LiveSystem, state: State, symbol: str
) -> None:
    handle = await state(live, symbol)

    await handle.cancel(reason="seen enough")
    await mend(live)
    trade = await live.ended(handle)

    assert await live.status(handle) is Status.CANCELED
    assert trade.state in ENDED
    await nothing_is_left(live, symbol)
    assert await written(live, trade) == trade.state
    assert await live.differences(trade) == []


async def written(live: LiveSystem, trade: Trade) -> TradeState | None:
    row = await live.journal.trade(trade.plan.trade_id)
    return row.state if row else None


@on("ADAUSDT DOGEUSDT LTCUSDT LINKUSDT")
async def test_after_terminate_the_stop_stands_and_reconciliation_owns_what_is_left(
    live: LiveSystem, state: State, symbol: str
) -> None:
    handle = await state(live, symbol)
    before = (await live.view(handle)).trade

    async with never_naked(live, symbol):
        await handle.terminate("by mistake")
        await mend(live)
        for _ in range(2):
            report = await reconcile(live)
        heirs = [r.plan for r in (await live.desk()).reservations if r.plan.symbol == symbol]

        adopted = [plan for plan in heirs if plan.origin is Origin.ADOPTED]
        assert report.left == ()
        if not before.open_qty:
            assert adopted == []
        else:
            [plan] = adopted
            trade = await live.is_open(live.trade(plan))
            assert (trade.adopted_qty, trade.stop) == (before.open_qty, before.stop)
            await live.leave(live.trade(plan))
        await nothing_is_left(live, symbol)


@on("AVAXUSDT BNBUSDT DOTUSDT TRXUSDT")
async def test_after_reset_to_its_begin_a_trade_orders_nothing_twice(
    live: LiveSystem, state: State, symbol: str
) -> None:
    await _reset_and_leave(live, state, symbol, to_last=False)


@on("NEARUSDT ATOMUSDT BCHUSDT UNIUSDT")
async def test_after_reset_by_one_step_a_trade_orders_nothing_twice(
    live: LiveSystem, state: State, symbol: str
) -> None:
    await _reset_and_leave(live, state, symbol, to_last=True)


async def _reset_and_leave(live: LiveSystem, state: State, symbol: str, *, to_last: bool) -> None:
    handle = await state(live, symbol)
    before = (await live.view(handle)).trade
    orders = await live.orders(symbol)

    async with never_naked(live, symbol):
        await reset(live, handle, to_last=to_last)
        again: TradeHandle = live.client.get_workflow_handle(handle.id, result_type=Trade)
        if before.state in {TradeState.ENTERING, TradeState.OPEN}:
            await comes_back(live, again, before)
            assert await live.orders(symbol) == orders
        await mend(live)
        for _ in range(2):
            report = await reconcile(live)
        assert report.left == ()
        trades = [await live.leave(owner) for owner in await owners(live, symbol)]
        trades.append(await live.ended(again))
        await nothing_is_left(live, symbol)

    assert {trade.state for trade in trades} <= ENDED
    links = [o["orderLinkId"] for o in await live.orders(symbol) if o["orderLinkId"]]
    assert len(links) == len(set(links))

    async def are_written() -> bool:
        return all([await written(live, trade) == trade.state for trade in trades])

    await until(are_written)
    assert {trade.plan.origin for trade in trades} == {Origin.SIGNAL}
    assert await live.differences(*trades) == []


async def comes_back(live: LiveSystem, handle: TradeHandle, before: Trade) -> None:
    async def is_so() -> bool:
        view = await live.view(handle)
        is_back = view.trade.state is before.state and not view.busy
        return is_back and view.trade.executions == before.executions

    await until(is_so)


async def owners(live: LiveSystem, symbol: str) -> list[TradeHandle]:
    """Return the trades that hold the symbol and run."""
    found = [
        live.trade(r.plan) for r in (await live.desk()).reservations if r.plan.symbol == symbol
    ]
    return [handle for handle in found if await live.status(handle) is Status.RUNNING]


# --- what always runs -------------------------------------------------------------------------

NEVER_ENDING = ("account", "kill-switch", "notifier")
FOLLOWING = ("stream", "market")


async def all_is_well(live: LiveSystem, trade: TradeHandle, free: str) -> None:
    """See the trade through its end, and another one from its beginning to its end."""

    async def is_reconciled() -> bool:
        desk = await live.desk()
        held = {r.plan.trade_id for r in desk.reservations}
        return desk.reconciled_at is not None and trade.id.rpartition("/")[2] in held

    await until(is_reconciled)
    ended = await live.leave(trade)
    other = await live.leave(await live.open(free))
    assert ended.state is other.state is TradeState.CLOSED
    assert await live.differences(ended, other) == []


@pytest.mark.parametrize(
    ("kind", "held", "free"),
    [
        ("account", "APTUSDT", "ARBUSDT"),
        ("kill-switch", "FILUSDT", "ETCUSDT"),
        ("notifier", "AAVEUSDT", "INJUSDT"),
        ("stream", "SEIUSDT", "TIAUSDT"),
        ("market", "ORDIUSDT", "LDOUSDT"),
    ],
)
async def test_what_always_runs_is_started_again_by_a_reconciliation_after_terminate(
    live: LiveSystem, kind: str, held: str, free: str
) -> None:
    trade, handle = await live.open(held), singleton(live, kind)

    async with never_naked(live, held):
        await handle.terminate("by mistake")
        await reconcile(live)

        assert await run_of(handle)
        await all_is_well(live, trade, free)


@pytest.mark.parametrize("kind", NEVER_ENDING)
async def test_a_cancel_of_what_holds_risk_or_news_is_ignored_and_shown(
    live: LiveSystem, kind: str
) -> None:
    handle = singleton(live, kind)
    before = await run_of(handle)

    await handle.cancel()

    async def is_shown() -> bool:
        found = await handle.query("__temporal_workflow_metadata")
        return "a cancel was ignored" in found.current_details

    await until(is_shown)
    assert await run_of(handle) == before


@pytest.mark.parametrize("kind", FOLLOWING)
async def test_what_only_follows_ends_by_a_cancel_and_is_started_again(
    live: LiveSystem, kind: str
) -> None:
    handle = singleton(live, kind)

    await handle.cancel()

    async def has_ended() -> bool:
        return not await run_of(handle)

    await until(has_ended)
    await reconcile(live)
    assert await run_of(handle)


@pytest.mark.parametrize(
    ("kind", "held", "free"),
    [
        ("account", "RUNEUSDT", "FTMUSDT"),
        ("kill-switch", "GALAUSDT", "SANDUSDT"),
        ("notifier", "MANAUSDT", "AXSUSDT"),
        ("stream", "WIFUSDT", "OPUSDT"),
        ("market", "SUIUSDT", "TONUSDT"),
    ],
)
async def test_what_always_runs_comes_to_where_it_was_after_reset(
    live: LiveSystem, kind: str, held: str, free: str
) -> None:
    trade, handle = await live.open(held), singleton(live, kind)
    before = await run_of(handle)

    async with never_naked(live, held):
        await reset(live, handle)
        for _ in range(2):
            await reconcile(live)

        assert await run_of(handle) not in {"", before}
        gate = await live.journal.gate(live.settings.account)
        assert gate is None or gate.state is GateState.OPEN
        await all_is_well(live, trade, free)


# --- what comes and goes ----------------------------------------------------------------------


@pytest.mark.parametrize("act", ["cancel", "terminate", "reset"])
async def test_a_reconciliation_that_is_ended_is_nothing_to_the_next(
    live: LiveSystem, act: str
) -> None:
    account = live.settings.account
    handle = await live.client.start_workflow(
        ReconciliationWorkflow.run,
        ReconciliationStart(account=account),
        id=f"{ids.reconciliation_workflow(account)}-{act}",
        task_queue=ids.QUEUE_TRADING,
    )
    if act == "reset":
        await handle.result()
        await reset(live, handle)
    else:
        await getattr(handle, act)()

    assert (await reconcile(live)).left == ()


@pytest.mark.parametrize("act", ["cancel", "terminate", "reset"])
async def test_a_case_is_open_until_somebody_decides_whatever_is_done_to_it(
    live: LiveSystem, act: str
) -> None:
    """A person is still asked, and the symbol is still not entered."""
    symbol = {"cancel": "BTCUSDT", "terminate": "ETHUSDT", "reset": "SOLUSDT"}[act]
    instrument, price = await live.bybit.instrument(symbol), await live.price(symbol)
    away = instrument.floor_price(price * Decimal("0.7"))
    order = await live.by_hand(
        "place_order",
        symbol=symbol,
        side="Buy",
        orderType="Limit",
        qty=f"{instrument.floor_qty(200 / away):f}",
        price=f"{away:f}",
    )
    await reconcile(live)
    name = ids.case_workflow(live.settings.account, symbol, "foreign_order")
    case = live.client.get_workflow_handle(name)
    before = await run_of(case)
    assert before

    if act == "reset":
        await reset(live, case)
    else:
        await getattr(case, act)()
    for _ in range(2):
        await reconcile(live)

    assert await run_of(case)
    assert (await live.refused(symbol)).code is RefusalCode.SYMBOL_BLOCKED
    await live.by_hand("cancel_order", symbol=symbol, orderId=order["orderId"])
    for _ in range(2):
        await reconcile(live)

    async def has_ended() -> bool:
        return not await run_of(case)

    await until(has_ended)


# --- strategies -------------------------------------------------------------------------------

PRESET = """\
version: 1
name: {name}
market: {{category: linear, symbols: [1000PEPEUSDT]}}
trigger: {{on: candle, timeframe: 1m}}
strategy: {{plugin: donchian_breakout, params: {{period: 300}}}}
entry: {{type: market, expires_after: 30s}}
exits: {{stop: {{fraction: 0.01}}, target: {{r: 2}}}}
risk: {{sizing: fixed_notional, notional: 500}}
"""


async def at_work(live: LiveSystem, folder: Path, name: str) -> WorkflowHandle[Any, Any]:
    """Apply a preset, and return its strategy once it has heard of a candle."""
    file = folder / f"{name}.yaml"
    file.write_text(PRESET.format(name=name))
    applied = await live.command("apply", file)
    assert applied.code == 0, applied
    handle = live.client.get_workflow_handle(ids.strategy_workflow(name))
    await hears(live, handle)
    return handle


async def hears(live: LiveSystem, handle: WorkflowHandle[Any, Any]) -> None:
    """Let the market go on until the strategy has heard of one more candle."""
    before = (await status_of(handle)).candles
    await is_watched(live, handle, wanted=True)

    async def has_heard() -> bool:
        # The market asks for its watchlist from time to time, and candles before are not told
        await live.step()
        return (await status_of(handle)).candles > before

    await until(has_heard)


async def status_of(handle: WorkflowHandle[Any, Any]) -> StrategyStatus:
    told: StrategyStatus = await handle.query("status", result_type=StrategyStatus)
    return told


async def is_watched(live: LiveSystem, handle: WorkflowHandle[Any, Any], *, wanted: bool) -> None:
    async def is_so() -> bool:
        told: Watchlist = await singleton(live, "market").query("watchlist", result_type=Watchlist)
        return wanted is (handle.id in {ids.strategy_workflow(w.preset) for w in told.watches})

    await until(is_so)


async def test_a_cancelled_strategy_is_told_of_no_candle_any_more(
    live: LiveSystem, tmp_path: Path
) -> None:
    handle = await at_work(live, tmp_path, "cancelled")

    await handle.cancel()

    await is_watched(live, handle, wanted=False)
    assert (await handle.describe()).status is Status.CANCELED


async def test_a_terminated_strategy_is_told_of_and_applied_again_by_a_person(
    live: LiveSystem, tmp_path: Path
) -> None:
    handle = await at_work(live, tmp_path, "terminated")

    await handle.terminate("by mistake")
    await reconcile(live)

    await is_watched(live, handle, wanted=False)
    told = await notice.notices(live.client, live.settings.account)
    assert f"{handle.id}/ended" in {n.key for n in told.open}
    await (await at_work(live, tmp_path, "terminated")).cancel()


async def test_a_strategy_that_was_reset_goes_on_with_the_next_candle(
    live: LiveSystem, tmp_path: Path
) -> None:
    handle = await at_work(live, tmp_path, "resetting")
    before = await status_of(handle)

    await reset(live, handle)
    latest = live.client.get_workflow_handle(handle.id)
    await hears(live, latest)

    after = await status_of(latest)
    assert (after.preset_hash, after.paused) == (before.preset_hash, False)
    await latest.cancel()


async def test_strategies_hear_of_candles_again_after_the_market_was_terminated(
    live: LiveSystem, tmp_path: Path
) -> None:
    handle = await at_work(live, tmp_path, "hearing")

    await singleton(live, "market").terminate("by mistake")
    await reconcile(live)

    await hears(live, handle)
    await handle.cancel()


# --- the one that must not be reset -----------------------------------------------------------


async def test_a_kill_switch_that_is_reset_repeats_its_trips_and_ends_with_the_gate_it_had(
    live: LiveSystem,
) -> None:
    account, handle = live.settings.account, singleton(live, "kill-switch")

    async def is_open_again() -> bool:
        state = await live.switch()
        return state.step == "waiting" and state.gate.state is GateState.OPEN

    await kill_switch.trip(live.client, account, reason="smoke", by="ann")
    await kill_switch.rearm(live.client, account, reason="toast", by="ann")
    await until(is_open_again)
    trade = await live.open("LTCUSDT")

    async with never_naked(live, "LTCUSDT"):
        await reset(live, handle)
        ended = await live.ended(trade)
        await until(is_open_again)

    assert ended.exit_reason is ExitReason.KILL_SWITCH
    gate = await live.journal.gate(account)
    assert gate is not None
    assert (gate.state, gate.by) == (GateState.OPEN, "ann")
