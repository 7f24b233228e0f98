"""How a trade leaves the market: closed as far as it is held, and settled when it is not."""

from decimal import Decimal
from typing import Any

import pytest

from activities.lookup import ReadsDisagree
from activities.urgency import Urgency, urgency_of
from tradewright import ids
from tradewright.domain.errors import (
    ExchangeUnreachable,
    ExitRejected,
    OutcomeUnknown,
)
from tradewright.domain.execution import ExitReason
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    Executed,
    ExitSent,
    Funded,
    PositionRead,
)
from tradewright.ports import TradeEvents, TradeOrder


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


def reasons(events: TradeEvents) -> list[ExitReason | None]:
    return [e.execution.cause for e in events.events if isinstance(e, Executed)]


async def test_a_flatten_closes_what_is_held_and_settles(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))
    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    link = ids.order_link(plan.trade_id, "x", 1)
    assert (sent.order_link_id, sent.qty) == (link, plan.qty)
    entry, out, read = settled.events
    assert [e.execution.order_link_id for e in (entry, out)] == [entry_link(plan), link]
    assert (read.qty, bench.held(), bench.open_orders()) == (0, 0, [])


async def test_a_flatten_of_nothing_sends_nothing(bench: Any, make_plan: Any) -> None:
    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=make_plan()))

    assert sent == ExitSent()
    assert bench.line.count("place_order") == 0


async def test_a_flatten_never_opens_the_other_side(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.order("BTCUSDT", "Sell", "0.01")

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent, bench.held()) == (ExitSent(), Decimal("-0.01"))


async def test_a_position_that_is_gone_meanwhile_is_not_reversed(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)

    def hit_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.stop_loss - 10)
        return send()

    bench.line.spoil("place_order", hit_first)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent, bench.held()) == (ExitSent(), 0)


async def test_a_lost_answer_never_flattens_twice(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan), attempt=2)

    assert (sent.order_link_id, sent.qty) == (ids.order_link(plan.trade_id, "x", 1), plan.qty)
    assert (bench.line.count("place_order"), bench.held()) == (2, 0)


async def test_a_failed_read_is_never_taken_for_flat(bench: Any, make_plan: Any) -> None:
    """B7: not to know is not to hold nothing."""
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("get_positions", bench.faults.http_status(502))

    with pytest.raises(ExchangeUnreachable):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    bench.line.spoil("get_positions", bench.faults.empty_list)
    with pytest.raises(Exception, match="malformed"):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))


async def test_an_entry_that_cannot_be_cancelled_does_not_hold_the_exit_up(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.always["cancel_order"] = bench.faults.answers(10006)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent.qty, bench.held()) == (plan.qty, 0)


async def test_an_exit_larger_than_a_market_order_goes_out_in_slices(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    half = plan.instrument.floor_qty(plan.qty / 2) + plan.instrument.qty_step
    small = plan.instrument.model_copy(update={"max_market_qty": half})
    order = TradeOrder(plan=plan.model_copy(update={"instrument": small}))

    first = await bench.run(bench.exchange.flatten, order)
    second = await bench.run(bench.exchange.flatten, order.model_copy(update={"number": 2}))

    assert (first.qty, second.qty, bench.held()) == (half, plan.qty - half, 0)


async def test_after_a_part_the_rest_is_told_at_once(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    half = plan.instrument.floor_qty(plan.qty / 2)
    small = plan.instrument.model_copy(update={"max_market_qty": half})
    order = TradeOrder(plan=plan.model_copy(update={"instrument": small}))
    await bench.run(bench.exchange.flatten, order.model_copy(update={"number": 2}))
    before = bench.line.count("get_positions")

    settled = await bench.run(bench.exchange.settle, order.model_copy(update={"number": 3}))

    assert settled.events[-1].qty == plan.qty - half == bench.held()
    assert bench.line.count("get_positions") == before + 1


async def test_a_position_whose_part_is_not_told_yet_is_read_until_it_is_believed(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    half = plan.instrument.floor_qty(plan.qty / 2)
    small = plan.instrument.model_copy(update={"max_market_qty": half})
    order = TradeOrder(plan=plan.model_copy(update={"instrument": small}), number=3)
    before = bench.line.count("get_positions")

    settled = await bench.run(bench.exchange.settle, order)

    assert settled.events[-1].qty == plan.qty
    assert bench.line.count("get_positions") > before + 1


async def test_an_exit_that_is_in_already_is_not_sent_under_another_link(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))
    await bench.order("BTCUSDT", "Buy", str(plan.qty))

    # As a workflow that was reset asks: a first attempt under a link that is taken
    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent.order_link_id, sent.qty) == (ids.order_link(plan.trade_id, "x", 1), plan.qty)
    assert len(bench.orders(sent.order_link_id)) == 1


async def test_settling_removes_what_is_left_of_the_trades_own_orders(
    bench: Any, make_plan: Any
) -> None:
    """C2: what a trade has left behind is swept up at its end, and nothing else."""
    plan = make_plan()
    await bench.enter(plan)
    low, link = f"{bench.price() // 2:f}", ids.order_link(plan.trade_id, "t", 1)
    limit = {"orderType": "Limit", "price": low}
    await bench.order("BTCUSDT", "Buy", "0.01", **limit, orderLinkId=link)
    await bench.order("BTCUSDT", "Buy", "0.01", **limit, orderLinkId="of-a-person")
    await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert [o.link for o in bench.open_orders()] == ["of-a-person"]


async def test_a_rejected_exit_is_tried_again(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("place_order", bench.faults.answers(110118, "low liquidity"))
    with pytest.raises(ExitRejected):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan), attempt=2)

    assert (sent.qty, bench.held()) == (plan.qty, 0)


async def test_settling_finds_the_execution_of_the_stop(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.move("BTCUSDT", plan.stop_loss - 10)
    bench.line.spoil("get_executions", bench.faults.empty_list)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert reasons(settled) == [None, ExitReason.STOP]
    assert settled.events[-1].qty == 0


@pytest.mark.parametrize("shown", ["position", "executions"])
async def test_settling_does_not_believe_in_flat_against_the_executions(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    """B2: reads that disagree are read again; nothing is made up to reconcile them."""
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    if shown == "position":
        # The read of the position lags: it is held
        bench.line.always["get_positions"] = bench.faults.flat
    else:
        # The list of executions lags: what closed it is not there yet
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))
        link = entry_link(plan)
        bench.line.always["get_executions"] = bench.faults.rows(
            lambda rows: [row for row in rows if row["orderLinkId"] == link]
        )

    for waited in (0, 59):
        with pytest.raises(ReadsDisagree, match=f"by 1 executions {plan.qty}"):
            await bench.run(bench.exchange.settle, TradeOrder(plan=plan), waited=waited)
    assert bench.line.count("cancel_order") == int(shown == "executions")

    bench.line.always.clear()
    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan), attempt=3, waited=59)

    fills = sum(isinstance(e, Executed) for e in settled.events)
    expected = (1, plan.qty) if shown == "position" else (2, Decimal(0))
    assert (fills, settled.events[-1].qty) == expected


async def test_what_reads_flat_for_long_is_believed(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)
    bench.line.always["get_positions"] = bench.faults.flat

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan), attempt=9, waited=61)

    assert [type(e) for e in settled.events] == [Executed, PositionRead]
    assert settled.events[-1].qty == 0
    # Each further look could fail, and the end would be put off by it
    assert bench.line.count("get_positions") == 1


async def test_what_is_still_held_is_told_by_one_look_once_no_read_can_lag(
    bench: Any, make_plan: Any
) -> None:
    """Where calls fail now and then, looking for seconds would put off the next flatten."""
    plan = make_plan()
    await bench.enter(plan)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan), attempt=4, waited=4)

    assert settled.events[-1].qty == plan.qty
    assert bench.line.count("get_positions") == 1


async def test_settling_finds_the_target_and_what_a_person_closed(
    bench: Any, make_plan: Any
) -> None:
    """B6, B9: closed by its target or by hand, without a link of ours, it is closed."""
    won, by_hand = make_plan(), make_plan(symbol="ETHUSDT")
    await bench.enter(won)
    await bench.enter(by_hand)
    bench.move("BTCUSDT", won.take_profit + 10)
    await bench.order("ETHUSDT", "Sell", str(by_hand.qty), reduceOnly=True)

    target = await bench.run(bench.exchange.settle, TradeOrder(plan=won))
    hand = await bench.run(bench.exchange.settle, TradeOrder(plan=by_hand))

    assert reasons(target) == [None, ExitReason.TARGET]
    assert reasons(hand) == [None, None]


async def test_settling_says_what_is_still_held(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exits.READS_LAG", 0.2)
    plan = make_plan()
    await bench.enter(plan)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert settled.events[-1].qty == plan.qty


async def test_settling_an_adopted_trade_counts_what_closed_it(bench: Any, make_plan: Any) -> None:
    await bench.order("BTCUSDT", "Buy", "0.02")
    now = await bench.pace.market_now()
    plan = make_plan(origin=Origin.ADOPTED, qty=Decimal("0.02"), trigger=now)
    order = TradeOrder(plan=plan, since=now)

    await bench.run(bench.exchange.flatten, order)
    settled = await bench.run(bench.exchange.settle, order)

    (out, read) = settled.events
    assert (out.execution.order_link_id, read.qty) == (ids.order_link(plan.trade_id, "x", 1), 0)
    assert bench.line.count("cancel_order") == 0


async def test_what_is_less_than_an_order_is_closed_as_all_that_is_left(
    bench: Any, make_plan: Any
) -> None:
    """D3: no rest remains because it is too small to be sold by its size."""
    plan = make_plan(qty=Decimal("0.01"))
    await bench.enter(plan)
    coarse = plan.instrument.model_copy(update={"min_qty": Decimal("0.02")})
    order = TradeOrder(plan=plan.model_copy(update={"instrument": coarse}), number=2)

    sent = await bench.run(bench.exchange.flatten, order)

    (asked,) = bench.line.sent("place_order")[1:]
    assert (asked["qty"], asked["reduceOnly"], asked["closeOnTrigger"]) == ("0", True, True)
    assert (sent.qty, bench.held()) == (plan.qty, 0)


async def test_the_rest_after_the_slices_is_closed_even_when_it_is_dust(
    bench: Any, make_plan: Any
) -> None:
    """D3: 1.15 of 1.17 contracts closed is not closed."""
    plan = make_plan(qty=Decimal("0.017"))
    await bench.enter(plan)
    small = plan.instrument.model_copy(
        update={"max_market_qty": Decimal("0.015"), "min_qty": Decimal("0.005")}
    )
    order = TradeOrder(plan=plan.model_copy(update={"instrument": small}))

    sent = [
        await bench.run(bench.exchange.flatten, order.model_copy(update={"number": n}))
        for n in (2, 3, 4)
    ]

    assert [s.qty for s in sent] == [Decimal("0.015"), Decimal("0.002"), 0]
    assert bench.held() == 0


async def test_a_position_is_read_again_before_its_close_is_repeated(
    bench: Any, make_plan: Any
) -> None:
    """C8: a close that went through unseen, or a stop that came first, is not repeated."""
    plan = make_plan()
    await bench.enter(plan)
    bench.line.spoil("place_order", bench.faults.lost_request)
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan, number=2))
    bench.move("BTCUSDT", plan.stop_loss - 10)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan, number=2), attempt=2)

    assert sent == ExitSent()
    assert bench.line.count("place_order") == 2


async def test_a_liquidation_ends_the_trade_with_its_own_reason(bench: Any, make_plan: Any) -> None:
    """B11: what the exchange took over is no longer served."""
    isolated = {"setMarginMode": "ISOLATED_MARGIN"}
    await bench.client.call("set_margin_mode", **isolated)
    await bench.order("BTCUSDT", "Buy", "0.1")
    now = await bench.pace.market_now()
    plan = make_plan(origin=Origin.ADOPTED, qty=Decimal("0.1"), trigger=now)
    bench.move("BTCUSDT", *(plan.price * Decimal(k) / 100 for k in (97, 94, 91, 88, 85)))
    assert bench.held() == 0

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan, since=now))

    assert set(reasons(settled)) == {ExitReason.LIQUIDATION}
    assert settled.events[-1].qty == 0


async def test_an_exit_goes_before_everything_else(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3: leaving has the reserve of the budget, its reads too."""
    plan, seen = make_plan(), {}
    await bench.enter(plan)

    def noted(method: str, arguments: Any) -> Urgency:
        seen[method] = urgency_of(method, arguments)
        return seen[method]

    monkeypatch.setattr("activities.bybit.urgency_of", noted)

    await bench.run(bench.exchange.flatten, TradeOrder(plan=plan, number=2))
    await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert {"cancel_order", "get_positions", "place_order", "get_executions"} <= seen.keys()
    assert set(seen.values()) == {Urgency.EXIT}


async def test_settling_counts_the_funding_that_nobody_told_of(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await bench.order("BTCUSDT", "Buy", "0.5")
    bench.fund("BTCUSDT", Decimal("0.001"))
    await bench.order("BTCUSDT", "Sell", "0.5", reduceOnly=True)
    await bench.enter(plan)
    bench.fund("BTCUSDT", Decimal("0.0002"))
    await bench.run(bench.exchange.flatten, TradeOrder(plan=plan, number=2))

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    (funded,) = [e for e in settled.events if isinstance(e, Funded)]
    assert funded.amount < 0
    assert abs(funded.amount) < plan.notional * Decimal("0.0003")
