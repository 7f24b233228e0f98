"""One trade per account and symbol; exits are sized from the exchange's position.

The invariant is the desk's: whoever asks at once, whoever dies meanwhile, whatever another
program holds on the same account.
"""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from tests.system.live_system import LiveSystem, until
from tests.system.second_look import reconcile
from tradewright import ids
from tradewright.domain.account import Account, Approved, Decision, RefusalCode, Refused
from tradewright.domain.gate import GateState
from tradewright.domain.market import Side
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)

Code = RefusalCode
TAKEN = {Code.SYMBOL_TAKEN, Code.SYMBOL_BLOCKED}


# --- hands ------------------------------------------------------------------------------------


def desk_of(live: LiveSystem) -> WorkflowHandle[Any, Any]:
    return live.client.get_workflow_handle(ids.account_workflow(live.settings.account))


async def reborn(live: LiveSystem) -> Account:
    """Terminate the desk, and return the one that takes its place, reconciled."""
    before = (await live.desk()).started_at
    await desk_of(live).terminate(reason="an operator's mistake")
    await reconcile(live)

    async def is_so() -> Account | None:
        desk = await live.desk()
        is_ready = desk.started_at > before and desk.reconciled_at and desk.snapshot
        return desk if is_ready else None

    found = await until(is_so)
    assert found is not None
    return found


def approvals(decisions: list[Decision]) -> list[Approved]:
    return [decision for decision in decisions if isinstance(decision, Approved)]


async def is_given(live: LiveSystem, symbol: str) -> bool:
    """Ask for the symbol once more, and return whether somebody has it then."""
    decision = await live.reserve(symbol)
    return isinstance(decision, Approved) or decision.code is Code.SYMBOL_TAKEN


# --- one trade --------------------------------------------------------------------------------


async def test_of_many_wishes_at_once_one_becomes_a_trade(live: LiveSystem) -> None:
    decisions = await asyncio.gather(
        *(live.reserve("ADAUSDT", side) for side in (Side.BUY, Side.SELL) for _ in range(10))
    )

    [approved] = approvals(decisions)
    assert {d.code for d in decisions if isinstance(d, Refused)} == {Code.SYMBOL_TAKEN}
    handle = await live.start(approved.plan)
    await live.is_open(handle)
    assert (await live.refused("ADAUSDT")).code is Code.SYMBOL_TAKEN
    trade = await live.leave(handle)
    assert len(await live.orders_with(trade.plan.trade_id)) == 2
    assert await live.differences(trade) == []


async def test_a_worker_that_dies_over_the_wishes_makes_no_second_trade(live: LiveSystem) -> None:
    """F6: the desk alone gives a symbol away, and it remembers to whom."""
    dead = live.child("worker").pid

    async def ask(number: int) -> Decision | None:
        if number == 4:
            await live.kill("worker")
        try:
            return await live.reserve("LTCUSDT")
        except Exception:
            # An answer that was lost; the wish may still have been granted
            return None

    decisions = await asyncio.gather(*(ask(number) for number in range(10)))
    await live.restarted("worker", dead)
    if not approvals([decision for decision in decisions if decision is not None]):
        # The old worker may have died before any, and the new one not have been ready for them
        await until(lambda: is_given(live, "LTCUSDT"))
    desk = await until(live.desk)

    held = [r.plan for r in desk.reservations if r.plan.symbol == "LTCUSDT"]
    assert len(held) == 1
    answered = [decision for decision in decisions if decision is not None]
    assert [a.plan for a in approvals(answered)] in ([], held)
    trade = await live.leave(await live.start(held[0]))
    assert trade.is_final


async def test_a_new_desk_knows_the_trades_that_run_before_it_allows_another(
    live: LiveSystem,
) -> None:
    """B7: after a restart nothing is entered as if flat."""
    handle = await live.open("LINKUSDT")
    before = await live.desk()

    after = await reborn(live)

    held = [r.plan.symbol for r in after.reservations]
    assert held == [r.plan.symbol for r in before.reservations] == ["LINKUSDT"]
    assert (await live.refused("LINKUSDT")).code is Code.SYMBOL_TAKEN
    assert await live.status(handle) is WorkflowExecutionStatus.RUNNING
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_what_another_program_holds_is_neither_traded_nor_taken_away(
    live: LiveSystem,
) -> None:
    """F6: two programs on one account do not take each other's orders."""
    handle = await live.open("DOTUSDT")
    price = await live.price("DOTUSDT")
    resting = await live.by_hand(
        "place_order",
        symbol="DOTUSDT",
        side="Buy",
        orderType="Limit",
        qty="10",
        price=f"{(price * Decimal('0.9')).quantize(Decimal('0.01')):f}",
        orderLinkId=f"other-bot-{uuid.uuid4().hex[:8]}",
    )
    await live.by_hand("place_order", symbol="UNIUSDT", side="Buy", orderType="Market", qty="1")
    await live.refresh()

    refused = await live.refused("UNIUSDT")
    trade = await live.leave(handle)
    await reconcile(live)

    assert refused.code in TAKEN
    assert trade.state is TradeState.CLOSED
    status = {o["orderId"]: o["orderStatus"] for o in await live.orders("DOTUSDT")}
    assert status[resting["orderId"]] == "New"
    await live.by_hand("cancel_order", symbol="DOTUSDT", orderId=resting["orderId"])


# --- exits ------------------------------------------------------------------------------------


async def test_an_exit_is_as_large_as_what_the_exchange_holds(live: LiveSystem) -> None:
    handle = await live.open("XRPUSDT")
    held = Decimal((await live.position("XRPUSDT") or {})["size"])
    part = (held / 4).quantize(Decimal(1))
    await live.by_hand(
        "place_order",
        symbol="XRPUSDT",
        side="Sell",
        orderType="Market",
        qty=f"{part:f}",
        reduceOnly=True,
    )

    trade = await live.leave(handle)

    assert trade.state is TradeState.CLOSED
    assert await live.position("XRPUSDT") is None
    [exit_] = [o for o in await live.orders_with(trade.plan.trade_id) if o["reduceOnly"]]
    assert Decimal(exit_["qty"]) == held - part
    assert await live.differences(trade) == []


# --- what the desk measures against -----------------------------------------------------------


async def test_a_withdrawal_and_the_desks_own_end_change_no_loss(live: LiveSystem) -> None:
    """E7: money that is moved is no loss, and the peak outlives the desk, kill -9 or terminate."""
    await live.refresh()
    before = await live.desk()
    assert before.snapshot is not None
    part = (before.snapshot.wallet / 2).quantize(Decimal(1))

    await live.by_hand(
        "create_internal_transfer",
        transferId=str(uuid.uuid4()),
        coin="USDT",
        amount=f"{part:f}",
        fromAccountType="UNIFIED",
        toAccountType="FUND",
    )
    for _ in range(3):
        await live.refresh()
    less = await live.desk()
    await live.kill_and_restart("worker")
    fresh = await reborn(live)

    for desk in (less, fresh):
        assert desk.snapshot is not None
        assert desk.snapshot.equity < before.snapshot.equity - part + 100
        assert abs(desk.drawdown_fraction - before.drawdown_fraction) < Decimal("0.001")
        assert abs(desk.day_loss_fraction - before.day_loss_fraction) < Decimal("0.001")
    assert fresh.is_rebuilt
    assert fresh.realised_today == less.realised_today
    assert (await live.switch()).gate.state is GateState.OPEN
