"""A patrol finds what was altered, part by part, and in bounded time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tradewright.domain.event import JournalEvent
from tradewright.journal import Altered, Beat, Journal
from tradewright.journal.patrol import patrol

MakeEvent = Callable[..., JournalEvent]


@pytest.fixture
async def written(journal: Journal, make_event: MakeEvent) -> Journal:
    """Two chains: a1, b1, a2, b2, … a6, b6."""
    await journal.append(
        [make_event(f"{name}{n}", chain=name) for n in range(1, 7) for name in ("a", "b")]
    )
    return journal


async def beats(journal: Journal, count: int, beat: Beat, limit: int) -> list[tuple[Altered, ...]]:
    found = []
    for _ in range(count):
        patrolled = await journal._database.read(partial(patrol, beat=beat, limit=limit))
        assert patrolled.seen <= 2 * limit + 2 * len(beat.suspects)
        beat = patrolled.beat
        found.append(patrolled.altered)
    return found


async def test_what_was_written_is_found_as_it_was(written: Journal) -> None:
    assert (await written.patrol(Beat())).altered == ()
    assert await beats(written, 6, Beat(), limit=4) == [()] * 6


@pytest.mark.parametrize(
    "change",
    ["account = 'x'", "data = '{}'", "kind = 'nonsense'", "hash = 'x'", "prev_hash = 'x'"],
)
async def test_an_altered_event_is_found_within_one_round(
    written: Journal, intruder: Any, change: str
) -> None:
    await intruder.unlock()
    await intruder.run(f"UPDATE events SET {change} WHERE event_id = 'a2'")

    found = await beats(written, 3, Beat(newest=12), limit=4)

    assert "a#2" in {altered.place for beat in found for altered in beat}
    assert {altered.chain for beat in found for altered in beat} == {"a"}


async def test_an_event_that_was_altered_and_hashed_anew_is_found_by_the_next_one(
    written: Journal, intruder: Any
) -> None:
    await intruder.unlock()
    await intruder.run("UPDATE events SET hash = 'forged' WHERE event_id = 'b3'")

    (found,) = await beats(written, 1, Beat(round_at=7), limit=4)

    assert [altered.place for altered in found] == ["b#4"]


@pytest.mark.parametrize(("event_id", "place"), [("a3", "a#3"), ("b6", "b#6")])
async def test_an_event_that_is_gone_is_found(
    written: Journal, intruder: Any, event_id: str, place: str
) -> None:
    await intruder.unlock()
    await intruder.run(f"DELETE FROM events WHERE event_id = '{event_id}'")

    found = await beats(written, 4, Beat(), limit=4)

    assert place in {altered.place for beat in found for altered in beat}


async def test_what_was_found_is_looked_at_in_every_beat(written: Journal, intruder: Any) -> None:
    await intruder.unlock()
    await intruder.run("UPDATE events SET account = 'x' WHERE event_id = 'a1'")
    await intruder.run("DELETE FROM events WHERE event_id = 'b2'")

    found = await beats(written, 8, Beat(), limit=3)

    assert {a.place for a in found[1]} >= {"a#1"}
    assert all({a.place for a in beat} == {"a#1", "b#2"} for beat in found[2:])


async def test_the_newest_events_are_looked_at_first(
    written: Journal, intruder: Any, make_event: MakeEvent
) -> None:
    first = await written.patrol(Beat())
    await written.append([make_event("a7", chain="a")])
    await intruder.unlock()
    await intruder.run("UPDATE events SET account = 'x' WHERE event_id = 'a7'")

    (found,) = await beats(written, 1, first.beat, limit=2)

    assert [altered.place for altered in found] == ["a#7"]


async def test_an_empty_journal_has_nothing_altered(journal: Journal) -> None:
    assert (await journal.patrol(Beat())).altered == ()
