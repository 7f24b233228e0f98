"""Promise 7: a mismatch blocks entries, never exits, and ends by policy or by a person."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import ScheduleOverlapPolicy, WorkflowExecutionStatus, WorkflowHandle

from tests.system.conftest import running_system
from tests.system.live_system import LIMITS, LiveSystem, until
from tests.system.second_look import reconcile
from tradewright import ids
from tradewright.domain.account import Approved, RefusalCode
from tradewright.domain.case import Case, CaseState
from tradewright.domain.event import EventKind
from tradewright.domain.gate import GateState
from tradewright.domain.reconciliation import Policies
from tradewright.domain.trade import TradeState
from tradewright.settings import Settings

pytestmark = pytest.mark.timeout(300)


async def look(live: LiveSystem) -> None:
    """Have the next reconciliation run now."""
    schedule = live.client.get_schedule_handle(ids.reconciliation_workflow(live.settings.account))
    await schedule.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE)


async def blocked(live: LiveSystem, symbol: str) -> bool:
    return symbol in {block.symbol for block in (await live.desk()).blocks}


async def is_blocked(live: LiveSystem, symbol: str, wanted: bool = True) -> None:
    async def is_so() -> bool:
        return await blocked(live, symbol) is wanted

    await until(is_so)


def case_on(live: LiveSystem, symbol: str, kind: str = "foreign_order") -> WorkflowHandle[Any, Any]:
    name = ids.case_workflow(live.settings.account, symbol, kind)
    return live.client.get_workflow_handle(name)


async def view(handle: WorkflowHandle[Any, Any]) -> Case:
    told: Case = await handle.query("case", result_type=Case)
    return told


async def is_in(handle: WorkflowHandle[Any, Any], state: CaseState) -> Case:
    async def is_so() -> Case | None:
        case = await view(handle)
        return case if case.state is state else None

    found = await until(is_so)
    assert found is not None
    return found


async def order_by_hand(live: LiveSystem, symbol: str, link: str = "") -> str:
    """Leave an order at the exchange that no candle of the test reaches."""
    instrument, price = await live.bybit.instrument(symbol), await live.price(symbol)
    away = instrument.floor_price(price * Decimal("0.7"))
    placed = await live.by_hand(
        "place_order",
        symbol=symbol,
        side="Buy",
        orderType="Limit",
        qty=f"{instrument.floor_qty(200 / away):f}",
        price=f"{away:f}",
        orderLinkId=link,
    )
    return str(placed["orderId"])


async def status_of(live: LiveSystem, symbol: str, order_id: str) -> str:
    (found,) = (o for o in await live.orders(symbol) if o["orderId"] == order_id)
    return str(found["orderStatus"])


async def asked_about_an_order(
    live: LiveSystem, symbol: str
) -> tuple[str, WorkflowHandle[Any, Any]]:
    """Have a person asked about an order that is not ours."""
    order_id = await order_by_hand(live, symbol)
    await look(live)
    handle = case_on(live, symbol)
    await is_in(handle, CaseState.OPEN)
    return order_id, handle


async def test_a_position_opened_by_hand_blocks_its_symbol_and_gets_an_owner_and_a_stop(
    live: LiveSystem,
) -> None:
    """B6: what the exchange holds decides, whoever has opened it."""
    instrument = await live.bybit.instrument("XRPUSDT")
    qty = str(instrument.min_qty * 100)
    await live.by_hand("place_order", symbol="XRPUSDT", side="Buy", orderType="Market", qty=qty)
    await live.refresh()

    refusals = [(await live.refused("XRPUSDT")).code]
    await look(live)

    async def protected() -> bool:
        refusals.append((await live.refused("XRPUSDT")).code)
        position = await live.position("XRPUSDT")
        return position is not None and bool(position["stopLoss"])

    await until(protected)
    await is_blocked(live, "XRPUSDT", wanted=False)
    (held,) = (r.plan for r in (await live.desk()).reservations if r.plan.symbol == "XRPUSDT")
    adopted = live.trade(held)
    trade = await live.is_open(adopted)
    ended = await live.leave(adopted)

    assert refusals[0] is RefusalCode.SYMBOL_TAKEN
    # From the first look on
    assert RefusalCode.SYMBOL_BLOCKED in refusals
    assert (trade.plan.preset, trade.open_qty) == ("adopted", Decimal(qty))
    assert ended.state is TradeState.CLOSED
    assert await live.position("XRPUSDT") is None


async def test_a_mismatch_blocks_entries_on_its_symbol_alone_and_never_exits(
    live: LiveSystem,
) -> None:
    trade = await live.open("SOLUSDT")
    _, case = await asked_about_an_order(live, "SOLUSDT")
    await is_blocked(live, "SOLUSDT")

    elsewhere = await live.reserve("ADAUSDT")
    ended = await live.leave(trade)
    refusal = await live.refused("SOLUSDT")
    await case.signal("decide", {"choice": "fix", "by": "ann"})
    await until(lambda: has_ended(case))

    assert ended.state is TradeState.CLOSED
    assert refusal.code is RefusalCode.SYMBOL_BLOCKED
    assert isinstance(elsewhere, Approved)


async def has_ended(handle: WorkflowHandle[Any, Any]) -> bool:
    return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING


async def test_a_person_decides_a_case_from_the_command_line_and_it_ends_when_verified(
    live: LiveSystem,
) -> None:
    """B4: a difference that the system must not mend by itself waits for a named person."""
    order_id, handle = await asked_about_an_order(live, "ETHUSDT")
    await is_blocked(live, "ETHUSDT")

    listed = await live.command("case", "list", "--output", "json")
    shown = await live.command("case", "show", "ETHUSDT")
    wrong = await live.command("case", "decide", "ETHUSDT", "adopt", "--by", "ann")
    decided = await live.command(
        "case", "decide", "ETHUSDT", "fix", "--by", "ann", "--reason", "not mine"
    )
    await until(lambda: has_ended(handle))
    ended = await view(handle)
    await is_blocked(live, "ETHUSDT", wanted=False)

    (line,) = (c for c in listed.document["cases"] if c["symbol"] == "ETHUSDT")
    assert (line["state"], line["choices"]) == ("open", ["fix", "ignore"])
    assert "what differs" in shown.out
    assert (wrong.code, "adopt is no choice here" in wrong.err) == (6, True)
    assert decided.code == 0, decided.err
    assert ended.outcome == "fix by ann, verified"
    assert await status_of(live, "ETHUSDT", order_id) == "Cancelled"
    assert isinstance(await live.reserve("ETHUSDT"), Approved)


async def test_a_case_that_was_ignored_stays_quiet_over_a_killed_worker_until_it_changes(
    live: LiveSystem,
) -> None:
    first, handle = await asked_about_an_order(live, "DOGEUSDT")
    await handle.signal("decide", {"choice": "ignore", "by": "ann", "reason": "mine"})
    await is_in(handle, CaseState.IGNORED)
    await is_blocked(live, "DOGEUSDT", wanted=False)

    await live.kill_and_restart("worker")
    await reconcile(live)
    quiet = await view(handle)
    entered = await live.reserve("DOGEUSDT")
    second = await order_by_hand(live, "DOGEUSDT")
    await look(live)
    asked = await is_in(handle, CaseState.OPEN)
    for order_id in (first, second):
        await live.by_hand("cancel_order", symbol="DOGEUSDT", orderId=order_id)

    assert (quiet.state, quiet.escalations) == (CaseState.IGNORED, 0)
    assert isinstance(entered, Approved)
    assert asked.remark == "it is no longer what was ignored"


async def test_a_worker_that_is_killed_while_a_case_is_open_forgets_nothing(
    live: LiveSystem,
) -> None:
    order_id, handle = await asked_about_an_order(live, "LINKUSDT")
    await is_blocked(live, "LINKUSDT")

    dead = live.child("worker").pid
    await live.kill("worker")
    # Nobody works, and Temporal keeps what was decided
    await handle.signal("decide", {"choice": "fix", "by": "ann", "reason": "not mine"})
    await live.restarted("worker", dead)

    async def has_acted() -> bool:
        return (await view(handle)).acted_at is not None

    await until(has_acted)
    # The one of its start may have begun before
    await reconcile(live)
    await until(lambda: has_ended(handle))
    ended = await view(handle)

    assert ended.outcome == "fix by ann, verified"
    assert await status_of(live, "LINKUSDT", order_id) == "Cancelled"
    changes = await journaled(live, handle.id)
    assert [c for c in changes if c in {"opened", "decided", "closed"}] == [
        "opened",
        "decided",
        "closed",
    ]


async def journaled(live: LiveSystem, chain: str) -> list[str]:
    async def written() -> list[str]:
        rows = await live.journal.events(chain=chain, kind=EventKind.CASE_CHANGED)
        found = [str(row.event.data["change"]) for row in rows]
        return found if "closed" in found else []

    return sorted(await until(written), key=["opened", "decided", "acted", "closed"].index)


async def test_an_order_of_ours_without_a_live_trade_is_cancelled(live: LiveSystem) -> None:
    """A8: an order that came to life after its trade had gone is found and removed."""
    link = ids.order_link("tw" + "q" * 16, "e", 1)
    await order_by_hand(live, "AVAXUSDT", link)

    await look(live)

    async def cancelled() -> bool:
        (order,) = await live.orders_with(link)
        return bool(order["orderStatus"] == "Cancelled")

    await until(cancelled)


async def test_a_stop_that_a_person_has_loosened_is_put_back(live: LiveSystem) -> None:
    """B5: the stop stands at the exchange, where its trade wants it."""
    handle = await live.open("BTCUSDT")
    trade = (await live.view(handle)).trade
    wanted, tick = trade.wanted_stop, trade.plan.instrument.tick_size
    assert wanted is not None
    looser = trade.plan.instrument.floor_price(wanted - 100 * tick)
    await live.by_hand(
        "set_trading_stop",
        symbol="BTCUSDT",
        tpslMode="Full",
        stopLoss=f"{looser:f}",
        positionIdx=0,
    )

    await look(live)

    async def restored() -> bool:
        position = await live.position("BTCUSDT")
        return position is not None and Decimal(position["stopLoss"]) == wanted

    await until(restored)
    await live.leave(handle)


async def test_safe_mode_enters_nothing_and_manages_everything_else(live: LiveSystem) -> None:
    handle = await live.open("LTCUSDT")

    on = await live.command("safe-mode", "on", "--by", "ann", "--reason", "maintenance")
    refusal = await live.refused("BNBUSDT")
    ended = await live.leave(handle)
    off = await live.command("safe-mode", "off", "--by", "ann", "--reason", "done")

    assert (on.code, off.code) == (0, 0), on.err + off.err
    assert refusal.code is RefusalCode.GATE_CLOSED
    assert ended.state is TradeState.CLOSED


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[LiveSystem]:
    """A system of its own that trips on a position which no trade owns."""
    settings = Settings(limits=LIMITS, reconciliation=Policies(orphan_position="trip"))
    async with running_system(settings, tmp_path) as running:
        yield running


async def test_what_must_not_be_trips_the_kill_switch_where_the_settings_say_so(
    strict: LiveSystem,
) -> None:
    instrument = await strict.bybit.instrument("XRPUSDT")
    await strict.by_hand(
        "place_order",
        symbol="XRPUSDT",
        side="Buy",
        orderType="Market",
        qty=str(instrument.min_qty * 100),
    )

    await look(strict)

    async def is_flat() -> bool:
        switch = await strict.switch()
        halted = switch.gate.state is GateState.HALTED and not switch.flattening
        return halted and await strict.position("XRPUSDT") is None

    await until(is_flat)
    gate = (await strict.switch()).gate
    rearmed = await strict.command("kill", "rearm", "--by", "ann", "--reason", "it was me")

    assert gate.by == "reconciliation"
    assert gate.reason.startswith("orphan_position: Buy ")
    assert rearmed.code == 0, rearmed.err
