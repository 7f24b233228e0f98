"""What people and other programs do to a running system: it is told, mended, halted, refused."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.client import WorkflowExecutionStatus

from activities.secrets import ExchangeKey, VaultSecrets
from tests.system.live_system import LIMITS, LiveSystem, TradeHandle, until
from tests.system.second_look import reconcile
from tradewright import ids
from tradewright.app import kill_switch
from tradewright.app.connect import opened_journal
from tradewright.app.survey import feeds, overview
from tradewright.domain.account import RefusalCode
from tradewright.domain.event import EventKind
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.trade import Trade, TradeState
from workflows.account import LimitsWish

pytestmark = pytest.mark.timeout(300)

PRESET = """\
version: 1
name: misspelled
market: {category: linear, symbols: [BTCUSDT, ETHUSTD]}
trigger: {on: candle, timeframe: 1m}
strategy: {plugin: donchian_breakout, params: {period: 8}}
entry: {type: market, expires_after: 30s}
exits: {stop: {fraction: 0.01}, target: {r: 2}}
risk: {sizing: fixed_notional, notional: 500}
"""

LITTLE = LIMITS.model_copy(update={"max_daily_loss_fraction": Decimal("0.0000001")})
"""Limits that the fees of a single trade break."""


async def test_request_cancellation_flattens_and_journals_the_trade(live: LiveSystem) -> None:
    handle = await live.open("BTCUSDT", Side.SELL)

    await handle.cancel(reason="seen enough")
    trade = await live.ended(handle)

    assert await live.status(handle) is WorkflowExecutionStatus.CANCELED
    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.CANCELLED)
    assert await live.position("BTCUSDT") is None
    written = await live.journal.trade(trade.plan.trade_id)
    assert written is not None
    assert (written.state, written.exit_note) == (TradeState.CLOSED, "seen enough")
    assert await live.differences(trade) == []


async def test_safe_mode_keeps_entries_out_and_the_open_trade_managed(live: LiveSystem) -> None:
    handle = await live.open("BTCUSDT")
    before = await live.approved("ETHUSDT")
    account = live.settings.account

    await kill_switch.safe_mode(live.client, account, on=True, reason="maintenance", by="ann")
    refused = await live.refused("SOLUSDT")
    late = await live.ended(await live.start(before))
    trade = await live.is_open(handle)
    stop = trade.plan.instrument.ceil_price(trade.plan.price * Decimal("0.97"))
    await handle.execute_update("move_stop", {"price": str(stop), "by": "ann"})

    async def moved() -> bool:
        return (await live.view(handle)).trade.stop == stop

    await until(moved)
    position = await live.position("BTCUSDT")
    assert position is not None
    assert Decimal(position["stopLoss"]) == stop
    assert (refused.code, "maintenance" in refused.reason) == (RefusalCode.GATE_CLOSED, True)
    # Approved before the gate was closed, and stopped by it all the same
    assert late.state is TradeState.REJECTED
    assert late.rejection.startswith("gate_closed: the gate is exits_only by ann")
    assert await live.orders("ETHUSDT") == []
    trade = await live.leave(handle)
    await kill_switch.safe_mode(live.client, account, on=False, reason="done", by="ann")
    assert await live.differences(trade, late) == []


async def test_a_symbol_that_is_not_listed_is_not_applied_and_the_nearest_is_named(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = tmp_path / "misspelled.yaml"
    preset.write_text(PRESET)

    applied = await live.command("apply", preset)

    assert applied.code == 3, applied
    assert f"{preset}:3:47: error: market.symbols" in applied.out
    assert "'ETHUSTD' is not listed" in applied.out
    assert "did you mean 'ETHUSDT'?" in applied.out
    assert applied.err.startswith("error: nothing was applied")
    assert [w.id async for w in live.client.list_workflows("WorkflowType='StrategyWorkflow'")] == []


async def test_with_a_wrong_key_entries_are_rejected_and_the_status_says_what_to_do(
    live: LiveSystem,
) -> None:
    vault, right = VaultSecrets.of(live.settings), live.key
    wrong = ExchangeKey(api_key=right.api_key, api_secret=SecretStr("b7" + "0f3c" * 9))
    await live.refresh()
    # A stream that is refused lets the desk approve nothing
    plan = await live.approved("BNBUSDT")
    await vault.write_exchange_key(wrong)
    try:
        await live.kill_and_restart("worker")
        trade = await live.ended(await live.start(plan))
        assert trade.state is TradeState.REJECTED
        assert trade.rejection.startswith("key_refused: ")
        assert "write a valid key for this venue to Vault" in trade.rejection
        assert right.api_key.get_secret_value() not in trade.rejection
        assert await live.orders("BNBUSDT") == []

        async def complaint() -> str:
            async with opened_journal(live.settings) as journal:
                seen = await overview(
                    live.client,
                    live.settings,
                    lambda: journal.gate(live.settings.account),
                    now=datetime.now(UTC),
                )
            needs = {need.workflow_id: need.why for need in seen.needs}
            return needs.get(ids.account_workflow(live.settings.account), "")

        async def deafness() -> str:
            seen = await feeds(live.client, live.settings.account)
            return next((f.state for f in seen if f.name == "private stream" and not f.works), "")

        told = await until(complaint)
        assert "refused auth" in await until(deafness)
        assert told.startswith("no snapshot of the account: ")
        assert "write a valid key" in told
    finally:
        await vault.write_exchange_key(right)
    # Nobody has to restart anything
    trade = await live.leave(await live.open("BNBUSDT"))
    assert await live.differences(trade) == []


@dataclass
class Strangers:
    """What other hands have done to the account, and the trades that it concerned."""

    terminated: Trade
    closed_by_hand: TradeHandle
    stop_removed: TradeHandle
    unknown_order_id: str
    taken_over: dict[str, TradeHandle]


@pytest.fixture(scope="module")
async def strangers(live: LiveSystem) -> Strangers:
    """Make the books differ in every way, and reconcile them."""
    market = {"orderType": "Market", "positionIdx": 0}
    closed_by_hand = await live.open("ADAUSDT")
    stop_removed = await live.open("DOGEUSDT", Side.SELL)
    handle = await live.open("LTCUSDT")
    terminated = (await live.view(handle)).trade
    held = (await live.view(closed_by_hand)).trade.open_qty
    limit = (await live.bybit.instrument("AVAXUSDT")).floor_price(
        await live.price("AVAXUSDT") * Decimal("0.9")
    )

    await live.by_hand("place_order", symbol="LINKUSDT", side="Buy", qty="20", **market)
    await live.by_hand("place_order", symbol="ADAUSDT", side="Sell", qty=str(held), **market)
    await live.by_hand("set_trading_stop", symbol="DOGEUSDT", positionIdx=0, stopLoss="0")
    await handle.terminate("by mistake")
    unknown = await live.by_hand(
        "place_order",
        symbol="AVAXUSDT",
        side="Buy",
        orderType="Limit",
        qty="10",
        price=str(limit),
        orderLinkId=ids.order_link("tw" + "a" * 16, "e", 1),
    )
    await reconcile(live)

    async def taken_over() -> dict[str, TradeHandle] | None:
        plans = [r.plan for r in (await live.desk()).reservations]
        found = {p.symbol: live.trade(p) for p in plans if p.origin is Origin.ADOPTED}
        return found if found.keys() == {"LINKUSDT", "LTCUSDT"} else None

    adopted = await until(taken_over)
    assert adopted is not None
    return Strangers(terminated, closed_by_hand, stop_removed, unknown["orderId"], adopted)


async def test_a_position_made_by_hand_is_adopted_and_given_a_stop(
    live: LiveSystem, strangers: Strangers
) -> None:
    trade = await live.is_open(strangers.taken_over["LINKUSDT"])

    position = await live.position("LINKUSDT")
    assert position is not None
    assert trade.adopted_qty == Decimal(position["size"]) == Decimal(20)
    assert trade.stop == Decimal(position["stopLoss"]) < trade.adopted_price
    written = await live.journal.events(kind=EventKind.DISCREPANCY)
    assert [e.event.data["discrepancy"]["kind"] for e in written if e.event.symbol == "LINKUSDT"]
    trade = await live.leave(strangers.taken_over["LINKUSDT"])
    assert trade.state is TradeState.CLOSED
    assert await live.position("LINKUSDT") is None
    assert await live.differences(trade) == []


async def test_a_terminated_trade_keeps_its_stop_and_its_position_gets_another_owner(
    live: LiveSystem, strangers: Strangers
) -> None:
    terminated, heir = strangers.terminated, strangers.taken_over["LTCUSDT"]

    trade = await live.is_open(heir)

    assert trade.plan.trade_id != terminated.plan.trade_id
    assert (trade.adopted_qty, trade.stop) == (terminated.open_qty, terminated.stop)
    await live.refresh()
    snapshot = (await live.desk()).snapshot
    assert snapshot is not None
    held = {p.symbol: (p.qty, p.stop_loss) for p in snapshot.positions}
    assert held["LTCUSDT"] == (terminated.open_qty, terminated.stop)
    assert (await live.leave(heir)).state is TradeState.CLOSED
    assert await live.position("LTCUSDT") is None


async def test_a_position_closed_by_hand_closes_its_trade_with_the_executions_found(
    live: LiveSystem, strangers: Strangers
) -> None:
    trade = await live.ended(strangers.closed_by_hand)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.BY_HAND)
    assert (len(trade.exits), trade.open_qty) == (1, Decimal(0))
    assert await live.differences(trade) == []


async def test_a_stop_removed_by_hand_is_set_again(live: LiveSystem, strangers: Strangers) -> None:
    async def stop() -> Decimal | None:
        position = await live.position("DOGEUSDT")
        return Decimal(position["stopLoss"] or 0) if position else None

    trade = (await live.view(strangers.stop_removed)).trade
    assert await until(stop) == trade.plan.stop_loss
    trade = await live.leave(strangers.stop_removed)
    assert await live.differences(trade) == []


async def test_an_order_of_ours_that_no_trade_knows_is_cancelled(
    live: LiveSystem, strangers: Strangers
) -> None:
    status = {o["orderId"]: o["orderStatus"] for o in await live.orders("AVAXUSDT")}

    assert status[strangers.unknown_order_id] == "Cancelled"


@pytest.fixture(scope="module")
async def tripped(live: LiveSystem) -> list[Trade]:
    """Lose more than a day may; kill the kill worker as soon as it has sent its first order."""
    handles = [await live.open("SOLUSDT"), await live.open("XRPUSDT", Side.SELL)]
    await set_limits(live, LITTLE)
    await live.refresh()

    async def has_sent() -> bool:
        return bool(await live.orders_with("kill-"))

    await until(has_sent)
    await live.kill_and_restart("kill-worker")
    return [await live.ended(handle) for handle in handles]


async def set_limits(live: LiveSystem, limits: Any) -> None:
    desk = live.client.get_workflow_handle(ids.account_workflow(live.settings.account))
    await desk.execute_update("limits", LimitsWish(limits=limits, by="test"))


async def test_a_loss_beyond_the_days_limit_halts_and_flattens_the_account(
    live: LiveSystem, tripped: list[Trade]
) -> None:
    gate = await live.journal.gate(live.settings.account)
    assert gate is not None
    assert (gate.state, gate.by) == (GateState.HALTED, "risk monitor")
    assert gate.reason.startswith("max_daily_loss: equity fell")
    assert (await live.refused("BTCUSDT")).code is RefusalCode.GATE_CLOSED
    assert {(t.state, t.exit_reason) for t in tripped} == {
        (TradeState.CLOSED, ExitReason.KILL_SWITCH)
    }
    assert await live.differences(*tripped) == []


async def test_a_kill_worker_killed_in_the_middle_of_a_trip_reads_flat_twice_and_stays_halted(
    live: LiveSystem, tripped: list[Trade]
) -> None:
    async def is_done() -> bool:
        state = await live.switch()
        return state.step == "waiting" and not state.flattening

    await until(is_done)
    assert (await live.switch()).gate.state is GateState.HALTED
    assert (await live.by_hand("get_positions", settleCoin="USDT"))["list"] == []
    filled = [o for o in await live.orders_with("kill-") if o["orderStatus"] == "Filled"]
    assert all(o["reduceOnly"] for o in filled)
    assert {t.plan.symbol for t in tripped} <= {o["symbol"] for o in filled}

    async def is_written() -> bool:
        written = await live.journal.events(kind=EventKind.KILL_SWITCH)
        return "flat" in [e.event.data["step"] for e in written]

    await until(is_written)


async def test_only_a_named_person_opens_the_gate_again(
    live: LiveSystem, tripped: list[Trade]
) -> None:
    account = live.settings.account

    await kill_switch.rearm(live.client, account, reason="looked at it", by="ann")
    # On the same day the limit still holds, though it does not trip again
    await set_limits(live, LITTLE)
    await live.refresh()
    assert (await live.refused("BTCUSDT")).code is RefusalCode.MAX_DAILY_LOSS
    await set_limits(live, LIMITS)

    trade = await live.leave(await live.open("BTCUSDT"))
    assert trade.state is TradeState.CLOSED
    gate = await live.journal.gate(account)
    assert gate is not None
    assert (gate.state, gate.by) == (GateState.OPEN, "ann")
    assert await live.differences(trade) == []
