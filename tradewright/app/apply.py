"""From a checked preset to a running strategy of that version."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from temporalio.client import Client, RPCError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from tradewright import ids
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.wish import NotRunning, TemporalFailed, WishRefused, ask, tell
from tradewright.domain.errors import SymbolUnknown, TradewrightError
from tradewright.domain.market import Value
from tradewright.plugin import suggestion
from tradewright.ports import Applied, ApplyWish, StrategyStatus
from workflows.attributes import ACCOUNT, PRESET, PRESET_HASH, attributes
from workflows.strategy import StrategyStart, StrategyWorkflow

if TYPE_CHECKING:
    from activities.bybit import BybitClient
    from tradewright.journal import Journal
    from tradewright.preset import LoadedPreset

PAGE: Final = 1000
"""As many instruments as Bybit gives at once; all linear ones fit."""


class SymbolsUnlisted(TradewrightError):
    """A preset names what cannot be traded."""

    def __init__(self, preset: str, advice: Mapping[str, str]) -> None:
        told = ", ".join(f"{symbol} ({hint})" for symbol, hint in advice.items())
        super().__init__(
            f"preset {preset} cannot be traded: the exchange lists no linear contract {told}; "
            f"correct market.symbols"
        )
        self.advice = dict(advice)


class Change(StrEnum):
    STARTED = "started"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Application(Value):
    """What applying a preset did, or would do."""

    preset: str
    workflow_id: str
    change: Change
    preset_hash: str
    before: str = ""
    """The version that ran until now; empty if none did."""
    dry_run: bool = False


async def unlisted(bybit: "BybitClient", symbols: Iterable[str]) -> dict[str, str]:
    """Return those of *symbols* that the exchange does not list, each with the nearest it does."""
    # A second of imports, which commands that place no strategy do without
    from activities import parse
    from activities.bybit import LINEAR, SETTLE_COIN

    missing = []
    for symbol in symbols:
        try:
            await bybit.instrument(symbol)
        except SymbolUnknown:
            missing.append(symbol)
    if not missing:
        return {}
    answer = await bybit.call("get_instruments_info", category=LINEAR, limit=PAGE)
    listed = [
        str(row["symbol"])
        for row in parse.rows("get_instruments_info", answer)
        if row.get("settleCoin", SETTLE_COIN) == SETTLE_COIN
    ]
    return {symbol: suggestion(symbol, listed) for symbol in missing}


async def apply(
    client: Client,
    journal: "Journal",
    bybit: "BybitClient",
    loaded: "LoadedPreset",
    *,
    by: str,
    expect: str = "",
    dry_run: bool = False,
    queue: str = ids.QUEUE_TRADING,
) -> Application:
    """Trade *loaded* from the next candle on: start its strategy, or hand it the new version.

    Args:
        client: Of the venue's namespace.
        journal: Keeps the document, where workers find it by its hash.
        bybit: Says whether the symbols are listed.
        loaded: The checked preset.
        by: Who applies it.
        expect: Refuse unless this version runs now.
        dry_run: Only say what would be done.
        queue: Of the trading workers.

    Raises:
        SymbolsUnlisted: Before anything was done, as are all that follow.
        NotRunning: A version was expected and none runs.
        WishRefused: Another version runs than the expected one, or in another account.
        NoWorkerAnswers: The strategy runs and nobody answers for it.
    """
    preset = loaded.preset
    if advice := await unlisted(bybit, preset.market.symbols):
        raise SymbolsUnlisted(preset.name, advice)
    applied = Applied(
        preset=preset.name,
        preset_hash=loaded.hash,
        account=preset.account,
        symbols=preset.market.symbols,
        timeframe=preset.trigger.timeframe,
        by=by,
    )
    workflow_id = ids.strategy_workflow(preset.name)
    running = await _running(client, workflow_id)
    outcome = Application(
        preset=preset.name,
        workflow_id=workflow_id,
        change=_change(running, loaded.hash),
        preset_hash=loaded.hash,
        before=running.preset_hash if running else "",
        dry_run=dry_run,
    )
    if expect:
        _insist(expect, running, workflow_id)
    if dry_run or outcome.change is Change.UNCHANGED:
        return outcome
    await journal.save_preset(
        name=preset.name,
        preset_hash=loaded.hash,
        document=loaded.document,
        plugin=preset.strategy.plugin,
        applied_at=datetime.now(UTC),
        by=by,
    )
    if running is None and await _start(client, applied, workflow_id, queue):
        return outcome
    # The version that we saw: whoever was faster than us shall not be overwritten unheard
    wish = ApplyWish(applied=applied, expected_hash=outcome.before)
    await tell(client, workflow_id, "apply", wish, StrategyStatus, probe="status")
    return outcome if running else outcome.model_copy(update={"change": Change.CHANGED})


def _insist(expect: str, running: StrategyStatus | None, workflow_id: str) -> None:
    if running is None:
        raise NotRunning(workflow_id, f"version {expect} was expected; apply it without --expect")
    if not running.preset_hash.startswith(expect):
        raise WishRefused(
            workflow_id,
            f"it runs version {running.preset_hash}, not {expect}; look at it and apply again",
        )


def _change(running: StrategyStatus | None, preset_hash: str) -> Change:
    if running is None:
        return Change.STARTED
    return Change.UNCHANGED if running.preset_hash == preset_hash else Change.CHANGED


async def _running(client: Client, workflow_id: str) -> StrategyStatus | None:
    """Return what runs now; a strategy that was stopped does not."""
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER_WITHIN)
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            return None
        raise TemporalFailed(f"description of {workflow_id}", e.message) from None
    if found.close_time is not None:
        return None
    return await ask(client, workflow_id, "status", StrategyStatus)


async def _start(client: Client, applied: Applied, workflow_id: str, queue: str) -> bool:
    """Start the strategy; False if somebody else just did."""
    try:
        await client.start_workflow(
            StrategyWorkflow.run,
            StrategyStart(applied=applied),
            id=workflow_id,
            task_queue=queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=f"{applied.preset} · {', '.join(applied.symbols)} {applied.timeframe}",
            search_attributes=attributes(
                (ACCOUNT, applied.account),
                (PRESET, applied.preset),
                (PRESET_HASH, applied.preset_hash),
            ),
            rpc_timeout=ANSWER_WITHIN,
        )
    except WorkflowAlreadyStartedError:
        return False
    except RPCError as e:
        raise TemporalFailed(f"start of {workflow_id}", e.message) from None
    return True
