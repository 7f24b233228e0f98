"""A look at a part of the chains, again and again: what is altered is found in bounded time.

`chain.faults` reads every event there is. A patrol reads the latest, the next few of a round
through all of them, and those that were suspected before.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, select

from tradewright.domain.market import Value
from tradewright.journal.chain import link, read_event
from tradewright.journal.table import events, heads

BEAT: Final = 300
"""Events of each of the two walks: some ten milliseconds."""


class Altered(Value):
    """An event that is not as it was written; known again by where it stands."""

    chain: str
    chain_seq: int
    symbol: str = ""
    trade_id: str = ""
    detail: str

    @property
    def place(self) -> str:
        return f"{self.chain}#{self.chain_seq}"


class Beat(Value):
    """Where a patrol goes on: the last event it has seen as the newest, and of its round."""

    newest: int = 0
    round_at: int = 0
    suspects: tuple[str, ...] = ()
    """Places that are looked at in every beat."""


class Patrolled(Value):
    beat: Beat
    altered: tuple[Altered, ...] = ()
    seen: int = 0


def patrol(connection: Connection, beat: Beat, limit: int = BEAT) -> Patrolled:
    """Return what is altered among the newest events, the next of the round, and the suspects."""
    last = connection.scalar(select(func.max(events.c.seq))) or 0
    since = max(beat.newest, last - limit)
    newest = _rows(connection, events.c.seq > since, limit)
    rounds = _rows(connection, events.c.seq > beat.round_at, limit)
    # A round that has come to the end begins again
    round_at = rounds[-1]["seq"] if len(rounds) == limit else 0
    suspects = [
        row
        for chain, chain_seq in map(_parsed, beat.suspects)
        for row in _rows(
            connection,
            and_(events.c.chain == chain, events.c.chain_seq.in_((chain_seq, chain_seq + 1))),
            2,
        )
    ]
    found: dict[str, Altered] = {}
    for row in (*newest, *rounds, *suspects):
        for altered in _faults(row):
            found.setdefault(altered.place, altered)
    for altered in (*_ends(connection, newest), *_ends(connection, rounds)):
        found.setdefault(altered.place, altered)
    for altered in _still_gone(connection, beat.suspects):
        found.setdefault(altered.place, altered)
    return Patrolled(
        beat=Beat(
            newest=newest[-1]["seq"] if newest else since,
            round_at=round_at,
            suspects=tuple(sorted(found)),
        ),
        altered=tuple(found[place] for place in sorted(found)),
        seen=len(newest) + len(rounds) + len(suspects),
    )


def _rows(connection: Connection, where: ColumnElement[bool], limit: int) -> Sequence[RowMapping]:
    """Return events with the hash of the one that each follows in its chain."""
    before = events.alias("before")
    follows = and_(before.c.chain == events.c.chain, before.c.chain_seq == events.c.chain_seq - 1)
    query = (
        select(events, before.c.hash.label("hash_before"))
        .select_from(events.outerjoin(before, follows))
        .where(where)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


def _faults(row: RowMapping) -> Iterator[Altered]:
    first = row["chain_seq"] == 1
    try:
        written = link(row["prev_hash"], read_event(row))
    except ValidationError:
        written = ""
    if written != row["hash"]:
        yield _altered(row, "its content is not what was written")
    elif row["hash_before"] is None and not first:
        yield Altered(
            chain=row["chain"],
            chain_seq=row["chain_seq"] - 1,
            symbol=row["symbol"],
            trade_id=row["trade_id"],
            detail="the event is gone",
        )
    elif row["prev_hash"] != (row["hash_before"] or ""):
        yield _altered(row, "it is not linked to the event before it")


def _altered(row: RowMapping, detail: str) -> Altered:
    return Altered(
        chain=row["chain"],
        chain_seq=row["chain_seq"],
        symbol=row["symbol"],
        trade_id=row["trade_id"],
        detail=detail,
    )


def _ends(connection: Connection, rows: Sequence[RowMapping]) -> Iterator[Altered]:
    """Yield the ends of the chains of *rows* that are not where their heads say."""
    yield from _ends_of(connection, sorted({row["chain"] for row in rows}))


def _still_gone(connection: Connection, suspects: Iterable[str]) -> Iterator[Altered]:
    yield from _ends_of(connection, sorted({_parsed(place)[0] for place in suspects}))


def _ends_of(connection: Connection, chains: Sequence[str]) -> Iterator[Altered]:
    at_end = and_(events.c.chain == heads.c.chain, events.c.chain_seq == heads.c.chain_seq)
    query = (
        select(heads.c.chain, heads.c.chain_seq, heads.c.hash, events.c.hash.label("written"))
        .select_from(heads.outerjoin(events, at_end))
        .where(heads.c.chain.in_(chains))
    )
    for row in connection.execute(query):
        if row.written != row.hash:
            yield Altered(
                chain=row.chain, chain_seq=row.chain_seq, detail="the chain ends elsewhere"
            )


def _parsed(place: str) -> tuple[str, Any]:
    chain, _, chain_seq = place.rpartition("#")
    return chain, int(chain_seq)
