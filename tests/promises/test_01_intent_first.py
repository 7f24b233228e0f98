"""Intent first: history and, for entries, the journal hold it before the request leaves."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.trade import TradeState

pytestmark = pytest.mark.timeout(300)

WISH = {"note": "enough", "by": "ann"}


async def intents(live: LiveSystem, trade_id: str) -> list[JournalEvent]:
    found = await live.journal.events(kind=EventKind.ENTRY_INTENDED, trade_id=trade_id)
    return [row.event for row in found]


async def scheduled(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Return what the workflow's history says was to be done, in this order."""
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


@dataclass
class Intended:
    """Two trades whose worker was killed after the intent and before the request."""

    entering: TradeHandle
    leaving: TradeHandle


@pytest.fixture(scope="module")
async def intended(live: LiveSystem) -> Intended:
    leaving = await live.open("ETHUSDT", Side.SELL)
    plan = await live.approved("BTCUSDT")
    # What each of them asks last before it sends: the exchange is silent, and does nothing
    await live.fault(
        "stall",
        "entering",
        acceptance="before",
        when={"endpoint": "/v5/position/set-leverage", "symbol": "BTCUSDT", "times": 1},
    )
    await live.fault(
        "stall",
        "leaving",
        acceptance="before",
        when={"endpoint": "/v5/order/cancel", "symbol": "ETHUSDT", "times": 1},
    )
    entering = await live.start(plan)
    await leaving.signal("exit", WISH)
    await live.struck("entering")
    await live.struck("leaving")

    assert [e.data["order_link_id"] for e in await intents(live, plan.trade_id)] == [
        ids.order_link(plan.trade_id, "e", 1)
    ]
    assert "place_entry" in await scheduled(entering)
    assert await live.orders("BTCUSDT") == []
    assert "flatten" in await scheduled(leaving)
    assert [o for o in await live.orders("ETHUSDT") if o["reduceOnly"] and o["orderLinkId"]] == []
    await live.kill_and_restart("worker")
    return Intended(entering, leaving)


async def test_a_worker_killed_between_intent_and_entry_sends_it_once_when_it_is_back(
    live: LiveSystem, intended: Intended
) -> None:
    """B1: what was intended is resumed, whichever step the process died at."""
    trade = await live.is_open(intended.entering)

    sent = await live.orders_with(trade.plan.trade_id)
    assert [o["orderLinkId"] for o in sent] == [ids.order_link(trade.plan.trade_id, "e", 1)]
    assert len(await intents(live, trade.plan.trade_id)) == 1
    assert await live.attempts_of(intended.entering, "place_entry") == [2]
    trade = await live.leave(intended.entering)
    assert await live.differences(trade) == []


async def test_a_worker_killed_between_intent_and_exit_leaves_once_when_it_is_back(
    live: LiveSystem, intended: Intended
) -> None:
    trade = await live.ended(intended.leaving)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.OPERATOR)
    exits = [o for o in await live.orders("ETHUSDT") if o["reduceOnly"] and o["orderLinkId"]]
    assert [o["orderLinkId"] for o in exits] == [ids.order_link(trade.plan.trade_id, "x", 2)]
    assert await live.differences(trade) == []


async def test_without_the_journal_nothing_enters_and_everything_can_leave(
    live: LiveSystem,
) -> None:
    """A7: what cannot be written down first is not sent."""
    leaving = await live.open("AVAXUSDT")
    plan = await live.approved("BNBUSDT")

    with locked(live.settings.state / "journal.db"):
        entering = await live.start(plan)
        await leaving.signal("exit", WISH)

        async def has_left() -> bool:
            return (await live.view(leaving)).trade.is_final

        async def complaint() -> str:
            return await live.failure_of(entering, "place_entry")

        await until(has_left)
        assert await live.position("AVAXUSDT") is None
        assert "journal" in await until(complaint)
        assert await live.orders("BNBUSDT") == []
        written = await live.journal.trade(leaving.id.rpartition("/")[2])
        assert written is not None
        assert written.live
        assert await live.status(leaving) is WorkflowExecutionStatus.RUNNING

    await live.is_open(entering)
    left, entered = await live.ended(leaving), await live.leave(entering)
    assert left.exit_reason is ExitReason.OPERATOR
    assert await live.differences(left, entered) == []


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody else from writing to the database."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


async def test_no_order_of_ours_was_at_the_exchange_without_its_intent(
    live: LiveSystem, intended: Intended
) -> None:
    """A7: every order, after all that: the entry in the journal, the exit in the history."""
    orders = [(o, ids.parse_link(o["orderLinkId"])) for o in await live.orders()]
    ours = [(o, link) for o, link in orders if link is not None]
    assert {link.leg for _, link in ours} == {"e", "x"}

    for order, link in ours:
        if link.leg == "e":
            told = [e.data["order_link_id"] for e in await intents(live, link.trade)]
            assert told == [order["orderLinkId"]]
        else:
            workflow_id = ids.trade_workflow(order["symbol"], link.trade)
            handle = live.client.get_workflow_handle(workflow_id)
            assert "flatten" in await scheduled(handle)
