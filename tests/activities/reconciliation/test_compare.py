"""The exchange beside the trades."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.lookup import fetch_positions
from activities.pace import milliseconds
from activities.reconciliation import BybitReconciliation
from tradewright import ids
from tradewright.domain.case import CaseOpening, Choice
from tradewright.domain.errors import AnswerMalformed, ExchangeUnreachable
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Discrepancy, Kind
from tradewright.domain.ruling import opening_of
from tradewright.ports import Comparison
from workflows.attributes import ACCOUNT, attributes
from workflows.case import CaseStart
from workflows.case_life import CaseWorkflow
from workflows.trade import ExitWish, TradeStart, TradeWorkflow

StartTrade = Callable[..., Awaitable[WorkflowHandle[Any, Any]]]
Reserve = Callable[..., Awaitable[None]]
StartUnserved = Callable[[TradePlan], Awaitable[None]]


@pytest.fixture
async def start_unserved(
    temporal_env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartUnserved]:
    """Start trades that nobody serves, and that answer nobody."""
    monkeypatch.setattr("activities.ownership.ANSWER_WITHIN", timedelta(milliseconds=300))
    started = []

    async def start(plan: TradePlan) -> None:
        handle = await temporal_env.client.start_workflow(
            TradeWorkflow.run,
            TradeStart(plan=plan),
            id=ids.trade_workflow(plan.symbol, plan.trade_id),
            task_queue=f"nobody-{uuid.uuid4().hex}",
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


async def answered(bench: Any) -> Any:
    """Return what the exchange answers when it is asked for positions now."""
    before = []

    def keep(send: Callable[[], Any]) -> Any:
        before.append(send())
        return before[0]

    bench.line.spoil("get_positions", keep)
    await fetch_positions(bench.client)
    return before[0]


async def test_what_moves_while_it_is_read_is_no_difference(
    bench: Any, books: BybitReconciliation, plan: TradePlan
) -> None:
    """A trade that left between the read of its position and the question whether it runs."""
    await bench.order("BTCUSDT", "Buy", "0.1")
    old = await answered(bench)
    await bench.order("BTCUSDT", "Sell", "0.1", reduceOnly=True)
    bench.line.spoil("get_positions", lambda _: old)

    found = await bench.run(books.compare, plan.account)

    assert (found.discrepancies, found.positions) == ((), 0)


async def test_what_grows_while_it_is_read_is_a_difference(
    bench: Any, books: BybitReconciliation, plan: TradePlan
) -> None:
    """An order that nobody remembers goes on filling: its symbol is barred at once."""
    await bench.order("BTCUSDT", "Buy", "0.1")
    old = await answered(bench)
    await bench.order("BTCUSDT", "Buy", "0.1")
    bench.line.spoil("get_positions", lambda _: old)

    found = await bench.run(books.compare, plan.account)

    assert [d.detail[:7] for d in found.discrepancies] == ["Buy 0.2"]


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
    bench: Any, books: BybitReconciliation, plan: TradePlan, start_unserved: StartUnserved
) -> None:
    link = ids.order_link(plan.trade_id, "e", 1)
    await bench.order("BTCUSDT", "Buy", "0.01", orderLinkId=link)
    await start_unserved(plan)

    found = await bench.run(books.compare, plan.account)

    assert kinds(found) == [Kind.MISSING_STOP, Kind.UNANSWERING_TRADE]
    assert (found.trades, found.unreserved) == (1, ())


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


async def test_a_trade_that_waits_for_the_journal_hides_no_owner_of_its_symbol(
    bench: Any,
    books: BybitReconciliation,
    plan: TradePlan,
    start_trade: StartTrade,
    reserve: Reserve,
    start_unserved: StartUnserved,
) -> None:
    """B1: a trade that has ended owns nothing, however long it takes to be written down."""
    ended = await start_trade(plan)
    await reserve(plan)
    bench.journal.is_away = True
    await ended.signal("exit", ExitWish(by="ann"))
    async with asyncio.timeout(20):
        while not (await ended.query(TradeWorkflow.trade)).trade.is_final:  # noqa: ASYNC110 no signal tells it
            await asyncio.sleep(0.05)
    other = "tw" + "b" * 16
    await bench.order("BTCUSDT", "Buy", "0.01", orderLinkId=ids.order_link(other, "e", 1))
    await start_unserved(plan.model_copy(update={"trade_id": other}))

    found = await bench.run(books.compare, plan.account)

    assert (kinds(found), found.trades) == ([Kind.MISSING_STOP, Kind.UNANSWERING_TRADE], 2)
    assert {d.trade_id for d in found.discrepancies} == {other}


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
    assert found.ended == ()
    assert (before.cases, after.cases) == ((), ())


async def test_a_trade_that_has_asked_itself_and_run_out_is_named(
    bench: Any,
    books: BybitReconciliation,
    temporal: Client,
    queue: str,
    plan: TradePlan,
    start_trade: StartTrade,
) -> None:
    trade = await start_trade(plan)
    opening = CaseOpening(
        account=plan.account,
        symbol=plan.symbol,
        kind="unknown_event",
        detail="an event that the table does not know",
        fingerprint="f",
        workflow_id=trade.id,
        choices=(Choice.IGNORE,),
    )
    case = await temporal.start_workflow(
        CaseWorkflow.run,
        CaseStart(opening=opening),
        id=ids.case_workflow(plan.account, plan.symbol, opening.kind),
        task_queue=queue,
        search_attributes=attributes((ACCOUNT, plan.account)),
    )
    query = f"WorkflowType='CaseWorkflow' AND Account='{plan.account}'"
    async with asyncio.timeout(20):
        while not (await temporal.count_workflows(query)).count:  # noqa: ASYNC110 the list lags
            await asyncio.sleep(0.05)

    runs = await bench.run(books.compare, plan.account)
    await trade.terminate()
    ended = await bench.run(books.compare, plan.account)
    await case.terminate()

    assert (runs.ended, ended.ended) == ((), (trade.id,))
