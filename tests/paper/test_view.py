"""What reads see, at once or late; and when who is told."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tradewright.domain.market import Side
from tradewright.matching import (
    Event,
    Executed,
    Order,
    OrderChanged,
    OrderRequest,
    OrderType,
    RequestRejected,
    StopRequest,
)
from tradewright.paper import PaperSettings
from tradewright.paper.batch import Batch, LedgerBroken, TransferNote
from tradewright.paper.commit import ExchangeBroken
from tradewright.paper.exchange import MAIN, Exchange
from tradewright.paper.ledger import ledger
from tradewright.paper.query import BookingQuery, OrderQuery
from tradewright.paper.row import RowDamaged
from tradewright.paper.store import Store

BTC = "BTCUSDT"


@pytest.fixture
async def exchange(make_settings: Callable[..., PaperSettings]) -> AsyncIterator[Exchange]:
    settings = make_settings(symbols=(BTC,), history=5)
    with closing(Store(None)) as store:
        opened = Exchange(settings, store)
        yield opened
        opened.close()


def buy(exchange: Exchange, qty: str = "0.1", account: str = MAIN, **fields: Any) -> Order:
    fields = {"order_type": OrderType.MARKET, "side": Side.BUY} | fields
    request = OrderRequest(symbol=BTC, qty=Decimal(qty), **fields)
    events = exchange.change(lambda now: exchange.engine.place(account, request, now))
    return next(e.order for e in events if isinstance(e, OrderChanged))


def rest(exchange: Exchange, **fields: Any) -> Order:
    price = exchange.engine.markets[BTC].instrument.floor_price(
        exchange.engine.last[BTC] * Decimal("0.9")
    )
    return buy(exchange, order_type=OrderType.LIMIT, price=price, **fields)


def cancel(exchange: Exchange, order: Order) -> None:
    exchange.change(lambda now: exchange.engine.cancel(MAIN, order.order_id, now))


async def test_nothing_is_seen_before_it_is_durable(exchange: Exchange) -> None:
    order = rest(exchange, link="one")

    before = exchange.view.order(MAIN, link="one")
    await exchange.durable()
    after = exchange.view.order(MAIN, link="one")

    assert (before, after) == (None, order)


async def test_answers_leave_before_listeners_are_told_and_in_order(exchange: Exchange) -> None:
    heard: list[str] = []

    def listen(events: list[Event]) -> None:
        heard.extend(f"told {e.order.link}" for e in events if isinstance(e, OrderChanged))

    async def ask(name: str) -> None:
        rest(exchange, link=name)
        await exchange.durable()
        heard.append(f"answered {name}")

    await exchange.told()
    exchange.listeners.append(listen)

    await asyncio.gather(*(ask(name) for name in "abc"))
    await exchange.told()

    answers, messages = [f"answered {n}" for n in "abc"], [f"told {n}" for n in "abc"]
    assert heard == answers + messages


async def test_changes_of_one_turn_are_written_together(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = exchange.store.write

    def note(batch: Batch) -> None:
        written.append(len(batch.orders))
        write(batch)

    monkeypatch.setattr(exchange.store, "write", note)

    for name in "abcdef":
        rest(exchange, link=name)
    await exchange.durable()
    await exchange.durable()

    assert written == [6]


async def test_a_write_that_fails_breaks_the_exchange(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: object) -> None:
        raise OSError("disk is full")

    told: list[list[Event]] = []
    await exchange.told()
    exchange.listeners.append(told.append)
    monkeypatch.setattr(exchange.store, "write", fail)
    rest(exchange)

    with pytest.raises(ExchangeBroken):
        await exchange.durable()
    with pytest.raises(ExchangeBroken):
        rest(exchange)
    with pytest.raises(ExchangeBroken):
        exchange.view.orders(MAIN, OrderQuery())

    assert exchange.broken.is_set()
    assert told == []


async def test_a_refusal_breaks_nothing(exchange: Exchange) -> None:
    with pytest.raises(RequestRejected):
        buy(exchange, "1000000")

    buy(exchange)
    await exchange.durable()
    assert not exchange.broken.is_set()


async def test_a_listener_that_fails_keeps_nobody_else_from_hearing(exchange: Exchange) -> None:
    told: list[list[Event]] = []

    def fail(events: list[Event]) -> None:
        raise ValueError("what is that")

    await exchange.told()
    exchange.listeners += [fail, told.append]
    rest(exchange)
    await exchange.told()

    assert len(told) == 1
    assert not exchange.broken.is_set()


async def test_an_old_row_that_cannot_be_read_is_not_the_end(exchange: Exchange) -> None:
    buy(exchange)
    await exchange.durable()
    exchange.store.settle()
    exchange.store._db.execute("UPDATE bookings SET body = x'0000000001'")

    with pytest.raises(RowDamaged):
        exchange.view.executions(MAIN, BookingQuery())

    buy(exchange)
    await exchange.durable()
    assert not exchange.broken.is_set()


async def test_a_state_that_cannot_be_settled_is_the_end(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(exchange.store, "settle", full)
    with pytest.raises(ExchangeBroken):
        exchange.view.executions(MAIN, BookingQuery())

    assert exchange.broken.is_set()


@pytest.mark.parametrize("text", ["\ud800", "é", "x" * 10_000, "\0", "'; DROP TABLE orders"])
async def test_no_question_breaks_the_exchange(exchange: Exchange, text: str) -> None:
    far = 10**40
    view = exchange.view

    assert view.orders(MAIN, OrderQuery(order_id=text)) == ([], "")
    assert view.orders(MAIN, OrderQuery(link=text)) == ([], "")
    assert view.executions(MAIN, BookingQuery(link=text)) == ([], "")
    assert view.transfers(MAIN, BookingQuery(order_id=text)) == ([], "")
    assert view.executions(MAIN, BookingQuery(start_ms=far, end_ms=-far)) == ([], "")
    assert view.orders(MAIN, OrderQuery(start_ms=-far, end_ms=far)) == ([], "")
    with pytest.raises(RequestRejected):
        view.orders(MAIN, OrderQuery(cursor=text))
    with pytest.raises(RequestRejected):
        rest(exchange, link=text)
    rest(exchange, link="fine")
    await exchange.durable()


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_lagging_view_shows_orders_positions_and_wallet_late(exchange: Exchange) -> None:
    hand = Hand()
    view = exchange.open_view(500)
    view._clock = hand
    cash = exchange.engine.accounts[MAIN].balance.cash
    resting, bought = rest(exchange, link="rests"), buy(exchange, link="trades")
    await exchange.durable()

    def seen() -> tuple[Any, ...]:
        account = view.account(MAIN)
        return (
            view.open_orders(MAIN) == [resting],
            view.recent_closed(MAIN) != [],
            view.orders(MAIN, OrderQuery())[0] != [],
            view.orders(MAIN, OrderQuery(order_id=bought.order_id))[0] != [],
            view.executions(MAIN, BookingQuery())[0] != [],
            view.transactions(MAIN, BookingQuery())[0] != [],
            account.positions[BTC].size > 0,
            account.balance.cash < cash,
            account.position_margin() > 0,
        )

    hand.now += 0.499
    late = seen()
    assert exchange.view.open_orders(MAIN) == [resting]
    hand.now += 0.002

    assert late == (False,) * 9
    assert seen() == (True,) * 9


async def test_an_order_that_ended_unseen_is_shown_as_open(exchange: Exchange) -> None:
    hand = Hand()
    order = rest(exchange)
    await exchange.durable()
    view = exchange.open_view(500)
    view._clock = hand

    cancel(exchange, order)
    await exchange.durable()
    shown = view.open_orders(MAIN), view.orders(MAIN, OrderQuery())[0]
    view.lag_ms = 0
    after = view.open_orders(MAIN), [o.order_id for o in view.orders(MAIN, OrderQuery())[0]]

    assert shown == ([order], [])
    assert after == ([], [order.order_id])


async def test_only_the_last_ended_orders_are_at_hand(exchange: Exchange) -> None:
    links = [f"link-{n}" for n in range(510)]
    for link in links:
        cancel(exchange, rest(exchange, link=link))
    await exchange.durable()

    recent = exchange.view.recent_closed(MAIN)

    assert [o.link for o in recent] == links[:9:-1]
    assert exchange.view.order(MAIN, link=links[9]) is None
    assert len(exchange.view.orders(MAIN, OrderQuery(link=links[9]))[0]) == 1


async def test_a_triggered_order_is_no_ended_one(exchange: Exchange) -> None:
    price = exchange.engine.last[BTC]
    instrument = exchange.engine.markets[BTC].instrument
    order = buy(
        exchange,
        order_type=OrderType.LIMIT,
        price=instrument.floor_price(price * Decimal("0.95")),
        trigger_price=instrument.floor_price(price * Decimal("0.99")),
        trigger_direction=2,
    )
    events = exchange.engine.glide(
        BTC, instrument.floor_price(price * Decimal("0.98")), exchange.now()
    )
    exchange.advance(events, exchange.progress)
    await exchange.durable()

    assert [o.order_id for o in exchange.view.open_orders(MAIN)] == [order.order_id]
    assert exchange.view.recent_closed(MAIN) == []


async def test_the_ledger_of_each_account_adds_up(exchange: Exchange) -> None:
    exchange.open_account("ann", Decimal(5_000))
    buy(exchange, "0.3")
    buy(exchange, "0.02", account="ann", side=Side.SELL)
    stops = StopRequest(stop_loss=exchange.engine.last[BTC] // 2)
    exchange.change(lambda now: exchange.engine.set_stops(MAIN, BTC, stops, now))
    note = TransferNote("t-1", "FUND", "UNIFIED")
    exchange.change(lambda now: exchange.engine.transfer("ann", Decimal(250), now), note)
    funding = exchange.engine.fund(BTC, Decimal("0.001"), exchange.now())
    exchange.advance(funding, exchange.progress)
    buy(exchange, "0.1", side=Side.SELL)
    await exchange.durable()

    books = {
        name: await ledger(exchange.store.history, account)
        for name, account in exchange.engine.accounts.items()
    }

    assert [book["balanced"] for book in books.values()] == [True, True]
    assert (books["ann"]["transfers"], books[MAIN]["transfers"]) == ("250", "0")
    assert Decimal(books["ann"]["funding"]) < 0 < Decimal(books[MAIN]["funding"])
    assert (books[MAIN]["positions"], books["ann"]["positions"]) == ({BTC: "0.2"}, {BTC: "-0.02"})
    for book in books.values():
        parts = {k: Decimal(book[k]) for k in ("start", "transfers", "realised", "fees", "funding")}
        wallet = parts["start"] + parts["transfers"] + parts["realised"]
        wallet -= parts["fees"] + parts["funding"]
        assert Decimal(book["wallet"]) == wallet
        assert Decimal(book["equity"]) == wallet + Decimal(book["unrealised"])
    (moved,), _ = exchange.view.transfers("ann", BookingQuery(order_id="t-1"))
    assert (moved.amount, moved.source, moved.target) == (Decimal(250), "FUND", "UNIFIED")


async def test_a_ledger_that_does_not_add_up_breaks_the_exchange(
    exchange: Exchange,
) -> None:
    def steal(events: list[Event]) -> list[Event]:
        return [e for e in events if not isinstance(e, Executed)]

    request = OrderRequest(
        symbol=BTC, side=Side.BUY, order_type=OrderType.MARKET, qty=Decimal("0.1")
    )
    place = partial(exchange.engine.place, MAIN, request)

    with pytest.raises(ExchangeBroken) as failure:
        exchange.change(lambda now: steal(place(now)))

    assert isinstance(failure.value.__cause__, LedgerBroken)
    assert "ledger of account main does not balance" in str(failure.value.__cause__)
    assert exchange.broken.is_set()


@asynccontextmanager
async def reopened(settings: PaperSettings) -> AsyncIterator[Exchange]:
    with closing(Store(settings.state)) as store:
        yield Exchange(settings, store)


async def test_what_was_not_settled_comes_from_the_log(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=(BTC,), history=5)
    log = tmp_path / "paper.db-log"
    async with reopened(settings) as exchange:
        buy(exchange, link="one")
        await exchange.durable()
        unsettled = log.stat().st_size
        held = exchange.engine.accounts[MAIN].positions

    async with reopened(settings) as exchange:
        found, _ = exchange.view.orders(MAIN, OrderQuery(link="one"))

        assert unsettled > 0
        assert log.stat().st_size == 0
        assert len(found) == 1
        assert exchange.engine.accounts[MAIN].positions == held
        with pytest.raises(RequestRejected, match="duplicate"):
            buy(exchange, link="one")


async def test_half_a_record_was_never_acknowledged_and_a_wrong_one_is_refused(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=(BTC,), history=5)
    log = tmp_path / "paper.db-log"
    async with reopened(settings) as exchange:
        rest(exchange, link="one")
        await exchange.durable()
        whole = log.read_bytes()
        rest(exchange, link="two")
        await exchange.durable()
        both = log.read_bytes()
    wrong = bytearray(both)
    wrong[len(whole) // 2] ^= 1

    log.write_bytes(wrong)
    with pytest.raises(Exception, match="a record is not what it was; use another state file"):
        async with reopened(settings):
            pass
    log.write_bytes(both[:-1])
    async with reopened(settings) as exchange:
        assert [o.link for o in exchange.view.open_orders(MAIN)] == ["one"]


async def test_a_log_of_another_state_is_left_out(
    make_settings: Callable[..., PaperSettings], tmp_path: Path
) -> None:
    settings = make_settings(state=tmp_path / "paper.db", symbols=(BTC,), history=5)
    async with reopened(settings) as exchange:
        buy(exchange)
        await exchange.durable()
    for file in ("paper.db", "paper.db-wal"):
        (tmp_path / file).unlink(missing_ok=True)

    async with reopened(settings) as exchange:
        assert exchange.view.executions(MAIN, BookingQuery()) == ([], "")
        assert exchange.engine.accounts[MAIN].balance.cash == settings.cash
