"""A preset that is not in `trade` sends no order, whatever it decides."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.promises.preset_at_work import PresetAtWork
from tests.system.live_system import MOST_STEPS, LiveSystem, until
from tradewright.app.paper_control import control
from tradewright.domain.execution import ExitReason
from tradewright.domain.plan import Mode
from tradewright.domain.trade import TradeState
from tradewright.journal import TradeRow
from tradewright.ports import StrategyStatus

pytestmark = pytest.mark.timeout(300)

BUYS = "long: close > 0"
EXITS = "stop: {fraction: 0.05}, max_candles: 2"


class Requests:
    """Counts what is asked of the exchange about orders of one symbol, at the exchange's door."""

    def __init__(self, live: LiveSystem, symbol: str) -> None:
        self._live = live
        self._symbol = symbol
        self._name = f"count-{symbol.lower()}"

    async def begin(self) -> None:
        # A millisecond later: the request goes through, and is told of
        when = {"endpoint": "/v5/order/*", "method": "POST", "symbol": self._symbol}
        await self._live.fault("delay", self._name, ms=1, when=when)

    async def count(self) -> int:
        told = control(self._live.settings.paper_url, "GET", "faults")
        return sum(strike["fault"] == self._name for strike in told["strikes"])


async def at_work(
    live: LiveSystem, name: str, symbol: str, folder: Path, *, mode: str
) -> tuple[PresetAtWork, Requests]:
    """Apply a preset that buys at each candle, and count what is asked about its symbol."""
    preset, requests = PresetAtWork(live, name, symbol, folder), Requests(live, symbol)
    await requests.begin()
    await preset.applied(BUYS, EXITS, mode=mode)
    await begun(preset)
    return preset, requests


async def begun(preset: PresetAtWork) -> None:
    """Let the market go on until the preset has heard of a candle."""

    async def has_heard() -> bool:
        return (await preset.status()).candles > 0

    for _ in range(MOST_STEPS):
        await preset.live.step()
        with contextlib.suppress(AssertionError):
            await until(has_heard, within=5)
            return
    raise AssertionError(f"{preset.name} hears of no candle")


async def decided_until(preset: PresetAtWork, is_so: Callable[[StrategyStatus], bool]) -> None:
    """Let the market go on until the preset's status *is_so*."""
    for _ in range(MOST_STEPS):
        if is_so(await preset.decided()):
            return
    raise AssertionError(f"it has not come to it: {await preset.status()!r}")


async def closed_shadow(preset: PresetAtWork) -> TradeRow:
    """Let the market go on until a virtual trade of the preset has ended in the journal."""
    for _ in range(MOST_STEPS):
        found = await preset.live.journal.trades(preset=preset.name, live=False, shadow=True)
        if found:
            return found[0]
        await preset.decided()
    raise AssertionError(f"no virtual trade has ended: {await preset.status()!r}")


async def test_a_virtual_trade_lives_at_live_prices_and_the_exchange_hears_of_no_order(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset, requests = await at_work(live, "shadowed", "LINKUSDT", tmp_path, mode="shadow")

    row = await closed_shadow(preset)
    unsent = await requests.count()
    promoted = await live.command(
        *("strategy", "promote", "shadowed", "--by", "ann", "--reason", "it works")
    )
    handle = await preset.trade()
    trade = (await live.view(handle)).trade

    assert unsent == 0
    assert (row.state, row.exit_reason) == (TradeState.CLOSED, ExitReason.TIME_STOP)
    assert row.qty > 0
    assert row.entry_price is not None
    assert row.fees > 0
    # The count is not blind: what trades is counted
    assert promoted.code == 0, promoted
    assert await requests.count() > 0
    assert trade.plan.mode is Mode.TRADE
    orders = await live.orders("LINKUSDT")
    assert {order["orderLinkId"][:18] for order in orders if order["orderLinkId"]} == {
        trade.plan.trade_id
    }
    assert row.trade_id != trade.plan.trade_id
    await live.leave(handle)
    await preset.stop()


async def test_an_alert_tells_a_person_and_the_exchange_hears_of_no_order(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset, requests = await at_work(live, "alerted", "AVAXUSDT", tmp_path, mode="alert")

    await decided_until(preset, lambda status: bool(status.alerted))

    assert await requests.count() == 0
    assert await live.orders("AVAXUSDT") == []
    await preset.stop()


async def test_a_worker_that_dies_forgets_no_virtual_trade(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset, requests = await at_work(live, "enduring", "DOTUSDT", tmp_path, mode="shadow")
    await decided_until(preset, lambda status: bool(status.shadows))

    await live.kill_and_restart("worker")
    row = await closed_shadow(preset)

    assert row.exit_reason is ExitReason.TIME_STOP
    assert await requests.count() == 0
    assert await live.orders("DOTUSDT") == []
    await preset.stop()
