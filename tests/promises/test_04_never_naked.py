"""Never naked: the stop is in the entry, is read back, and where it stays away nothing is held."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.system.live_system import TIGHT, LiveSystem, TradeHandle, until
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import LimitEntry, Target, TradePlan, TrailedBy, Trailing
from tradewright.domain.trade import Trade, TradeState

pytestmark = pytest.mark.timeout(300)


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def stop_of(live: LiveSystem, symbol: str) -> Decimal | None:
    position = await live.position(symbol)
    return Decimal(position["stopLoss"]) if position and position["stopLoss"] else None


async def take_stop_away(live: LiveSystem, symbol: str) -> None:
    """Remove the stop as a person would, by hand."""
    await live.by_hand("set_trading_stop", symbol=symbol, tpslMode="Full", stopLoss="0")
    assert await stop_of(live, symbol) is None


@dataclass
class Orphans:
    """Two trades whose worker was killed when their entries were filled, before it heard of it."""

    kept: TradeHandle
    stripped: TradeHandle
    stops: dict[str, Decimal | None]


@pytest.fixture(scope="module")
async def orphans(live: LiveSystem) -> Orphans:
    plans = {symbol: await live.approved(symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
    links = [entry_link(plan) for plan in plans.values()]
    for link in links:
        await live.stall(link)
    kept, stripped = [await live.start(plan) for plan in plans.values()]
    dead = live.child("worker").pid
    for link in links:
        await live.struck(link)
    await live.kill("worker")
    # Nobody of ours runs
    stops = {symbol: await stop_of(live, symbol) for symbol in plans}
    await take_stop_away(live, "ETHUSDT")
    await live.restarted("worker", dead)
    return Orphans(kept, stripped, stops)


async def test_the_stop_is_at_the_exchange_before_anybody_of_us_knows_of_the_fill(
    live: LiveSystem, orphans: Orphans
) -> None:
    """C7, B5: it came in the entry's own request, and stands while no process runs."""
    kept, stripped = [(await live.view(h)).trade for h in (orphans.kept, orphans.stripped)]
    assert orphans.stops == {t.plan.symbol: t.plan.stop_loss for t in (kept, stripped)}

    trade = await live.is_open(orphans.kept)
    (order,) = await live.orders_with(trade.plan.trade_id)
    assert Decimal(order["stopLoss"]) == trade.plan.stop_loss == trade.stop
    assert (order["slTriggerBy"], order["tpslMode"]) == ("LastPrice", "Full")
    assert await live.differences(await live.leave(orphans.kept)) == []


async def test_a_position_that_shows_no_stop_for_five_seconds_is_flattened(
    live: LiveSystem, orphans: Orphans
) -> None:
    """C1, C5: whatever took the stop away, nothing is held without one."""
    trade = await live.ended(orphans.stripped)

    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.NAKED)
    assert trade.stop is None
    assert await live.position("ETHUSDT") is None
    assert await live.attempts_of(orphans.stripped, "flatten") == [1]
    assert await live.differences(trade) == []


async def test_the_stop_is_read_back_after_the_first_fill(live: LiveSystem) -> None:
    """C5: a stop is believed when the exchange shows it, not when it was asked for."""
    plan = await live.approved("SOLUSDT", Side.SELL)
    await live.fault(
        "http_error", "reads", when={"endpoint": "/v5/position/list", "symbol": "SOLUSDT"}
    )

    handle = await live.start(plan)
    await live.struck("reads", times=2)

    async def is_filled() -> Trade | None:
        trade = (await live.view(handle)).trade
        return trade if trade.entry_qty == plan.qty else None

    filled = await until(is_filled)
    assert filled is not None
    assert filled.stop is None
    await live.mend("reads")
    assert (await live.is_open(handle)).stop == plan.stop_loss
    assert await live.differences(await live.leave(handle)) == []


async def limit(live: LiveSystem, symbol: str, away: str) -> TradePlan:
    """Return a plan that enters by limit, *away* below the market or, negative, above it."""
    plan = await live.approved(symbol)
    price = plan.instrument.floor_price(plan.price * (1 - Decimal(away)))
    until_then = await live.pace.market_now() + timedelta(hours=1)
    return plan.model_copy(update={"price": price, "entry": LimitEntry(rest_until=until_then)})


async def test_a_part_of_an_entry_has_its_stop_while_the_rest_waits(live: LiveSystem) -> None:
    """D1: a Full stop covers whatever is held, from the first fill on."""
    plan = await limit(live, "XRPUSDT", "-0.005")
    await live.fault("partial_fill", "part", silence_ms=0, when={"order_link": entry_link(plan)})
    handle = await live.start(plan)

    async def is_protected() -> Trade | None:
        view = await live.view(handle)
        trade = view.trade
        return trade if trade.state is TradeState.OPEN and trade.stop and not view.busy else None

    trade = await until(is_protected)
    assert trade is not None
    assert 0 < trade.entry_qty < plan.qty
    assert trade.stop == plan.stop_loss == await stop_of(live, "XRPUSDT")
    assert not trade.entry_ended

    trade = await live.leave(handle)
    assert trade.state is TradeState.CLOSED
    assert await live.position("XRPUSDT") is None
    working = await live.by_hand("get_open_orders", symbol="XRPUSDT", openOnly=0)
    assert working["list"] == []
    assert await live.differences(trade) == []


async def test_an_entry_that_waits_for_its_price_brings_its_stop_along(live: LiveSystem) -> None:
    """C7: also when it is filled while the worker is dead."""
    plan = await limit(live, "DOGEUSDT", "0.0002")
    handle = await live.start(plan)

    async def is_resting() -> bool:
        return (await live.view(handle)).trade.is_resting

    await until(is_resting)
    dead = live.child("worker").pid
    await live.kill("worker")
    held: dict[str, Any] | None = None
    for _ in range(60):
        held = await live.position("DOGEUSDT")
        if held is not None:
            break
        await live.step()
    assert held is not None
    assert await stop_of(live, "DOGEUSDT") == plan.stop_loss

    await live.restarted("worker", dead)
    trade = await live.is_open(handle)
    assert trade.stop == plan.stop_loss
    assert await live.differences(await live.leave(handle)) == []


async def test_a_stop_that_is_taken_away_from_an_open_trade_is_set_again(live: LiveSystem) -> None:
    """C5: a reconciliation finds the position without it, and the trade sets it in place."""
    handle = await live.open("ADAUSDT")
    plan = (await live.view(handle)).trade.plan
    await take_stop_away(live, "ADAUSDT")

    async def is_protected() -> bool:
        await live.command("reconcile")
        return await stop_of(live, "ADAUSDT") == plan.stop_loss

    await until(is_protected)
    assert (await live.is_open(handle)).stop == plan.stop_loss
    assert await live.differences(await live.leave(handle)) == []


async def test_what_a_target_leaves_is_under_its_stop_and_nothing_is_left_of_it_at_the_end(
    live: LiveSystem,
) -> None:
    """D1, C6: the stop follows the size, the exit takes what is held, no order stays behind."""
    plan = await live.approved("AVAXUSDT")
    # The first one is passed already when it is placed, the second one is out of reach
    prices = [plan.instrument.floor_price(plan.price * Decimal(k)) for k in ("0.99", "2")]
    fractions = Decimal("0.5"), Decimal("0.25")
    targets = tuple(Target(price=p, fraction=f) for p, f in zip(prices, fractions, strict=True))
    handle = await live.start(plan.model_copy(update={"targets": targets}))

    async def is_read_back() -> Trade | None:
        view = await live.view(handle)
        return view.trade if view.trade.targets_reached == 1 and not view.busy else None

    trade = await until(is_read_back)
    assert trade is not None
    assert (trade.state, trade.stop) == (TradeState.OPEN, plan.stop_loss)
    position = await live.position("AVAXUSDT")
    assert position is not None
    assert Decimal(position["size"]) == trade.open_qty == plan.qty - trade.targets[0].qty
    assert await stop_of(live, "AVAXUSDT") == plan.stop_loss

    trade = await live.leave(handle)
    working = await live.by_hand("get_open_orders", symbol="AVAXUSDT", openOnly=0)
    assert (trade.exit_qty, working["list"]) == (plan.qty, [])
    legs = [o["orderLinkId"].rpartition("-")[2] for o in await live.orders_with(plan.trade_id)]
    assert sorted(legs) == ["e1", "t2", "t3", "x4"]
    assert await live.differences(trade) == []


async def test_a_stop_that_the_exchange_trails_stands_beside_the_stop_of_the_plan(
    live: LiveSystem,
) -> None:
    """C4: it follows the price without anybody of us, and the whole stop is never touched."""
    plan = await live.approved("BNBUSDT")
    distance = plan.instrument.ceil_price(plan.price * TIGHT)
    trailing = Trailing(after_r=Decimal(0), distance=distance, by=TrailedBy.EXCHANGE)
    exits = plan.exits.model_copy(update={"trailing": trailing})
    handle = await live.start(plan.model_copy(update={"exits": exits}))

    assert (await live.is_open(handle)).trailed_by is TrailedBy.EXCHANGE
    position = await live.position("BNBUSDT")
    assert position is not None
    shown = Decimal(position["trailingStop"]), Decimal(position["stopLoss"])
    assert shown == (distance, plan.stop_loss)

    dead = live.child("worker").pid
    await live.kill("worker")
    await live.step_until_flat("BNBUSDT")
    await live.restarted("worker", dead)
    trade = await live.ended(handle)
    assert (trade.state, trade.exit_reason) == (TradeState.CLOSED, ExitReason.TRAILING_STOP)
    assert await live.differences(trade) == []
