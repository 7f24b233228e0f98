"""Consistent books have no differences; every single change to one of them is found."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewright import ids
from tradewright.domain.audit import AuditReport, DifferenceKind, Where, audit
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.ledger import (
    Books,
    Ledger,
    LedgerExecution,
    LedgerOrder,
    LedgerTrade,
    WorkflowTrade,
)
from tradewright.domain.market import Instrument, Side
from tradewright.domain.order import OrderState
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    Executed,
    PositionRead,
    Started,
    Trade,
    TradeState,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
K = DifferenceKind
BTC = Instrument(
    symbol="BTCUSDT",
    base_coin="BTC",
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    max_market_qty=Decimal(100),
)


class Three(NamedTuple):
    exchange: Ledger
    journal: Books
    temporal: tuple[WorkflowTrade, ...]

    def audit(self) -> AuditReport:
        return audit(self.exchange, self.journal, self.temporal)


def told(
    number: int,
    *,
    side: Side = Side.BUY,
    fills: tuple[tuple[str, str], ...] = (("0.1", "50000"),),
    exit_prices: tuple[str, ...] = ("51000",),
    exit_by: str = "exit",
    adopted: bool = False,
) -> Trade:
    """Return a trade; without fills it was cancelled, without exit prices it is still open."""
    trade_id = ids.trade_id("main", "ema", "BTCUSDT", AT + timedelta(minutes=number))
    entry, exit_ = ids.order_link(trade_id, "e", 1), ids.order_link(trade_id, "x", 2)
    out = {"exit": exit_, "stop": "", "kill": "kill-1-1"}[exit_by]
    trade = Trade(plan=_plan(trade_id, side))

    def after(of: Side, qty: Decimal, price: str, link: str) -> Trade:
        execution = Execution(
            exec_id=f"{number}/{len(trade.executions)}",
            seq=1,
            order_id=f"{number}/{of}",
            order_link_id=link,
            symbol="BTCUSDT",
            side=of,
            price=Decimal(price),
            qty=qty,
            fee=qty * Decimal(price) * Decimal("0.00055"),
            at=AT,
            cause=None if link else ExitReason.STOP,
        )
        return trade.after(Executed(execution=execution))

    if adopted:
        trade = trade.after(Adopted(qty=Decimal("0.3"), price=Decimal(49_900), at=AT))
    else:
        trade = trade.after(Started()).after(EntryPlaced(order_id=f"{number}/{side}"))
        for qty, price in fills:
            trade = after(side, Decimal(qty), price, entry)
    if not trade.was_open:
        return trade.after(EntryEnded()).after(PositionRead(qty=Decimal(0), at=AT, settled=True))
    if not exit_prices:
        return trade
    part = BTC.floor_qty(trade.open_qty / len(exit_prices)) or trade.open_qty
    for price in exit_prices:
        closing = trade.open_qty if trade.open_qty < 2 * part else part
        if closing:
            trade = after(side.opposite, closing, price, out)
    return trade.after(PositionRead(qty=Decimal(0), at=AT, settled=True))


def orders_of(trade: Trade) -> list[LedgerOrder]:
    """Return the orders that *trade* caused; of a stop nobody told us the size."""
    if not trade.was_open:
        link = ids.order_link(trade.plan.trade_id, "e", 1)
        return [_order(trade, trade.entry_order_id, link, trade.plan.side, OrderState.ENDED)]
    found = {e.order_id: e for e in trade.executions}.values()
    return [_order(trade, e.order_id, e.order_link_id, e.side, OrderState.FILLED) for e in found]


def _order(trade: Trade, order_id: str, link: str, side: Side, state: OrderState) -> LedgerOrder:
    qty = trade.entry_qty or Decimal(1) if link else None
    return LedgerOrder(
        order_id=order_id, order_link_id=link, symbol="BTCUSDT", side=side, qty=qty, state=state
    )


def _plan(trade_id: str, side: Side) -> TradePlan:
    return TradePlan.model_validate(
        {
            "trade_id": trade_id,
            "account": "main",
            "preset": "ema",
            "preset_hash": "h",
            "symbol": "BTCUSDT",
            "side": side,
            "qty": Decimal("0.1"),
            "price": Decimal(50_000),
            "stop_loss": Decimal(49_000) if side is Side.BUY else Decimal(51_000),
            "exits": {"timeframe": "15m"},
            "leverage": Decimal(2),
            "instrument": BTC,
            "trigger": AT,
            "decided_at": AT,
            "expires_at": AT,
        }
    )


def three(*trades: Trade) -> Three:
    executions = [LedgerExecution.of(e, t.plan.trade_id) for t in trades for e in t.executions]
    orders = tuple(order for trade in trades for order in orders_of(trade))
    return Three(
        exchange=Ledger(
            orders=orders,
            executions=tuple(e.model_copy(update={"trade_id": ""}) for e in executions),
        ),
        journal=Books(
            orders=orders,
            executions=tuple(executions),
            trades=tuple(LedgerTrade.of(trade) for trade in trades),
        ),
        temporal=tuple(WorkflowTrade(trade=trade, ended=trade.is_final) for trade in trades),
    )


prices = st.decimals("40000", "60000", places=1).map(str)
qtys = st.decimals("0.001", "2", places=3).map(str)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Trade, ...]:
    return tuple(
        told(
            number,
            side=draw(st.sampled_from(Side)),
            fills=tuple(draw(st.lists(st.tuples(qtys, prices), max_size=3))),
            exit_prices=tuple(draw(st.lists(prices, max_size=3))),
            exit_by=draw(st.sampled_from(["exit", "stop", "kill"])),
            adopted=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 4)))
    )


@given(stories())
def test_consistent_books_have_no_differences(told_trades: tuple[Trade, ...]) -> None:
    report = three(*told_trades).audit()

    assert report.differences == ()
    assert report.ok
    assert report.exchange.executions == report.journal.executions == report.temporal.executions
    assert report.exchange.fees == report.journal.fees == report.temporal.fees
    assert report.journal.pnl == report.temporal.pnl


def _without(rows: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    return rows[:index] + rows[index + 1 :]


def _changed(rows: tuple[Any, ...], index: int, **changes: Any) -> tuple[Any, ...]:
    return (*rows[:index], rows[index].model_copy(update=changes), *rows[index + 1 :])


EXECUTION_CHANGES: dict[str, Callable[[Any], Any]] = {
    "price": lambda value: value + Decimal("0.1"),
    "qty": lambda value: value + Decimal("0.001"),
    "fee": lambda value: value + Decimal("1e-8"),
    "side": lambda value: value.opposite,
    "symbol": lambda value: "ETHUSDT",
    "order_id": lambda value: value + "?",
    "order_link_id": lambda value: value + "?",
}


@given(stories(), st.data())
def test_an_execution_gone_from_one_book_is_found(
    told_trades: tuple[Trade, ...], data: st.DataObject
) -> None:
    books = three(told(9), *told_trades)
    index = data.draw(st.integers(0, len(books.journal.executions) - 1))
    exec_id = books.journal.executions[index].exec_id
    where = data.draw(st.sampled_from(Where))

    if where is Where.TEMPORAL:
        told_all = [workflow.trade.executions for workflow in books.temporal]
        kept = [tuple(e for e in one if e.exec_id != exec_id) for one in told_all]
        owner = next(i for i, one in enumerate(told_all) if one != kept[i])
        books = with_trade(books, owner, executions=kept[owner])
    else:
        book = getattr(books, where)
        fewer = book.model_copy(update={"executions": _without(book.executions, index)})
        books = books._replace(**{where.value: fewer})

    found = {(d.kind, d.where, d.id) for d in books.audit().differences}
    assert (K.EXECUTION_MISSING, where, exec_id) in found


@given(stories(), st.data())
def test_an_execution_told_differently_is_found(
    told_trades: tuple[Trade, ...], data: st.DataObject
) -> None:
    books = three(told(9), *told_trades)
    index = data.draw(st.integers(0, len(books.journal.executions) - 1))
    exec_id = books.journal.executions[index].exec_id
    field = data.draw(st.sampled_from(sorted(EXECUTION_CHANGES)))
    name = data.draw(st.sampled_from(["exchange", "journal"]))
    book = getattr(books, name)
    value = EXECUTION_CHANGES[field](getattr(book.executions[index], field))

    changed = book.model_copy(
        update={"executions": _changed(book.executions, index, **{field: value})}
    )
    report = books._replace(**{name: changed}).audit()

    assert any(
        d.kind is K.EXECUTION_DIFFERS and d.id == exec_id and d.detail.startswith(f"{field} is")
        for d in report.differences
    )


@given(stories(), st.data())
def test_a_trade_told_differently_by_the_journal_is_found(
    told_trades: tuple[Trade, ...], data: st.DataObject
) -> None:
    books = three(told(9), *told_trades)
    index = data.draw(st.integers(0, len(books.temporal) - 1))
    trade = books.journal.trades[index]
    changes: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"state": TradeState.SETTLING},
                {"pnl": trade.pnl + Decimal("1e-8")},
                {"fees": trade.fees - Decimal("1e-8")},
                {"symbol": "ETHUSDT"},
            ]
        )
    )

    trades = _changed(books.journal.trades, index, **changes)
    report = books._replace(journal=books.journal.model_copy(update={"trades": trades})).audit()

    assert (K.TRADE_DIFFERS, trade.trade_id) in {(d.kind, d.id) for d in report.differences}


ID = told(1).plan.trade_id
ENTRY = f"{ID}-e1"


@pytest.fixture
def books() -> Three:
    return three(told(1), told(2, side=Side.SELL, exit_by="kill"))


def found(books: Three) -> list[tuple[str, str, str]]:
    return [(d.kind.value, d.where.value, d.id) for d in books.audit().differences]


def with_book(books: Three, name: str, **changes: Any) -> Three:
    return books._replace(**{name: getattr(books, name).model_copy(update=changes)})


def with_trade(books: Three, index: int = 0, **changes: Any) -> Three:
    trade = books.temporal[index].trade.model_copy(update=changes)
    return books._replace(temporal=_changed(books.temporal, index, trade=trade))


def test_a_sent_order_that_is_not_written_down_is_found(books: Three) -> None:
    changed = with_book(books, "journal", orders=books.journal.orders[1:])

    assert found(changed) == [("order_missing", "journal", ENTRY)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (OrderState.PLACED, [("order_missing", "exchange", ENTRY)]),
        (OrderState.FILLED, [("order_missing", "exchange", ENTRY)]),
        (OrderState.ENDED, [("order_missing", "exchange", ENTRY)]),
        (OrderState.INTENDED, []),
        (OrderState.REJECTED, []),
    ],
)
def test_an_order_written_as_sent_must_be_at_the_exchange(
    books: Three, state: OrderState, expected: list[Any]
) -> None:
    changed = with_book(books, "exchange", orders=books.exchange.orders[1:])
    changed = with_book(changed, "journal", orders=_changed(books.journal.orders, 0, state=state))

    assert found(changed) == expected


def test_an_order_that_ended_without_a_fill_may_be_forgotten_by_the_exchange() -> None:
    books = three(told(1, fills=()))

    assert found(with_book(books, "exchange", orders=())) == []


DIFFERS = [("order_differs", "journal", ENTRY)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"qty": Decimal(7)}, DIFFERS),
        ({"side": Side.SELL}, DIFFERS),
        ({"symbol": "ETHUSDT"}, DIFFERS),
        ({"order_id": "other"}, DIFFERS),
        ({"qty": None}, []),
        ({"order_id": ""}, []),
    ],
)
def test_an_order_told_differently_is_found_but_not_what_was_never_told(
    books: Three, change: dict[str, Any], expected: list[Any]
) -> None:
    orders = _changed(books.journal.orders, 0, **change)

    assert found(with_book(books, "journal", orders=orders)) == expected


def test_an_order_sent_twice_is_found(books: Three) -> None:
    twin = books.exchange.orders[0].model_copy(update={"order_id": "twin"})

    changed = with_book(books, "exchange", orders=(twin, *books.exchange.orders))

    assert found(changed) == [("order_twice", "exchange", ENTRY)]


def test_an_order_that_outlives_its_trade_is_found(books: Three) -> None:
    orders = _changed(books.exchange.orders, 0, state=OrderState.PLACED)

    assert found(with_book(books, "exchange", orders=orders)) == [("order_left", "exchange", ENTRY)]


def test_an_execution_in_a_book_twice_is_found(books: Three) -> None:
    first = books.exchange.executions[0]
    kinds = found(with_book(books, "exchange", executions=(first, *books.exchange.executions)))

    assert ("execution_twice", "exchange", first.exec_id) in kinds


@pytest.mark.parametrize("link", ["kill-7-1", "", "by-hand"])
def test_an_execution_that_belongs_to_no_trade_is_found(books: Three, link: str) -> None:
    stray = books.exchange.executions[0].model_copy(
        update={"exec_id": "stray", "order_link_id": link}
    )

    changed = with_book(books, "exchange", executions=(*books.exchange.executions, stray))

    assert found(changed) == [
        ("execution_missing", "journal", "stray"),
        ("execution_missing", "temporal", "stray"),
        ("execution_unowned", "exchange", "stray"),
    ]


def test_an_execution_given_to_the_wrong_trade_is_found(books: Three) -> None:
    other = books.temporal[1].trade.plan.trade_id
    executions = _changed(books.journal.executions, 0, trade_id=other)

    assert found(with_book(books, "journal", executions=executions)) == [
        ("owner_differs", "journal", executions[0].exec_id)
    ]


def test_a_trade_that_one_side_does_not_know_is_found(books: Three) -> None:
    unwritten = with_book(books, "journal", trades=books.journal.trades[1:])
    untold = books._replace(temporal=books.temporal[1:])

    assert found(unwritten) == [("trade_missing", "journal", ID)]
    assert ("trade_missing", "temporal", ID) in found(untold)


def test_a_workflow_that_ended_before_its_trade_is_found() -> None:
    books = three(told(1, exit_prices=()))

    terminated = books._replace(temporal=_changed(books.temporal, 0, ended=True))

    assert found(books) == []
    assert found(terminated) == [("trade_unfinished", "temporal", ID)]


def test_an_ended_trade_with_something_held_is_found() -> None:
    books = three(told(1, exit_prices=()))

    ended = with_trade(books, state=TradeState.CLOSED)

    assert found(ended) == [
        ("not_flat", "exchange", ID),
        ("not_flat", "journal", ID),
        ("trade_differs", "journal", ID),
    ]


def test_sums_that_the_executions_do_not_bear_out_are_found(books: Three) -> None:
    trades = _changed(books.journal.trades, 0, pnl=Decimal(10**6), fees=Decimal(0))
    claimed = with_book(books, "journal", trades=trades)._replace(temporal=books.temporal[1:])

    assert {kind for kind, *_ in found(claimed)} >= {"fees_differ", "pnl_differs"}


def test_positions_closed_in_parts_leave_no_residue_in_the_sums() -> None:
    fills = (("0.3", "50000.1"), ("0.4", "50001.3"))
    trade = told(1, fills=fills, exit_prices=("51000", "50999.9", "51000.3"))
    earned = LedgerTrade.of(trade).traded
    assert earned != round(earned, 12), "its average price is a quotient"

    report = three(trade).audit()

    assert report.exchange.pnl == report.journal.pnl == report.temporal.pnl
    assert str(report.journal.pnl) == str(report.exchange.pnl) == "660.611571705"


def test_a_report_says_what_each_book_adds_up_to(books: Three) -> None:
    report = books.audit()

    assert report.exchange.model_dump() == {
        "orders": 4,
        "executions": 4,
        "trades": 2,
        "fees": Decimal("11.11000"),
        "pnl": Decimal("-11.11000"),
    }
    assert report.journal == report.exchange == report.temporal
