"""Histories: what is asked for, all of it, page by page, newest first."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from msgspec.structs import replace

from tradewright.domain.market import Side
from tradewright.matching import (
    Balance,
    ExecType,
    Execution,
    Order,
    OrderStatus,
    OrderType,
    Profile,
    RequestRejected,
    StopKind,
    TimeInForce,
)
from tradewright.paper.batch import Batch
from tradewright.paper.history import is_stop
from tradewright.paper.query import Booking, BookingQuery, OrderQuery, Page, Transfer
from tradewright.paper.store import Store

START = datetime(2025, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
T = TypeVar("T")


class Past:
    """A store that much has happened in, and all of it in lists."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store = store
        self.orders: list[Order] = []
        self.bookings: list[Booking] = []
        for number in range(1, 1200):
            account = chance.choice(["ann", "bob"])
            # Many of the same moment, so that time alone does not part pages
            time = START + timedelta(milliseconds=chance.randrange(60))
            if number % 2:
                self.orders.append(some_order(number, account, time, chance))
            elif chance.random() < 0.05:
                moved = Transfer(seq=number, account=account, amount=Decimal(5), time=time)
                self.bookings.append(Booking(moved, Decimal(number), Decimal(0)))
            elif self.orders:
                own = [o for o in self.orders[-9:] if o.account == account]
                execution = some_execution(number, account, time, own, chance)
                self.bookings.append(Booking(execution, Decimal(number), Decimal(1)))
        batch = Batch()
        batch.orders = {o.seq: o for o in self.orders}
        batch.bookings = self.bookings
        for uid, name in enumerate(("ann", "bob")):
            batch.profiles[name] = Profile(account=name, uid=uid)
            batch.balances[name] = Balance(account=name, start=Decimal(100))
        store.write(batch)

    def executions(self, account: str) -> list[Execution]:
        causes = [b.cause for b in self.bookings]
        return [e for e in causes if isinstance(e, Execution) and e.account == account]


def some_order(number: int, account: str, time: datetime, chance: random.Random) -> Order:
    status = chance.choice(list(OrderStatus))
    return Order(
        order_id=f"order-{number}",
        seq=number,
        account=account,
        symbol=chance.choice(SYMBOLS),
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        qty=Decimal(2),
        price=Decimal(10),
        time_in_force=TimeInForce.GTC,
        status=status,
        created=time,
        updated=time + timedelta(milliseconds=chance.randrange(100)),
        last_on_created=Decimal(10),
        link=f"link-{number}" if chance.random() < 0.5 else "",
        filled=Decimal(2 if status is OrderStatus.FILLED else chance.choice([0, 1])),
        stop=chance.choice([StopKind.NONE, StopKind.NONE, StopKind.CONDITIONAL]),
    )


def some_execution(
    number: int, account: str, time: datetime, orders: list[Order], chance: random.Random
) -> Execution:
    order = chance.choice(orders) if orders else None
    kind = ExecType.FUNDING if order is None or chance.random() < 0.1 else ExecType.TRADE
    closes = kind is ExecType.TRADE and chance.random() < 0.5
    return Execution(
        exec_id=f"execution-{number}",
        seq=number,
        account=account,
        order_id=order.order_id if order and kind is ExecType.TRADE else "",
        link="",
        symbol=order.symbol if order else SYMBOLS[0],
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        order_price=Decimal(10),
        order_qty=Decimal(2),
        leaves=Decimal(0),
        stop=StopKind.NONE,
        price=Decimal(10),
        qty=Decimal(1),
        value=Decimal(10),
        fee=Decimal(0),
        fee_rate=Decimal(0),
        is_maker=False,
        time=time,
        mark=Decimal(10),
        leverage=Decimal(10),
        closed_size=Decimal(closes),
        exec_type=kind,
    )


@pytest.fixture(params=range(3))
def past(request: pytest.FixtureRequest) -> Iterator[Past]:
    with closing(Store(None)) as store:
        yield Past(store, random.Random(request.param))


def pages(ask: Callable[[str], Page[T]]) -> list[T]:
    found: list[T] = []
    cursor = ""
    while True:
        rows, cursor = ask(cursor)
        found += rows
        if not cursor:
            return found


ORDER_QUERIES = [
    OrderQuery(),
    OrderQuery(symbols=frozenset({"BTCUSDT"})),
    OrderQuery(symbols=frozenset({"BTCUSDT", "XRPUSDT"})),
    OrderQuery(symbols=frozenset({"BTCUSDT", *(f"S{n}USDT" for n in range(20))})),
    OrderQuery(symbols=frozenset()),
    OrderQuery(start_ms=START_MS + 20, end_ms=START_MS + 40),
    OrderQuery(start_ms=START_MS + 30, symbols=frozenset({"ETHUSDT"})),
    OrderQuery(status="Filled"),
    OrderQuery(are_stops=True),
    OrderQuery(are_stops=False, status="Cancelled"),
    OrderQuery(unfilled_since_ms=START_MS + 70),
    OrderQuery(order_id="order-101"),
    OrderQuery(link="link-101"),
    OrderQuery(order_id="order-101", link="link-103"),
    OrderQuery(link="no such link"),
]


@pytest.mark.parametrize("query", ORDER_QUERIES)
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_orders_are_those_that_were_asked_for(past: Past, query: OrderQuery, limit: int) -> None:
    def fits(order: Order) -> bool:
        created, updated = (round(t.timestamp() * 1000) for t in (order.created, order.updated))
        return (
            order.account == "ann"
            and not order.is_open
            and (query.symbols is None or order.symbol in query.symbols)
            and query.start_ms <= created <= query.end_ms
            and query.status in ("", order.status)
            and query.are_stops in (None, is_stop(order))
            and (bool(order.filled) or updated > query.unfilled_since_ms)
            and query.order_id in ("", order.order_id)
            and (bool(query.order_id) or query.link in ("", order.link))
        )

    found = pages(
        lambda cursor: past.store.history.orders("ann", replace(query, limit=limit, cursor=cursor))
    )

    wanted = sorted(filter(fits, past.orders), key=lambda o: (o.created, o.seq), reverse=True)
    assert found == wanted


BOOKING_QUERIES = [
    BookingQuery(),
    BookingQuery(symbols=frozenset({"ETHUSDT"})),
    BookingQuery(symbols=frozenset(SYMBOLS)),
    BookingQuery(start_ms=START_MS + 10, end_ms=START_MS + 12),
    BookingQuery(types=frozenset({"Funding"})),
    BookingQuery(types=frozenset({"Funding"}), symbols=frozenset({"BTCUSDT"})),
    BookingQuery(types=frozenset({"Trade", "BustTrade"})),
    BookingQuery(order_id="order-101"),
    BookingQuery(link="link-101"),
]


@pytest.mark.parametrize("query", BOOKING_QUERIES)
@pytest.mark.parametrize("limit", [3, 1000])
def test_executions_are_those_that_were_asked_for(
    past: Past, query: BookingQuery, limit: int
) -> None:
    linked = {o.order_id for o in past.orders if o.link == query.link and o.account == "ann"}

    def fits(execution: Execution) -> bool:
        time = round(execution.time.timestamp() * 1000)
        return (
            (query.symbols is None or execution.symbol in query.symbols)
            and query.start_ms <= time <= query.end_ms
            and (query.types is None or execution.exec_type in query.types)
            and query.order_id in ("", execution.order_id)
            and (not query.link or execution.order_id in linked)
        )

    history = past.store.history
    found = pages(lambda c: history.executions("ann", replace(query, limit=limit, cursor=c)))

    wanted = filter(fits, past.executions("ann"))
    assert found == sorted(wanted, key=lambda e: (e.time, e.seq), reverse=True)


@pytest.mark.parametrize("symbols", [None, frozenset({"BTCUSDT"})])
def test_closings_are_gathered_by_order(past: Past, symbols: frozenset[str] | None) -> None:
    orders: dict[str, list[Execution]] = {}
    for execution in past.executions("bob"):
        if execution.closed_size and (symbols is None or execution.symbol in symbols):
            orders.setdefault(execution.order_id, []).append(execution)

    found = pages(
        lambda c: past.store.history.closed("bob", BookingQuery(symbols=symbols, limit=4, cursor=c))
    )

    newest = sorted(orders.values(), key=lambda es: (es[0].time, es[0].seq), reverse=True)
    assert found == newest
    assert any(len(executions) > 1 for executions in found)


def test_transactions_hold_transfers_among_executions(past: Past) -> None:
    history = past.store.history

    found = pages(lambda c: history.transactions("bob", BookingQuery(limit=9, cursor=c)))
    moved = pages(lambda c: history.transfers("bob", BookingQuery(limit=2, cursor=c)))

    wanted = [b for b in past.bookings if b.cause.account == "bob"]
    wanted.sort(key=lambda b: (b.cause.time, b.cause.seq), reverse=True)
    assert found == wanted
    assert moved == [b.cause for b in wanted if isinstance(b.cause, Transfer)] != []


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", "²-1", "9" * 50 + "-1"])
def test_a_cursor_that_was_not_given_is_refused(past: Past, cursor: str) -> None:
    with pytest.raises(RequestRejected, match="cursor invalid"):
        past.store.history.orders("ann", OrderQuery(cursor=cursor))
