"""What the events come to: trades, orders, executions, signals, refusals, snapshots."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
import structlog.testing
from sqlalchemy import Connection, select

from tests.journal.rows import everything
from tradewright.domain.account import Approved, Position, RefusalCode, Snapshot
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import Execution, ExitReason
from tradewright.domain.market import Side
from tradewright.domain.plan import Mode, Origin, Proposal, TradePlan
from tradewright.domain.trade import (
    Adopted,
    EntryEnded,
    EntryPlaced,
    EntryRejected,
    Executed,
    Funded,
    Started,
    StopConfirmed,
    Trade,
    TradeEvent,
    TradeState,
)
from tradewright.journal import Journal, Stage, position_projection
from tradewright.journal.table import positions

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = "tw" + "a" * 16
OTHER = "tw" + "b" * 16
MakeBook = Callable[..., Any]
MakeEvent = Callable[..., JournalEvent]
MakeFill = Callable[..., Execution]


async def test_a_trade_is_shown_as_its_last_event_left_it(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book()

    await book.live()

    row = await journal.trade(ID)
    assert row is not None
    assert row.model_dump(include={"entry_price", "exit_price", "pnl", "fees", "risk"}) == {
        "entry_price": 50_000,
        "exit_price": 51_000,
        "pnl": Decimal("94.4449999999999999999"),
        "fees": Decimal("5.5550000000000000001"),
        "risk": 100,
    }
    assert row.r_multiple == book.trade.r_multiple
    assert (row.state, row.live, row.origin) == (TradeState.CLOSED, False, Origin.SIGNAL)
    assert (row.exit_reason, row.exit_note, row.exit_by) == (ExitReason.OPERATOR, "enough", "ann")
    assert (row.opened_at, row.closed_at) == (AT + timedelta(minutes=1), AT + timedelta(hours=1))
    assert row.decided_at == AT
    assert row.updated_at == AT + timedelta(seconds=book.count)
    assert (row.factors, row.market) == ({"atr": 12.5}, {"funding": "0.0001"})
    assert (row.open_view, row.close_view) == (book.open_view, book.close_view)
    assert row.workflow_id == f"trade/BTCUSDT/{ID}"
    assert (row.stop, row.open_qty, row.preset_hash) == (Decimal(49_000), Decimal(0), "h1")


async def test_news_after_the_end_changes_nothing(journal: Journal, make_book: MakeBook) -> None:
    book = make_book()
    await book.live()
    before = await journal.trade(ID)
    book.trade = book.trade.model_copy(update={"state": TradeState.OPEN})

    await book.take(StopConfirmed(price=Decimal(1)))

    assert await journal.trade(ID) == before


async def test_an_adopted_position_has_no_entry_order(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book(origin="adopted")

    await book.take(Adopted(qty=Decimal("0.1"), price=Decimal(50_100), at=AT))

    row = await journal.trade(ID)
    assert row is not None
    assert (row.origin, row.entry_price, row.open_qty) == (
        Origin.ADOPTED,
        Decimal(50_100),
        Decimal("0.1"),
    )
    assert await journal.orders() == ()


async def test_trades_are_found_newest_first(journal: Journal, make_book: MakeBook) -> None:
    await make_book().live()
    other = make_book(trade_id=OTHER, preset="breakout", symbol="ETHUSDT")
    await other.take(Started())

    async def found(**wanted: Any) -> list[str]:
        return [row.trade_id for row in await journal.trades(**wanted)]

    assert await found() == [OTHER, ID]
    assert await found(limit=1) == [OTHER]
    assert await found(live=True) == [OTHER]
    assert await found(live=False) == [ID]
    assert await found(preset="ema") == [ID]
    assert await found(symbol="ETHUSDT") == [OTHER]
    assert await found(account="other") == []
    assert await found(needs=True) == []


async def test_a_refused_message_makes_its_trade_need_an_operator(
    journal: Journal, make_book: MakeBook, make_event: MakeEvent
) -> None:
    book = make_book()
    await book.take(Started())
    data = {"message": {"kind": "exitt"}, "fault": "kind 'exitt' is unknown"}
    refused = make_event("m", kind=EventKind.MESSAGE_REFUSED, trade_id=ID, data=data)

    await journal.append([refused])
    (waiting,) = await journal.trades(needs=True)
    await book.take(EntryPlaced(order_id="o1"))
    still = await journal.trades(needs=True)
    await book.take(EntryEnded(), needs="")

    (refusal,) = await journal.refusals(code="message_refused")
    assert waiting.needs == "kind 'exitt' is unknown"
    assert [row.trade_id for row in still] == [ID]
    assert await journal.trades(needs=True) == ()
    assert (refusal.stage, refusal.reason) == (Stage.MESSAGE, waiting.needs)


async def test_the_history_of_a_trade_is_all_that_was_written_of_it(
    journal: Journal, make_book: MakeBook
) -> None:
    book = make_book()
    await make_book(trade_id=OTHER).take(Started())

    await book.live()

    history = await journal.trade_history(ID)
    assert len(history) == book.count
    assert [row.chain_seq for row in history] == list(range(1, book.count + 1))
    assert history[1].event.kind is EventKind.ENTRY_INTENDED


async def test_signals_show_what_was_decided_on(
    journal: Journal,
    make_event: MakeEvent,
    make_proposal: Callable[..., Proposal],
    make_plan: Callable[..., TradePlan],
) -> None:
    approved = {
        "proposal": make_proposal().model_dump(mode="json"),
        "plan": Approved(plan=make_plan()).plan.model_dump(mode="json"),
    }
    refused = {
        "proposal": make_proposal(trade_id=OTHER, symbol="ETHUSDT").model_dump(mode="json"),
        "code": RefusalCode.COOLDOWN.value,
        "reason": "ema rests",
    }
    await journal.append(
        [
            make_event("s1", kind=EventKind.SIGNAL_APPROVED, preset="ema", data=approved),
            make_event("s2", kind=EventKind.SIGNAL_REFUSED, preset="ema", data=refused),
        ]
    )

    no, yes = await journal.signals("main", preset="ema")
    (refusal,) = await journal.refusals(preset="ema")

    assert (yes.approved, yes.qty, yes.code) == (True, Decimal("0.1"), "")
    assert (yes.factors, yes.window) == ({"atr": 12.5}, "BTCUSDT/15m/2026-01-01")
    assert yes.market == {"funding": "0.0001"}
    assert (no.approved, no.qty, no.code, no.refusal) == (False, None, "cooldown", "ema rests")
    assert (refusal.stage, refusal.trade_id, refusal.code) == (Stage.DECISION, OTHER, "cooldown")
    assert await journal.signals(approved=True, trade_id=ID, symbol="BTCUSDT") == (yes,)


def snapshot(minute: int, equity: str, *positions: Position) -> Snapshot:
    at = AT + timedelta(minutes=minute)
    return Snapshot(
        at=at, market_at=at, equity=Decimal(equity), wallet=Decimal(9), positions=positions
    )


async def test_snapshots_show_equity_and_positions(journal: Journal, make_event: MakeEvent) -> None:
    held = Position(
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=Decimal("0.1"),
        entry_price=Decimal(50_000),
        mark_price=Decimal("50000.123456789012345678"),
        stop_loss=Decimal(49_000),
        created_at=AT,
    )
    also = held.model_copy(update={"symbol": "ETHUSDT"})
    shown = [snapshot(0, "900"), snapshot(1, "10000", held, also), snapshot(2, "9999.5", held)]
    await journal.append(
        [
            make_event(
                f"s{n}", kind=EventKind.SNAPSHOT, data={"snapshot": s.model_dump(mode="json")}
            )
            for n, s in enumerate(shown)
        ]
    )

    newest = await journal.snapshots("main")
    (first,) = await journal.snapshots(
        "main", since=AT + timedelta(minutes=1), newest_first=False, limit=1
    )
    peak = await journal.peak("main")

    assert [row.equity for row in newest] == [Decimal("9999.5"), 10_000, 900]
    assert [row.positions for row in newest] == [(held,), (held, also), ()]
    assert first == newest[1] == peak
    assert await journal.peak("other") is None


async def test_projections_made_again_from_the_events_are_the_same(
    journal: Journal,
    intruder: Any,
    make_book: MakeBook,
    make_fill: MakeFill,
    make_event: MakeEvent,
    make_proposal: Callable[..., Proposal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = make_book()
    await book.live()
    await book.take(Executed(execution=make_fill("x3", order_id="o9", order_link_id="")))
    rejected = make_book(trade_id=OTHER)
    await rejected.intend()
    await rejected.take(Started(), EntryRejected(code="1", reason="no"))
    proposal = make_proposal().model_dump(mode="json")
    shown = snapshot(1, "10000").model_dump(mode="json")
    await journal.append(
        [
            make_event(
                "r",
                kind=EventKind.SIGNAL_REFUSED,
                data={"proposal": proposal, "code": "cooldown", "reason": "rests"},
            ),
            make_event("s", kind=EventKind.SNAPSHOT, data={"snapshot": shown}),
            make_event("m", kind=EventKind.MESSAGE_REFUSED, data={"message": "?", "fault": "?"}),
        ]
    )
    shadow = Trade(plan=rejected.trade.plan.model_copy(update={"mode": Mode.SHADOW}))
    await journal.append([_shadow(make_event, "v", shadow, Started())])
    before = await everything(journal)
    await intruder.run("DELETE FROM trades")
    monkeypatch.setattr("tradewright.journal.chain.PAGE", 3)

    count = await journal.rebuild_projections()

    assert count == len(await journal.events())
    assert await everything(journal) == before
    assert {name for name, rows in before.items() if not rows} == {"positions"}


def _shadow(make_event: MakeEvent, name: str, trade: Trade, event: TradeEvent) -> JournalEvent:
    data = {
        "event": event.model_dump(mode="json"),
        "trade": trade.after(event).model_dump(mode="json"),
    }
    return make_event(name, kind=EventKind.SHADOW_CHANGED, data=data)


async def test_a_virtual_trade_is_shown_apart_and_counts_nowhere_else(
    journal: Journal, make_book: MakeBook, make_event: MakeEvent
) -> None:
    plan = make_book().trade.plan.model_copy(update={"mode": Mode.SHADOW})
    trade = Trade(plan=plan)

    await journal.append([_shadow(make_event, "v", trade, Started())])

    (row,) = await journal.trades(shadow=True)
    assert (row.trade_id, row.state, row.live) == (ID, TradeState.ENTERING, True)
    assert row.workflow_id == f"shadow/{plan.symbol}/{ID}"
    assert await journal.trades() == ()
    assert await journal.orders() == ()
    assert (await journal.books("main")).trades == ()


async def test_what_was_refused_before_there_was_a_proposal_is_shown_with_its_code(
    journal: Journal, make_event: MakeEvent
) -> None:
    data = {"code": "stale_candles", "reason": "9 minutes old"}
    refusal = make_event("r", kind=EventKind.SIGNAL_REFUSED, data=data, symbol="BTCUSDT")

    await journal.append([refusal])

    (row,) = await journal.refusals()
    assert (row.stage, row.code, row.symbol) == (Stage.EVALUATION, "stale_candles", "BTCUSDT")
    assert await journal.signals() == ()


async def test_the_books_of_an_account_hold_its_orders_executions_and_trades(
    journal: Journal, make_book: MakeBook
) -> None:
    await make_book().live()
    await make_book(trade_id=OTHER, account="other").take(Started())

    books = await journal.books("main")

    assert [order.order_link_id for order in books.orders] == [f"{ID}-e1", f"{ID}-x2"]
    assert [execution.trade_id for execution in books.executions] == [ID, ID]
    assert [(trade.trade_id, trade.state) for trade in books.trades] == [(ID, TradeState.CLOSED)]


async def test_funding_is_part_of_what_a_trade_earned(
    journal: Journal, make_book: MakeBook, make_fill: MakeFill
) -> None:
    book = make_book()
    paid = Funded(exec_id="f1", amount=Decimal("-0.5"), at=AT + timedelta(hours=1))

    await book.take(Started(), Executed(execution=make_fill("x1")), paid)

    row = await journal.trade(ID)
    assert row is not None
    assert (row.funding, row.pnl) == (Decimal("-0.5"), Decimal("-3.25"))
    assert (row.ledger.traded, row.ledger.pnl) == (Decimal("-2.75"), Decimal("-3.25"))


# --- positions ------------------------------------------------------------------------------------


def held(symbol: str = "BTCUSDT", **changes: Any) -> Position:
    fields = {
        "symbol": symbol,
        "side": Side.BUY,
        "qty": Decimal("0.1"),
        "entry_price": Decimal(50_000),
        "mark_price": Decimal(50_000),
        "stop_loss": Decimal(49_000),
    }
    return Position.model_validate(fields | changes)


async def written_positions(journal: Journal) -> list[tuple[str, str, str, Decimal]]:
    def work(connection: Connection) -> list[tuple[str, str, str, Decimal]]:
        rows = connection.execute(
            select(positions).order_by(positions.c.snapshot_seq, positions.c.symbol)
        )
        return [(row.symbol, row.state, row.change, row.qty) for row in rows]

    return await journal._database.read(work)


async def test_what_became_of_a_position_between_two_snapshots_is_journaled(
    journal: Journal, make_event: MakeEvent
) -> None:
    looks: list[tuple[Position, ...]] = [
        (held(stop_loss=None),),
        (held(), held("ETHUSDT")),
        (held(qty=Decimal("0.05")), held("ETHUSDT", stop_loss=None)),
        (held(qty=Decimal("0.05")),),
        (held(qty=Decimal("0.05")),),
    ]

    for n, look in enumerate(looks):
        shown = {"snapshot": snapshot(n, "1000", *look).model_dump(mode="json")}
        await journal.append([make_event(f"s{n}", kind=EventKind.SNAPSHOT, data=shown)])

    whole, part = Decimal("0.1"), Decimal("0.05")
    assert await written_positions(journal) == [
        ("BTCUSDT", "naked", "opened", whole),
        ("BTCUSDT", "protected", "stop_set", whole),
        ("ETHUSDT", "protected", "opened, stop_set", whole),
        ("BTCUSDT", "protected", "reduced", part),
        ("ETHUSDT", "naked", "stop_lost", whole),
        ("BTCUSDT", "protected", "", part),
        ("ETHUSDT", "flat", "closed", Decimal(0)),
        ("BTCUSDT", "protected", "", part),
    ]
    newest, *_ = await journal.snapshots("main", limit=2)
    assert [p.symbol for p in newest.positions] == ["BTCUSDT"]


async def test_two_positions_of_one_symbol_are_reported_and_break_nothing(
    journal: Journal, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have bound the module's own to an output of its own
    monkeypatch.setattr(position_projection, "log", structlog.get_logger())
    look = snapshot(0, "1000", held(), held(side=Side.SELL, stop_loss=Decimal(51_000)))
    shown = {"snapshot": look.model_dump(mode="json")}

    with structlog.testing.capture_logs() as logged:
        await journal.append([make_event("s0", kind=EventKind.SNAPSHOT, data=shown)])

    assert await written_positions(journal) == [
        ("BTCUSDT", "protected", "opened, stop_set", Decimal("0.1"))
    ]
    assert "position in state protected cannot take event opened" in str(logged)
