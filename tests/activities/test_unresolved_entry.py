"""An entry whose outcome is not known: asked for until the exchange says it, sent once."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.exchange import BybitExchange
from tradewright import ids
from tradewright.domain.errors import (
    ExchangeUnreachable,
    OutcomeUnknown,
    RateLimited,
)
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import EntryPlaced, EntryRejected
from tradewright.journal import Journal
from tradewright.ports import TradeOrder


def entry_link(plan: TradePlan) -> str:
    return ids.order_link(plan.trade_id, "e", 1)


async def test_a_lost_answer_never_places_the_order_twice(bench: Any, make_plan: Any) -> None:
    """A2: the order is looked up before anything is sent again."""
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert placed == EntryPlaced(order_id=bench.orders(entry_link(plan))[0].order_id)
    assert (bench.line.count("place_order"), bench.held()) == (1, plan.qty)


async def test_a_lost_request_is_sent_again_once_it_cannot_land_any_more(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_request)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)

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


async def test_absence_is_not_believed_before_the_exchanges_own_clock_allows_it(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F1: the window that a request may still land in goes by the server's clock."""
    monkeypatch.setattr("activities.entry.LOOK_UP_POLL", 0.05)
    monkeypatch.setattr("activities.entry.LANDING_MARGIN", timedelta(0))
    exchange = BybitExchange(bench.make_client(400), bench.journal, bench.pace)
    await bench.fault("clock_skew", ms=-700)
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.run(exchange.place_entry, TradeOrder(plan=plan))
    for read in ("get_open_orders", "get_order_history", "get_executions"):
        bench.line.spoil(read, bench.faults.empty_list, bench.faults.empty_list)
    by_ours = datetime.now(UTC) - timedelta(milliseconds=500)

    placed = await bench.run(
        exchange.place_entry, TradeOrder(plan=plan), attempt=2, scheduled_at=by_ours
    )

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("place_order") == 1


async def test_a_trade_does_not_end_because_reads_lag_behind_its_entry(
    bench: Any, make_plan: Any
) -> None:
    """A3: absence may lead to the same order again, but not soon to none."""
    plan = make_plan()
    await bench.fault("lagging_reads", name="lag", ms=30_000)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    bench.journal.close_gate()
    half_a_minute_ago = datetime.now(UTC) - timedelta(seconds=30)

    with pytest.raises(OutcomeUnknown, match="it is not sent again: gate_closed"):
        await bench.run(
            bench.exchange.place_entry,
            TradeOrder(plan=plan),
            attempt=2,
            scheduled_at=half_a_minute_ago,
        )
    await bench.mend("lag")
    placed = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan), attempt=3, details=bench.heartbeats[-1]
    )

    assert bench.heartbeats[-1] == (2, half_a_minute_ago.timestamp())
    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("place_order") == 1


@pytest.mark.parametrize("code", [110007, 10005])
async def test_what_rejects_a_second_request_says_nothing_of_the_first(
    bench: Any, make_plan: Any, code: int
) -> None:
    """A3: the order that is there and not shown may be what the margin is missing for."""
    plan = make_plan()
    await bench.fault("lagging_reads", name="lag", ms=30_000)
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    bench.line.always["place_order"] = bench.faults.answers(code, "no")
    ago = datetime.now(UTC) - timedelta(seconds=30)

    with pytest.raises(OutcomeUnknown, match="it is not sent again"):
        await bench.run(
            bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2, scheduled_at=ago
        )
    await bench.mend("lag")
    placed = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan), attempt=3, details=bench.heartbeats[-1]
    )

    assert isinstance(placed, EntryPlaced)
    assert bench.held() == plan.qty


async def test_a_trade_ends_when_its_entry_is_absent_for_long_and_not_wanted_any_more(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_request)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    bench.journal.close_gate()
    noted = (2, (datetime.now(UTC) - timedelta(seconds=61)).timestamp())

    # Noted by the attempt before it; what an older one noted says nothing of that one
    refused = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan), attempt=3, details=noted
    )
    with pytest.raises(OutcomeUnknown):
        await bench.run(
            bench.exchange.place_entry,
            TradeOrder(plan=plan),
            attempt=4,
            details=noted,
            scheduled_at=datetime.now(UTC) - timedelta(seconds=20),
        )

    assert refused.code == "gate_closed"
    assert bench.line.count("place_order") == 1


@pytest.mark.parametrize("journal_is_away", [False, True])
async def test_doubt_grows_old_while_nothing_can_be_read(
    bench: Any, make_plan: Any, journal_is_away: bool
) -> None:
    """A3: an attempt that cannot ask has sent nothing, and does not begin the doubt anew."""
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_request)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    bench.journal.is_away = journal_is_away
    bench.line.spoil("get_open_orders", bench.faults.http_status(502))
    noted = (1, (datetime.now(UTC) - timedelta(seconds=61)).timestamp())
    bench.heartbeats.clear()

    with pytest.raises(ExchangeUnreachable):
        await bench.run(
            bench.exchange.place_entry,
            TradeOrder(plan=plan),
            attempt=2,
            details=noted,
            scheduled_at=datetime.now(UTC),
        )
    bench.journal.is_away = False
    bench.journal.close_gate()
    refused = await bench.run(
        bench.exchange.place_entry,
        TradeOrder(plan=plan),
        attempt=3,
        details=bench.heartbeats[-1],
        scheduled_at=datetime.now(UTC),
    )

    assert bench.heartbeats[-1] == (2, noted[1])
    assert (refused.code, bench.line.count("place_order")) == ("gate_closed", 1)


@pytest.mark.parametrize("unanswered", ["set_leverage", "get_tickers"])
async def test_an_entry_that_is_late_and_not_sent_ends_whatever_is_not_answered(
    bench: Any, make_plan: Any, unanswered: str
) -> None:
    plan = make_plan()
    bench.line.always[unanswered] = bench.faults.http_status(502)
    with pytest.raises(ExchangeUnreachable):
        await bench.enter(plan)
    late = plan.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})

    refused = await bench.run(
        bench.exchange.place_entry,
        TradeOrder(plan=late),
        attempt=2,
        details=bench.heartbeats[-1],
        scheduled_at=datetime.now(UTC),
    )

    assert (refused.code, bench.line.count("place_order")) == ("expired", 0)


async def test_two_workers_on_one_entry_send_one_order(bench: Any, make_plan: Any) -> None:
    """A2: the first one wakes up when the second one has done its work already."""
    plan, awake = make_plan(), threading.Event()
    other = BybitExchange(bench.make_client(), bench.journal, bench.pace)

    loop, is_asleep = asyncio.get_running_loop(), asyncio.Event()

    def asleep(send: Any) -> Any:
        loop.call_soon_threadsafe(is_asleep.set)
        awake.wait(10)
        return send()

    bench.line.spoil("get_tickers", asleep)
    first = asyncio.create_task(bench.run(bench.exchange.place_entry, TradeOrder(plan=plan)))
    await is_asleep.wait()

    by_second = await bench.run(other.place_entry, TradeOrder(plan=plan), attempt=2)
    awake.set()
    by_first = await first

    assert by_first == by_second == EntryPlaced(order_id=bench.orders(entry_link(plan))[0].order_id)
    assert (bench.line.count("place_order"), bench.held()) == (2, plan.qty)


async def test_a_duplicate_link_is_success(bench: Any, make_plan: Any) -> None:
    """A2: the exchange has it, whoever has sent it."""
    plan = make_plan()
    await bench.enter(plan)
    bench.journal.events.clear()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)
    assert (bench.line.count("place_order"), bench.held()) == (2, plan.qty)


async def test_a_reset_workflow_finds_the_entry_of_its_earlier_run(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.journal.close_gate()

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("place_order") == 1


async def test_an_entry_that_is_in_does_not_wait_for_the_journal(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    await bench.enter(plan)
    bench.journal.is_away = True

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert isinstance(placed, EntryPlaced)


async def test_an_attempt_that_surely_sent_nothing_costs_the_next_one_no_wait(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.answers(10006))
    with pytest.raises(RateLimited):
        await bench.enter(plan)

    placed = await bench.run(
        bench.exchange.place_entry,
        TradeOrder(plan=plan),
        attempt=2,
        details=bench.heartbeats[-1],
        scheduled_at=datetime.now(UTC),
    )

    assert isinstance(placed, EntryPlaced)
    assert bench.line.count("get_open_orders") == 0


async def test_an_expired_plan_whose_order_is_in_is_not_refused(bench: Any, make_plan: Any) -> None:
    plan = make_plan(expires_at=datetime.now(UTC) + timedelta(seconds=2))
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    late = plan.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=late), attempt=2)

    assert isinstance(placed, EntryPlaced)


async def test_the_real_journal_takes_the_same_intent_twice(
    bench: Any, make_plan: Any, tmp_path: Any
) -> None:
    journal = await Journal.open(f"sqlite:///{tmp_path}/journal.db", venue="paper")
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
        await bench.enter(make_plan())


async def test_a_leverage_that_was_not_answered_is_set_again_before_anything_is_sent(
    bench: Any, make_plan: Any
) -> None:
    plan = make_plan()
    bench.line.spoil("set_leverage", bench.faults.lost_answer)
    with pytest.raises(ExchangeUnreachable):
        await bench.enter(plan)

    # It stands already, which the exchange answers with a retCode of its own
    placed = await bench.run(
        bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2, details=bench.heartbeats[-1]
    )

    assert isinstance(placed, EntryPlaced)
    assert (bench.line.count("set_leverage"), bench.line.count("place_order")) == (2, 1)


async def test_an_answer_that_nobody_knows_is_looked_up_before_it_counts_as_a_rejection(
    bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.entry.READS_LAG", 0.0)
    taken, refused = make_plan(), make_plan(symbol="ETHUSDT")
    unknown = bench.faults.answers(555555, "what is this")

    def taken_all_the_same(send: Any) -> Any:
        send()
        return unknown(send)

    bench.line.spoil("place_order", taken_all_the_same, unknown)

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=taken))
    rejected = await bench.run(bench.exchange.place_entry, TradeOrder(plan=refused))

    assert placed == EntryPlaced(order_id=bench.orders(entry_link(taken))[0].order_id)
    assert rejected == EntryRejected(code="bybit_555555", reason="what is this")
    assert bench.line.count("place_order") == 2


@pytest.mark.parametrize("code", [555555, 110072])
async def test_an_entry_that_cannot_be_looked_up_after_it_was_sent_is_unresolved(
    bench: Any, make_plan: Any, code: int
) -> None:
    bench.line.spoil("place_order", bench.faults.answers(code, "what is this"))
    bench.line.spoil("get_open_orders", bench.faults.http_status(502))

    with pytest.raises(OutcomeUnknown):
        await bench.enter(make_plan())

    # The next attempt must not think that nothing was sent
    assert bench.heartbeats == []


@pytest.mark.parametrize("shown_by", ["get_order_history", "get_executions"])
async def test_an_order_is_found_wherever_the_exchange_shows_it(
    bench: Any, make_plan: Any, shown_by: str
) -> None:
    """A5: the list of open orders alone says nothing of what has ended."""
    plan = make_plan()
    bench.line.spoil("place_order", bench.faults.lost_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.enter(plan)
    for read in {"get_open_orders", "get_order_history", "get_executions"} - {shown_by}:
        bench.line.always[read] = bench.faults.empty_list

    placed = await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan), attempt=2)

    assert placed == EntryPlaced(order_id=bench.orders(entry_link(plan))[0].order_id)
    assert bench.line.count("place_order") == 1
