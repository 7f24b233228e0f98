"""Workers: which workflows and activities serve which queue, and what must always run."""

import asyncio
import contextlib
import socket
from abc import ABC
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.account import BybitAccount
from activities.bybit import BybitClient
from activities.exchange import BybitExchange
from activities.exchange_control import BybitControl
from activities.interceptor import DomainErrors
from activities.journal import JournalActivities
from activities.kill import BybitKillSwitch
from activities.notify import Notifier
from activities.reconciliation import BybitReconciliation
from activities.secrets import VaultSecrets, VaultUnreachable
from activities.stream import BybitStream
from activities.urgency import Urgency
from tradewright import ids, telemetry
from tradewright.answer import PlainAnswers
from tradewright.app.connect import TemporalUnreachable, connect, pace_of
from tradewright.app.gate_watch import watch_gate
from tradewright.app.limits import current_limits, follow_limits
from tradewright.app.watches import watch_again
from tradewright.domain.errors import TradewrightError
from tradewright.journal import Journal
from tradewright.ports import activities_of
from tradewright.settings import Settings
from workflows.account import AccountStart, AccountWorkflow, LimitsWish
from workflows.case_life import CaseWorkflow
from workflows.kill_switch import KillSwitchStart, KillSwitchWorkflow
from workflows.market import MarketStart, MarketWorkflow
from workflows.notifier import NotifierStart, NotifierWorkflow
from workflows.presets import PresetsStart, PresetsWorkflow
from workflows.reconciliation import ReconciliationStart, ReconciliationWorkflow
from workflows.shadow import ShadowWorkflow
from workflows.strategy import StrategyWorkflow
from workflows.stream import StreamStart, StreamWorkflow
from workflows.trade import TradeWorkflow

log = structlog.get_logger(__name__)

TRADING_WORKFLOWS = (
    TradeWorkflow,
    StrategyWorkflow,
    ShadowWorkflow,
    AccountWorkflow,
    ReconciliationWorkflow,
    CaseWorkflow,
    NotifierWorkflow,
    # Not beside what they hold: they tell when nobody serves its queue
    StreamWorkflow,
    MarketWorkflow,
    PresetsWorkflow,
)
RECONNECT_EVERY = 2.0
RECONCILE_EVERY = timedelta(seconds=60)
STICKY = timedelta(seconds=1)
"""After a worker has died its workflows wait so long before another one takes them."""
MONEY_QUEUES = frozenset({ids.QUEUE_TRADING, ids.QUEUE_KILL})
GRACE, SHORT_GRACE = timedelta(seconds=5), timedelta(seconds=1)
"""For activities to end by themselves; those that follow a stream never do."""
BUILD_ID = f"tradewright-{version('tradewright')}"
PASSED_THROUGH = (
    "tradewright",
    "workflows",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
)


class NoPresetFolder(TradewrightError):
    def __init__(self) -> None:
        super().__init__(
            "queue presets has no folder to watch: name it with TRADEWRIGHT_PRESETS, or leave the "
            "queue out"
        )


def workflow_runner() -> SandboxedWorkflowRunner:
    """Return the sandbox of production: third-party modules and our own are shared.

    A copy of each for every workflow costs memory and time; that ours are deterministic the tests
    prove in a sandbox that shares nothing.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    )


@asynccontextmanager
async def workers(settings: Settings, queues: Collection[str]) -> AsyncIterator[Sequence[Worker]]:
    """Build the workers of *queues*: ``trading``, ``market``, ``stream``, ``presets``, ``kill``.

    Raises:
        NoPresetFolder: Presets are to be watched, and no setting says where.
    """
    if ids.QUEUE_PRESETS in queues and settings.presets is None:
        raise NoPresetFolder()
    secrets = VaultSecrets.of(settings)
    await _check_key(secrets)
    client = await _connected(settings)
    journal = await Journal.open(settings.journal_url, venue=settings.venue, patient=True)
    # All that the kill switch's own process asks serves the way out
    floor = Urgency.EXIT if set(queues) == {"kill"} else None
    bybit = BybitClient(settings.urls.rest_url, secrets, urgency=floor)
    process = f"{'+'.join(sorted(queues))}@{socket.gethostname()}"
    control = BybitControl(bybit, client, settings.account, process)
    pace = pace_of(settings)
    records = JournalActivities(journal)
    serve = _Serve(client)
    built: list[Worker] = []
    beside: list[asyncio.Task[None]] = []
    try:
        if "trading" in queues:
            built.append(
                serve(
                    ids.QUEUE_TRADING,
                    TRADING_WORKFLOWS,
                    BybitExchange(bybit, journal, pace),
                    BybitAccount(bybit, journal, pace, client, settings.shadow_fees),
                    BybitReconciliation(
                        bybit,
                        pace,
                        client,
                        settings.account,
                        ensure=lambda: restore(client, settings),
                        journal=journal,
                        policies=settings.reconciliation,
                    ),
                    # Secrets of its own: it must not wait in line with who signs an order
                    Notifier(settings, VaultSecrets.of(settings)),
                    records,
                )
            )
        if "market" in queues:
            # pandas comes with it, which the kill switch's process must not wait for
            from activities.market import BybitMarket

            market = BybitMarket(client, bybit, journal, pace, settings.urls.public_ws_url)
            built.append(serve(ids.QUEUE_MARKET, (MarketWorkflow,), market))
        if "stream" in queues:
            stream = BybitStream(client, bybit, secrets, pace, settings.urls.private_ws_url)
            queue = ids.stream_queue(settings.account)
            built.append(serve(queue, (StreamWorkflow,), stream))
        if ids.QUEUE_PRESETS in queues and settings.presets is not None:
            # Strategies come with it, which the kill switch's process must not wait for
            from activities.presets import FolderWatcher
            from tradewright.app.hot_reload import StrategyApplier

            applier = StrategyApplier(client, journal, bybit)
            watcher = FolderWatcher(client, applier, settings.presets)
            built.append(serve(ids.QUEUE_PRESETS, (), watcher, one_at_a_time=True))
        if "kill" in queues:
            kill = BybitKillSwitch(bybit, journal)
            built.append(serve(ids.QUEUE_KILL, (KillSwitchWorkflow,), kill, records))
            beside.append(asyncio.create_task(watch_gate(client, journal, settings)))
        built.append(serve(ids.control_queue(client.identity), (), control))
        await ensure_singletons(client, settings)
        await _ensure_reconciliation(client, settings.account)
        if ids.QUEUE_PRESETS in queues:
            await ensure_presets(client, settings.account)
        if ids.QUEUE_TRADING in queues:
            if settings.limits_file is None:
                await _declare_limits(client, settings)
            # One that is spoiled at the start must not bring back what it said before the last good
            beside.append(asyncio.create_task(follow_limits(client, settings)))
        yield built
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await journal.close()


async def _check_key(secrets: VaultSecrets) -> None:
    """Refuse to start with what is no key; a Vault that is away is asked again when needed."""
    try:
        await secrets.exchange_key()
    except VaultUnreachable as e:
        log.warning("vault_away", detail=str(e))


async def _connected(settings: Settings) -> Client:
    """Return a client as soon as Temporal answers."""
    while True:
        try:
            return await connect(settings)
        except TemporalUnreachable as e:
            log.warning("temporal_away", detail=str(e), again_in_s=RECONNECT_EVERY)
            await asyncio.sleep(RECONNECT_EVERY)


class _Serve:
    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(
        self, queue: str, workflows: Sequence[type], *adapters: ABC, one_at_a_time: bool = False
    ) -> Worker:
        return Worker(
            self._client,
            task_queue=queue,
            workflows=workflows,
            activities=activities_of(*adapters),
            workflow_runner=workflow_runner(),
            # The default is a hash of every module's code: two seconds where none is compiled
            build_id=BUILD_ID,
            interceptors=[DomainErrors(), PlainAnswers(), *telemetry.interceptors()],
            sticky_queue_schedule_to_start_timeout=STICKY,
            max_cached_workflows=2_000,
            # Who only answers a person asks for one task at a time
            max_concurrent_activity_task_polls=5 if workflows else 1,
            max_concurrent_activities=1 if one_at_a_time else None,
            graceful_shutdown_timeout=GRACE if queue in MONEY_QUEUES else SHORT_GRACE,
        )


async def serve(settings: Settings, queues: Collection[str], ready_file: Path | None) -> None:
    """Run the workers of *queues* until cancelled."""
    async with workers(settings, queues) as built, contextlib.AsyncExitStack() as running:
        for worker in built:
            await running.enter_async_context(worker)
        if ready_file is not None:
            await asyncio.to_thread(ready_file.touch)
        log.info("worker_ready", queues=sorted(queues), namespace=settings.namespace)
        try:
            await asyncio.Event().wait()
        finally:
            # One after another, their graces would add up to more than a supervisor's patience
            await asyncio.gather(*(worker.shutdown() for worker in built))


async def restore(client: Client, settings: Settings) -> None:
    """Start again what was ended from outside, and have it do for others what it did."""
    await ensure_singletons(client, settings)
    if settings.presets is not None:
        await ensure_presets(client, settings.account)
    await watch_again(client, settings.account)


async def ensure_singletons(client: Client, settings: Settings) -> None:
    """Start what must always run; what runs already is left alone."""
    account = settings.account
    use_existing = WorkflowIDConflictPolicy.USE_EXISTING
    await client.start_workflow(
        KillSwitchWorkflow.run,
        KillSwitchStart(account=account),
        id=ids.kill_switch_workflow(account),
        task_queue=ids.QUEUE_KILL,
        id_conflict_policy=use_existing,
        static_summary="the gate, and the way out",
    )
    await client.start_workflow(
        AccountWorkflow.run,
        AccountStart(
            account=account,
            limits=await current_limits(settings),
            snapshot_every=settings.snapshot_every,
        ),
        id=ids.account_workflow(account),
        task_queue=ids.QUEUE_TRADING,
        id_conflict_policy=use_existing,
        static_summary="the desk: risk and limits",
    )
    await client.start_workflow(
        NotifierWorkflow.run,
        NotifierStart(account=account),
        id=ids.notifier_workflow(account),
        task_queue=ids.QUEUE_TRADING,
        id_conflict_policy=use_existing,
        static_summary="who is told what",
    )
    await client.start_workflow(
        StreamWorkflow.run,
        StreamStart(account=account),
        id=ids.stream_workflow(account),
        task_queue=ids.QUEUE_TRADING,
        id_conflict_policy=use_existing,
        static_summary="executions and orders, as they happen",
    )
    await client.start_workflow(
        MarketWorkflow.run,
        MarketStart(account=account),
        id=ids.market_workflow(account),
        task_queue=ids.QUEUE_TRADING,
        id_conflict_policy=use_existing,
        static_summary="candles, as they close",
    )


async def ensure_presets(client: Client, account: str) -> None:
    """Start what has the folder of presets watched; what runs already is left alone."""
    await client.start_workflow(
        PresetsWorkflow.run,
        PresetsStart(account=account),
        id=ids.presets_workflow(account),
        task_queue=ids.QUEUE_TRADING,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="presets, applied as they are saved",
    )


async def _declare_limits(client: Client, settings: Settings) -> None:
    """Tell a desk that runs already what the settings say now."""
    desk = client.get_workflow_handle(ids.account_workflow(settings.account))
    wish = LimitsWish(limits=settings.limits, by="settings", declared=True)
    await desk.signal("limits", wish)


async def _ensure_reconciliation(client: Client, account: str) -> None:
    name = ids.reconciliation_workflow(account)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            ReconciliationWorkflow.run,
            ReconciliationStart(account=account),
            id=name,
            task_queue=ids.QUEUE_TRADING,
            static_summary="exchange and trades compared",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RECONCILE_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=RECONCILE_EVERY),
    )
    try:
        await client.create_schedule(name, schedule, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(name).trigger(overlap=ScheduleOverlapPolicy.SKIP)
