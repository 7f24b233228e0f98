"""The private stream, from the paper exchange to workflows that only note what they are told."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import messenger, post
from activities.bybit import BybitClient
from activities.follower import StreamCursor
from activities.messenger import Messenger
from activities.pace import PaperPace
from activities.secrets import ExchangeKey
from activities.stream import BybitStream
from tradewright import ids
from tradewright.domain.account import Account, Reservation
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Instrument, Side, Timeframe
from tradewright.domain.plan import ExitRules, Origin, TradePlan
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    Executed,
    RecheckRequested,
    Started,
    Trade,
    TradeEvent,
)
from tradewright.paper import PaperExchange, PaperSettings, running
from tradewright.ports import TradeView

START = datetime(2025, 1, 1, tzinfo=UTC)
KEY = ExchangeKey(api_key=SecretStr("paper-key"), api_secret=SecretStr("paper-secret"))

AWAY = RecheckRequested(reason="the stream was away")

MakePlan = Callable[..., TradePlan]


class Keys:
    async def exchange_key(self) -> ExchangeKey:
        return KEY


@workflow.defn
class NotingDesk:
    """Stands in for the desk: answers what it was started with."""

    @workflow.init
    def __init__(self, account: Account) -> None:
        self._account = account

    @workflow.run
    async def run(self, account: Account) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def account(self) -> Account:
        return self._account


@workflow.defn
class NotingTrade:
    """Stands in for a trade: keeps what it is told."""

    @workflow.init
    def __init__(self, plan: TradePlan) -> None:
        self._plan = plan
        self._events: list[TradeEvent] = []

    @workflow.run
    async def run(self, plan: TradePlan) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def report(self, event: TradeEvent) -> None:
        self._events.append(event)

    @workflow.query
    def events(self) -> list[TradeEvent]:
        return self._events

    @workflow.query
    def trade(self) -> TradeView:
        trade = Trade(plan=self._plan)
        if self._plan.origin is Origin.SIGNAL:
            trade = trade.after(Started())
        for event in self._events:
            trade = trade.after(event)
        return TradeView(trade=trade, busy=False)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


class Desk:
    """An account with running trades, at a paper exchange that stands still."""

    def __init__(self, client: Client, worker: Worker, make_plan: MakePlan) -> None:
        self.client = client
        self.account = f"desk-{uuid.uuid4().hex[:8]}"
        self._queue = worker.task_queue
        self._make_plan = make_plan

    async def open(self, *symbols: str, trigger: datetime = START, **more: Any) -> list[TradePlan]:
        plans = [
            self._make_plan(
                symbol=symbol,
                trigger=trigger,
                trade_id=ids.trade_id(self.account, "noting", symbol, trigger),
                **more,
            )
            for symbol in symbols
        ]
        account = Account(
            name=self.account,
            started_at=START,
            reservations=tuple(Reservation(plan=plan, at=START) for plan in plans),
        )
        await self.client.start_workflow(
            NotingDesk.run,
            account,
            id=ids.account_workflow(self.account),
            task_queue=self._queue,
        )
        for plan in plans:
            await self.client.start_workflow(
                NotingTrade.run,
                plan,
                id=ids.trade_workflow(plan.symbol, plan.trade_id),
                task_queue=self._queue,
            )
        return plans

    async def told(self, plan: TradePlan) -> Sequence[TradeEvent]:
        """Return what the trade was told, beside that a stream has begun."""
        return [event for event in await self.all_told(plan) if event != AWAY]

    async def all_told(self, plan: TradePlan) -> Sequence[TradeEvent]:
        handle = self.client.get_workflow_handle(ids.trade_workflow(plan.symbol, plan.trade_id))
        events: list[TradeEvent] = await handle.query("events", result_type=list[TradeEvent])
        return events

    async def executions(self, plan: TradePlan, count: int) -> list[Execution]:
        """Return the executions that the trade was told of, once there are *count*."""

        async def found() -> bool:
            return sum(isinstance(e, Executed) for e in await self.told(plan)) >= count

        await eventually(found)
        return [e.execution for e in await self.told(plan) if isinstance(e, Executed)]


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "HEARTBEAT_EVERY", 0.01)


@pytest.fixture(scope="module")
async def worker(temporal: Client) -> AsyncIterator[Worker]:
    worker = Worker(
        temporal,
        task_queue=f"noting-{uuid.uuid4().hex}",
        workflows=[NotingDesk, NotingTrade],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        yield worker


@pytest.fixture
def make_plan(make_instrument: Callable[..., Instrument]) -> MakePlan:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": "twaaaaaaaaaaaaaaaa",
            "account": "main",
            "preset": "noting",
            "preset_hash": "abc",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.01"),
            "price": Decimal(50000),
            "stop_loss": Decimal(49000),
            "exits": ExitRules(timeframe=Timeframe.M1),
            "leverage": Decimal(3),
            "instrument": make_instrument(),
            "trigger": START,
            "decided_at": START,
            "expires_at": START,
        }
        return TradePlan.model_validate(fields | changes)

    return make


@pytest.fixture
def desk(temporal: Client, worker: Worker, make_plan: MakePlan) -> Desk:
    return Desk(temporal, worker, make_plan)


def settings(**changes: Any) -> PaperSettings:
    fields: dict[str, Any] = {
        "port": 0,
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "history": 10,
        "start": START,
        "speed": "lockstep",
        "api_key": KEY.api_key.get_secret_value(),
        "api_secret": KEY.api_secret,
    }
    return PaperSettings.model_validate(fields | changes)


@pytest.fixture
async def paper() -> AsyncIterator[PaperExchange]:
    async with running(settings()) as exchange:
        yield exchange


@contextmanager
def client_of(paper: PaperExchange) -> Iterator[BybitClient]:
    client = BybitClient(paper.http_url, Keys())
    try:
        yield client
    finally:
        client.close()


class Following:
    """The activity at work, and what it heartbeats."""

    def __init__(self) -> None:
        self.cursor = StreamCursor()


@asynccontextmanager
async def following(
    desk: Desk,
    paper: PaperExchange,
    cursor: StreamCursor | None = None,
    stream_url: str | None = None,
) -> AsyncIterator[Following]:
    pace, exit_stack = PaperPace(paper.http_url), ExitStack()
    client = exit_stack.enter_context(client_of(paper))
    url = f"{stream_url or paper.stream_url}/private"
    consumer = BybitStream(desk.client, client, Keys(), pace, url)
    environment, follower = ActivityEnvironment(), Following()

    def note(*details: Any) -> None:
        follower.cursor = details[0]

    environment.on_heartbeat = note
    details = [cursor.model_dump(mode="json")] if cursor else []
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    task = asyncio.create_task(environment.run(consumer.consume_stream, desk.account))
    try:
        # It listens before it reads the list, and knows its time after that
        await eventually(lambda: _is(lambda: follower.cursor.at is not None))
        yield follower
    finally:
        environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        exit_stack.close()
        pace.close()


async def order(paper: PaperExchange, symbol: str, side: str, link: str = "", **more: Any) -> None:
    fields = {"orderType": "Market", "qty": "0.01" if symbol == "BTCUSDT" else "0.1"} | more
    if link:
        fields["orderLinkId"] = link
    with client_of(paper) as client:
        await client.call("place_order", category="linear", symbol=symbol, side=side, **fields)


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
        await eventually(lambda: _is(lambda: bool(follower.cursor.seen)))

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
        await eventually(lambda: _is(lambda: bool(first.cursor.seen)))
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


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


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
