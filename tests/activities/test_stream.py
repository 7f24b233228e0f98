"""The private stream, from the paper exchange to workflows that only note what they are told."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from activities import messenger, post
from activities.happening import StreamCursor
from activities.messenger import Messenger
from activities.parse import Payment
from tests.activities.noting import (
    START,
    Desk,
    NotingTrade,
    client_of,
    eventually,
    following,
    holds,
    noting_worker,
    order,
    settings,
)
from tradewright import ids
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import Origin
from tradewright.domain.trade import Adopted, EntryEnded, Executed, RecheckRequested
from tradewright.paper import PaperExchange, running


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "HEARTBEAT_EVERY", 0.01)


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


async def test_an_execution_goes_to_the_trade_that_its_link_names(
    desk: Desk, paper: PaperExchange
) -> None:
    btc, eth = await desk.open("BTCUSDT", "ETHUSDT")

    async with following(desk, paper):
        await order(paper, "ETHUSDT", "Buy", ids.order_link(eth.trade_id, "e", 1))
        await order(paper, "BTCUSDT", "Buy", ids.order_link(btc.trade_id, "e", 1))
        (of_btc,) = await desk.executions(btc, 1)
        (of_eth,) = await desk.executions(eth, 1)

    assert (of_btc.symbol, of_btc.side, of_btc.qty) == ("BTCUSDT", Side.BUY, Decimal("0.01"))
    assert of_btc.order_link_id == ids.order_link(btc.trade_id, "e", 1)
    assert of_btc.fee > 0
    assert of_eth.symbol == "ETHUSDT"


async def test_the_desk_hears_of_every_fill(desk: Desk, paper: PaperExchange) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await order(paper, "ETHUSDT", "Buy")

        async def both() -> bool:
            return await desk.fills() == ["BTCUSDT", "ETHUSDT"]

        await eventually(both)


async def test_an_execution_without_our_link_goes_to_the_trade_that_holds_the_symbol(
    desk: Desk, paper: PaperExchange
) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await order(paper, "BTCUSDT", "Sell", qty="0.004")
        await order(paper, "BTCUSDT", "Sell", ids.kill_link(1, 1), qty="0.006")
        found = await desk.executions(plan, 3)

    assert [e.qty for e in found] == [Decimal(q) for q in ("0.01", "0.004", "0.006")]
    assert found[2].cause is ExitReason.KILL_SWITCH


async def test_the_late_end_of_the_trade_before_is_not_counted_by_the_next(
    desk: Desk, paper: PaperExchange
) -> None:
    before = ids.trade_id(desk.account, "noting", "BTCUSDT", START - timedelta(minutes=1))
    await order(paper, "BTCUSDT", "Buy", ids.order_link(before, "e", 1))
    await order(paper, "BTCUSDT", "Sell")
    # Their market time is its trigger: nothing but their order says whose they are
    (plan,) = await desk.open("BTCUSDT")
    await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
    await order(paper, "BTCUSDT", "Sell", qty="0.004")

    async with following(desk, paper):
        found = await desk.executions(plan, 2)

    assert [e.qty for e in found] == [Decimal("0.01"), Decimal("0.004")]
    assert found[0].order_link_id == ids.order_link(plan.trade_id, "e", 1)
    assert [e.kind for e in await desk.told(plan)] == ["recheck_requested", "executed", "executed"]


def fill(at: datetime) -> Execution:
    return Execution(
        **{"exec_id": "e", "seq": 1, "order_id": "o", "symbol": "BTCUSDT", "side": Side.SELL},
        **{"price": Decimal(1), "qty": Decimal("0.01"), "fee": Decimal(0)},
        at=at,
    )


@pytest.mark.parametrize(("seconds", "kind"), [(-1, "recheck_requested"), (1, "executed")])
async def test_an_adopted_trade_owns_what_came_after_its_adoption(
    desk: Desk, seconds: int, kind: str
) -> None:
    (plan,) = await desk.open("BTCUSDT", origin=Origin.ADOPTED, trigger=START - timedelta(hours=1))
    workflow_id = ids.trade_workflow("BTCUSDT", plan.trade_id)
    adopted = Adopted(qty=plan.qty, price=plan.price, at=START)
    await desk.client.get_workflow_handle(workflow_id).signal("report", adopted)
    sender = post.Post(Messenger(desk.client), desk.account)

    await sender.deliver(fill(START + timedelta(seconds=seconds)))

    assert [e.kind for e in await desk.told(plan)] == ["adopted", kind]


@pytest.mark.parametrize(("seq", "is_told"), [(1, False), (3, True)])
async def test_funding_that_is_told_late_is_that_of_whoever_held_the_symbol_then(
    desk: Desk, seq: int, is_told: bool
) -> None:
    (plan,) = await desk.open("BTCUSDT")
    entry = fill(START).model_copy(update={"seq": 2, "side": Side.BUY})
    workflow_id = ids.trade_workflow("BTCUSDT", plan.trade_id)
    trade = desk.client.get_workflow_handle(workflow_id)
    await trade.signal("report", Executed(execution=entry))
    # Market time stands still: only the exchange's sequence tells them apart
    payment = Payment(exec_id="f", seq=seq, symbol="BTCUSDT", amount=Decimal(-1), at=START)

    await post.Post(Messenger(desk.client), desk.account).deliver_payment(payment)

    assert [e.kind for e in await desk.told(plan)] == ["executed", *["funded"] * is_told]


async def test_a_trade_that_does_not_answer_holds_no_execution_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "ANSWER_WITHIN", 0.1)
    (plan,) = await desk.open("BTCUSDT")
    workflow_id = ids.trade_workflow("BTCUSDT", plan.trade_id)
    await desk.client.get_workflow_handle(workflow_id).terminate()
    wedged = await desk.client.start_workflow(
        NotingTrade.run, plan, id=workflow_id, task_queue="nobody-works-here"
    )
    sender = post.Post(Messenger(desk.client), desk.account)

    await sender.deliver(fill(START + timedelta(seconds=1)))

    history = await wedged.fetch_history()
    assert any(
        event.HasField("workflow_execution_signaled_event_attributes") for event in history.events
    )


async def test_what_happened_before_a_trade_began_is_not_its_own(
    desk: Desk, paper: PaperExchange
) -> None:
    (plan,) = await desk.open("BTCUSDT", trigger=START + timedelta(minutes=5))

    async with following(desk, paper) as follower:
        await order(paper, "BTCUSDT", "Buy")
        await eventually(lambda: holds(lambda: bool(follower.cursor.seen)))

    assert not await desk.told(plan)


async def test_an_execution_of_nobody_holds_no_other_back(desk: Desk, paper: PaperExchange) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper):
        await order(paper, "ETHUSDT", "Buy")
        await order(paper, "ETHUSDT", "Buy", "twbbbbbbbbbbbbbbbb-e1")
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))

        assert len(await desk.executions(plan, 1)) == 1


async def test_what_happened_while_nobody_listened_is_caught_up_in_order(
    desk: Desk, paper: PaperExchange
) -> None:
    (plan,) = await desk.open("BTCUSDT")
    for number in range(1, 5):
        side = "Buy" if number == 1 else "Sell"
        qty = "0.01" if number == 1 else "0.002"
        await order(paper, "BTCUSDT", side, ids.order_link(plan.trade_id, "e", number), qty=qty)

    async with following(desk, paper):
        found = await desk.executions(plan, 4)

    assert [e.order_link_id[-1] for e in found] == ["1", "2", "3", "4"]


async def test_another_consumer_goes_on_where_the_last_one_ended(
    desk: Desk, paper: PaperExchange
) -> None:
    (plan,) = await desk.open("BTCUSDT")
    async with following(desk, paper) as first:
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        (entry,) = await desk.executions(plan, 1)
        await eventually(lambda: holds(lambda: bool(first.cursor.seen)))
    await order(paper, "BTCUSDT", "Sell", ids.order_link(plan.trade_id, "x", 2))

    async with following(desk, paper, first.cursor):
        found = await desk.executions(plan, 2)

    assert first.cursor == StreamCursor(at=entry.at, seen=(entry.exec_id,))
    assert [e.order_link_id for e in found] == [
        ids.order_link(plan.trade_id, "e", 1),
        ids.order_link(plan.trade_id, "x", 2),
    ]


async def test_a_stream_that_cannot_be_opened_says_so_while_the_list_is_read(
    desk: Desk, paper: PaperExchange, free_port: int
) -> None:
    (plan,) = await desk.open("BTCUSDT")

    async with following(desk, paper, stream_url=f"ws://127.0.0.1:{free_port}/v5") as deaf:
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        found = await desk.executions(plan, 1)
        fault = deaf.cursor.fault

    assert [e.side for e in found] == [Side.BUY]
    assert str(free_port) in fault


async def test_an_exchange_that_restarts_is_followed_again(
    desk: Desk, tmp_path: Path, free_port: int
) -> None:
    (plan,) = await desk.open("BTCUSDT")
    lasting = settings(port=free_port, state=tmp_path / "paper.db")
    async with running(lasting) as paper:
        consuming = following(desk, paper)
        await consuming.__aenter__()
        await order(paper, "BTCUSDT", "Buy", ids.order_link(plan.trade_id, "e", 1))
        await desk.executions(plan, 1)

    async with running(lasting) as paper:
        await order(paper, "BTCUSDT", "Sell", ids.order_link(plan.trade_id, "x", 2))
        found = await desk.executions(plan, 2)
        await consuming.__aexit__(None, None, None)

    assert [e.side for e in found] == [Side.BUY, Side.SELL]


async def test_an_entry_that_is_cancelled_ends(desk: Desk, paper: PaperExchange) -> None:
    (plan,) = await desk.open("BTCUSDT")
    link = ids.order_link(plan.trade_id, "e", 1)

    async with following(desk, paper):
        await order(paper, "BTCUSDT", "Buy", link, orderType="Limit", price="1000")
        with client_of(paper) as client:
            await client.call("cancel_order", category="linear", symbol="BTCUSDT", orderLinkId=link)

        async def ended() -> bool:
            return any(isinstance(e, EntryEnded) for e in await desk.told(plan))

        await eventually(ended)

    (event,) = [e for e in await desk.told(plan) if isinstance(e, EntryEnded)]
    assert event.reason == "CancelByUser"
    assert event.order_id


async def test_a_recheck_reaches_the_trade(desk: Desk) -> None:
    (plan,) = await desk.open("BTCUSDT")
    sender = post.Post(Messenger(desk.client), desk.account)

    await sender.recheck({"symbol": "BTCUSDT"}, "an execution could not be read")

    assert await desk.told(plan) == [RecheckRequested(reason="an execution could not be read")]


async def test_temporal_being_away_delays_and_drops_nothing(desk: Desk) -> None:
    (plan,) = await desk.open("BTCUSDT")

    class Interrupted:
        """A client whose first calls find nobody."""

        failures = 2

        def get_workflow_handle(self, workflow_id: str) -> Any:
            if self.failures:
                self.failures -= 1
                raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")
            return desk.client.get_workflow_handle(workflow_id)

    interrupted: Any = Interrupted()
    sender = post.Post(Messenger(interrupted), desk.account)

    await sender.recheck({"symbol": "BTCUSDT"}, "heard at last")

    assert await desk.told(plan) == [RecheckRequested(reason="heard at last")]
