"""What tests of a trade's workflow look at."""

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.exceptions import CancelledError

from tradewright import ids
from tradewright.domain.event import EventKind
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    Executed,
    Trade,
)


def is_open(view: Any) -> bool:
    return view["trade"]["state"] == "open" and not view["busy"]


def needs_operator(view: Any) -> bool:
    return bool(view["needs_operator"])


async def result_of(handle: Any) -> Trade:
    return Trade.model_validate(await handle.result(), from_attributes=True)


async def status_of(handle: Any) -> WorkflowExecutionStatus:
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    found = await handle.describe()
    assert isinstance(found.status, WorkflowExecutionStatus)
    return found.status


def journaled_states(stage: Any) -> list[str]:
    changes = [e for e in stage.journal.events if e.kind is EventKind.TRADE_CHANGED]
    # Of a burst of fills only the last event brings the trade
    return [event.data["trade"]["state"] for event in changes if "trade" in event.data]


def numbers(stage: Any) -> list[int]:
    return [int(event.event_id.rsplit("/", 1)[1]) for event in stage.journal.events]


def fill_by_stream(stage: Any, plan: TradePlan) -> Callable[[Any], Any]:
    """Accept the entry only after the stream has told of its fill."""

    async def place(order: Any) -> EntryPlaced:
        link = ids.order_link(plan.trade_id, "e", 1)
        execution = stage.exchange.execute(plan, plan.side, link=link)
        handle = stage.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
        await handle.signal("report", Executed(execution=execution))
        return EntryPlaced(order_id=execution.order_id)

    return place


async def run_ids_of(stage: Any, handle: Any) -> list[str]:
    """Follow the chain of runs."""
    found, run_id = [], handle.first_execution_run_id
    while run_id:
        found.append(run_id)
        history = await stage.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
        last = history.events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found
