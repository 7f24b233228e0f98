"""What a trade does at the exchange, over the wire of the paper exchange."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.exchange import BybitExchange
from activities.lookup import ReadsDisagree
from tradewright import ids
from tradewright.domain.errors import (
    AnswerMalformed,
    ExchangeUnreachable,
    ExitRejected,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from tradewright.domain.execution import ExitReason
from tradewright.domain.gate import GateState
from tradewright.domain.plan import Origin, TradePlan
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitSent,
    PositionRead,
    StopConfirmed,
    StopMissing,
    StopRefused,
    Trade,
    TradeState,
)
from tradewright.journal import Journal
from tradewright.ports import TradeEvents, TradeOrder


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def enter(bench: Any, plan: TradePlan) -> None:
    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))
    assert isinstance(placed, EntryPlaced), placed


def reasons(events: TradeEvents) -> list[ExitReason | None]:
    return [e.execution.cause for e in events.events if isinstance(e, Executed)]


async def test_the_entry_carries_its_stop_and_its_target(bench: Any, make_plan: Any) -> None:
    plan = make_plan()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    (order,) = bench.orders(entry_link(plan))
    assert placed == EntryPlaced(order_id=order.order_id)
    position = bench.paper.exchange.engine.positions["BTCUSDT"]
    assert (bench.held(), position.leverage) == (plan.qty, 2)
    stops = {o.stop.value: o.trigger_price for o in bench.open_orders()}
    assert stops == {"StopLoss": plan.stop_loss, "TakeProfit": plan.take_profit}


async def test_the_intent_is_in_the_journal_before_the_order_is_sent(
    bench: Any, make_plan: Any
) -> None:
    plan, seen = make_plan(), []

    def look_first(send: Any) -> Any:
        seen.extend(bench.journal.events)
        return send()

    bench.line.spoil("place_order", look_first)

    await enter(bench, plan)

    assert seen == [f"{ids.trade_workflow('BTCUSDT', plan.trade_id)}/intent"]


async def test_a_lost_answer_never_places_the_order_twice(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await enter(bench, plan)

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert placed == EntryPlaced(order_id=bench.orders(entry_link(plan))[0].order_id)
    assert (bench.line.count("place_order"), bench.held()) == (1, plan.qty)


async def test_a_lost_request_is_sent_again_once_it_cannot_land_any_more(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_request)
    with pytest.raises(OutcomeUnknown):
        await enter(bench, plan)

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert isinstance(placed, EntryPlaced)
    assert (bench.line.count("place_order"), bench.held()) == (2, plan.qty)


async def test_absence_is_not_believed_while_the_request_may_still_land(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.entry.LOOK_UP_POLL", 0.01)
    monkeypatch.setattr("activities.entry.LANDING_MARGIN", timedelta(milliseconds=100))
    exchange = BybitExchange(bench.make_client(200), bench.journal, bench.pace)
    plan, started = make_plan(), datetime.now(UTC)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(exchange.place_entry, TradeOrder(plan=plan))
    # The order shows only at the third look
    bench.line.spoil("get_open_orders", bench.faults.empty_list, bench.faults.empty_list)
    bench.line.spoil("get_order_history", bench.faults.empty_list, bench.faults.empty_list)
    bench.line.spoil("get_executions", bench.faults.empty_list, bench.faults.empty_list)

    placed = await bench.run(
        exchange.place_entry, TradeOrder(plan=plan), attempt=2, scheduled_at=started
    )

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("place_order") == 1


async def test_a_duplicate_link_is_success(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.journal.events.clear()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)
    assert (bench.line.count("place_order"), bench.held()) == (2, plan.qty)


async def test_a_reset_workflow_finds_the_entry_of_its_earlier_run(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.journal.close_gate()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("place_order") == 1


@pytest.mark.parametrize("state", [GateState.EXITS_ONLY, GateState.HALTED])
async def test_nothing_is_sent_when_the_gate_is_closed(
    bench: Any, make_plan: Any, state: GateState
) -> None:
    bench.journal.close_gate(state)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))

    assert refused == EntryRejected(code="gate_closed", reason=f"the gate is {state} by ann: test")
    assert bench.line.count("place_order") == 0


async def test_nothing_is_sent_when_the_journal_is_away_but_exits_work(
    bench: Any, make_plan: Any
) -> None:
    held, new = make_plan(), make_plan(symbol="ETHUSDT")
    await enter(bench, held)
    bench.journal.is_away = True

    with pytest.raises(Exception, match="journal is away"):
        await enter(bench, new)
    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=held))

    assert bench.line.count("place_order") == 2
    assert (sent.qty, bench.held(), bench.held("ETHUSDT")) == (held.qty, 0, 0)


async def test_an_entry_that_is_in_does_not_wait_for_the_journal(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.journal.is_away = True

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert isinstance(placed, EntryPlaced)


async def test_nothing_is_sent_when_the_gate_cannot_be_read(bench: Any, make_plan: Any) -> None:
    bench.journal.gate_is_away = True

    with pytest.raises(Exception, match="journal is away"):
        await enter(bench, make_plan())

    assert bench.line.count("place_order") == 0
    # The next attempt knows that this one sent nothing
    assert bench.heartbeats == [(1,)]


async def test_an_attempt_that_surely_sent_nothing_costs_the_next_one_no_wait(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.answers(10006))
    with pytest.raises(RateLimited):
        await enter(bench, plan)

    placed = await bench.run(
        bench.exchange.place_entry,
        TradeOrder(plan=plan),
        attempt=2,
        details=bench.heartbeats[-1],
        scheduled_at=datetime.now(UTC),
    )

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("get_open_orders") == 0


async def test_an_expired_plan_is_not_sent(bench: Any, make_plan: Any) -> None:
    plan = make_plan(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert (refused.code, bench.line.count("place_order")) == ("expired", 0)


async def test_an_expired_plan_whose_order_is_in_is_not_refused(bench: Any, make_plan: Any) -> None:
    plan = make_plan(expires_at=datetime.now(UTC) + timedelta(seconds=2))
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await enter(bench, plan)
    late = plan.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=late), attempt=2)

    assert isinstance(placed, EntryPlaced)


async def test_what_the_exchange_rejects_is_a_rejected_entry(bench: Any, make_plan: Any) -> None:
    refused = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=make_plan(qty=Decimal("0.00001")))
    )

    assert isinstance(refused, EntryRejected)
    assert (refused.code, "truncated to zero" in refused.reason) == ("bybit_110017", True)


async def test_a_stop_that_the_price_has_passed_rejects_the_entry(
    bench: Any, make_plan: Any
) -> None:
    passed, meanwhile = make_plan(), make_plan(symbol="ETHUSDT")
    bench.move("BTCUSDT", passed.stop_loss - 100)

    def pass_it_first(send: Any) -> Any:
        bench.move_meanwhile("ETHUSDT", meanwhile.stop_loss - 10)
        return send()

    bench.line.spoil("place_order", pass_it_first)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=passed))
    rejected = await bench.run(bench.exchange.place_entry, TradeOrder(plan=meanwhile))

    assert (refused.code, rejected.code) == ("price_moved", "bybit_10001")
    assert (bench.held(), bench.held("ETHUSDT")) == (0, 0)


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_an_entry_is_not_sent_at_a_price_far_worse_than_planned(
    bench: Any, make_plan: Any, side: str
) -> None:
    plan = make_plan(side=side)
    half = abs(plan.price - plan.stop_loss) / 2 * plan.side.sign
    bench.move("BTCUSDT", plan.price + half + plan.side.sign)

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert refused.code == "price_moved"
    assert f"planned was {plan.price}" in refused.reason
    assert bench.line.count("place_order") == 0


@pytest.mark.parametrize("side", ["Buy", "Sell"])
@pytest.mark.parametrize("share", ["0.4", "-0.9"])
async def test_a_price_a_little_worse_or_better_than_planned_is_taken(
    bench: Any, make_plan: Any, side: str, share: str
) -> None:
    plan = make_plan(side=side)
    away = abs(plan.price - plan.stop_loss) * Decimal(share) * plan.side.sign
    bench.move("BTCUSDT", plan.instrument.floor_price(plan.price + away))

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)


async def test_nothing_is_sent_when_the_price_cannot_be_read(bench: Any, make_plan: Any) -> None:
    bench.line.spoil("get_tickers", bench.faults.http_status(502), bench.faults.empty_list)

    with pytest.raises(ExchangeUnreachable):
        await enter(bench, make_plan())
    with pytest.raises(AnswerMalformed):
        await enter(bench, make_plan(symbol="ETHUSDT"))

    assert bench.line.count("place_order") == 0


async def test_a_refused_key_rejects_the_entry_and_says_what_to_do(
    bench: Any, make_plan: Any
) -> None:
    bench.line.always["place_order"] = bench.faults.answers(10005, "Permission denied")

    refused = await bench.run(bench.exchange.place_entry, TradeOrder(plan=make_plan()))

    assert (refused.code, "permit contract orders" in refused.reason) == ("key_refused", True)


async def test_the_real_journal_takes_the_same_intent_twice(
    bench: Any, make_plan: Any, tmp_path: Any
) -> None:
    journal = await Journal.open(f"sqlite+aiosqlite:///{tmp_path}/journal.db", venue="paper")
    exchange, plan = BybitExchange(bench.client, journal, bench.pace), make_plan()
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(exchange.place_entry, TradeOrder(plan=plan))

    placed = await bench.run(exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert isinstance(placed, EntryPlaced)
    assert await journal.verify() == ()
    await journal.close()


async def test_a_duplicate_that_no_read_shows_is_unresolved(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.entry.READS_LAG", 0.1)
    bench.line.always["place_order"] = bench.faults.answers(110072, "OrderLinkedID is duplicate")

    with pytest.raises(OutcomeUnknown, match="it exists and no read shows it yet"):
        await enter(bench, make_plan())


async def test_a_leverage_that_was_not_answered_is_set_again_before_anything_is_sent(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("set_leverage", bench.faults.lost_answer)
    with pytest.raises(ExchangeUnreachable):
        await enter(bench, plan)

    # It stands already, which the exchange answers with a retCode of its own
    placed = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2, details=bench.heartbeats[-1]
    )

    assert isinstance(placed, EntryPlaced)
    assert (bench.line.count("set_leverage"), bench.line.count("place_order")) == (2, 1)


# --- stops ------------------------------------------------------------------------------------


async def test_the_stop_is_read_back(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    # Reads may lag: a position that is not shown yet is not a flat one
    bench.line.spoil("get_executions", bench.faults.empty_list)
    flat = {"symbol": "BTCUSDT", "side": "", "size": "0", "avgPrice": "0", "stopLoss": ""}
    bench.line.spoil("get_positions", lambda send: rows(send, flat))

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert shown == StopConfirmed(price=plan.stop_loss)


def rows(send: Any, *shown: dict[str, Any]) -> Any:
    answer, elapsed, headers = send()
    answer["result"]["list"] = list(shown)
    return answer, elapsed, headers


async def test_a_stop_that_does_not_show_in_time_is_missing(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.STOP_DEADLINE", 0.3)
    plan = make_plan()
    await enter(bench, plan)
    bench.paper.exchange.change(
        lambda now: bench.paper.exchange.engine.cancel_all({"BTCUSDT"}, now)
    )

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert shown == StopMissing()
    assert bench.line.count("get_positions") > 1


async def test_the_deadline_of_a_stop_does_not_begin_anew_with_every_attempt(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    order, faults = TradeOrder(plan=plan), bench.faults
    # Every attempt sees no stop, and is then stopped by a limit
    bench.line.spoil("get_positions", faults.naked, faults.answers(10006), faults.naked)
    with pytest.raises(RateLimited):
        await bench.run(bench.exchange.verify_stop, order)

    shown = await bench.run(bench.exchange.verify_stop, order, attempt=2, waited=5.1)

    assert shown == StopMissing()


async def test_a_stop_that_is_looked_for_late_is_given_a_second_look(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.line.spoil("get_positions", bench.faults.naked)

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan), waited=60)

    assert shown == StopConfirmed(price=plan.stop_loss)


async def test_a_position_read_that_lags_long_does_not_end_the_look_for_its_stop(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.STOP_DEADLINE", 0.2)
    plan = make_plan()
    await enter(bench, plan)
    bench.line.always["get_positions"] = bench.faults.flat
    order = TradeOrder(plan=plan)

    with pytest.raises(ReadsDisagree):
        await bench.run(bench.exchange.verify_stop, order)
    read = await bench.run(bench.exchange.verify_stop, order, attempt=9, waited=61)

    assert (type(read), read.qty) == (PositionRead, 0)


async def test_a_stop_that_was_hit_at_once_reads_flat(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.move("BTCUSDT", plan.stop_loss - 10)

    shown = await bench.run(bench.exchange.verify_stop, TradeOrder(plan=plan))

    assert isinstance(shown, PositionRead)
    assert shown.qty == 0
    assert bench.line.count("get_positions") == 1


async def test_the_stop_is_amended_in_place_and_the_target_stays(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    price = plan.stop_loss + 100

    shown = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=price))
    again = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=price))

    assert shown == again == StopConfirmed(price=price)
    stops = {o.stop.value: o.trigger_price for o in bench.open_orders()}
    assert stops == {"StopLoss": price, "TakeProfit": plan.take_profit}


async def test_a_stop_beyond_the_price_is_refused(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)

    refused = await bench.run(bench.exchange.set_stop, TradeOrder(plan=plan, price=plan.price + 50))

    assert isinstance(refused, StopRefused)


async def test_a_stop_that_does_not_show_after_it_was_set_is_set_again(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.STOP_DEADLINE", 0.2)
    plan = make_plan()
    await enter(bench, plan)
    order = TradeOrder(plan=plan, price=plan.stop_loss + 100)
    bench.line.spoil("set_trading_stop", lambda send: ({"retCode": 0, "result": {}}, None, {}))
    with pytest.raises(OutcomeUnknown, match=f"the stop shown is {plan.stop_loss}"):
        await bench.run(bench.exchange.set_stop, order)

    shown = await bench.run(bench.exchange.set_stop, order, attempt=2)

    assert shown == StopConfirmed(price=plan.stop_loss + 100)


async def test_a_stop_that_is_malformed_is_not_one_that_was_passed(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)

    with pytest.raises(OrderRejected, match="tick size"):
        await bench.run(
            bench.exchange.set_stop,
            TradeOrder(plan=plan, price=plan.stop_loss + Decimal("0.01")),
        )


async def test_a_stop_for_nothing_reads_flat(bench: Any, make_plan: Any) -> None:
    flat = await bench.run(bench.exchange.set_stop, TradeOrder(plan=make_plan()))

    assert (type(flat), flat.qty) == (PositionRead, 0)


# --- looking up -------------------------------------------------------------------------------


async def test_a_look_up_finds_the_entry_its_fill_and_the_position(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.line.spoil("get_executions", bench.faults.empty_list)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    placed, executed, ended, read = found.events
    assert isinstance(placed, EntryPlaced)
    assert isinstance(ended, EntryEnded)
    assert (executed.execution.order_link_id, read.qty) == (entry_link(plan), plan.qty)


async def test_a_look_up_does_not_end_an_entry_whose_fills_do_not_show(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.2)
    plan = make_plan()
    await enter(bench, plan)
    bench.line.always["get_executions"] = bench.faults.empty_list

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    assert [type(e) for e in found.events] == [EntryPlaced]


async def test_a_look_up_tells_of_a_flat_position_whose_end_nobody_shows(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.2)
    plan = make_plan()
    await enter(bench, plan)
    bench.move("BTCUSDT", plan.stop_loss - 1)
    # Adopted at a moment after its stop was hit, by a clock that is ahead
    late = await bench.pace.market_now() + timedelta(seconds=1)
    adopted = plan.model_copy(update={"origin": Origin.ADOPTED, "trigger": late})
    trade = Trade(plan=adopted).after(Adopted(qty=plan.qty, price=plan.price, at=late))

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=adopted, since=late))

    (read,) = found.events
    assert trade.after(read).state is TradeState.SETTLING
    assert bench.line.count("get_positions") > 1


async def test_one_flat_read_against_the_executions_is_not_told(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.0)
    plan = make_plan()
    await enter(bench, plan)
    bench.line.spoil("get_positions", bench.faults.flat)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    assert [e.qty for e in found.events if isinstance(e, PositionRead)] == [plan.qty]


async def test_the_last_trade_of_the_symbol_is_not_counted_to_this_one(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.order("BTCUSDT", "Buy", "0.3")
    await bench.order("BTCUSDT", "Sell", "0.3", reduceOnly=True)
    await enter(bench, plan)

    found = await bench.run(bench.exchange.look_up, TradeOrder(plan=plan))

    executions = [e.execution for e in found.events if isinstance(e, Executed)]
    assert [e.order_link_id for e in executions] == [entry_link(plan)]


# --- leaving ----------------------------------------------------------------------------------


async def test_a_flatten_closes_what_is_held_and_settles(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)

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
    await enter(bench, plan)

    def hit_first(send: Any) -> Any:
        bench.move_meanwhile("BTCUSDT", plan.stop_loss - 10)
        return send()

    bench.line.spoil("place_order", hit_first)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent, bench.held()) == (ExitSent(), 0)


async def test_a_lost_answer_never_flattens_twice(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan), attempt=2)

    assert (sent.order_link_id, sent.qty) == (ids.order_link(plan.trade_id, "x", 1), plan.qty)
    assert (bench.line.count("place_order"), bench.held()) == (2, 0)


async def test_a_failed_read_is_never_taken_for_flat(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
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
    await enter(bench, plan)
    bench.line.always["cancel_order"] = bench.faults.answers(10006)

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    assert (sent.qty, bench.held()) == (plan.qty, 0)


async def test_an_exit_larger_than_a_market_order_goes_out_in_slices(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
    half = plan.instrument.floor_qty(plan.qty / 2) + plan.instrument.qty_step
    small = plan.instrument.model_copy(update={"max_market_qty": half})
    order = TradeOrder(plan=plan.model_copy(update={"instrument": small}))

    first = await bench.run(bench.exchange.flatten, order)
    second = await bench.run(bench.exchange.flatten, order.model_copy(update={"number": 2}))

    assert (first.qty, second.qty, bench.held()) == (half, plan.qty - half, 0)


async def test_an_exit_that_is_in_already_is_not_sent_under_another_link(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await enter(bench, plan)
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
    plan = make_plan()
    await enter(bench, plan)
    low, link = f"{bench.price() // 2:f}", ids.order_link(plan.trade_id, "t", 1)
    limit = {"orderType": "Limit", "price": low}
    await bench.order("BTCUSDT", "Buy", "0.01", **limit, orderLinkId=link)
    await bench.order("BTCUSDT", "Buy", "0.01", **limit, orderLinkId="of-a-person")
    await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert [o.link for o in bench.open_orders()] == ["of-a-person"]


async def test_a_rejected_exit_is_tried_again(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.line.spoil("place_order", bench.faults.answers(110118, "low liquidity"))
    with pytest.raises(ExitRejected):
        await bench.run(bench.exchange.flatten, TradeOrder(plan=plan))

    sent = await bench.run(bench.exchange.flatten, TradeOrder(plan=plan), attempt=2)

    assert (sent.qty, bench.held()) == (plan.qty, 0)


async def test_settling_finds_the_execution_of_the_stop(bench: Any, make_plan: Any) -> None:
    plan = make_plan()
    await enter(bench, plan)
    bench.move("BTCUSDT", plan.stop_loss - 10)
    bench.line.spoil("get_executions", bench.faults.empty_list)

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan))

    assert reasons(settled) == [None, ExitReason.STOP]
    assert settled.events[-1].qty == 0


@pytest.mark.parametrize("shown", ["position", "executions"])
async def test_settling_does_not_believe_in_flat_against_the_executions(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.2)
    plan = make_plan()
    await enter(bench, plan)
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
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.2)
    plan = make_plan()
    await enter(bench, plan)
    bench.line.always["get_positions"] = bench.faults.flat

    settled = await bench.run(bench.exchange.settle, TradeOrder(plan=plan), attempt=9, waited=61)

    assert [type(e) for e in settled.events] == [Executed, PositionRead]
    assert settled.events[-1].qty == 0


async def test_settling_finds_the_target_and_what_a_person_closed(
    bench: Any, make_plan: Any
) -> None:
    won, by_hand = make_plan(), make_plan(symbol="ETHUSDT")
    await enter(bench, won)
    await enter(bench, by_hand)
    bench.move("BTCUSDT", won.take_profit + 10)
    await bench.order("ETHUSDT", "Sell", str(by_hand.qty), reduceOnly=True)

    target = await bench.run(bench.exchange.settle, TradeOrder(plan=won))
    hand = await bench.run(bench.exchange.settle, TradeOrder(plan=by_hand))

    assert reasons(target) == [None, ExitReason.TARGET]
    assert reasons(hand) == [None, None]


async def test_settling_says_what_is_still_held(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.exchange.READS_LAG", 0.2)
    plan = make_plan()
    await enter(bench, plan)

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
