"""A position without an owner becomes a trade."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from activities.lookup import ReadsDisagree
from activities.pace import milliseconds
from activities.reconciliation import BybitReconciliation
from tradewright import ids
from tradewright.domain.plan import TradePlan
from tradewright.domain.reconciliation import Kind
from tradewright.domain.trade import Trade
from tradewright.ports import TradeOrder

StartTrade = Callable[..., Awaitable[WorkflowHandle[Any, Any]]]


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


async def test_a_position_adopted_again_is_left_by_an_order_of_its_own(
    bench: Any, books: BybitReconciliation, name: str
) -> None:
    """Its trade bears the same id, and has left in part before it was ended from outside."""
    await bench.order("BTCUSDT", "Buy", "0.02")
    (orphan,) = (await bench.run(books.compare, name)).discrepancies
    first = await bench.run(books.plan_adoption, orphan)
    before = Trade(plan=first.plan).after(first.adopted)
    link = ids.order_link(first.plan.trade_id, "x", before.next_leg)
    await bench.order("BTCUSDT", "Sell", "0.01", reduceOnly=True, orderLinkId=link)

    again = await bench.run(books.plan_adoption, orphan)
    trade = Trade(plan=again.plan).after(again.adopted)
    order = TradeOrder(plan=trade.plan, since=trade.opened_at, number=trade.next_leg)
    sent = await bench.run(bench.exchange.flatten, order)

    assert again.plan.trade_id == first.plan.trade_id
    assert (before.next_leg, trade.next_leg) == (2, 3)
    assert (sent.order_link_id, bench.held()) == (f"{trade.plan.trade_id}-x3", 0)


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
