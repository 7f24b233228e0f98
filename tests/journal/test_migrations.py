"""The tables come from the migrations, and from nothing else."""

import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import tradewright.journal
from tradewright.journal import Journal, WrongRevision
from tradewright.journal.database import REVISION, Database
from tradewright.journal.table import metadata


async def test_the_migrations_make_the_tables_that_the_queries_expect(empty_url: str) -> None:
    journal = await Journal.open(empty_url, venue="paper")

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return list(compare_metadata(context, metadata))

    found = await journal._database.read(differences)

    await journal.close()
    assert found == []


def test_the_last_migration_is_the_one_that_is_asked_for() -> None:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(tradewright.journal.__file__).parent / "migrations")
    )
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


async def test_a_journal_that_may_not_be_migrated_is_refused(empty_url: str) -> None:
    with pytest.raises(WrongRevision, match=f"has revision none: this version needs {REVISION}"):
        await Journal.open(empty_url, venue="paper", migrate=False)


async def test_a_migrated_journal_opens_without_migrating(empty_url: str) -> None:
    await (await Journal.open(empty_url, venue="paper")).close()

    journal = await Journal.open(empty_url, venue="paper", migrate=False)

    assert await journal.events() == ()
    await journal.close()


@pytest.mark.parametrize("migrate", [True, False])
async def test_a_journal_of_a_newer_version_is_refused(empty_url: str, migrate: bool) -> None:
    await (await Journal.open(empty_url, venue="paper")).close()
    database = Database(empty_url)
    await database.write(
        lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    await database.close()

    with pytest.raises(WrongRevision, match="has revision 9999"):
        await Journal.open(empty_url, venue="paper", migrate=migrate)


async def test_a_new_sqlite_journal_is_there_at_once(tmp_path: Path) -> None:
    await (await Journal.open(f"sqlite:///{tmp_path / 'warm.db'}", venue="paper")).close()

    began = time.process_time()
    journal = await Journal.open(f"sqlite:///{tmp_path / 'state' / 'journal.db'}", venue="paper")

    took = time.process_time() - began
    await journal.close()
    assert took < 0.15


async def test_a_sqlite_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    journal = await Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", venue="paper")

    mode = await journal._database.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar())
    patience = await journal._database.read(
        lambda c: c.exec_driver_sql("PRAGMA busy_timeout").scalar()
    )

    await journal.close()
    assert (mode, patience) == ("wal", 5000)


async def test_what_the_first_version_wrote_is_understood(empty_url: str) -> None:
    database = Database(empty_url)

    def first_version(connection: Connection) -> None:
        config = Config()
        folder = Path(tradewright.journal.__file__).parent / "migrations"
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO snapshots (seq, account, at, market_at, equity, wallet) VALUES "
            "(1, 'main', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '1', '1')"
        )
        connection.exec_driver_sql(
            "INSERT INTO positions (snapshot_seq, symbol, side, qty, entry_price, mark_price, "
            "stop_loss, unrealised_pnl, leverage) VALUES "
            "(1, 'BTCUSDT', 'Buy', '1', '1', '1', '0.5', '0', '1'), "
            "(1, 'ETHUSDT', 'Buy', '1', '1', '1', NULL, '0', '1')"
        )

    await database.write(first_version)
    await database.close()

    journal = await Journal.open(empty_url, venue="paper")

    states = await journal._database.read(
        lambda c: c.exec_driver_sql("SELECT symbol, state FROM positions ORDER BY symbol").all()
    )
    (shown,) = await journal.snapshots("main")
    await journal.close()
    assert [tuple(row) for row in states] == [("BTCUSDT", "protected"), ("ETHUSDT", "naked")]
    assert [position.symbol for position in shown.positions] == ["BTCUSDT", "ETHUSDT"]
