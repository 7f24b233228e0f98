"""The exchange beside the trades: real workflows trade on the paper exchange, without a stream."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.account import BybitAccount
from activities.interceptor import DomainErrors
from activities.journal import JournalActivities
from activities.lookup import ReadsDisagree
from activities.pace import milliseconds
from activities.reconciliation import BybitReconciliation
from tradewright import ids
from tradewright.domain.account import Account
from tradewright.domain.errors import AnswerMalformed, ExchangeUnreachable
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.ruling import opening_of
from tradewright.domain.trade import Adopted, TradeState
from tradewright.ports import Comparison, TradeOrder, activities_of
from workflows.account import AccountStart, AccountWorkflow
from workflows.attributes import attributes
from workflows.case import CaseStart
from workflows.case_life import CaseWorkflow
from workflows.trade import TradeStart, TradeWorkflow
from workflows.trade_page import plan_attributes

StartTrade = Callable[..., Awaitable[WorkflowHandle[Any, Any]]]
Reserve = Callable[..., Awaitable[None]]


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def books(bench: Any, temporal: Client, name: str) -> BybitReconciliation:
    return BybitReconciliation(bench.client, bench.pace, temporal, name)


@pytest.fixture
async def queue(bench: Any, temporal: Client) -> AsyncIterator[str]:
    queue = f"test-{uuid.uuid4().hex}:trading"
    account = BybitAccount(bench.client, bench.journal, bench.pace, temporal)
    records = JournalActivities(bench.journal)
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[TradeWorkflow, AccountWorkflow, CaseWorkflow],
        activities=activities_of(bench.exchange, account, records),
        interceptors=[DomainErrors()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        yield queue


@pytest.fixture
def plan(make_plan: Any, name: str) -> TradePlan:
    made: TradePlan = make_plan()
    trade_id = ids.trade_id(name, made.preset, made.symbol, made.trigger)
    return made.model_copy(update={"account": name, "trade_id": trade_id})


@pytest.fixture
async def start_trade(temporal: Client, queue: str) -> AsyncIterator[StartTrade]:
    """Start trades and wait until they are open; all end with the test."""
    started = []

    async def start(plan: TradePlan, adopted: Adopted | None = None) -> WorkflowHandle[Any, Any]:
        handle = await temporal.start_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan, adopted=adopted),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=queue,
            search_attributes=attributes(*plan_attributes(plan)),
        )
        started.append(handle)
        async with asyncio.timeout(20):
            while True:
                view = await handle.query(TradeWorkflow.trade)
                if view.trade.state is TradeState.OPEN and not view.busy:
                    return handle
                await asyncio.sleep(0.05)

    yield start
    for handle in started:
        if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await handle.terminate()


@pytest.fixture
async def reserve(temporal_env: WorkflowEnvironment, queue: str) -> AsyncIterator[Reserve]:
    """Start the desk with the risk of a plan held, as it has been for so many seconds."""
    started = []

    async def start(plan: TradePlan, age: float = 0) -> None:
        now = datetime.now(UTC)
        held_since = now - timedelta(seconds=age)
        desk = Account(name=plan.account, started_at=now).reserved(plan, held_since)
        # Else its snapshots would follow each other without a pause
        with temporal_env.with_time_skipping_disabled():
            handle = await temporal_env.client.start_workflow(
                AccountWorkflow.run,
                AccountStart(account=plan.account, carried=desk),
                id=ids.account_workflow(plan.account),
                task_queue=queue,
            )
        started.append(handle)

    yield start
    for handle in started:
        await handle.terminate()


def kinds(comparison: Comparison) -> list[Kind]:
    return kinds_of(comparison.discrepancies)


def kinds_of(found: Sequence[Discrepancy]) -> list[Kind]:
    return [d.kind for d in found]


async def test_a_running_trade_owns_its_position(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    await start_trade(plan)

    found = await bench.run(books.compare, plan.account)

    assert (found.discrepancies, found.trades, found.positions) == ((), 1, 1)
    # No desk runs that could have held its risk
    assert found.unreserved == (plan,)


async def test_an_orphan_is_adopted_with_the_stop_that_it_has(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    trade = await start_trade(plan)
    await trade.terminate()

    found = await bench.run(books.compare, plan.account)
    (orphan,) = found.discrepancies
    adoption = await bench.run(books.plan_adoption, orphan)

    assert (orphan.kind, orphan.symbol, found.trades) == (Kind.ORPHAN_POSITION, "BTCUSDT", 0)
    adopted = adoption.plan
    assert (adopted.qty, adopted.stop_loss) == (plan.qty, plan.stop_loss)
    assert adopted.trade_id != plan.trade_id
    assert (adoption.adopted.qty, adoption.adopted.price) == (adopted.qty, adopted.price)

    await start_trade(adopted, adoption.adopted)
    after = await bench.run(books.compare, plan.account)
    again = await bench.run(books.plan_adoption, orphan)

    assert (after.discrepancies, after.trades, after.unreserved) == ((), 1, (adopted,))
    assert again.plan.trade_id == adopted.trade_id


@pytest.mark.parametrize(("side", "move"), [("Buy", -3), ("Buy", 3), ("Sell", 3), ("Sell", -3)])
async def test_an_orphan_without_a_stop_gets_one_that_the_exchange_takes(
    bench: Any, books: BybitReconciliation, name: str, side: str, move: int
) -> None:
    await bench.order("BTCUSDT", side, "0.01")
    bench.move("BTCUSDT", bench.price() + 1000 * move)
    (orphan,) = (await bench.run(books.compare, name)).discrepancies

    adopted = (await bench.run(books.plan_adoption, orphan)).plan
    stop = await bench.run(bench.exchange.set_stop, TradeOrder(plan=adopted))

    assert stop.kind == "stop_confirmed"
    assert (adopted.price - adopted.stop_loss) * adopted.side.sign > 0


async def test_an_orphan_that_is_gone_is_not_adopted(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    await bench.order("BTCUSDT", "Buy", "0.01")
    (orphan,) = (await bench.run(books.compare, name)).discrepancies
    await bench.order("BTCUSDT", "Sell", "0.01", reduceOnly=True)

    assert await bench.run(books.plan_adoption, orphan) is None


class PassingTime:
    """The market's time, and what a test lets pass of it."""

    def __init__(self, pace: Any) -> None:
        self._pace = pace
        self.passed = timedelta(0)

    async def market_now(self) -> datetime:
        now: datetime = await self._pace.market_now()
        return now + self.passed


async def test_what_closes_an_orphan_while_it_is_adopted_is_counted(
    bench: Any, temporal: Client, name: str, make_plan: Any
) -> None:
    pace: Any = PassingTime(bench.pace)
    books = BybitReconciliation(bench.client, pace, temporal, name)
    plan = make_plan()
    await bench.run(bench.exchange.place_entry, TradeOrder(plan=plan))
    (orphan,) = (await bench.run(books.compare, name)).discrepancies

    def close_after(send: Any) -> Any:
        shown = send()
        bench.move_meanwhile("BTCUSDT", plan.stop_loss - 10)
        pace.passed = timedelta(seconds=1)
        return shown

    bench.line.spoil("get_positions", close_after)

    adoption = await bench.run(books.plan_adoption, orphan)
    order = TradeOrder(plan=adoption.plan, since=adoption.adopted.at)
    found = await bench.run(bench.exchange.look_up, order)

    executed, read = found.events
    assert (executed.execution.qty, read.qty) == (plan.qty, 0)


async def test_an_orphan_that_trades_while_it_is_read_is_read_again(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    await bench.order("BTCUSDT", "Buy", "0.01")
    (orphan,) = (await bench.run(books.compare, name)).discrepancies
    later = str(milliseconds(await bench.pace.market_now()) + 1)
    change = bench.faults.rows(lambda rows: [row | {"execTime": later} for row in rows])
    bench.line.spoil("get_executions", change)

    with pytest.raises(ReadsDisagree, match="it traded after"):
        await bench.run(books.plan_adoption, orphan)


async def test_a_trade_whose_position_is_gone_is_a_ghost(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    trade = await start_trade(plan)
    await reserve(plan)
    await bench.order("BTCUSDT", "Sell", str(plan.qty), reduceOnly=True)

    found = await bench.run(books.compare, plan.account)

    assert kinds(found) == [Kind.GHOST_TRADE]
    assert found.discrepancies[0].workflow_id == trade.id


async def test_a_position_that_cannot_be_read_hides_no_other(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    make_plan: Any,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    await start_trade(plan)
    unread = make_plan(symbol="ETHUSDT", account=plan.account)
    # Its trade does not run any more, and whether it is flat nobody can say
    await reserve(unread, age=61)
    await bench.order("SOLUSDT", "Buy", "0.1")
    bench.line.always["get_positions"] = bench.faults.with_an_unreadable_row

    found = await bench.run(books.compare, plan.account)

    assert [(d.kind, d.symbol) for d in found.discrepancies] == [(Kind.ORPHAN_POSITION, "SOLUSDT")]
    assert found.released == ()


async def test_the_trade_of_a_position_that_cannot_be_read_is_no_ghost(
    bench: Any,
    books: BybitReconciliation,
    name: str,
    make_plan: Any,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    plan = make_plan(symbol="ETHUSDT", account=name)
    await start_trade(plan)
    await reserve(plan)
    change = bench.faults.rows(lambda rows: [row | {"size": "lots"} for row in rows])
    bench.line.always["get_positions"] = change

    found = await bench.run(books.compare, name)

    assert (found.discrepancies, found.trades) == ((), 1)


async def test_a_row_that_names_no_symbol_fails_the_comparison(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    bench.line.always["get_positions"] = bench.faults.rows(lambda rows: [*rows, {"size": "lots"}])

    with pytest.raises(AnswerMalformed, match="no symbol"):
        await bench.run(books.compare, name)


async def test_a_position_without_its_stop_is_reported(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    await start_trade(plan)
    engine = bench.paper.exchange.engine
    bench.paper.exchange.change(lambda now: engine.cancel_all("main", {"BTCUSDT"}, now))

    found = await bench.run(books.compare, plan.account)

    assert kinds(found) == [Kind.MISSING_STOP]


async def test_a_size_that_a_person_changed_is_reported(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    await start_trade(plan)
    await bench.order("BTCUSDT", "Sell", "0.01", reduceOnly=True)

    found = await bench.run(books.compare, plan.account)

    assert kinds(found) == [Kind.SIZE_MISMATCH]


async def test_an_order_of_a_trade_that_does_not_run_is_cancelled(
    bench: Any, books: BybitReconciliation, plan: TradePlan
) -> None:
    low = f"{bench.price() // 2:f}"
    link = ids.order_link(plan.trade_id, "e", 1)
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low, orderLinkId=link)
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low)
    found = (await bench.run(books.compare, plan.account)).discrepancies
    (unknown,) = (d for d in found if d.kind is Kind.UNKNOWN_ORDER)

    await bench.run(books.cancel_unknown, unknown)
    await bench.run(books.cancel_unknown, unknown)

    assert sorted(kinds_of(found)) == [Kind.FOREIGN_ORDER, Kind.UNKNOWN_ORDER]
    assert [o.link for o in bench.open_orders()] == [""]


async def test_an_order_whose_trade_runs_after_all_stays(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    low = f"{bench.price() // 2:f}"
    link = ids.order_link(plan.trade_id, "t", 7)
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low, orderLinkId=link)
    (unknown,) = (await bench.run(books.compare, plan.account)).discrepancies
    await start_trade(plan)

    await bench.run(books.cancel_unknown, unknown)

    assert link in [o.link for o in bench.open_orders()]


async def test_the_risk_of_a_trade_that_ended_without_a_word_is_released(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    trade = await start_trade(plan)
    await reserve(plan, age=90)
    held = await bench.run(books.compare, plan.account)
    await trade.terminate()
    still_held = await bench.run(books.compare, plan.account)
    await bench.order("BTCUSDT", "Sell", str(plan.qty), reduceOnly=True)

    flat = await bench.run(books.compare, plan.account)

    assert (held.released, held.unreserved, still_held.released) == ((), (), ())
    assert flat.released == (plan.trade_id,)


async def test_a_young_reservation_is_not_released(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    trade = await start_trade(plan)
    await reserve(plan, age=10)
    await trade.terminate()
    await bench.order("BTCUSDT", "Sell", str(plan.qty), reduceOnly=True)

    found = await bench.run(books.compare, plan.account)

    assert found.released == ()


async def test_a_failed_read_is_no_comparison(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    await start_trade(plan)
    bench.line.spoil("get_positions", bench.faults.http_status(502))

    with pytest.raises(ExchangeUnreachable):
        await bench.run(books.compare, plan.account)


async def test_a_trade_that_does_not_answer_keeps_what_it_owns(
    bench: Any,
    temporal_env: WorkflowEnvironment,
    books: BybitReconciliation,
    plan: TradePlan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("activities.ownership.ANSWER_WITHIN", timedelta(milliseconds=300))
    link = ids.order_link(plan.trade_id, "e", 1)
    await bench.order("BTCUSDT", "Buy", "0.01", orderLinkId=link)
    # Nobody serves its queue
    trade = await temporal_env.client.start_workflow(
        TradeWorkflow.run,
        TradeStart(plan=plan),
        id=ids.trade_workflow(plan.symbol, plan.trade_id),
        task_queue=f"nobody-{uuid.uuid4().hex}",
    )

    found = await bench.run(books.compare, plan.account)

    assert (found.discrepancies, found.trades, found.unreserved) == ((), 1, ())
    await trade.terminate()


async def test_a_trade_that_the_desk_has_forgotten_is_found_by_temporals_list(
    bench: Any,
    books: BybitReconciliation,
    temporal: Client,
    start_trade: StartTrade,
    plan: TradePlan,
) -> None:
    trade = await start_trade(plan)
    # Neither a reservation nor a position leads to it any more
    await bench.order("BTCUSDT", "Sell", str(plan.qty), reduceOnly=True)
    async with asyncio.timeout(20):
        while not (await temporal.count_workflows(f"Account='{plan.account}'")).count:  # noqa: ASYNC110 the list lags
            await asyncio.sleep(0.05)

    found = await bench.run(books.compare, plan.account)

    assert kinds(found) == [Kind.GHOST_TRADE]
    assert found.discrepancies[0].workflow_id == trade.id
    assert [forgotten.trade_id for forgotten in found.unreserved] == [plan.trade_id]


async def test_every_comparison_begins_by_starting_what_must_run(
    bench: Any, temporal: Client, name: str
) -> None:
    begun: list[int] = []

    async def ensure() -> None:
        begun.append(len(begun))

    books = BybitReconciliation(bench.client, bench.pace, temporal, name, ensure=ensure)

    await bench.run(books.compare, name)

    assert begun == [0]


async def test_a_position_whose_executions_are_too_old_to_be_listed_keeps_its_owner(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    start_trade: StartTrade,
    reserve: Reserve,
) -> None:
    """B3: positions are compared as they stand, not rebuilt from their fills."""
    await start_trade(plan)
    await reserve(plan)
    bench.line.always["get_executions"] = bench.faults.empty_list

    found = await bench.run(books.compare, plan.account)

    assert (found.discrepancies, found.trades) == ((), 1)


async def test_an_old_position_of_nobody_is_adopted_all_the_same(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    """B3: without one fill to be seen, the position itself says what there is to own."""
    await bench.order("BTCUSDT", "Buy", "0.01")
    bench.line.always["get_executions"] = bench.faults.empty_list
    (orphan,) = (await bench.run(books.compare, name)).discrepancies

    first = await bench.run(books.plan_adoption, orphan)
    again = await bench.run(books.plan_adoption, orphan)

    assert orphan.kind is Kind.ORPHAN_POSITION
    assert first.plan.qty == orphan.position.qty
    assert first.plan.trade_id == again.plan.trade_id


async def test_a_stop_that_was_moved_by_hand_is_reported(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    """B5: the exchange has to show the stop that the trade wants."""
    await start_trade(plan)
    looser = plan.stop_loss - 100 * plan.instrument.tick_size
    await bench.client.call(
        "set_trading_stop",
        category="linear",
        symbol="BTCUSDT",
        tpslMode="Full",
        stopLoss=f"{looser:f}",
        positionIdx=0,
    )

    (wrong,) = (await bench.run(books.compare, plan.account)).discrepancies

    assert (wrong.kind, wrong.trade_id) == (Kind.WRONG_STOP, plan.trade_id)
    assert "the exchange has a looser one" in wrong.detail


async def test_an_execution_that_the_trade_does_not_know_is_reported(
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_trade: StartTrade
) -> None:
    """B2: no fill is made up; the trade asks for what the exchange has executed."""
    await start_trade(plan)
    later = str(milliseconds(await bench.pace.market_now()) + 1)
    bench.line.always["get_executions"] = bench.faults.rows(
        lambda rows: [rows[0] | {"execId": "x2", "orderLinkId": "", "execTime": later}, *rows]
    )

    (missing,) = (await bench.run(books.compare, plan.account)).discrepancies

    assert (missing.kind, missing.mark) == (Kind.MISSING_EXECUTION, "x2")
    assert missing.workflow_id == ids.trade_workflow(plan.symbol, plan.trade_id)


async def test_a_comparison_brings_along_what_the_open_cases_say(
    bench: Any, books: BybitReconciliation, temporal: Client, queue: str, name: str
) -> None:
    low = f"{bench.price() // 2:f}"
    await bench.order("BTCUSDT", "Buy", "0.01", orderType="Limit", price=low)
    before = await bench.run(books.compare, name)
    opening = opening_of(name, before.discrepancies, before.at)
    case = await temporal.start_workflow(
        CaseWorkflow.run,
        CaseStart(opening=opening),
        id=ids.case_workflow(name, "BTCUSDT", Kind.FOREIGN_ORDER),
        task_queue=queue,
    )
    await case.signal("decide", {"choice": "ignore", "by": "ann"})

    found = await bench.run(books.compare, name)
    await case.terminate()
    after = await bench.run(books.compare, name)

    (told,) = found.cases
    assert told.accepts(opening.fingerprint)
    assert (before.cases, after.cases) == ((), ())
