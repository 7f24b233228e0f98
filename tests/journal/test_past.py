"""What a new desk is told of its account."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tradewright.domain.account import Baseline, Snapshot
from tradewright.domain.account.guard import memory
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.market import Side
from tradewright.domain.protection import Guards, LossGuard
from tradewright.domain.trade import EntryPlaced, Executed, PositionRead, Started
from tradewright.journal import Journal

AT = datetime(2026, 1, 1, tzinfo=UTC)
MakeEvent = Callable[..., JournalEvent]


def look(make_event: MakeEvent, minute: int, baseline: Baseline | None = None) -> JournalEvent:
    at = AT + timedelta(minutes=minute)
    shown = Snapshot(at=at, market_at=at, equity=Decimal(9_000 + minute), wallet=Decimal(9))
    data: dict[str, Any] = {"snapshot": shown.model_dump(mode="json")}
    if baseline is not None:
        data["baseline"] = baseline.model_dump(mode="json")
    return make_event(f"s{minute}", kind=EventKind.SNAPSHOT, data=data)


async def close(make_book: Any, make_fill: Any, number: str, price: int, minute: int) -> None:
    """Write a trade from 50 000 to *price*, closed that minute."""
    book = make_book(trade_id="tw" + number * 16)
    link = f"{book.trade.plan.trade_id}-e1"
    await book.take(Started(), EntryPlaced(order_id=f"o{number}"))
    fill = make_fill(f"in{number}", order_id=f"o{number}", order_link_id=link)
    await book.take(Executed(execution=fill))
    at = AT + timedelta(minutes=minute)
    out = make_fill(
        f"out{number}",
        order_id=f"p{number}",
        order_link_id="",
        side=Side.SELL,
        price=Decimal(price),
        at=at,
    )
    await book.take(Executed(execution=out), PositionRead(qty=Decimal(0), at=at, settled=True))
    assert book.trade.is_final


async def test_an_account_that_never_had_a_desk_has_no_past(journal: Journal) -> None:
    assert await journal.past("main") is None


async def test_the_past_is_the_baseline_of_the_latest_snapshot_that_has_one(
    journal: Journal, make_event: MakeEvent
) -> None:
    """E7: the peak is persisted with its baseline."""
    older = Baseline(peak_equity=Decimal("12000.50"), day="2026-01-01")
    newer = older.model_copy(update={"day_equity": Decimal(11_000)})
    await journal.append(
        [look(make_event, 1, older), look(make_event, 2, newer), look(make_event, 3)]
    )

    past = await journal.past("main")

    assert past is not None
    assert (past.baseline, past.losses) == (newer, 0)
    assert await journal.past("another") is None


async def test_snapshots_without_a_baseline_still_tell_the_peak(
    journal: Journal, make_event: MakeEvent
) -> None:
    await journal.append([look(make_event, 9), look(make_event, 1)])

    past = await journal.past("main")

    assert past is not None
    assert past.baseline == Baseline(peak_equity=Decimal(9_009))


async def test_losses_in_a_row_are_counted_from_the_trades(
    journal: Journal, make_event: MakeEvent, make_book: Any, make_fill: Any
) -> None:
    await journal.append([look(make_event, 1, Baseline(losses=9))])
    for number, price, minute in (
        ("a", 40_000, 10),
        ("b", 60_000, 20),
        ("d", 40_000, 40),
        ("c", 45_000, 30),
    ):
        await close(make_book, make_fill, number, price, minute)

    past = await journal.past("main")
    since = AT + timedelta(minutes=30)
    await journal.append([look(make_event, 50, Baseline(streak_since=since))])
    later = await journal.past("main")

    assert past is not None
    assert later is not None
    assert (past.losses, later.losses) == (2, 1)
    # Oldest first, whatever order they were written in
    assert [(r.at, r.pnl < 0) for r in past.results] == [
        (AT + timedelta(minutes=minute), is_loss)
        for minute, is_loss in ((10, True), (20, False), (30, True), (40, True))
    ]
    assert {(r.preset, r.symbol) for r in past.results} == {("ema", "BTCUSDT")}


async def test_a_rest_lasts_to_its_end_under_a_new_desk(
    journal: Journal, make_event: MakeEvent, make_book: Any, make_fill: Any
) -> None:
    await journal.append([look(make_event, 1, Baseline())])
    await close(make_book, make_fill, "a", 40_000, 0)
    longest = LossGuard(losses=1, within=timedelta(days=30), pause=timedelta(days=30))

    past = await journal.past("main")

    assert past is not None
    assert [r.until for r in past.results] == [AT + memory(Guards(stop_guard=longest))]
