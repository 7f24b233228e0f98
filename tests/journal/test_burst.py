"""Fills that come at once: what is written of them, and what that costs."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from tests.journal.rows import everything
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import Execution
from tradewright.domain.order import OrderState
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    Started,
    StopConfirmed,
)
from tradewright.journal import Journal

ID = "tw" + "a" * 16
OTHER = "tw" + "b" * 16
MakeBook = Callable[..., Any]
MakeEvent = Callable[..., JournalEvent]
MakeFill = Callable[..., Execution]


async def test_fills_that_come_at_once_are_all_written_and_the_last_one_tells_of_the_trade(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()
    await book.take(Started(), EntryPlaced(order_id="o1"))
    fills = [make_fill(f"x{n}", qty=Decimal("0.01"), fee=Decimal("0.1")) for n in range(1, 6)]

    await book.burst(*fills[:4])
    (order,) = await journal.orders(ID)
    row = await journal.trade(ID)
    await book.burst(fills[4])

    assert (order.filled_qty, order.fees, order.state) == (
        Decimal("0.04"),
        Decimal("0.4"),
        OrderState.PLACED,
    )
    assert row is not None
    assert (row.open_qty, row.fees) == (Decimal("0.04"), Decimal("0.4"))
    assert [e.exec_id for e in await journal.executions(ID)] == [f"x{n}" for n in range(1, 6)]
    assert await journal.trade(ID) != row


async def test_a_fill_among_others_changes_its_order_before_its_trade_is_told(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()
    await book.take(Started(), EntryPlaced(order_id="o1"))
    before = await journal.trade(ID)
    fill = Executed(execution=make_fill("x1", qty=Decimal("0.01")))

    await book.event(EventKind.TRADE_CHANGED, {"event": fill.model_dump(mode="json")})

    (order,) = await journal.orders(ID)
    assert order.filled_qty == Decimal("0.01")
    assert await journal.trade(ID) == before


async def test_the_same_fill_told_twice_is_counted_once(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()
    fill = make_fill("x1", qty=Decimal("0.03"))
    await book.take(Started(), EntryPlaced(order_id="o1"), Executed(execution=fill))

    again = Executed(execution=fill).model_dump(mode="json")
    await book.event(EventKind.TRADE_CHANGED, {"event": again})

    (order,) = await journal.orders(ID)
    assert (order.filled_qty, order.fees) == (Decimal("0.03"), Decimal("2.75"))


async def test_what_a_trade_traded_before_the_journal_heard_of_it_is_written_too(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    for change in (Started(), EntryPlaced(order_id="o1")):
        book.trade = book.trade.after(change)
    for number in (1, 2):
        fill = make_fill(f"x{number}", qty=Decimal("0.05"))
        book.trade = book.trade.after(Executed(execution=fill))

    await book.take(StopConfirmed(price=Decimal(49_000)))

    (order,) = await journal.orders(ID)
    assert [e.exec_id for e in await journal.executions(ID)] == ["x1", "x2"]
    assert (order.filled_qty, order.state) == (Decimal("0.10"), OrderState.FILLED)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_the_rows_are_the_same_however_the_events_come(
    journal: Journal,
    empty_url: str,
    make_book: MakeBook,
    make_fill: MakeFill,
    make_event: MakeEvent,
    size: int,
) -> None:
    book, other = make_book(), make_book(trade_id=OTHER)
    await book.intend()
    await book.take(Started(), EntryPlaced(order_id="o1"))
    await other.take(Started())
    await book.burst(*(make_fill(f"x{n}", qty=Decimal("0.02")) for n in range(4)))
    fault = {"message": {"kind": "?"}, "fault": "unknown"}
    await journal.append([make_event("m", kind=EventKind.MESSAGE_REFUSED, trade_id=ID, data=fault)])
    view = book.open_view.model_dump(mode="json")
    await book.take(StopConfirmed(price=Decimal(49_000)), view=view)
    await other.take(EntryRejected(code="1", reason="no"))
    await book.take(StopConfirmed(price=Decimal(49_500)), view=view)
    told = [row.event for row in await journal.events()]

    another = await Journal.open(empty_url, venue="paper")
    try:
        for start in range(0, len(told), size):
            await another.append(told[start : start + size])
        assert await everything(another) == await everything(journal)
    finally:
        await another.close()


async def test_a_fill_costs_the_same_however_many_came_before(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book(qty=Decimal(10))
    await book.intend()
    await book.take(Started(), EntryPlaced(order_id="o1"))

    def fill(number: int) -> Executed:
        return Executed(execution=make_fill(f"x{number}", qty=Decimal("0.001")))

    first = await statements(lambda: book.take(fill(0)))
    await book.burst(*(fill(n).execution for n in range(1, 40)))
    late = await statements(lambda: book.take(fill(99)))

    assert first == late


async def statements(work: Callable[[], Any]) -> int:
    """Return how many statements *work* lets the database run."""
    told: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        told.append(statement)

    listen(Engine, "before_cursor_execute", hear)
    try:
        await work()
    finally:
        remove(Engine, "before_cursor_execute", hear)
    return len(told)


async def test_what_two_chains_tell_of_a_trade_at_once_is_both_kept(
    journal: Journal, make_book: MakeBook, make_event: MakeEvent
) -> None:
    fault = {"message": {"kind": "?"}, "fault": "unknown"}

    async def refuse(trade_id: str, number: int) -> None:
        chain = f"c{number}/{trade_id}"
        told = {"kind": EventKind.MESSAGE_REFUSED, "chain": chain, "data": fault}
        await journal.append([make_event(chain, trade_id=trade_id, **told)])

    for letter in "abcdef":
        trade_id = "tw" + letter * 16
        book = make_book(trade_id=trade_id)
        await book.take(Started())
        refusals = [refuse(trade_id, number) for number in range(4)]

        await asyncio.gather(*refusals, book.take(EntryPlaced(order_id="o1"), EntryEnded()))

        row = await journal.trade(trade_id)
        assert row is not None
        assert (row.state, row.needs) == (book.trade.state, "unknown")
