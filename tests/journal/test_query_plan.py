"""No write and no glance reads more as the journal grows: SQLite says how it will find its rows."""

import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen, remove

from tradewright.domain.account import Snapshot
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import Execution
from tradewright.domain.trade import Executed
from tradewright.journal import Journal

AT = datetime(2026, 1, 1, tzinfo=UTC)
TRADE_ID = "tw" + "a" * 16
Statement = tuple[str, Any]

ALL = re.compile(r"SCAN |SEARCH (?!gates).*\(account=\?\)")
"""Steps that read a table, or all that is of an account, which has one gate."""

FEW = re.compile(r"ix_heads_moved|ix_\w*trades_live")
"""Indexes of those rows alone that are wanted."""


@pytest.fixture
async def journal(sqlite_template: str, tmp_path: Path) -> AsyncIterator[Journal]:
    path = shutil.copy(str(make_url(sqlite_template).database), tmp_path / "journal.db")
    opened = await Journal.open(f"sqlite:///{path}", venue="paper")
    yield opened
    await opened.close()


@contextmanager
def statements() -> Iterator[list[Statement]]:
    told: list[Statement] = []

    def hear(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        told.append((statement, parameters))

    listen(Engine, "before_cursor_execute", hear)
    try:
        yield told
    finally:
        remove(Engine, "before_cursor_execute", hear)


async def unbounded(journal: Journal, told: Sequence[Statement]) -> str:
    """Return those steps of *told* that read more the more there is, with their statements."""

    def find(connection: Connection) -> set[str]:
        found = set()
        for statement, parameters in told:
            if not re.match("SELECT|INSERT|UPDATE|DELETE", statement):
                continue
            first = parameters[0] if isinstance(parameters, list) else parameters
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", first)
            steps = [row[3] for row in rows]
            is_sorted = not any("TEMP B-TREE" in step for step in steps)
            # The first of all are found at once; the first after others only past these
            if is_sorted and re.match("[^>]* ORDER BY .* LIMIT ", statement, re.DOTALL):
                continue
            found |= {
                f"{step}: {' '.join(statement.split())}"
                for step in steps
                if ALL.match(step) and not FEW.search(step)
            }
        return found

    return "\n".join(sorted(await journal._database.read(find)))


async def test_what_a_write_reads_does_not_grow_with_the_journal(
    journal: Journal,
    make_book: Callable[..., Any],
    make_event: Callable[..., JournalEvent],
    make_fill: Callable[..., Execution],
) -> None:
    shown = Snapshot(at=AT, market_at=AT, equity=Decimal(9), wallet=Decimal(9))
    looks = [
        make_event(
            f"s{n}", kind=EventKind.SNAPSHOT, data={"snapshot": shown.model_dump(mode="json")}
        )
        for n in range(2)
    ]

    with statements() as told:
        book = make_book()
        await book.live()
        by_hand = make_fill("x3", order_id="o9", order_link_id="")
        await book.take(Executed(execution=by_hand))
        for look in looks:
            await journal.append([look])
        await journal.anchor(AT)

    assert len(told) > 50
    assert await unbounded(journal, told) == ""


async def test_what_status_reads_does_not_grow_with_the_journal(journal: Journal) -> None:
    with statements() as told:
        await journal.gate("main")
        await journal.trade(TRADE_ID)
        await journal.trades("main", live=True)
        await journal.orders(TRADE_ID)
        await journal.executions(TRADE_ID)
        await journal.executions(account="main", since=AT)
        await journal.snapshots("main", limit=1)

    assert len(told) >= 7
    assert await unbounded(journal, told) == ""


async def test_the_check_of_all_chains_goes_on_where_its_last_page_ended(
    journal: Journal, make_book: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_book().live()
    monkeypatch.setattr("tradewright.journal.chain.PAGE", 2)

    with statements() as told:
        assert await journal.verify() == ()

    pages = [(text, given) for text, given in told if "FROM events" in text]
    assert len(pages) > 2
    assert await unbounded(journal, pages) == ""
