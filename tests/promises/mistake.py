"""What operators do to workflows by mistake, and trades in each state for them to do it to."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.app.paper_control import control
from tradewright.domain.errors import TradewrightError
from tradewright.domain.plan import LimitEntry
from tradewright.domain.trade import TradeState

Status = WorkflowExecutionStatus
ENDED = {TradeState.CLOSED, TradeState.CANCELLED, TradeState.REJECTED}


# --- what an operator does --------------------------------------------------------------------


async def reset(
    live: LiveSystem, handle: WorkflowHandle[Any, Any], *, to_last: bool = False
) -> None:
    """Reset the workflow to its first decision, or to its last, and wait until that runs."""
    found = await handle.describe()
    finished = [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    await live.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=live.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=found.run_id),
            reason="by mistake",
            request_id=uuid.uuid4().hex,
            workflow_task_finish_event_id=finished[-1 if to_last else 0],
        )
    )


@asynccontextmanager
async def never_naked(live: LiveSystem, symbol: str) -> AsyncIterator[None]:
    """Read the position on *symbol* all the time: it has a stop whenever something is held."""
    naked: list[dict[str, Any]] = []
    reads = 0

    async def watch() -> None:
        nonlocal reads
        while True:
            # The exchange may be made to fail meanwhile
            with contextlib.suppress(TradewrightError):
                answer = await live.bybit.call("get_positions", category="linear", symbol=symbol)
                rows = answer["result"]["list"]
                reads += 1
                naked.extend(r for r in rows if Decimal(r["size"] or 0) and not r["stopLoss"])
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert reads
    assert naked == []


# --- a trade in each state --------------------------------------------------------------------


async def entering(live: LiveSystem, symbol: str) -> TradeHandle:
    """Return a trade whose entry waits for a price that does not come."""
    plan = await live.approved(symbol)
    limit = plan.instrument.floor_price(plan.price * Decimal("0.9"))
    until_later = (await live.pace.market_now()) + timedelta(hours=4)
    patient = plan.model_copy(
        update={
            "price": limit,
            "stop_loss": plan.instrument.floor_price(limit * Decimal("0.95")),
            "entry": LimitEntry(rest_until=until_later),
        }
    )
    handle = await live.start(patient)

    async def rests() -> bool:
        orders = await live.orders(symbol)
        trade = (await live.view(handle)).trade
        return bool(orders) and trade.state is TradeState.ENTERING

    await until(rests)
    return handle


async def is_open(live: LiveSystem, symbol: str) -> TradeHandle:
    return await live.open(symbol)


async def exiting(live: LiveSystem, symbol: str) -> TradeHandle:
    """Return a trade whose exit the exchange does not take."""
    handle = await live.open(symbol)
    trade = ids.parse_trade_workflow(handle.id)
    assert trade is not None
    when = {"order_link": f"{trade[1]}-x*"}
    await live.fault("http_error", symbol.lower(), when=when)
    await handle.signal("exit", {"note": "a test", "by": "ann"})
    await live.struck(symbol.lower())
    assert (await live.view(handle)).trade.state is TradeState.EXITING
    return handle


async def settling(live: LiveSystem, symbol: str) -> TradeHandle:
    """Return a trade that is closed, and cannot read that it is."""
    handle = await live.open(symbol)
    held = (await live.view(handle)).trade.open_qty
    when = {"endpoint": "/v5/position/list", "symbol": symbol}
    await live.fault("http_error", symbol.lower(), when=when)
    market = {"orderType": "Market", "positionIdx": 0}
    await live.by_hand("place_order", symbol=symbol, side="Sell", qty=str(held), **market)

    async def is_so() -> bool:
        return (await live.view(handle)).trade.state is TradeState.SETTLING

    await until(is_so)
    return handle


State = Callable[[LiveSystem, str], Awaitable[TradeHandle]]
STATES: list[State] = [entering, is_open, exiting, settling]


def on(symbols: str) -> pytest.MarkDecorator:
    """Let a test see a trade in each state, each on a symbol of its own."""
    pairs = zip(STATES, symbols.split(), strict=True)
    return pytest.mark.parametrize(
        ("state", "symbol"),
        [pytest.param(state, symbol, id=state.__name__) for state, symbol in pairs],
    )


async def mend(live: LiveSystem) -> None:
    """Let the exchange work again."""
    await asyncio.to_thread(control, live.settings.paper_url, "DELETE", "faults")


async def nothing_is_left(live: LiveSystem, symbol: str) -> None:
    async def is_so() -> bool:
        working = [o for o in await live.orders(symbol) if o["orderStatus"] in WORKING]
        return not working and await live.position(symbol) is None

    await until(is_so)


WORKING = {"New", "PartiallyFilled", "Untriggered"}


# --- what always runs -------------------------------------------------------------------------


def singleton(live: LiveSystem, kind: str) -> WorkflowHandle[Any, Any]:
    return live.client.get_workflow_handle(f"{kind}/{live.settings.account}")


async def run_of(handle: WorkflowHandle[Any, Any]) -> str:
    """Return the run of the workflow that runs now; empty if none does."""
    found = await handle.describe()
    return found.run_id if found.status is Status.RUNNING else ""
