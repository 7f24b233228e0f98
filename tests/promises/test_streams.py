"""`kill -9` around the streams: what was executed reaches its trade, once, whoever dies."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.system.live_system import LiveSystem, TradeHandle, until
from tradewright.app.paper_control import control
from tradewright.domain.account import Channel
from tradewright.domain.execution import ExitReason
from tradewright.domain.trade import Trade, TradeState

pytestmark = pytest.mark.timeout(300)


class Faults:
    """What goes wrong at the running exchange, as long as the test lasts."""

    def __init__(self, live: LiveSystem) -> None:
        self._url = live.settings.paper_url

    async def add(self, text: str) -> None:
        await asyncio.to_thread(control, self._url, "POST", "faults", body=text)

    async def clear(self) -> None:
        await asyncio.to_thread(control, self._url, "DELETE", "faults")


@pytest.fixture
async def faults(live: LiveSystem) -> AsyncIterator[Faults]:
    faults = Faults(live)
    yield faults
    await faults.clear()


async def close_by_hand(live: LiveSystem, symbol: str) -> None:
    position = await live.position(symbol)
    assert position is not None
    await live.by_hand(
        "place_order",
        symbol=symbol,
        side="Sell" if position["side"] == "Buy" else "Buy",
        orderType="Market",
        qty=position["size"],
        reduceOnly=True,
    )


async def not_told(live: LiveSystem, handle: TradeHandle) -> Trade:
    """Return the trade, which the exchange has closed and which does not know it."""
    trade = (await live.view(handle)).trade
    assert await live.position(trade.plan.symbol) is None
    assert (trade.state, trade.exits) == (TradeState.OPEN, ())
    return trade


async def test_a_worker_killed_between_an_execution_and_its_delivery_loses_nothing(
    live: LiveSystem, faults: Faults
) -> None:
    """F5: neither stream nor list had told of it when the worker died; the next one catches up."""
    handle = await live.open("BTCUSDT")
    await faults.add("{kind: stream_loss, name: deaf, when: {topic: execution}}")
    await faults.add(
        "{kind: http_error, status: 503, name: blind, when: {endpoint: /v5/execution/list}}"
    )
    await close_by_hand(live, "BTCUSDT")
    await not_told(live, handle)

    await live.kill_and_restart("worker")
    await faults.clear()
    trade = await live.ended(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.BY_HAND)
    assert trade.open_qty == 0
    assert len({e.exec_id for e in trade.executions}) == len(trade.executions)
    assert await live.differences(trade) == []


async def test_an_exchange_killed_before_its_stream_told_of_an_execution_is_asked_for_it(
    live: LiveSystem, faults: Faults
) -> None:
    """F2: the message died with the connection; what is listed is delivered all the same."""
    handle = await live.open("ETHUSDT")
    await faults.add("{kind: stream_delay, ms: 60000, name: late, when: {topic: execution}}")
    await faults.add(
        "{kind: http_error, status: 503, name: blind, when: {endpoint: /v5/execution/list}}"
    )
    await close_by_hand(live, "ETHUSDT")
    await not_told(live, handle)

    # Its faults are not part of its state: they die with it
    await live.kill_and_restart("paper-exchange")
    trade = await live.ended(handle)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.BY_HAND)
    assert await live.differences(trade) == []


async def test_a_dead_stream_is_as_old_after_the_worker_was_killed_as_before(
    live: LiveSystem, faults: Faults
) -> None:
    """F4: the desk knows since when; and that it is over, from whoever follows it then."""
    await faults.add("{kind: http_error, status: 503, name: shut, when: {endpoint: /v5/private}}")
    await faults.add("{kind: stream_drop, when: {topic: execution}}")
    before = await until(lambda: private_channel(live))

    await live.kill_and_restart("worker")
    for _ in range(3):
        # The new one has tried, and could not
        await live.refresh()
    after = await until(lambda: private_channel(live))
    await faults.clear()

    async def is_healthy() -> bool:
        return await private_channel(live) is None

    await until(is_healthy)
    assert before is not None
    assert after is not None
    assert after.since <= before.since
    trade = await live.leave(await live.open("SOLUSDT"))
    assert await live.differences(trade) == []


async def private_channel(live: LiveSystem) -> Channel | None:
    """Return what is wrong with the private stream as far as the desk knows."""
    found = [c for c in (await live.desk()).channels if c.name == "private"]
    return found[0] if found else None
