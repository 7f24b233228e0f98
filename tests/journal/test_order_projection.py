"""Orders and executions, as their trades' events tell of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
import structlog.testing

from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Side
from tradewright.domain.order import OrderState
from tradewright.domain.trade import (
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    ExitRequested,
    ExitSent,
    PositionRead,
    Started,
    TargetOrder,
    TargetsPlaced,
    TradeState,
)
from tradewright.journal import Journal, Leg, Stage, order_projection

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = "tw" + "a" * 16
OTHER = "tw" + "b" * 16
MakeBook = Callable[..., Any]
MakeFill = Callable[..., Execution]


async def test_a_late_execution_is_kept_and_belongs_to_its_trade(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.live()

    await book.take(Executed(execution=make_fill("x3", order_id="o9", order_link_id="")))

    assert [row.exec_id for row in await journal.executions(ID)] == ["x1", "x3", "x2"]


async def test_executions_are_found_by_trade_and_time(
    journal: Journal, make_book: MakeBook
) -> None:
    await make_book().live()

    late = await journal.executions(since=AT + timedelta(minutes=2))
    (first,) = await journal.executions(account="main", limit=1)

    assert [(row.exec_id, row.fee) for row in late] == [("x2", Decimal("2.8050000000000000001"))]
    assert (first.exec_id, first.trade_id, first.side) == ("x1", ID, Side.BUY)
    assert await journal.executions(OTHER) == ()


async def test_orders_follow_their_trade(journal: Journal, make_book: MakeBook) -> None:
    await make_book().live()

    entry, exit_ = await journal.orders(ID)

    assert (entry.leg, entry.state, entry.order_id, entry.qty) == (
        Leg.ENTRY,
        OrderState.FILLED,
        "o1",
        Decimal("0.1"),
    )
    assert (exit_.leg, exit_.state, exit_.side) == (Leg.EXIT, OrderState.FILLED, Side.SELL)
    assert (exit_.filled_qty, exit_.fees) == (Decimal("0.1"), Decimal("2.8050000000000000001"))


async def test_an_intent_is_an_order_before_anything_is_sent(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book()

    await book.intend()
    await book.intend()

    (order,) = await journal.orders()
    assert (order.state, order.order_id, order.price) == (OrderState.INTENDED, "", Decimal(50_000))


async def test_a_fill_that_overtakes_the_answer_leaves_no_doubt(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()

    await book.take(Started(), Executed(execution=make_fill("x1", qty=Decimal("0.04"))))
    (partly,) = await journal.orders()
    await book.take(EntryPlaced(order_id="o1"))
    await book.take(Executed(execution=make_fill("x2", qty=Decimal("0.06"))))

    (order,) = await journal.orders()
    assert (partly.state, partly.filled_qty) == (OrderState.PLACED, Decimal("0.04"))
    assert (order.state, order.filled_qty, order.order_id) == (
        OrderState.FILLED,
        Decimal("0.10"),
        "o1",
    )


async def test_an_answer_after_the_whole_fill_names_the_order(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book()
    await book.intend()
    await book.take(Started(), EntryPlaced(order_id="o1"), EntryEnded(reason="cancelled"))

    (order,) = await journal.orders()

    assert (order.state, order.detail) == (OrderState.ENDED, "cancelled")


async def test_a_rejected_entry_is_a_refusal_and_a_rejected_order(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book()
    await book.intend()

    await book.take(Started(), EntryRejected(code="110007", reason="no balance\x00"))

    (order,) = await journal.orders()
    (refusal,) = await journal.refusals("main")
    row = await journal.trade(ID)
    assert row is not None
    assert (order.state, order.detail) == (OrderState.REJECTED, "110007: no balance\ufffd")
    assert (refusal.stage, refusal.code, refusal.trade_id) == (Stage.ENTRY, "110007", ID)
    assert (row.state, row.rejection) == (TradeState.REJECTED, "110007: no balance\ufffd")


@pytest.mark.parametrize(
    ("cause", "link", "leg"),
    [
        (ExitReason.STOP, "", Leg.STOP),
        (ExitReason.TRAILING_STOP, "", Leg.STOP),
        (ExitReason.TARGET, "", Leg.TARGET),
        (ExitReason.LIQUIDATION, "", Leg.LIQUIDATION),
        (None, "", Leg.BY_HAND),
        (None, "my-own-order", Leg.BY_HAND),
        (None, f"{ID}-t2", Leg.TARGET),
        (None, f"{ID}-x2", Leg.EXIT),
        (None, "kill-1-1", Leg.KILL),
    ],
)
async def test_orders_are_discovered_by_their_executions(
    journal: Journal,
    make_book: MakeBook,
    make_fill: MakeFill,
    cause: ExitReason | None,
    link: str,
    leg: Leg,
) -> None:
    book = make_book()
    await book.intend()
    out = {"order_id": "o2", "order_link_id": link, "side": Side.SELL, "cause": cause}

    await book.take(Started(), Executed(execution=make_fill("x1")))
    await book.take(Executed(execution=make_fill("x2", qty=Decimal("0.03"), **out)))
    await book.take(Executed(execution=make_fill("x3", qty=Decimal("0.07"), **out)))

    _, order = await journal.orders(ID)
    assert (order.leg, order.order_id, order.filled_qty) == (leg, "o2", Decimal("0.10"))
    assert (order.state, order.qty) == (OrderState.FILLED, None)


async def test_an_exit_told_after_its_first_fill_gets_its_size(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book, link = make_book(), f"{ID}-x2"
    out = {"order_id": "o2", "order_link_id": link, "side": Side.SELL}
    await book.intend()
    await book.take(Started(), Executed(execution=make_fill("x1")), ExitRequested())

    await book.take(Executed(execution=make_fill("x2", qty=Decimal("0.03"), **out)))
    await book.take(ExitSent(order_link_id=link, order_id="o2", qty=Decimal("0.1")))
    _, partly = await journal.orders(ID)
    await book.take(Executed(execution=make_fill("x3", qty=Decimal("0.07"), **out)))

    _, order = await journal.orders(ID)
    assert (partly.state, partly.filled_qty) == (OrderState.PLACED, Decimal("0.03"))
    assert (order.state, order.qty) == (OrderState.FILLED, Decimal("0.1"))


async def test_nothing_held_needs_no_exit_order(journal: Journal, make_book: MakeBook) -> None:
    book = make_book()

    await book.take(Started(), ExitRequested(), ExitSent())

    assert await journal.orders() == ()


# --- targets --------------------------------------------------------------------------------------

TARGETS = tuple(
    TargetOrder(
        order_link_id=f"{ID}-t{number}", order_id=f"o{number}", price=Decimal(price), qty="0.03"
    )
    for number, price in ((2, "50500"), (3, "51000"))
)


async def test_targets_are_orders_until_they_are_filled_or_their_trade_ends(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()
    await book.take(Started(), Executed(execution=make_fill("x1")), TargetsPlaced(orders=TARGETS))
    _, *placed = await journal.orders(ID)
    out = {"order_id": "o2", "order_link_id": f"{ID}-t2", "side": Side.SELL, "qty": "0.03"}
    await book.take(Executed(execution=make_fill("x2", **out)))
    rest = {"order_id": "o9", "order_link_id": "", "side": Side.SELL, "qty": "0.07"}
    await book.take(
        Executed(execution=make_fill("x3", cause=ExitReason.STOP, **rest)),
        PositionRead(qty=Decimal(0), at=AT, settled=True),
    )

    _, *targets, _ = await journal.orders(ID)

    assert [(o.leg, o.state, o.price, o.qty, o.side) for o in placed] == [
        (Leg.TARGET, OrderState.PLACED, Decimal(price), Decimal("0.03"), Side.SELL)
        for price in (50_500, 51_000)
    ]
    assert [(o.state, o.filled_qty, o.detail) for o in targets] == [
        (OrderState.FILLED, Decimal("0.03"), ""),
        (OrderState.ENDED, Decimal(0), "its trade has ended"),
    ]


async def test_a_target_that_fills_before_it_is_told_of_gets_its_price_and_size(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    await book.intend()
    out = {"order_id": "o2", "order_link_id": f"{ID}-t2", "side": Side.SELL, "qty": "0.01"}

    await book.take(Started(), Executed(execution=make_fill("x1")))
    await book.take(Executed(execution=make_fill("x2", **out)), TargetsPlaced(orders=TARGETS))

    _, target, _ = await journal.orders(ID)
    assert (target.state, target.filled_qty) == (OrderState.PLACED, Decimal("0.01"))
    assert (target.price, target.qty) == (Decimal(50_500), Decimal("0.03"))


async def test_what_an_order_cannot_do_is_reported_and_changes_nothing(
    journal: Journal, make_book: MakeBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have bound the module's own to an output of its own
    monkeypatch.setattr(order_projection, "log", structlog.get_logger())
    book = make_book()
    await book.intend()
    await book.take(Started(), EntryRejected(code="110007", reason="no balance"))
    book.trade = book.trade.model_copy(update={"state": TradeState.ENTERING})

    with structlog.testing.capture_logs() as logged:
        await book.take(EntryPlaced(order_id=""))

    (order,) = await journal.orders()
    assert order.state is OrderState.REJECTED
    assert "order in state rejected cannot take event accepted" in str(logged)
