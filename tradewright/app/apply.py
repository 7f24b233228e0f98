"""From a checked preset to a running strategy of that version."""

import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from temporalio.client import Client, RPCError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from tradewright import ids
from tradewright.app.connect import ANSWER_WITHIN
from tradewright.app.listing import SymbolsUnlisted, unlisted
from tradewright.app.strategy_run import last_run, running_strategy
from tradewright.app.survey import strategies
from tradewright.app.wish import NotRunning, TemporalFailed, WishRefused, tell
from tradewright.domain.breaker import SymbolBreaker
from tradewright.domain.folder import held_mode, mode_note
from tradewright.domain.market import Value
from tradewright.domain.plan import Mode
from tradewright.ports import Applied, ApplyWish, StrategyStatus
from workflows.attributes import ACCOUNT, PRESET, PRESET_HASH, attributes
from workflows.strategy import StrategyStart, StrategyWorkflow

if TYPE_CHECKING:
    from activities.bybit import BybitClient
    from tradewright.journal import Journal
    from tradewright.preset import LoadedPreset, Preset

SHOWN: Final = 12
"""Symbols in a summary, which has 400 characters."""


class Change(StrEnum):
    STARTED = "started"
    CHANGED = "changed"
    DISABLED = "disabled"
    UNCHANGED = "unchanged"


class Application(Value):
    """What applying a preset did, or would do."""

    preset: str
    workflow_id: str
    change: Change
    preset_hash: str
    before: str = ""
    """The version that ran until now; empty if none did."""
    enabled: bool = True
    mode: Mode = Mode.TRADE
    held: bool = False
    """Whether it stays in the mode of the version before, though its document says another."""
    mode_note: str = ""
    """What a person is to know of its mode."""
    dry_run: bool = False


async def apply(
    client: Client,
    journal: "Journal",
    bybit: "BybitClient",
    loaded: "LoadedPreset",
    *,
    by: str,
    reason: str = "",
    expect: str = "",
    dry_run: bool = False,
    queue: str = ids.QUEUE_TRADING,
) -> Application:
    """Trade *loaded* from the next candle on: start its strategy, or hand it the new version.

    A strategy that does not trade yet stays in its mode: `strategy promote` raises it.

    Args:
        client: Of the venue's namespace.
        journal: Keeps the document, where workers find it by its hash.
        bybit: Says whether the symbols are listed.
        loaded: The checked preset.
        by: Who applies it.
        reason: Why.
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
    running = await running_strategy(client, preset.name)
    if expect:
        _insist(expect, running, ids.strategy_workflow(preset.name))
    ran = await last_run(journal, preset.name) if running is None else None
    return await replace(
        client,
        journal,
        loaded,
        running,
        by=by,
        reason=reason,
        mode_before=running.mode if running else (ran.mode if ran else None),
        version_before=ran.preset_hash if ran else "",
        dry_run=dry_run,
        queue=queue,
    )


async def replace(
    client: Client,
    journal: "Journal",
    loaded: "LoadedPreset",
    running: StrategyStatus | None,
    *,
    by: str,
    reason: str = "",
    mode_before: Mode | None = None,
    version_before: str = "",
    dry_run: bool = False,
    queue: str = ids.QUEUE_TRADING,
) -> Application:
    """Let *loaded* follow *running*, and nothing else that may run by now.

    *mode_before* and *version_before* are of what ran last, where nothing does now.
    """
    preset = loaded.preset
    before = running.preset_hash if running else version_before
    mode = held_mode(preset.mode, mode_before, is_same=before == loaded.hash)
    applied = _applied(
        preset, loaded.hash, running, by=by, reason=reason, enabled=preset.enabled, mode=mode
    )
    outcome = Application(
        preset=preset.name,
        workflow_id=ids.strategy_workflow(preset.name),
        change=_change(running, applied),
        preset_hash=loaded.hash,
        before=running.preset_hash if running else "",
        enabled=preset.enabled,
        mode=mode,
        held=mode is not preset.mode,
        mode_note=mode_note(preset.name, preset.mode, mode, mode_before),
        dry_run=dry_run,
    )
    if dry_run or outcome.change is Change.UNCHANGED:
        return outcome
    stored = await journal.preset(loaded.hash)
    await journal.save_preset(
        name=preset.name,
        preset_hash=loaded.hash,
        # The same meaning in other words: the first words stay
        document=stored.document if stored else loaded.document,
        plugin=preset.strategy.plugin,
        applied_at=datetime.now(UTC),
        by=by,
    )
    if running is None:
        if await _start(client, applied, outcome.workflow_id, queue):
            return outcome
        return await _overtaken(client, outcome)
    # The version that we saw: whoever was faster than us shall not be overwritten unheard
    wish = ApplyWish(applied=applied, expected_hash=outcome.before)
    await tell(client, outcome.workflow_id, "apply", wish, StrategyStatus, probe=None)
    return outcome


async def _overtaken(client: Client, outcome: Application) -> Application:
    """Return what it means that somebody else has just started the strategy.

    Raises:
        WishRefused: It was another version.
    """
    now = await running_strategy(client, outcome.preset)
    if now and (now.preset_hash, now.enabled) == (outcome.preset_hash, outcome.enabled):
        return outcome.model_copy(
            update={"change": Change.UNCHANGED, "before": now.preset_hash, "mode": now.mode}
        )
    told = f"version {now.preset_hash} was started" if now else "it was started and stopped"
    raise WishRefused(outcome.workflow_id, f"{told} meanwhile; look at it and apply again")


async def disable(
    client: Client,
    journal: "Journal",
    running: StrategyStatus,
    *,
    by: str,
    reason: str,
    dry_run: bool = False,
) -> Application:
    """Let the strategy take no more entries; its open trades run on to their end."""
    from tradewright.preset import PresetInvalid, outlined

    applied = Applied(
        preset=running.preset,
        preset_hash=running.preset_hash,
        account=running.account,
        symbols=running.symbols,
        timeframe=running.timeframe,
        by=by,
        reason=reason,
        enabled=False,
        mode=running.mode,
    )
    if stored := await journal.preset(running.preset_hash):
        # What this build cannot read has no more to say
        with contextlib.suppress(PresetInvalid):
            applied = _applied(
                outlined(stored.document),
                running.preset_hash,
                running,
                by=by,
                reason=reason,
                enabled=False,
                mode=running.mode,
            )
    outcome = Application(
        preset=running.preset,
        workflow_id=ids.strategy_workflow(running.preset),
        change=Change.DISABLED,
        preset_hash=running.preset_hash,
        before=running.preset_hash,
        enabled=False,
        mode=running.mode,
        dry_run=dry_run,
    )
    if not dry_run:
        wish = ApplyWish(applied=applied, expected_hash=running.preset_hash)
        await tell(client, outcome.workflow_id, "apply", wish, StrategyStatus, probe="status")
    return outcome


async def prune(
    client: Client,
    journal: "Journal",
    account: str,
    declared: Collection[str],
    *,
    by: str,
    reason: str,
    dry_run: bool = False,
) -> list[Application]:
    """Let every strategy of *account* take no more entries that is none of the *declared*."""
    others = [
        line.status
        for line in await strategies(client, account)
        if line.name not in declared and line.status is not None and line.status.enabled
    ]
    why = reason or "no file declares it"
    return [
        await disable(client, journal, status, by=by, reason=why, dry_run=dry_run)
        for status in others
    ]


def _applied(
    preset: "Preset",
    preset_hash: str,
    running: StrategyStatus | None,
    *,
    by: str,
    reason: str,
    enabled: bool,
    mode: Mode,
) -> Applied:
    breaker = preset.protections.breaker
    market, trigger = preset.market, preset.trigger
    return Applied(
        preset=preset.name,
        preset_hash=preset_hash,
        account=preset.account,
        # A filter's symbols stay until it is asked again
        symbols=market.symbols or (running.symbols if running else ()),
        timeframe=trigger.timeframe,
        by=by,
        reason=reason,
        enabled=enabled,
        mode=mode,
        universe_every=market.universe.refresh if market.universe else None,
        book_depth=trigger.depth if trigger.on == "order_book" else None,
        breaker=SymbolBreaker(failures=breaker.failures, pause=breaker.pause),
    )


def _insist(expect: str, running: StrategyStatus | None, workflow_id: str) -> None:
    if running is None:
        raise NotRunning(workflow_id, f"version {expect} was expected; apply it without --expect")
    if not running.preset_hash.startswith(expect):
        raise WishRefused(
            workflow_id,
            f"it runs version {running.preset_hash}, not {expect}; look at it and apply again",
        )


def _change(running: StrategyStatus | None, applied: Applied) -> Change:
    if running is None:
        return Change.STARTED
    same = (running.preset_hash, running.enabled) == (applied.preset_hash, applied.enabled)
    return Change.UNCHANGED if same else Change.CHANGED


def _markets(symbols: Sequence[str]) -> str:
    """Return *symbols* as far as they fit into a line."""
    more = f" and {len(symbols) - SHOWN} more" if len(symbols) > SHOWN else ""
    return (", ".join(symbols[:SHOWN]) or "a universe") + more


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
            static_summary=f"{applied.preset} · {_markets(applied.symbols)} {applied.timeframe}",
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
