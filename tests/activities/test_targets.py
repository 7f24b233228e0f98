"""Targets before the last: each an order of its own, sent once, and never more than is held."""

from decimal import Decimal
from typing import Any

import pytest

from tradewright import ids
from tradewright.domain.errors import OutcomeUnknown
from tradewright.domain.plan import Target, TradePlan
from tradewright.domain.trade import Executed, PositionRead, TargetsPlaced, Trade
from tradewright.ports import TradeOrder


@pytest.fixture
async def order(bench: Any, make_plan: Any) -> TradeOrder:
    """A trade in the market, its two targets to be placed."""
    plan: TradePlan = make_plan()
    first, second = (
        plan.instrument.floor_price(plan.price * Decimal(k)) for k in ("1.005", "1.01")
    )
    targets = (
        Target(price=first, fraction=Decimal("0.5")),
        Target(price=second, fraction=Decimal("0.25")),
    )
    plan = plan.model_copy(update={"targets": targets})
    await bench.enter(plan)
    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))
    fills = tuple(e.execution for e in found.events if isinstance(e, Executed))
    trade = Trade(plan=plan, executions=fills)
    return TradeOrder(plan=plan, targets=trade.target_orders(trade.next_leg))


def resting(bench: Any) -> list[tuple[str, Decimal, Decimal, bool]]:
    orders = [o for o in bench.open_orders() if not o.stop]
    return [(o.link, o.price, o.qty, o.reduce_only) for o in orders]


async def test_targets_rest_as_orders_that_only_reduce(bench: Any, order: TradeOrder) -> None:
    placed = await bench.run(bench.exchange.place_targets, order)

    first, second = order.targets
    assert first.order_link_id == ids.order_link(order.plan.trade_id, "t", 2)
    assert resting(bench) == [(t.order_link_id, t.price, t.qty, True) for t in (first, second)]
    assert [o.order_id for o in placed.orders] == [
        o.order_id for t in order.targets for o in bench.orders(t.order_link_id)
    ]
    bench.move("BTCUSDT", first.price + 1)
    assert bench.held() == order.plan.qty - first.qty
    assert bench.stops()["StopLoss"].qty == bench.held()


@pytest.mark.parametrize("lost", ["lost_answer", "lost_request"])
async def test_a_lost_answer_never_places_a_target_twice(
    bench: Any, order: TradeOrder, lost: str
) -> None:
    """A2: what was placed already is found, what was not is sent, each once."""
    first, second = order.targets
    bench.line.spoil("place_order", lambda send: send(), getattr(bench.faults, lost))
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.place_targets, order)

    placed = await bench.run(bench.exchange.place_targets, order, attempt=2)

    assert [o.order_link_id for o in placed.orders] == [first.order_link_id, second.order_link_id]
    assert [len(bench.orders(t.order_link_id)) for t in order.targets] == [1, 1]
    assert all(o.order_id for o in placed.orders)


async def test_a_target_that_is_there_already_is_not_placed_again(
    bench: Any, order: TradeOrder
) -> None:
    """A2: a workflow that was reset asks anew; the duplicate link is success."""
    before = await bench.run(bench.exchange.place_targets, order)

    again = await bench.run(bench.exchange.place_targets, order)

    assert again == before
    assert len(resting(bench)) == 2


async def test_a_target_that_reads_lag_behind_is_unresolved_not_refused(
    bench: Any, order: TradeOrder
) -> None:
    await bench.run(bench.exchange.place_targets, order)
    for read in ("get_open_orders", "get_order_history", "get_executions"):
        bench.line.always[read] = bench.faults.empty_list

    with pytest.raises(OutcomeUnknown, match="no read shows it yet"):
        await bench.run(bench.exchange.place_targets, order)


async def test_a_refused_target_is_told_and_the_others_are_placed(
    bench: Any, order: TradeOrder
) -> None:
    bench.line.spoil("place_order", bench.faults.answers(110003, "price out of the band"))

    placed = await bench.run(bench.exchange.place_targets, order)

    assert isinstance(placed, TargetsPlaced)
    assert [o.order_link_id for o in placed.orders] == [order.targets[1].order_link_id]
    assert "price out of the band (retCode 110003)" in placed.reason


async def test_a_target_that_the_exchange_ended_at_once_is_no_target(
    bench: Any, order: TradeOrder
) -> None:
    link = order.targets[0].order_link_id
    await bench.fault("rejected_order", how="cancelled", when={"order_link": link})
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.place_targets, order)

    placed = await bench.run(bench.exchange.place_targets, order, attempt=2)

    assert [o.order_link_id for o in placed.orders] == [order.targets[1].order_link_id]
    assert link in placed.reason


async def test_targets_never_turn_the_position(bench: Any, order: TradeOrder) -> None:
    await bench.run(bench.exchange.place_targets, order)
    left = Decimal("0.001")
    await bench.order("BTCUSDT", "Sell", str(order.plan.qty - left), reduceOnly=True)

    bench.move("BTCUSDT", order.targets[1].price + 1)

    assert bench.held() == 0


async def test_targets_of_what_is_gone_read_flat(bench: Any, order: TradeOrder) -> None:
    bench.move("BTCUSDT", order.plan.stop_loss - 10)

    flat = await bench.run(bench.exchange.place_targets, order)

    assert isinstance(flat, PositionRead)
    assert flat.qty == 0
    assert resting(bench) == []


async def test_no_target_is_left_when_the_trade_has_ended(bench: Any, order: TradeOrder) -> None:
    """C6: nothing of a trade works on after its end."""
    await bench.run(bench.exchange.place_targets, order)
    bench.move("BTCUSDT", order.plan.stop_loss - 10)

    settled = await bench.run(bench.exchange.settle, order)

    assert (settled.events[-1].qty, bench.open_orders()) == (0, [])


async def test_a_target_that_a_lagging_list_does_not_show_is_cancelled_by_its_link(
    bench: Any, order: TradeOrder
) -> None:
    """C6: it may have been placed a moment before the end."""
    await bench.run(bench.exchange.place_targets, order)
    bench.move("BTCUSDT", order.plan.stop_loss - 10)
    bench.line.always["get_open_orders"] = bench.faults.empty_list

    await bench.run(bench.exchange.settle, order)

    cancelled = [sent.get("orderLinkId") for sent in bench.line.sent("cancel_order")]
    assert cancelled == [target.order_link_id for target in order.targets]


async def test_targets_of_an_open_trade_survive_a_read_that_lags(
    bench: Any, order: TradeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    await bench.run(bench.exchange.place_targets, order)
    bench.line.spoil("get_positions", bench.faults.flat)

    settled = await bench.run(bench.exchange.settle, order)

    assert settled.events[-1].qty == order.plan.qty
    assert len(resting(bench)) == 2


async def test_a_partly_filled_target_takes_only_its_part(bench: Any, order: TradeOrder) -> None:
    """D1: what is left is held under its whole stop, and an exit is sized from it."""
    bench.move("BTCUSDT", order.targets[0].price + 10)
    link = order.targets[0].order_link_id
    await bench.fault("partial_fill", silence_ms=0, when={"order_link": link})

    await bench.run(bench.exchange.place_targets, order)

    part = order.plan.qty - bench.held()
    assert 0 < part < order.targets[0].qty
    assert bench.stops()["StopLoss"].qty == bench.held()
    sent = await bench.run(bench.exchange.flatten, order.model_copy(update={"number": 4}))
    settled = await bench.run(bench.exchange.settle, order)
    assert (sent.qty, bench.held()) == (order.plan.qty - part, 0)
    assert (settled.events[-1].qty, bench.open_orders()) == (0, [])
