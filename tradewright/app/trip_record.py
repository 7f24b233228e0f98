"""What a kill without Temporal leaves behind: one file a trip, until the journal has it.

A line is an event of the journal, made durable before what it tells is done. Its id is derived
from the trip and its count, so that it may be written from here and from a worker: once.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Protocol

import structlog
from pydantic import ValidationError

from tradewright.domain.event import EventKind, JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.record import read_back

log = structlog.get_logger(__name__)

FOLDER: Final = "direct-trips"
RUNNING, DONE = ".jsonl", ".done"
FLAT: Final = "flat"


class Books(Protocol):
    """The part of the journal that takes a record in."""

    async def append(self, incoming: Sequence[JournalEvent]) -> int: ...
    async def set_gate(self, wish: Gate, *, rearm: bool) -> Gate: ...


class TripRecord:
    """The record of the trip that runs in this process; nobody takes it in meanwhile."""

    def __init__(self, path: Path, wish: Gate) -> None:
        self.path = path
        self.events: list[JournalEvent] = []
        self.fault = ""
        """Why there is none: a full disk must not keep anybody from getting flat."""
        self._wish = wish
        self._file: IO[str] | None = None

    def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as e:
            self.fault = f"{self.path} cannot be written: {e.strerror}"

    def note(self, step: str, detail: str, at: datetime, gate: Gate | None = None) -> None:
        """Add a step; it is on the disk when this returns."""
        count = len(self.events) + 1
        event = _event(self._wish.account, self._wish.at, count, step, detail, at, gate)
        self.events.append(event)
        if self._file is None:
            return
        try:
            self._file.write(event.model_dump_json() + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            self.fault = f"{self.path} cannot be written: {e.strerror}"

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


@contextmanager
def recorded(folder: Path, wish: Gate) -> Iterator[TripRecord]:
    """Open the record of the trip that *wish* begins; it stays when the process is killed."""
    name = f"{wish.account}-{wish.at:%Y%m%dT%H%M%S.%f}{RUNNING}"
    record = TripRecord(folder / name, wish)
    record.open()
    record.note("asked", f"{wish.state} by {wish.by}: {wish.reason}", wish.at, wish)
    try:
        yield record
    finally:
        record.close()


async def take_in(folder: Path, account: str, books: Books, now: datetime) -> int:
    """Write every record that nobody works on any more into the journal; return how many.

    The gate is closed as each of them meant it, unless it has obeyed that very wish before.
    """
    taken = 0
    for path in _waiting(folder, account):
        try:
            # A line that was torn within a character is read as one that is torn
            with path.open(encoding="utf-8", errors="replace") as file:
                if await _take_one_in(path, file, account, books, now):
                    path.rename(path.with_suffix(DONE))
                    taken += 1
        except (OSError, ValidationError) as e:
            # It must not keep the others out
            log.warning("direct_trip_not_taken_in", record=path.name, detail=str(e))
    return taken


async def _take_one_in(
    path: Path, file: IO[str], account: str, books: Books, now: datetime
) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    events = _read(path, file)
    if not events or events[0].account != account or "gate" not in events[0].data:
        return False
    wish = read_back(Gate, events[0].data["gate"])
    if events[-1].data.get("step") != FLAT:
        detail = "the command ended before flat was read twice"
        count = len(events) + 1
        events.append(_event(account, wish.at, count, "cut_short", detail, now))
    await books.set_gate(wish, rearm=False)
    await books.append(events)
    log.info("direct_trip_taken_in", record=path.name, events=len(events))
    return True


def _waiting(folder: Path, account: str) -> list[Path]:
    return sorted(folder.glob(f"{account}-*{RUNNING}"))


def _read(path: Path, file: IO[str]) -> list[JournalEvent]:
    events = []
    for line in file:
        try:
            events.append(JournalEvent.model_validate_json(line, extra="ignore"))
        except ValidationError:
            # The last line, of a process that was killed while it wrote
            log.warning("direct_trip_line_torn", record=path.name)
    return events


def _event(
    account: str,
    began: datetime,
    count: int,
    step: str,
    detail: str,
    at: datetime,
    gate: Gate | None = None,
) -> JournalEvent:
    chain = f"kill-direct/{account}"
    data: dict[str, object] = {"step": step, "detail": detail}
    if gate is not None:
        data["gate"] = gate.model_dump(mode="json")
    return JournalEvent(
        event_id=f"{chain}/{began:%Y%m%dT%H%M%S.%f}/{count}",
        chain=chain,
        kind=EventKind.KILL_SWITCH,
        account=account,
        at=at,
        data=data,
    )


def wish_to_halt(account: str, reason: str, by: str, at: datetime) -> Gate:
    return Gate(account=account, state=GateState.HALTED, reason=reason, by=by, at=at)
