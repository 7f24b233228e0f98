"""Beside the kill worker: what was done to the gate past Temporal reaches the kill switch."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from temporalio.client import Client

from tradewright import ids
from tradewright.app.trip_record import FOLDER, Books, take_in
from tradewright.domain.gate import Gate, GateState
from tradewright.settings import Settings

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 5.0
ANSWER_WITHIN: Final = timedelta(seconds=5)


class GateBooks(Books, Protocol):
    async def gate(self, account: str) -> Gate | None: ...


async def watch_gate(
    client: Client, journal: GateBooks, settings: Settings, *, every: float = LOOK_EVERY
) -> None:
    """Take in records of trips without Temporal, and show closed rows to the kill switch, for ever.

    A kill switch that was running all the time has its own idea of the gate, and would neither
    show nor keep a halt that a person has written into the journal while Temporal was away.
    """
    shown: Gate | None = None
    kill_switch = client.get_workflow_handle(ids.kill_switch_workflow(settings.account))
    while True:
        with _going_on("direct_trips_not_taken_in"):
            now = datetime.now(UTC)
            await take_in(settings.state / FOLDER, settings.account, journal, now)
        with _going_on("gate_not_watched"):
            row = await journal.gate(settings.account)
            if row is not None and row != shown and row.state is not GateState.OPEN:
                await kill_switch.signal("adopt", row, rpc_timeout=ANSWER_WITHIN)
            shown = row
        await asyncio.sleep(every)


@contextmanager
def _going_on(event: str) -> Iterator[None]:
    """Log whatever fails inside: nobody would notice that the watch has ended."""
    try:
        yield
    except Exception as e:
        log.warning(event, error=type(e).__name__, detail=str(e))
