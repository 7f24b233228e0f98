"""The private stream going wrong in every way that the exchange knows: nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities import channel, follower, messenger, silence, wire
from activities.happening import StreamCursor
from tests.activities.noting import (
    AWAY,
    START,
    Desk,
    client_of,
    eventually,
    fault,
    following,
    holds,
    no_faults,
    noting_worker,
    order,
    settings,
)
from tradewright import ids
from tradewright.domain.execution import ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import EntryEnded, Executed, Funded
from tradewright.paper import PaperExchange, running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "HEARTBEAT_EVERY", 0.01)
    monkeypatch.setattr(follower, "SWEEP_EVERY", 0.2)
    monkeypatch.setattr(follower, "ORDERS_EVERY", 0.2)
    monkeypatch.setattr(silence, "SILENT_AFTER", 0.4)


@pytest.fixture(scope="module")
async def worker(temporal: Client) -> AsyncIterator[Worker]:
    async with noting_worker(temporal) as worker:
        yield worker


@pytest.fixture
def desk(temporal: Client, worker: Worker) -> Desk:
    return Desk(temporal, worker)


@pytest.fixture
async def paper() -> AsyncIterator[PaperExchange]:
    async with running(settings()) as exchange:
        yield exchange


async def trade_in_parts(paper: PaperExchange, plan: TradePlan) -> list[str]:
    """Enter, and leave in four orders; return what the exchange lists of it, oldest first."""
    await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
    for number, qty in enumerate(("0.004", "0.003", "0.002", "0.001"), start=2):
        link = ids.order_link(plan.trade_id, "x", number)
        await order(paper, "BTCUSDT", "Sell", link, qty=qty, reduceOnly=True)
    return await listed(paper)


async def listed(paper: PaperExchange) -> list[str]:
    with client_of(paper) as client:
        answer = await client.call("get_executions", category="linear", limit=100)
    return [row["execId"] for row in reversed(answer["result"]["list"])]


def play(paper: PaperExchange, *path: Decimal) -> None:
    """Let the market of BTCUSDT trade along *path*."""
    engine = paper.exchange.engine
    paper.exchange.change(lambda now: engine.play("BTCUSDT", path, now))


def price(paper: PaperExchange) -> Decimal:
    return paper.exchange.engine.last["BTCUSDT"]


# --- messages that go astray --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{kind: stream_drop, at: message, when: {topic: execution, times: 2}}",
        "{kind: stream_drop, at: message, how: close, when: {topic: order, times: 2}}",
        "{kind: stream_silence, ms: 60000, at: message, when: {topic: execution, times: 1}}",
        "{kind: stream_loss, when: {topic: execution, times: 2}}",
        "{kind: stream_loss, when: {topic: execution, after: 1}}",
        "{kind: stream_delay, ms: 700, when: {topic: execution, times: 2}}",
        "{kind: stream_reorder, by: 9, when: {topic: execution, times: 2}}",
        "{kind: stream_duplicate, copies: 2, ms: 30, when: {topic: execution}}",
    ],
    ids=["reset", "close", "silence", "loss", "loss_for_ever", "delay", "reorder", "duplicate"],
)
async def test_whatever_the_stream_does_every_execution_is_told_once(
    desk: Desk, paper: PaperExchange, text: str
) -> None:
    """F2, F5, D2: the stream drops, falls silent, loses, delays and repeats; fills count once."""
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper) as following_it:
        await fault(paper, text)
        all_of_them = await trade_in_parts(paper, plan)
        found = await desk.executions(plan, 5)
        # Whatever comes twice has time to
        await eventually(lambda: holds(lambda: len(following_it.cursor.seen) == 5))

    assert len(all_of_them) == 5
    assert sorted(e.exec_id for e in found) == sorted(all_of_them)
    told = [e.execution.exec_id for e in await desk.told(plan) if isinstance(e, Executed)]
    assert len(told) == len(set(told)) == 5


async def test_the_parts_of_one_order_are_told_in_the_exchange_s_order(
    desk: Desk, paper: PaperExchange
) -> None:
    """D2: the second part of an order overtakes the first, and waits for it."""
    (plan,) = await desk.open("BTCUSDT")
    half = "{kind: partial_fill, fraction: 0.4, silence_ms: 0, when: {order_link: 'tw*-e1'}}"

    async with following(desk, paper):
        await fault(paper, half)
        await fault(
            paper, "{kind: stream_reorder, by: 9, ms: 5000, when: {topic: execution, times: 1}}"
        )
        link = ids.order_link(plan.trade_id, "e", 1)
        at = price(paper)
        limit = {"orderType": "Limit", "price": str(at + 10), "timeInForce": "GTC"}
        await order(paper, "BTCUSDT", "Buy", link, **limit)
        play(paper, at - 50)
        found = await desk.executions(plan, 2)

    assert [e.exec_id for e in found] == await listed(paper)
    assert [e.qty for e in found] == [Decimal("0.004"), Decimal("0.006")]


async def test_a_stream_that_answers_no_ping_is_thrown_away(
    desk: Desk, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2: the connection stands, and nobody is at its other end."""
    monkeypatch.setattr(wire, "PING_EVERY", 0.4)
    monkeypatch.setattr(wire, "PONG_WITHIN", 0.2)
    monkeypatch.setattr(wire, "MUTE_AFTER", 1.0)
    monkeypatch.setattr(follower, "WAKE_EVERY", 0.1)
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper) as deaf:
        await fault(paper, "{kind: stream_silence, ms: 60000, pings: false}")
        await eventually(lambda: holds(lambda: bool(deaf.cursor.fault)))
        await eventually(lambda: holds(lambda: not deaf.cursor.fault))
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        found = await desk.executions(plan, 1)

    assert [e.side for e in found] == [Side.BUY]


async def test_an_entry_that_ends_while_only_the_order_topic_is_silent_is_asked_for(
    desk: Desk, paper: PaperExchange
) -> None:
    """F2: executions go on, and the topic of orders alone has died."""
    (plan,) = await desk.open("BTCUSDT")
    link = ids.order_link(plan.trade_id, "e", 1)

    async with following(desk, paper):
        await order(paper, "BTCUSDT", "Buy", link, orderType="Limit", price="1000")
        await eventually(lambda: _knows(desk, plan, 1))
        await fault(paper, "{kind: stream_loss, when: {topic: order}}")
        with client_of(paper) as client:
            await client.call("cancel_order", category="linear", symbol="BTCUSDT", orderLinkId=link)
        # The connection is made anew, and the trade asks how its entry ended
        await eventually(lambda: _knows(desk, plan, 2))

    assert not any(isinstance(e, EntryEnded) for e in await desk.told(plan))


async def _knows(desk: Desk, plan: TradePlan, count: int) -> bool:
    """Return whether the trade was asked so often to look for itself."""
    return (await desk.all_told(plan)).count(AWAY) >= count


async def test_an_execution_without_its_order_shows_that_the_order_topic_is_silent(
    desk: Desk, paper: PaperExchange
) -> None:
    """F2: market orders are on no list of working orders; their fills tell of the dead topic."""
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper) as following_it:
        await eventually(lambda: _knows(desk, plan, 1))
        await fault(paper, "{kind: stream_loss, when: {topic: order, times: 2}}")
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await eventually(lambda: holds(lambda: "order is silent" in following_it.cursor.fault))
        await no_faults(paper)
        found = await desk.executions(plan, 1)

    assert len(found) == 1


async def test_a_silent_topic_is_trusted_again_when_it_brings_something(
    desk: Desk, paper: PaperExchange
) -> None:
    """F5: a new connection alone proves nothing about the topic that had died on the last."""
    (plan,) = await desk.open("BTCUSDT", qty=Decimal("0.02"))

    async with following(desk, paper) as following_it:
        await fault(paper, "{kind: stream_loss, when: {topic: execution}}")
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await eventually(lambda: holds(lambda: "execution is silent" in following_it.cursor.fault))
        await eventually(lambda: _knows(desk, plan, 2))
        suspected = following_it.cursor.fault
        await no_faults(paper)
        await order(paper, "BTCUSDT", "Sell", ids.order_link(plan.trade_id, "x", 2))
        await eventually(lambda: holds(lambda: not following_it.cursor.fault))

    assert "execution is silent" in suspected


# --- whose they are -----------------------------------------------------------------------------


async def test_a_stop_that_fires_closes_the_trade_whose_entry_it_belongs_to(
    desk: Desk, paper: PaperExchange, worker: Worker
) -> None:
    """B9: a stop's fill names no order of ours; it is its parent's exit, never a new position."""
    (plan,) = await Desk(desk.client, worker).open("BTCUSDT")
    # Were the symbol to decide, this one would have it
    (usurper,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        at = price(paper)
        link = ids.order_link(plan.trade_id, "e", 1)
        stop = {"stopLoss": str(at - 100), "tpslMode": "Full", "slTriggerBy": "LastPrice"}
        await order(paper, "BTCUSDT", "Buy", link, **stop)
        await desk.executions(plan, 1)
        play(paper, at - 150)
        entry, exit_ = await desk.executions(plan, 2)

    assert (entry.side, exit_.side) == (Side.BUY, Side.SELL)
    assert (exit_.order_link_id, exit_.cause) == ("", ExitReason.STOP)
    assert not [e for e in await desk.told(usurper) if isinstance(e, Executed)]


async def test_a_stop_is_its_parent_s_although_the_stream_had_not_told_of_it(
    desk: Desk, paper: PaperExchange
) -> None:
    """B9: the stop fired while nobody listened; its order is asked for."""
    before = START - timedelta(minutes=1)
    earlier = ids.trade_id(desk.account, "noting", "BTCUSDT", before)
    at = price(paper)
    link = ids.order_link(earlier, "e", 1)
    stop = {"stopLoss": str(at - 100), "tpslMode": "Full", "slTriggerBy": "LastPrice"}
    await order(paper, "BTCUSDT", "Buy", link, **stop)
    play(paper, at - 150)
    (plan,) = await desk.open("BTCUSDT")
    await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))

    async with following(desk, paper):
        found = await desk.executions(plan, 1)

    # Without its parent, the stop of the trade before would be this one's, or a riddle to it
    assert [e.order_link_id for e in found] == [ids.order_link(plan.trade_id, "e", 1)]
    assert [e.kind for e in await desk.told(plan)] == ["executed"]


async def test_a_liquidation_is_told_to_the_trade_with_its_cause(desk: Desk) -> None:
    """B11: the exchange takes the position away; the trade hears of it, and why."""
    (plan,) = await desk.open("BTCUSDT")

    async with (
        running(settings(cash=Decimal(1000), leverage=50)) as paper,
        following(desk, paper),
    ):
        at = price(paper)
        qty = str((Decimal(30_000) / at).quantize(Decimal("0.001")))
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1), qty=qty)
        engine, fallen = paper.exchange.engine, at * Decimal("0.94")
        paper.exchange.change(lambda now: engine.refer("BTCUSDT", now, mark=fallen))

        async def is_gone() -> bool:
            return await _net(desk, plan) == 0 and bool(await desk.executions(plan, 2))

        await eventually(is_gone)

    entry, *exits = await desk.executions(plan, 2)
    assert entry.cause is None
    assert {e.cause for e in exits} == {ExitReason.LIQUIDATION}


async def _net(desk: Desk, plan: TradePlan) -> Decimal:
    told = [e.execution for e in await desk.told(plan) if isinstance(e, Executed)]
    return sum((e.qty * e.side.sign for e in told), Decimal(0))


async def test_funding_reaches_the_trade_that_holds_the_symbol(
    desk: Desk, paper: PaperExchange
) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await desk.executions(plan, 1)
        engine = paper.exchange.engine
        mark = engine.mark["BTCUSDT"]
        paper.exchange.change(lambda now: engine.fund("BTCUSDT", Decimal("0.0001"), now))
        paper.exchange.change(lambda now: engine.fund("BTCUSDT", Decimal("-0.0002"), now))

        async def funded() -> bool:
            return len(await _payments(desk, plan)) == 2

        await eventually(funded)

    paid, received = await _payments(desk, plan)
    assert abs(paid.amount + mark * Decimal("0.000001")) < Decimal("0.01")
    assert paid.amount < 0 < received.amount
    assert paid.exec_id != received.exec_id


async def _payments(desk: Desk, plan: TradePlan) -> list[Funded]:
    return [e for e in await desk.told(plan) if isinstance(e, Funded)]


async def test_funding_of_the_trade_before_is_not_the_next_one_s(
    desk: Desk, paper: PaperExchange
) -> None:
    before = ids.trade_id(desk.account, "noting", "BTCUSDT", START - timedelta(minutes=1))
    await order(paper, "BTCUSDT", "Buy", ids.order_link(before, "e", 1))
    engine = paper.exchange.engine
    paper.exchange.change(lambda now: engine.fund("BTCUSDT", Decimal("0.0001"), now))
    await order(paper, "BTCUSDT", "Sell", ids.order_link(before, "x", 2))
    # Market time stands still: only the exchange's order of events tells them apart
    (plan,) = await desk.open("BTCUSDT")
    await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))

    async with following(desk, paper) as following_it:
        await desk.executions(plan, 1)
        await eventually(lambda: holds(lambda: len(following_it.cursor.seen) == 4))

    assert await _payments(desk, plan) == []


# --- what it is worth ---------------------------------------------------------------------------


async def test_the_desk_and_a_person_hear_of_a_dead_stream_and_of_its_return(
    desk: Desk, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F4: a stream that is gone is more than a warning in a log: the desk refuses entries."""
    monkeypatch.setattr(channel, "BLIP", 0.05)
    await desk.open("BTCUSDT")
    await desk.open_notifier()

    async with following(desk, paper):
        await eventually(lambda: _channels(desk, 1))
        await fault(
            paper, "{kind: http_error, status: 503, name: shut, when: {endpoint: /v5/private}}"
        )
        await fault(paper, "{kind: stream_drop}")
        await eventually(lambda: _channels(desk, 2))
        await no_faults(paper)
        await eventually(lambda: _channels(desk, 3))

        async def is_over() -> bool:
            return (await desk.notices())[-1].resolved

        await eventually(is_over)

    told = await desk.channels()
    assert [(c.name, bool(c.fault)) for c in told[:3]] == [
        ("private", False),
        ("private", True),
        ("private", False),
    ]
    notices = await desk.notices()
    assert {n.key for n in notices} == {f"channel/{desk.account}/private"}
    assert [n.resolved for n in notices] == [True, False, True]


async def _channels(desk: Desk, count: int) -> bool:
    return len(await desk.channels()) >= count


async def test_a_blip_is_told_to_nobody(desk: Desk, paper: PaperExchange) -> None:
    (plan,) = await desk.open("BTCUSDT", qty=Decimal("0.02"))

    async with following(desk, paper):
        await eventually(lambda: _channels(desk, 1))
        await fault(paper, "{kind: stream_drop, at: message, when: {topic: execution, times: 1}}")
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await desk.executions(plan, 1)
        await eventually(lambda: _knows(desk, plan, 2))
        await asyncio.sleep(0)

    assert [c.fault for c in await desk.channels()] == [""]


async def test_who_follows_next_knows_since_when_nothing_was_heard(
    desk: Desk, paper: PaperExchange, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F4: a worker that dies again and again does not make a dead stream young."""
    monkeypatch.setattr(channel, "BLIP", 0.05)
    await desk.open("BTCUSDT")
    nowhere = f"ws://127.0.0.1:{free_port}/v5"
    since = START + timedelta(days=300)
    dead = StreamCursor(at=START, fault="it was gone before", fault_since=since)

    async with following(desk, paper, dead, stream_url=nowhere):
        await eventually(lambda: _channels(desk, 1))

    (told, *_) = await desk.channels()
    assert (told.since, bool(told.fault)) == (since, True)


# --- the exchange's lists -----------------------------------------------------------------------


async def test_lists_that_cannot_be_read_keep_no_execution_from_its_trade(
    desk: Desk, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "BLIND_AFTER", 0.5)
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper) as blind:
        await eventually(lambda: _knows(desk, plan, 1))
        await fault(paper, "{kind: http_error, status: 503, name: away, when: {method: GET}}")
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        found = await desk.executions(plan, 1)
        await eventually(lambda: holds(lambda: "cannot be compared" in blind.cursor.fault))
        await no_faults(paper)
        await eventually(lambda: holds(lambda: not blind.cursor.fault))

    assert len(found) == 1
    assert (await desk.all_told(plan)).count(AWAY) == 1


async def test_a_stalling_list_holds_up_no_message(desk: Desk, paper: PaperExchange) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        await eventually(lambda: _knows(desk, plan, 1))
        stalls: Any = "{kind: stall, name: stuck, when: {endpoint: /v5/execution/list}}"
        await fault(paper, stalls)
        async with asyncio.timeout(20):
            await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
            found = await desk.executions(plan, 1)
        await no_faults(paper)

    assert len(found) == 1
