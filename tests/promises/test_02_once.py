"""Once: whatever becomes of an answer, a process or a workflow, no order is sent a second time."""

import signal
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)

WISH = {"note": "enough", "by": "ann"}


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


def exit_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "x", 2)


async def links_of(live: LiveSystem, plan: TradePlan) -> list[str]:
    """Return the link of every order that the trade ever had at the exchange."""
    return sorted(o["orderLinkId"] for o in await live.orders_with(plan.trade_id))


# --- killed between the request and its answer ------------------------------------------------


@dataclass
class Survivors:
    """Two trades whose orders the exchange had taken when the worker was killed."""

    entering: TradeHandle
    entry_link: str
    leaving: TradeHandle
    exit_link: str


@pytest.fixture(scope="module")
async def survivors(live: LiveSystem) -> Survivors:
    leaving = await live.open("ETHUSDT", Side.SELL)
    plan = await live.approved("BTCUSDT")
    entry, out = entry_link(plan), ids.order_link(leaving.id.rpartition("/")[2], "x", 2)
    for link in (entry, out):
        await live.stall(link)
    entering = await live.start(plan)
    await leaving.signal("exit", WISH)
    await live.kill_worker_unanswered([entry, out])
    return Survivors(entering, entry, leaving, out)


async def test_a_worker_killed_before_it_recorded_the_entry_never_sends_it_twice(
    live: LiveSystem, survivors: Survivors
) -> None:
    """A2: the order that a dead worker has sent is found, not sent again."""
    trade = await live.is_open(survivors.entering)
    sent = await live.orders_with(trade.plan.trade_id)
    assert [o["orderLinkId"] for o in sent] == [survivors.entry_link]
    assert trade.entry_order_id == sent[0]["orderId"]
    assert await live.attempts_of(survivors.entering, "place_entry") == [2]

    trade = await live.leave(survivors.entering)

    assert trade.state is TradeState.CLOSED
    assert await live.position("BTCUSDT") is None
    assert await live.differences(trade) == []


async def test_a_worker_killed_in_the_middle_of_a_flatten_closes_the_position_once(
    live: LiveSystem, survivors: Survivors
) -> None:
    """C8: a close that was filled and not recorded is not repeated."""
    trade = await live.ended(survivors.leaving)

    assert await live.attempts_of(survivors.leaving, "flatten") == [2]
    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.OPERATOR)
    exits = [o for o in await live.orders("ETHUSDT") if o["reduceOnly"] and o["orderLinkId"]]
    assert [(o["orderLinkId"], o["orderStatus"]) for o in exits] == [
        (survivors.exit_link, "Filled")
    ]
    assert await live.position("ETHUSDT") is None
    assert await live.differences(trade) == []


# --- answers that are lost --------------------------------------------------------------------

LOST_ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SOLUSDT": ("reset", {}),
    "XRPUSDT": ("http_error", {"status": 502, "acceptance": "after"}),
    "DOGEUSDT": ("malformed_json", {"body": "html"}),
    "ADAUSDT": ("code_10016", {}),
}


@pytest.mark.parametrize("symbol", LOST_ANSWERS)
async def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(
    live: LiveSystem, symbol: str
) -> None:
    """A2: the exchange took it, entry and exit alike, and its answer never came."""
    kind, terms = LOST_ANSWERS[symbol]
    plan = await live.approved(symbol)
    links = [entry_link(plan), exit_link(plan)]
    for link in links:
        await live.fault(kind, link, when={"order_link": link, "times": 1}, **terms)

    handle = await live.start(plan)
    opened = await live.is_open(handle)
    trade = await live.leave(handle)

    for link in links:
        await live.struck(link)
    assert await links_of(live, plan) == links
    assert (opened.entry_qty, trade.state) == (plan.qty, TradeState.CLOSED)
    assert await live.attempts_of(handle, "place_entry") == [2]
    assert await live.attempts_of(handle, "flatten") == [2]
    assert await live.differences(trade) == []


async def test_a_request_that_never_arrived_is_sent_again_under_the_same_link(
    live: LiveSystem,
) -> None:
    """A9: "ordering again" is the same order, and only once it cannot land any more."""
    plan = await live.approved("AVAXUSDT")
    link = entry_link(plan)
    await live.fault("reset", link, acceptance="before", when={"order_link": link, "times": 1})

    handle = await live.start(plan)
    await live.struck(link)
    trade = await live.is_open(handle)

    assert await links_of(live, plan) == [link]
    assert await live.attempts_of(handle, "place_entry") == [2]
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_an_entry_that_no_read_shows_in_time_meets_its_own_duplicate(
    live: LiveSystem,
) -> None:
    """A2: sent again because reads lag, it is refused as a duplicate, which is success."""
    plan = await live.approved("BNBUSDT")
    link = entry_link(plan)
    await live.fault("reset", link, when={"order_link": link, "times": 1})
    await live.fault("lagging_reads", "lag", ms=14_000, when={"symbol": "BNBUSDT"})

    handle = await live.start(plan)

    async def complaint() -> bool:
        return "no read shows it yet" in await live.failure_of(handle, "place_entry")

    await until(complaint)
    assert (await live.view(handle)).trade.state is TradeState.ENTERING
    trade = await live.is_open(handle)
    await live.mend("lag")

    assert await links_of(live, plan) == [link]
    assert trade.entry_qty == plan.qty
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


# --- who sends twice --------------------------------------------------------------------------


async def test_a_worker_that_was_believed_dead_and_comes_back_sends_nothing_twice(
    live: LiveSystem,
) -> None:
    """A2: frozen before it sends, it goes on beside the attempt that was to take its place."""
    plan = await live.approved("LINKUSDT")
    await live.fault(
        "delay",
        "frozen",
        ms=2000,
        when={"endpoint": "/v5/position/set-leverage", "symbol": "LINKUSDT", "times": 1},
    )
    frozen = live.child("worker")
    handle = await live.start(plan)
    await live.struck("frozen")

    async def is_tried_again() -> bool:
        found = (await handle.describe()).raw_description.pending_activities
        return any(a.activity_type.name == "place_entry" and a.attempt > 1 for a in found)

    frozen.send(signal.SIGSTOP)
    try:
        await until(is_tried_again)
    finally:
        frozen.send(signal.SIGCONT)

    trade = await live.is_open(handle)
    assert await links_of(live, plan) == [entry_link(plan)]
    position = await live.position("LINKUSDT")
    assert position is not None
    assert Decimal(position["size"]) == trade.entry_qty == plan.qty
    trade = await live.leave(handle)
    assert await live.differences(trade) == []


async def test_a_workflow_that_was_reset_to_its_beginning_enters_no_second_time(
    live: LiveSystem,
) -> None:
    """A2: the link is the trade's, whichever run asks."""
    handle = await live.open("LTCUSDT")
    history = await handle.fetch_history()
    first = next(
        e.event_id
        for e in history.events
        if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    )
    request = ResetWorkflowExecutionRequest(
        namespace=live.client.namespace,
        reason="a mistake of an operator",
        workflow_task_finish_event_id=first,
        request_id="reset",
    )
    request.workflow_execution.workflow_id = handle.id

    await live.client.workflow_service.reset_workflow_execution(request)
    again: TradeHandle = live.client.get_workflow_handle(handle.id)
    plan = (await live.is_open(again)).plan
    assert await links_of(live, plan) == [entry_link(plan)]
    await again.signal("exit", WISH)

    trade = await live.ended(again)

    assert trade.state is TradeState.CLOSED
    assert await links_of(live, plan) == [entry_link(plan), exit_link(plan)]
    assert await live.position("LTCUSDT") is None
    assert await live.differences(trade) == []
