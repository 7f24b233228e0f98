"""What was written cannot be changed without a trace."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tradewright.domain.event import JournalEvent
from tradewright.journal import Journal, chain
from tradewright.journal.errors import JournalConflict, JournalUnavailable

AT = datetime(2026, 1, 1, tzinfo=UTC)
MakeEvent = Callable[..., JournalEvent]


@pytest.fixture
async def written(journal: Journal, make_event: MakeEvent) -> Journal:
    """Two chains: a1, b1, a2, b2, … a4, b4."""
    await journal.append(
        [make_event(f"{name}{n}", chain=name) for n in range(1, 5) for name in ("a", "b")]
    )
    return journal


@pytest.mark.parametrize("table", ["events", "anchors"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = at", "DELETE FROM {}"])
async def test_the_database_refuses_to_change_what_was_written(
    written: Journal, intruder: Any, table: str, statement: str
) -> None:
    await written.anchor(AT)

    with pytest.raises((JournalConflict, JournalUnavailable), match=f"{table} are append-only"):
        await intruder.run(statement.format(table))


async def test_what_was_written_verifies(written: Journal) -> None:
    await written.anchor(AT)

    assert await written.verify() == ()


@pytest.mark.parametrize(
    "change",
    [
        "account = 'other'",
        "kind = 'snapshot'",
        "trade_id = 'tw'",
        "symbol = 'X'",
        "preset = 'p'",
        "data = '{}'",
        "event_id = 'z'",
        "market_at = at",
        "prev_hash = 'x'",
        "hash = 'x'",
    ],
)
async def test_an_altered_event_is_found(written: Journal, intruder: Any, change: str) -> None:
    await intruder.unlock()

    await intruder.run(f"UPDATE events SET {change} WHERE event_id = 'a2'")

    faults = await written.verify()
    assert ("a", 2) in {(fault.chain, fault.chain_seq) for fault in faults}
    assert {fault.chain for fault in faults} == {"a"}


@pytest.mark.parametrize("event_id", ["a1", "a2", "a4"])
async def test_a_deleted_event_is_found(written: Journal, intruder: Any, event_id: str) -> None:
    await intruder.unlock()

    await intruder.run(f"DELETE FROM events WHERE event_id = '{event_id}'")

    faults = await written.verify()
    assert {fault.chain for fault in faults} == {"a"}
    assert any("gone" in fault.detail or "ends elsewhere" in fault.detail for fault in faults)


async def test_a_deleted_chain_is_found(written: Journal, intruder: Any) -> None:
    await intruder.unlock()

    await intruder.run("DELETE FROM events WHERE chain = 'b'")

    assert {fault.chain for fault in await written.verify()} == {"b"}


async def test_events_put_in_another_order_are_found(written: Journal, intruder: Any) -> None:
    await intruder.unlock()

    await intruder.run(
        "UPDATE events SET seq = 1000 WHERE event_id = 'a2'",
        "UPDATE events SET seq = 3 WHERE event_id = 'a3'",
        "UPDATE events SET seq = 5 WHERE event_id = 'a2'",
    )

    details = {fault.event_id: fault.detail for fault in await written.verify()}
    assert details == {"a3": "it was written before the event that it follows"}


async def test_an_event_slipped_in_is_found(written: Journal, intruder: Any) -> None:
    await intruder.run(
        "INSERT INTO events (event_id, chain, chain_seq, kind, account, at, trade_id, symbol, "
        "preset, data, prev_hash, hash) SELECT 'z', 'c', 1, kind, account, at, trade_id, symbol, "
        "preset, data, '', hash FROM events WHERE event_id = 'a1'"
    )

    details = {fault.detail for fault in await written.verify()}
    assert details == {"its content is not what was written", "the chain has no head"}


async def test_a_chain_forged_from_its_beginning_is_betrayed_by_the_anchor(
    written: Journal, intruder: Any, make_event: MakeEvent
) -> None:
    await written.anchor(AT)
    await intruder.unlock()
    await intruder.run(
        "DELETE FROM events WHERE chain = 'a'", "DELETE FROM heads WHERE chain = 'a'"
    )
    await written.append(
        [make_event(f"a{n}", chain="a", data={"step": "forged"}) for n in range(1, 5)]
    )

    details = {fault.detail for fault in await written.verify()}

    assert details == {"its hash is not the one that was anchored"}


async def test_an_anchored_event_that_is_gone_is_found(written: Journal, intruder: Any) -> None:
    await written.anchor(AT)
    await intruder.unlock()

    await intruder.run(
        "DELETE FROM events WHERE chain = 'a'", "DELETE FROM heads WHERE chain = 'a'"
    )

    details = {(fault.chain, fault.detail) for fault in await written.verify()}
    assert details == {("a", "the anchored event is gone")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE anchors SET heads = '{}' WHERE number = 2",
        "UPDATE anchors SET at = '2026-01-02T00:00:00.000000+00:00' WHERE number = 1",
        "UPDATE anchors SET hash = 'x' WHERE number = 2",
        "DELETE FROM anchors WHERE number = 1",
    ],
)
async def test_a_changed_anchor_is_found(
    written: Journal, intruder: Any, make_event: MakeEvent, statement: str
) -> None:
    await written.anchor(AT)
    await written.append([make_event("a5", chain="a")])
    await written.anchor(AT)
    await intruder.unlock()

    await intruder.run(statement)

    assert any(fault.chain == "anchors" for fault in await written.verify())


async def test_anchors_are_linked_and_hold_only_what_moved(
    written: Journal, make_event: MakeEvent
) -> None:
    first = await written.anchor(AT)
    idle = await written.anchor(AT)
    await written.append([make_event("a5", chain="a")])
    second = await written.anchor(AT)

    assert first == idle
    assert second != first
    assert await written.verify() == ()


async def test_heads_are_anchored_as_the_journal_grows(
    journal: Journal, intruder: Any, make_event: MakeEvent
) -> None:
    batch = [make_event(str(n), chain=f"c{n % 7}") for n in range(chain.ANCHOR_EVERY + 1)]
    await journal.append(batch)
    await intruder.unlock()

    await intruder.run(
        "DELETE FROM events WHERE chain = 'c3'", "DELETE FROM heads WHERE chain = 'c3'"
    )

    assert {fault.detail for fault in await journal.verify()} == {"the anchored event is gone"}


async def test_long_journals_are_verified_page_by_page(
    journal: Journal, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "PAGE", 3)
    await journal.append([make_event(str(n), chain=f"c{n % 4}") for n in range(17)])

    assert await journal.verify() == ()
