"""What runs of a preset, and what ran last."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from temporalio.client import Client, RPCError
from temporalio.service import RPCStatusCode

from tradewright import ids
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.wish import NotRunning, TemporalFailed, ask
from tradewright.domain.errors import TradewrightError
from tradewright.domain.event import EventKind
from tradewright.domain.folder import Running
from tradewright.domain.plan import Mode
from tradewright.plugin import suggestion
from tradewright.ports import StrategyStatus

if TYPE_CHECKING:
    from tradewright.journal import Journal


async def running_strategy(client: Client, preset: str) -> StrategyStatus | None:
    """Return what runs of *preset* now; a strategy that was stopped does not.

    Raises:
        NoWorkerAnswers: It runs and nobody answers for it.
    """
    workflow_id = ids.strategy_workflow(preset)
    # One after the other they would take twice as long
    asked = asyncio.ensure_future(ask(client, workflow_id, "status", StrategyStatus))
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER_WITHIN)
        return await asked if found.close_time is None else None
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            return None
        raise TemporalFailed(f"description of {workflow_id}", e.message) from None
    except NotRunning:
        return None
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def is_running(client: Client, workflow_id: str) -> bool:
    """Return whether the workflow has begun and not ended; nobody has to answer for it."""
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            return False
        raise TemporalFailed(f"description of {workflow_id}", e.message) from None
    return found.close_time is None


class PresetUnknown(TradewrightError):
    def __init__(self, preset: str, applied: Iterable[str]) -> None:
        super().__init__(
            f"preset {preset} was never applied ({suggestion(preset, applied)}); "
            f"see `tradewright strategy list`"
        )


async def insist_on_applied(journal: "Journal", preset: str) -> None:
    """Return if the journal knows a version of *preset*.

    Raises:
        PresetUnknown: It does not; the name that is nearest to it is told.
    """
    applied = {stored.name for stored in await journal.latest_presets()}
    if preset not in applied:
        raise PresetUnknown(preset, applied)


async def last_run(journal: "Journal", preset: str) -> Running | None:
    """Return how *preset* ran last, wherever it stopped; None if it never did."""
    from tradewright.preset import PresetInvalid, outlined

    chain = ids.strategy_workflow(preset)
    changes = await journal.events(chain=chain, kind=EventKind.STRATEGY_CHANGED, limit=None)
    told = [row.event.data for row in reversed(changes)]
    version = next((data["version"] for data in told if data.get("version")), "")
    for mode in (data.get("mode") for data in told):
        if mode in set(Mode):
            return Running(preset_hash=version, mode=Mode(mode))
    # Earlier builds wrote none, and the journal may lag behind
    versions = await journal.preset_versions(preset)
    if not versions:
        return None
    try:
        mode = outlined(versions[0].document).mode
    except PresetInvalid:
        return None
    return Running(preset_hash=versions[0].hash, mode=mode)
