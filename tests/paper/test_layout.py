"""A state file that cannot be trusted is refused, with what to do."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.paper.chance import holdings, stored, trade_by_chance
from tradewright.paper import PaperSettings
from tradewright.paper.exchange import Exchange
from tradewright.paper.layout import StateUnusable
from tradewright.paper.query import BookingQuery, OrderQuery
from tradewright.paper.row import RowDamaged
from tradewright.paper.store import Store

MakeSettings = Callable[..., PaperSettings]


@pytest.fixture
async def traded(make_settings: MakeSettings, tmp_path: Path) -> PaperSettings:
    """Settings whose state three accounts have traded in."""
    settings = make_settings(state=tmp_path / "paper.db", symbols=("BTCUSDT",), history=5)
    with closing(Store(settings.state)) as store:
        exchange = Exchange(settings, store)
        trade_by_chance(exchange, random.Random(1))
        exchange.close()
    return settings


def content(settings: PaperSettings) -> dict[str, Any]:
    """Return all that can be read of a state."""
    with closing(Store(settings.state)) as store:
        exchange = Exchange(settings, store)
        queried = {
            name: (
                store.history.orders(name, OrderQuery(limit=1000)),
                store.history.transactions(name, BookingQuery(limit=1000)),
                store.history.closed(name, BookingQuery(limit=1000)),
            )
            for name in exchange.engine.accounts
        }
        return stored(exchange) | queried | {"held": holdings(exchange)}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"dear diary, today I lost money" * 500)

    with pytest.raises(StateUnusable, match=r"notes.db cannot be used: .*use another state file"):
        Store(path)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()

    with pytest.raises(StateUnusable, match="written by another program; use another state file"):
        Store(path)

    assert path.read_bytes() == before


def test_a_state_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID")
        db.execute("CREATE TABLE orders (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    with pytest.raises(StateUnusable, match="an earlier tradewright; use another state file"):
        Store(path)


def test_a_state_of_a_later_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    Store(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")

    with pytest.raises(StateUnusable, match="its layout is 99, not 1; use another state file"):
        Store(path)


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM bookings WHERE seq = (SELECT max(seq) FROM bookings)",
        "DELETE FROM orders WHERE seq = (SELECT min(seq) FROM orders)",
        "DELETE FROM accounts WHERE name = 'bob'",
        "DELETE FROM positions",
        "DELETE FROM facts WHERE name = 'identity'",
        "DROP INDEX order_links",
        "UPDATE accounts SET balance = x'00'",
    ],
)
async def test_a_state_that_lacks_something_is_refused(traded: PaperSettings, loss: str) -> None:
    assert traded.state is not None
    with closing(sqlite3.connect(traded.state)) as db:
        db.execute(loss)
        db.commit()

    with pytest.raises(StateUnusable, match="use another state file"):
        content(traded)


async def test_a_truncated_state_is_refused(traded: PaperSettings) -> None:
    assert traded.state is not None
    whole = traded.state.read_bytes()

    for part in (0.999, 0.9, 0.5, 0.1):
        traded.state.write_bytes(whole[: int(len(whole) * part)])

        with pytest.raises(StateUnusable, match="use another state file"):
            content(traded)


@pytest.mark.parametrize("seed", range(4))
async def test_a_flipped_bit_is_noticed_or_changes_nothing(
    traded: PaperSettings, seed: int
) -> None:
    assert traded.state is not None
    whole, chance = traded.state.read_bytes(), random.Random(seed)
    before, noticed = content(traded), 0

    for _ in range(40):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        traded.state.write_bytes(damaged)
        try:
            after = content(traded)
        except (StateUnusable, RowDamaged, sqlite3.DatabaseError):
            noticed += 1
        else:
            assert after == before
        with suppress(FileNotFoundError):
            traded.state.with_name("paper.db-wal").unlink()

    assert noticed


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateUnusable, match="name a file that can be written"):
        Store(tmp_path / "file" / "paper.db")
    with pytest.raises(StateUnusable, match="name a file that can be written"):
        Store(tmp_path)


def test_without_a_path_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    Store(None).close()

    assert list(tmp_path.iterdir()) == []
