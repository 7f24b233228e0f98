"""Beside the kill worker: what was done to the gate past Temporal reaches the kill switch."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from tradewright import ids
from tradewright.app.trip_record import FOLDER, Books, take_in
from tradewright.domain.errors import TradewrightError
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
        try:
            now = datetime.now(UTC)
            await take_in(settings.state / FOLDER, settings.account, journal, now)
            row = await journal.gate(settings.account)
            if row is not None and row != shown and row.state is not GateState.OPEN:
                await kill_switch.signal("adopt", row, rpc_timeout=ANSWER_WITHIN)
            shown = row
        except (TradewrightError, RPCError, OSError) as e:
            log.warning("gate_not_watched", detail=str(e), again_in_s=every)
        await asyncio.sleep(every)
