"""Hash-linked chains of events, and the anchors that tie their heads together."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, Row, RowMapping, insert, select, tuple_, update

from tradewright.domain.event import JournalEvent
from tradewright.domain.market import Value
from tradewright.journal.column import canonical_json, instant
from tradewright.journal.database import lock, upsert
from tradewright.journal.errors import JournalConflict
from tradewright.journal.table import anchors, events, heads

ANCHOR_EVERY: Final = 500
PAGE: Final = 1000


class ChainFault(Value):
    """Where the journal is not as it was written."""

    chain: str
    chain_seq: int
    event_id: str = ""
    detail: str


class Appended(Value):
    """An event with the place that it got."""

    seq: int
    chain_seq: int
    event: JournalEvent


def settled(event: JournalEvent) -> JournalEvent:
    """Return *event* with its data as they will be read again: plain JSON without NaN."""
    data = to_jsonable_python(event.data, inf_nan_mode="null")
    return event.model_copy(update={"data": data})


def link(prev_hash: str, event: JournalEvent) -> str:
    """Return the hash that ties *event* to the one before it in its chain."""
    fields = event.model_dump(mode="json") | {
        "at": instant(event.at),
        "market_at": instant(event.market_at) if event.market_at else None,
    }
    return hashlib.sha256((prev_hash + canonical_json(fields)).encode()).hexdigest()


def read_event(row: Row[Any] | RowMapping) -> JournalEvent:
    fields = row if isinstance(row, Mapping) else row._mapping
    return JournalEvent.model_validate({name: fields[name] for name in JournalEvent.model_fields})


def known(connection: Connection, incoming: Iterable[JournalEvent]) -> set[str]:
    """Return the ids of *incoming* events that are written already.

    Raises:
        JournalConflict: One is written with other content.
    """
    by_id = {event.event_id: event for event in incoming}
    found = connection.execute(
        select(events.c.event_id, events.c.prev_hash, events.c.hash).where(
            events.c.event_id.in_(by_id)
        )
    )
    ids = set()
    for event_id, prev_hash, written in found:
        if link(prev_hash, by_id[event_id]) != written:
            raise JournalConflict(f"event {event_id}", "with other content")
        ids.add(event_id)
    return ids


def append(connection: Connection, incoming: Iterable[JournalEvent]) -> list[Appended]:
    """Write those of *incoming* that are not written yet, each to the end of its chain."""
    wanted: dict[str, JournalEvent] = {}
    for event in map(settled, incoming):
        if wanted.setdefault(event.event_id, event) != event:
            raise JournalConflict(f"event {event.event_id}", "twice in one batch, differently")
    lock(connection, (f"chain/{event.chain}" for event in wanted.values()))
    ids = known(connection, wanted.values())
    fresh = [event for event in wanted.values() if event.event_id not in ids]
    if not fresh:
        return []
    ends: dict[str, tuple[int, str]] = {
        row.chain: (row.chain_seq, row.hash)
        for row in connection.execute(
            select(heads).where(heads.c.chain.in_({event.chain for event in fresh}))
        )
    }
    rows = []
    for event in fresh:
        chain_seq, prev_hash = ends.get(event.chain, (0, ""))
        ends[event.chain] = chain_seq + 1, link(prev_hash, event)
        fields = {name: getattr(event, name) for name in JournalEvent.model_fields}
        place = {"chain_seq": chain_seq + 1, "prev_hash": prev_hash, "hash": ends[event.chain][1]}
        rows.append(fields | place)
    numbers = connection.scalars(
        insert(events).returning(events.c.seq, sort_by_parameter_order=True), rows
    ).all()
    appended = [
        Appended(seq=seq, chain_seq=row["chain_seq"], event=event)
        for seq, row, event in zip(numbers, rows, fresh, strict=True)
    ]
    for chain, (chain_seq, written) in sorted(ends.items()):
        upsert(
            connection,
            heads,
            {"chain": chain, "chain_seq": chain_seq, "hash": written, "anchored": False},
        )
    if appended[-1].seq // ANCHOR_EVERY > (appended[0].seq - 1) // ANCHOR_EVERY:
        anchor(connection, appended[-1].event.at)
    return appended


def anchor(connection: Connection, at: datetime) -> str:
    """Tie the heads that moved since the last anchor into the next one; return its hash.

    Whoever keeps the hash elsewhere can prove later that nothing before it was changed.
    """
    lock(connection, ("anchors",))
    last = connection.execute(
        select(anchors.c.number, anchors.c.hash).order_by(anchors.c.number.desc()).limit(1)
    ).first()
    number, prev_hash = (last.number, last.hash) if last else (0, "")
    # A head that another transaction is moving right now belongs to the next anchor
    moved = {
        row.chain: [row.chain_seq, row.hash]
        for row in connection.execute(
            select(heads).where(~heads.c.anchored).with_for_update(skip_locked=True)
        )
    }
    if not moved:
        return prev_hash
    connection.execute(update(heads).where(heads.c.chain.in_(moved)).values(anchored=True))
    fields = {
        "number": number + 1,
        "at": at,
        "heads": moved,
        "prev_hash": prev_hash,
        "hash": _anchor_hash(prev_hash, number + 1, at, moved),
    }
    connection.execute(insert(anchors), fields)
    return str(fields["hash"])


def _anchor_hash(prev_hash: str, number: int, at: datetime, moved: Mapping[str, Any]) -> str:
    content = canonical_json({"number": number, "at": instant(at), "heads": moved})
    return hashlib.sha256((prev_hash + content).encode()).hexdigest()


def faults(connection: Connection) -> tuple[ChainFault, ...]:
    """Return every sign that events or anchors were altered, removed or put elsewhere."""
    ends = {row.chain: (row.chain_seq, row.hash) for row in connection.execute(select(heads))}
    anchored = _anchored(connection)
    found = list(anchored.faults)
    chain, expected, prev_hash, prev_seq = "", 1, "", 0
    seen: dict[str, tuple[int, str]] = {}

    def fault(detail: str, event_id: str = "") -> None:
        found.append(ChainFault(chain=chain, chain_seq=expected, event_id=event_id, detail=detail))

    for row in _in_chain_order(connection):
        if row.chain != chain:
            chain, expected, prev_hash, prev_seq = row.chain, 1, "", 0
        while expected < row.chain_seq:
            fault("the event is gone")
            expected += 1
            prev_hash = row.prev_hash
        event_id = row.event_id
        if row.prev_hash != prev_hash:
            fault("it is not linked to the event before it", event_id)
        if link(row.prev_hash, read_event(row)) != row.hash:
            fault("its content is not what was written", event_id)
        if row.seq <= prev_seq:
            fault("it was written before the event that it follows", event_id)
        if anchored.heads.get((chain, expected), row.hash) != row.hash:
            fault("its hash is not the one that was anchored", event_id)
        seen[chain] = expected, row.hash
        expected, prev_hash, prev_seq = expected + 1, row.hash, row.seq
    for (name, chain_seq), _ in anchored.heads.items():
        if seen.get(name, (0, ""))[0] < chain_seq:
            found.append(
                ChainFault(chain=name, chain_seq=chain_seq, detail="the anchored event is gone")
            )
    for name, end in ends.items():
        if seen.get(name) != end:
            found.append(
                ChainFault(chain=name, chain_seq=end[0], detail="the chain ends elsewhere")
            )
    for name in seen.keys() - ends.keys():
        found.append(ChainFault(chain=name, chain_seq=0, detail="the chain has no head"))
    return tuple(found)


class _Anchored(Value):
    heads: dict[tuple[str, int], str]
    faults: tuple[ChainFault, ...]


def _anchored(connection: Connection) -> _Anchored:
    found: list[ChainFault] = []
    tied: dict[tuple[str, int], str] = {}
    number, prev_hash = 0, ""
    for row in connection.execute(select(anchors).order_by(anchors.c.number)):
        number += 1
        expected = _anchor_hash(prev_hash, number, row.at, row.heads)
        if (row.number, row.prev_hash, row.hash) != (number, prev_hash, expected):
            found.append(
                ChainFault(chain="anchors", chain_seq=number, detail="the anchor is not as written")
            )
        number, prev_hash = row.number, row.hash
        tied |= {(name, head[0]): head[1] for name, head in row.heads.items()}
    return _Anchored(heads=tied, faults=tuple(found))


def _in_chain_order(connection: Connection) -> Iterator[Row[Any]]:
    after: tuple[str, int] = ("", 0)
    while True:
        page = connection.execute(
            select(events)
            .where(tuple_(events.c.chain, events.c.chain_seq) > after)
            .order_by(events.c.chain, events.c.chain_seq)
            .limit(PAGE)
        ).all()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].chain, page[-1].chain_seq
