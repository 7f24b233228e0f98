"""The database of record: events are appended, projected and never changed."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, delete, insert, select, text

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate
from tradewright.journal import chain, projection
from tradewright.journal.chain import Appended, ChainFault
from tradewright.journal.column import canonical_json
from tradewright.journal.database import Database, insert_new, lock, upsert
from tradewright.journal.errors import JournalConflict, JournalUnavailable, WrongVenue
from tradewright.journal.patrol import Beat, Patrolled, patrol
from tradewright.journal.query import Queries
from tradewright.journal.row import StoredPreset, fields_of
from tradewright.journal.table import PROJECTIONS, events, gates, presets
from tradewright.journal.table import venue as venues


class Journal(Queries):
    """One journal of one venue; open it with `open`, several processes at a time if need be."""

    @classmethod
    async def open(
        cls, url: str, *, venue: str, migrate: bool = True, patient: bool = False
    ) -> Self:
        """Open the journal at *url*, making or migrating its tables unless told not to.

        A *patient* journal opens although its database is away, and prepares it once it is back:
        exits must not wait for it, entries do.

        Raises:
            JournalUnavailable: The database does not answer, and it is not patient.
            WrongVenue: It is the journal of another venue.
            WrongRevision: Its tables are not of this version, and it may not migrate them.
        """
        journal = cls(Database(url))
        try:
            await journal._prepare(venue, migrate)
        except JournalUnavailable:
            if not patient:
                await journal.close()
                raise
            journal._database.postpone(lambda: journal._prepare(venue, migrate))
        except BaseException:
            await journal.close()
            raise
        return journal

    async def _prepare(self, venue: str, migrate: bool) -> None:
        if migrate:
            await self._database.migrate()
        await self._database.check_revision()
        stamped = await self._database.read(_stamped)
        stamped = stamped or await self._database.write(lambda c: _stamp(c, venue))
        if stamped != venue:
            raise WrongVenue(self._database.name, stamped, venue)

    async def close(self) -> None:
        await self._database.close()

    async def append(self, incoming: Sequence[JournalEvent]) -> int:
        """Write *incoming* and their projections in one transaction; return how many were new.

        An event that is written already is left alone.

        Raises:
            JournalUnavailable: Nothing was written; repeat.
            JournalConflict: Another event bears the same id.
            UnreadableEvent: An event's data are not what its kind promises.
        """
        if not incoming:
            return 0
        return len(await self._database.write(lambda c: _append(c, incoming)))

    async def set_gate(self, wish: Gate, *, rearm: bool, event: JournalEvent | None = None) -> Gate:
        """Let *wish* act on the account's gate and write it down; return how the gate stands.

        The same wish again, as a retry makes it, changes nothing: what others did to the gate
        since then stays.

        Args:
            wish: How the gate is to be.
            rearm: Whether a halted gate may be loosened.
            event: What is written, completed by the gate; by default one of the gate's own chain.
        """
        return await self._database.write(lambda c: _set_gate(c, wish, rearm, event))

    async def save_preset(
        self,
        *,
        name: str,
        preset_hash: str,
        document: str,
        plugin: str,
        applied_at: datetime,
        by: str,
    ) -> StoredPreset:
        """Keep the version of a preset that was applied; the last applied is the latest.

        Raises:
            JournalConflict: The hash belongs to another document.
        """
        wanted = StoredPreset(
            hash=preset_hash,
            name=name,
            document=document,
            plugin=plugin,
            applied_at=applied_at,
            by=by,
        )
        return await self._database.write(lambda c: _save_preset(c, wanted))

    async def anchor(self, at: datetime) -> str:
        """Tie all chains' heads together now; return the hash, to be kept elsewhere."""
        return await self._database.write(lambda c: chain.anchor(c, at))

    async def verify(self) -> tuple[ChainFault, ...]:
        """Return every sign that the events are not as they were written."""
        return await self._database.read(chain.faults)

    async def patrol(self, beat: Beat) -> Patrolled:
        """Return what is altered in the next part of the events; see `patrol`."""
        return await self._database.read(lambda c: patrol(c, beat))

    async def rebuild_projections(self) -> int:
        """Make all projections again from the events; return how many events there are."""
        return await self._database.write(_rebuild)


def _stamp(connection: Connection, venue: str) -> str:
    lock(connection, ("venue",))
    stamped = _stamped(connection)
    if not stamped:
        connection.execute(insert(venues), {"venue": venue})
    return stamped or venue


def _stamped(connection: Connection) -> str:
    return connection.scalar(select(venues.c.venue)) or ""


def _append(connection: Connection, incoming: Sequence[JournalEvent]) -> list[Appended]:
    appended = chain.append(connection, incoming)
    projection.project(connection, appended)
    return appended


def _set_gate(connection: Connection, wish: Gate, rearm: bool, event: JournalEvent | None) -> Gate:
    lock(connection, (f"gate/{wish.account}",))
    row = connection.execute(select(gates).where(gates.c.account == wish.account)).first()
    before = Gate.model_validate(fields_of(Gate, row)) if row else None
    written = event or _gate_event(wish, rearm)
    known = select(events.c.seq).where(events.c.event_id == written.event_id)
    if before is not None and connection.scalar(known) is not None:
        return before
    after = (before or Gate(account=wish.account, at=wish.at)).after(wish, rearm=rearm)
    upsert(connection, gates, {name: getattr(after, name) for name in Gate.model_fields})
    data = written.data | {"gate": after.model_dump(mode="json")}
    _append(connection, [written.model_copy(update={"data": data})])
    return after


def _gate_event(wish: Gate, rearm: bool) -> JournalEvent:
    data = {"wish": wish.model_dump(mode="json"), "rearm": rearm}
    digest = hashlib.sha256(canonical_json(data).encode()).hexdigest()[:16]
    return JournalEvent(
        event_id=f"gate/{wish.account}/{digest}",
        chain=f"gate/{wish.account}",
        kind=EventKind.GATE_CHANGED,
        account=wish.account,
        at=wish.at,
        data=data,
    )


def _save_preset(connection: Connection, wanted: StoredPreset) -> StoredPreset:
    fields = {name: getattr(wanted, name) for name in StoredPreset.model_fields}
    if insert_new(connection, presets, fields):
        return wanted
    row = connection.execute(select(presets).where(presets.c.hash == wanted.hash)).one()
    stored = StoredPreset.model_validate(fields_of(StoredPreset, row))
    if (stored.name, stored.document, stored.plugin) != (
        wanted.name,
        wanted.document,
        wanted.plugin,
    ):
        raise JournalConflict(f"preset {wanted.name} {wanted.hash}", "with another document")
    if wanted.applied_at <= stored.applied_at:
        return stored
    upsert(connection, presets, fields)
    return wanted


def _rebuild(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"))
    for table in PROJECTIONS:
        connection.execute(delete(table))
    done, after = 0, 0
    while True:
        page = connection.execute(
            select(events).where(events.c.seq > after).order_by(events.c.seq).limit(chain.PAGE)
        ).all()
        projection.project(
            connection,
            [
                Appended(seq=row.seq, chain_seq=row.chain_seq, event=chain.read_event(row))
                for row in page
            ],
        )
        done += len(page)
        if len(page) < chain.PAGE:
            return done
        after = page[-1].seq
