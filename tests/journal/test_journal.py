"""Appending, the gate, presets, the venue: the same on SQLite and PostgreSQL."""

import asyncio
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tradewright.domain.errors import Retry
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.journal import (
    Journal,
    JournalConflict,
    JournalUnavailable,
    UnreadableEvent,
    WrongVenue,
)
from tradewright.journal.database import Database

AT = datetime(2026, 1, 1, tzinfo=UTC)
MakeEvent = Callable[..., JournalEvent]


async def test_an_event_is_written_once(journal: Journal, make_event: MakeEvent) -> None:
    first = await journal.append([make_event("a"), make_event("b")])
    again = await journal.append([make_event("b"), make_event("a"), make_event("c")])

    assert (first, again) == (2, 1)
    assert [row.event.event_id for row in await journal.events()] == ["a", "b", "c"]


async def test_an_empty_batch_writes_nothing(journal: Journal) -> None:
    assert await journal.append([]) == 0


async def test_an_event_comes_back_as_it_was(journal: Journal, make_event: MakeEvent) -> None:
    told = make_event(
        "a",
        market_at=AT - timedelta(days=900, microseconds=1),
        trade_id="tw" + "b" * 16,
        data={"price": Decimal("0.10"), "deep": [{"ü": "\ud800\x00"}, 1e-9, -0.0, None]},
    )

    await journal.append([told])

    (row,) = await journal.events()
    assert row.event.model_dump(exclude={"data"}) == told.model_dump(exclude={"data"})
    assert row.event.data == {"price": "0.10", "deep": [{"ü": "\ud800\x00"}, 1e-9, -0.0, None]}


async def test_the_same_moment_in_another_zone_is_the_same_event(
    journal: Journal, make_event: MakeEvent
) -> None:
    east = AT.astimezone(timezone(timedelta(hours=9)))

    await journal.append([make_event("a")])

    assert await journal.append([make_event("a", at=east)]) == 0


async def test_one_id_never_names_two_events(journal: Journal, make_event: MakeEvent) -> None:
    await journal.append([make_event("a")])

    with pytest.raises(JournalConflict, match="event a is in the journal already") as conflict:
        await journal.append([make_event("b"), make_event("a", data={"step": "other"})])

    assert conflict.value.retry is Retry.NEVER
    assert len(await journal.events()) == 1


async def test_one_batch_never_holds_two_events_of_one_id(
    journal: Journal, make_event: MakeEvent
) -> None:
    with pytest.raises(JournalConflict, match="twice in one batch"):
        await journal.append([make_event("a"), make_event("a", symbol="ETHUSDT")])

    assert await journal.events() == ()


async def test_the_same_id_in_another_chain_is_a_conflict(
    journal_url: str, journal: Journal, make_event: MakeEvent
) -> None:
    second = await Journal.open(journal_url, venue="paper")

    outcomes = await asyncio.gather(
        journal.append([make_event("a", chain="one")]),
        second.append([make_event("a", chain="two")]),
        return_exceptions=True,
    )

    await second.close()
    assert sorted(map(type, outcomes), key=str) == [int, JournalConflict]
    assert await journal.verify() == ()


async def test_unreadable_data_are_refused_with_the_events_id(
    journal: Journal, make_event: MakeEvent
) -> None:
    broken = make_event("a", kind=EventKind.SNAPSHOT, data={"snapshot": {"equity": "much"}})

    with pytest.raises(UnreadableEvent, match="event a is unreadable as snapshot"):
        await journal.append([make_event("b"), broken])

    assert await journal.events() == ()


async def test_events_are_paged_by_number(journal: Journal, make_event: MakeEvent) -> None:
    await journal.append([make_event(str(n), chain=f"c{n % 2}") for n in range(5)])

    first = await journal.events(limit=2)
    rest = await journal.events(after=first[-1].seq)
    of_chain = await journal.events(chain="c1", kind=EventKind.KILL_SWITCH, account="main")

    assert [row.event.event_id for row in (*first, *rest)] == ["0", "1", "2", "3", "4"]
    assert [(row.event.event_id, row.chain_seq) for row in of_chain] == [("1", 1), ("3", 2)]


async def test_writers_of_one_chain_take_turns(
    journal_url: str, journal: Journal, make_event: MakeEvent
) -> None:
    writers = [journal, *[await Journal.open(journal_url, venue="paper") for _ in range(3)]]

    await asyncio.gather(
        *(
            writer.append([make_event(f"{w}/{n}"), make_event(f"{w}/{n}/x", chain=f"c{n % 3}")])
            for n in range(8)
            for w, writer in enumerate(writers)
        )
    )

    for writer in writers[1:]:
        await writer.close()
    assert len(await journal.events(chain="kill-switch/main")) == 32
    assert await journal.verify() == ()


PROCESS = """
import asyncio, os, sys
from datetime import UTC, datetime
from tradewright.domain.event import EventKind, JournalEvent
from tradewright.journal import Journal

async def main(url, name):
    journal = await Journal.open(url, venue="paper")
    for n in range(10):
        event = JournalEvent(event_id=f"{name}/{n}", chain="shared", kind=EventKind.KILL_SWITCH,
                             account="main", at=datetime(2026, 1, 1, tzinfo=UTC))
        await journal.append([event])
    await journal.close()

asyncio.run(main(*sys.argv[1:]))
os._exit(0)
"""


async def test_processes_start_and_write_at_once(empty_url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(PROCESS),
            empty_url,
            str(n),
            cwd=Path(__file__).parents[2],
            stderr=asyncio.subprocess.PIPE,
        )
        for n in range(3)
    ]

    errors = [(await process.communicate())[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], errors
    journal = await Journal.open(empty_url, venue="paper")
    rows = await journal.events(chain="shared")
    assert await journal.verify() == ()
    await journal.close()
    assert [row.chain_seq for row in rows] == list(range(1, 31))


async def test_writers_that_wait_for_each_other_both_get_through(postgresql: str) -> None:
    database, host = Database(postgresql), Database(postgresql)
    statement = "SELECT pg_advisory_xact_lock{}({})"
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    tries: list[int] = []

    def writer(first: int, second: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            tries.append(first)
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '10ms'")
            connection.exec_driver_sql(statement.format("", first))
            connection.exec_driver_sql(statement.format("_shared", 3))
            connection.exec_driver_sql(statement.format("", second))

        return work

    def hold_until_both_wait(connection: Connection) -> None:
        connection.exec_driver_sql(statement.format("", 3))
        started.set()
        while connection.exec_driver_sql(waiting).scalar_one() < 2:
            pass

    started = asyncio.Event()
    holder = asyncio.create_task(host.write(hold_until_both_wait))
    await started.wait()
    await asyncio.gather(database.write(writer(1, 2)), database.write(writer(2, 1)), holder)

    await database.close()
    await host.close()
    assert sorted(tries) in ([1, 1, 2], [1, 2, 2])


async def test_writers_that_come_at_once_share_commits_and_fail_alone(
    journal: Journal, make_event: MakeEvent
) -> None:
    whole = [make_event(f"e{n}") for n in range(30)]
    spoilt = make_event("e0").model_copy(update={"symbol": "ETHUSDT"})
    await journal.append(whole[:1])

    written = await asyncio.gather(
        *(journal.append([event]) for event in whole[1:15]),
        journal.append([spoilt]),
        *(journal.append([event]) for event in whole[15:]),
        return_exceptions=True,
    )

    assert [type(answer) for answer in written] == [int] * 14 + [JournalConflict] + [int] * 15
    assert {row.event.event_id for row in await journal.events()} == {f"e{n}" for n in range(30)}
    assert await journal.verify() == ()


async def test_a_cancelled_write_leaves_the_journal_usable(
    journal: Journal, make_event: MakeEvent
) -> None:
    for n in range(12):
        write = asyncio.create_task(journal.append([make_event(str(n))]))
        for _ in range(n):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)

    await journal.append([make_event("last")])

    written = [row.event.event_id for row in await journal.events()]
    assert written[-1] == "last"
    assert await journal.verify() == ()


async def test_a_journal_away_is_unavailable_and_may_be_asked_again(
    tmp_path: Path, free_port: int
) -> None:
    with pytest.raises(JournalUnavailable, match="nothing was written") as away:
        await Journal.open(f"postgresql://ann:secret@127.0.0.1:{free_port}/j", venue="paper")

    assert away.value.retry is Retry.SAFE
    assert "secret" not in str(away.value)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("not a database, but long enough to be read as one" * 20)

    with pytest.raises(JournalUnavailable, match="file is not a database"):
        await Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", venue="paper")


async def test_a_full_disk_is_unavailable_and_leaves_nothing(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    journal = await Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", venue="paper")
    await journal._database.read(lambda c: c.exec_driver_sql("PRAGMA max_page_count=60"))

    with pytest.raises(JournalUnavailable, match="full"):
        await journal.append([make_event(str(n), data={"x": "y" * 4000}) for n in range(100)])

    assert await journal.events() == ()
    await journal.close()


async def test_venues_never_mix(journal_url: str, journal: Journal) -> None:
    with pytest.raises(WrongVenue, match="belongs to venue paper: it was opened for live") as wrong:
        await Journal.open(journal_url, venue="live")

    assert wrong.value.retry is Retry.NEVER


# --- the gate -----------------------------------------------------------------------------------


def gate(state: str, *, minute: int = 0, trip: int = 0, account: str = "main") -> Gate:
    at = AT + timedelta(minutes=minute)
    return Gate(account=account, state=GateState(state), reason="r", by="ann", at=at, trip=trip)


async def test_the_gate_of_an_unknown_account_is_not_made_up(journal: Journal) -> None:
    assert await journal.gate("main") is None


async def test_the_gate_stands_as_it_was_set(journal: Journal) -> None:
    await journal.set_gate(gate("halted", trip=3), rearm=False)
    await journal.set_gate(gate("exits_only", account="other"), rearm=False)

    assert await journal.gate("main") == gate("halted", trip=3)
    assert await journal.gate("other") == gate("exits_only", account="other")


async def test_only_a_rearm_loosens_a_halted_gate(journal: Journal) -> None:
    await journal.set_gate(gate("halted", trip=1), rearm=False)

    refused = await journal.set_gate(gate("open", minute=1), rearm=False)
    rearmed = await journal.set_gate(gate("open", minute=2), rearm=True)

    assert (refused.state, rearmed.state) == (GateState.HALTED, GateState.OPEN)
    assert rearmed.trip == 1


async def test_every_wish_to_the_gate_is_written_even_a_refused_one(journal: Journal) -> None:
    await journal.set_gate(gate("halted"), rearm=False)
    await journal.set_gate(gate("open", minute=1), rearm=False)

    rows = await journal.events(kind=EventKind.GATE_CHANGED)

    assert [row.event.data["gate"]["state"] for row in rows] == ["halted", "halted"]
    assert [row.event.data["wish"]["state"] for row in rows] == ["halted", "open"]


async def test_a_rearm_repeated_after_a_new_trip_does_not_undo_it(journal: Journal) -> None:
    await journal.set_gate(gate("halted", trip=1), rearm=False)
    rearm = gate("open", minute=1)
    await journal.set_gate(rearm, rearm=True)
    await journal.set_gate(gate("halted", minute=2, trip=2), rearm=False)

    repeated = await journal.set_gate(rearm, rearm=True)

    assert repeated == await journal.gate("main") == gate("halted", minute=2, trip=2)


async def test_the_gate_and_its_event_are_written_together(
    journal: Journal, make_event: MakeEvent
) -> None:
    event = make_event("trip-1", kind=EventKind.GATE_CHANGED, data={"by": "limit"})
    taken = make_event("taken")
    await journal.append([taken])

    await journal.set_gate(gate("halted"), rearm=False, event=event)
    with pytest.raises(JournalConflict):
        await journal.set_gate(
            gate("exits_only", account="other"),
            rearm=False,
            event=make_event("trip-1", account="x"),
        )

    (row,) = await journal.events(kind=EventKind.GATE_CHANGED)
    assert row.event.data == {"by": "limit", "gate": gate("halted").model_dump(mode="json")}
    assert await journal.gate("other") is None


async def test_gates_tightened_at_once_end_at_the_tightest(
    journal_url: str, journal: Journal
) -> None:
    second = await Journal.open(journal_url, venue="paper")

    await asyncio.gather(
        journal.set_gate(gate("exits_only"), rearm=False),
        second.set_gate(gate("halted", trip=1), rearm=False),
        journal.set_gate(gate("exits_only", minute=1), rearm=False),
    )

    await second.close()
    found = await journal.gate("main")
    assert found is not None
    assert (found.state, found.trip) == (GateState.HALTED, 1)


# --- presets ------------------------------------------------------------------------------------


async def save(journal: Journal, name: str, version: str, minute: int) -> Any:
    return await journal.save_preset(
        name=name,
        preset_hash=f"{name}-{version}",
        document=f"name: {name} # {version}",
        plugin="rules",
        applied_at=AT + timedelta(minutes=minute),
        by="ann",
    )


async def test_every_version_of_a_preset_is_kept(journal: Journal) -> None:
    first = await save(journal, "ema", "1", 0)
    await save(journal, "ema", "2", 1)

    assert await journal.preset("ema-1") == first
    assert await journal.preset("ema-3") is None


async def test_the_latest_version_is_the_one_applied_last(journal: Journal) -> None:
    await save(journal, "ema", "1", 0)
    await save(journal, "ema", "2", 1)
    await save(journal, "breakout", "1", 2)
    await save(journal, "ema", "1", 3)
    await save(journal, "ema", "2", 1)

    latest = await journal.latest_presets()

    assert [preset.hash for preset in latest] == ["breakout-1", "ema-1"]


async def test_a_hash_never_names_two_documents(journal: Journal) -> None:
    await save(journal, "ema", "1", 0)

    with pytest.raises(JournalConflict, match="with another document"):
        await journal.save_preset(
            name="ema", preset_hash="ema-1", document="", plugin="rules", applied_at=AT, by="ann"
        )


async def test_a_patient_journal_opens_before_its_database_is_there(tmp_path: Path) -> None:
    file, url = tmp_path / "journal.db", f"sqlite:///{tmp_path / 'journal.db'}"
    # Something is in the way, as when a disk is not mounted
    file.mkdir()
    patient = await Journal.open(url, venue="paper", patient=True)
    with pytest.raises(JournalUnavailable):
        await patient.gate("main")
    file.rmdir()

    assert await patient.gate("main") is None
    await patient.close()
