"""A declared trade in all its parts: it waits, takes targets, trails, and leaves by its preset."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.promises.preset_at_work import PresetAtWork
from tests.system.live_system import MOST_STEPS, LiveSystem, TradeHandle
from tradewright.domain.execution import ExitReason
from tradewright.domain.order import OrderState
from tradewright.domain.plan import TrailedBy
from tradewright.domain.trade import Trade, TradeState
from tradewright.journal import Leg

pytestmark = pytest.mark.timeout(300)

BUYS = "long: close > 0"


async def begun(preset: PresetAtWork) -> TradeHandle:
    """Let the market go on until the desk has approved a trade of the preset."""
    for _ in range(MOST_STEPS):
        for plan in [r.plan for r in (await preset.live.desk()).reservations]:
            if plan.preset == preset.name:
                return preset.live.trade(plan)
        await preset.live.step()
    raise AssertionError(f"{preset.name} did not trade in {MOST_STEPS} candles")


async def test_a_limit_that_no_market_reaches_is_cancelled_in_time(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = PresetAtWork(live, "patient", "XRPUSDT", tmp_path)
    await preset.applied(
        BUYS, entry="type: limit, expires_after: 60s, offset: {fraction: 0.2}, rest_candles: 3"
    )

    handle = await begun(preset)
    await live.step()
    resting = (await live.view(handle)).trade
    await preset.stop()
    trade = await preset.ended(handle)

    assert (resting.state, resting.is_resting) == (TradeState.ENTERING, True)
    assert trade.state is TradeState.CANCELLED
    assert trade.exit_note.startswith("not filled until ")
    [order] = await live.orders_with(trade.plan.trade_id)
    assert (order["orderStatus"], order["orderType"]) == ("Cancelled", "Limit")
    assert Decimal(order["stopLoss"]) == trade.plan.stop_loss
    assert await live.differences(trade) == []


async def test_targets_are_taken_in_parts_and_the_rest_cannot_lose(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = PresetAtWork(live, "ladder", "ADAUSDT", tmp_path)
    await preset.applied(
        BUYS,
        "stop: {fraction: 0.001}, targets: [{r: 0.3, close_fraction: 0.5}, {r: 40}], "
        "break_even: {after_target: 1}, max_candles: 50",
    )

    trade = await taken(preset)
    await preset.stop()

    [target] = trade.targets
    half = trade.plan.instrument.floor_qty(trade.entry_qty / 2)
    assert trade.filled(target.order_link_id) == target.qty == half
    assert trade.wanted_stop is not None
    assert trade.entry_price is not None
    assert trade.wanted_stop >= trade.plan.instrument.floor_price(trade.entry_price)
    assert trade.state is TradeState.CLOSED
    rows = {row.order_link_id: row for row in await live.journal.orders(trade.plan.trade_id)}
    row = rows[target.order_link_id]
    assert (row.leg, row.state, row.price) == (Leg.TARGET, OrderState.FILLED, target.price)
    assert await live.differences(trade) == []


async def taken(preset: PresetAtWork) -> Trade:
    """Return the first trade of the preset that has reached its first target, when it has ended."""
    last = ""
    for _ in range(MOST_STEPS):
        handle = await begun_after(preset, last)
        trade = await preset.ended(handle)
        if trade.targets_reached:
            return trade
        last = trade.plan.trade_id
    raise AssertionError(f"no trade of {preset.name} reached a target")


async def begun_after(preset: PresetAtWork, last: str) -> TradeHandle:
    while True:
        handle = await begun(preset)
        if handle.id.rpartition("/")[2] != last:
            return handle
        await preset.live.step()


async def test_the_exchange_trails_the_stop_while_nobody_of_ours_runs(
    live: LiveSystem, tmp_path: Path
) -> None:
    preset = PresetAtWork(live, "trailed", "BNBUSDT", tmp_path)
    await preset.applied(
        BUYS, "stop: {fraction: 0.02}, trailing: {after_r: 0.001, fraction: 0.0005}"
    )
    handle = await preset.trade()
    follows = (await live.view(handle)).trade
    await preset.stop()

    trade = await preset.ended(handle)

    assert follows.trailed_by is TrailedBy.EXCHANGE
    assert trade.exit_reason is ExitReason.TRAILING_STOP
    # Nobody moved the stop that came with the entry
    assert (trade.stop, trade.stops_set) == (trade.plan.stop_loss, 0)
    assert await live.differences(trade) == []
