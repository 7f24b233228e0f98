"""Candles for every strategy that runs, whatever was done to the market or to the strategy.

A strategy asks the market for its candles once. A market that was started again knows nothing of
it, and a strategy that was terminated has not said good-bye: both are mended here.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from tradewright import ids
from tradewright.domain.account import Released
from tradewright.domain.notice import Notice, Priority
from tradewright.ports import StrategyStatus, TradeView, Watch, Watchlist

log = structlog.get_logger(__name__)

ANSWER_WITHIN: Final = timedelta(seconds=3)
COMPARED_WITHIN: Final = 5.0
"""Seconds; a market worker that is away must not hold up the look at the exchange."""


async def watch_again(client: Client, account: str) -> None:
    """Have the market watch for all strategies that run, and for no others.

    Nothing waits for it: what cannot be asked now is asked again by the next reconciliation.
    """
    try:
        async with asyncio.timeout(COMPARED_WITHIN):
            await _watch_again(client, account)
    except (RPCError, WorkflowQueryFailedError, TimeoutError) as e:
        log.warning("watches_not_compared", detail=str(e) or "no answer in time")


async def _watch_again(client: Client, account: str) -> None:
    market = client.get_workflow_handle(ids.market_workflow(account))
    told: Watchlist = await market.query(
        "watchlist", result_type=Watchlist, rpc_timeout=ANSWER_WITHIN
    )
    watched = {watch.preset: watch for watch in told.watches}
    query = f"WorkflowType='StrategyWorkflow' AND ExecutionStatus='Running' AND Account='{account}'"
    running = {found.id async for found in client.list_workflows(query)}
    unwatched = running - {ids.strategy_workflow(preset) for preset in watched}
    for workflow_id in sorted(unwatched):
        strategy = client.get_workflow_handle(workflow_id)
        status: StrategyStatus = await strategy.query(
            "status", result_type=StrategyStatus, rpc_timeout=ANSWER_WITHIN
        )
        watch = Watch(
            preset=status.preset,
            symbols=status.watched,
            timeframe=status.timeframe,
            preset_hash=status.preset_hash,
            book_depth=status.book_depth,
        )
        await market.signal("watch", watch)
        log.info("watched_again", preset=status.preset)
    await _follow_again(client, account, market, told)
    for preset, watch in sorted(watched.items()):
        # The list lags: only the workflow itself can say that it has ended
        if ids.strategy_workflow(preset) not in running and await _has_ended(client, preset):
            await market.signal("unwatch", watch)
            await _tell(client, account, preset)


async def _follow_again(
    client: Client, account: str, market: WorkflowHandle[Any, Any], told: Watchlist
) -> None:
    """Have the market follow every virtual trade that runs; none that was ended from outside."""
    query = f"WorkflowType='ShadowWorkflow' AND ExecutionStatus='Running' AND Account='{account}'"
    running = {found.id async for found in client.list_workflows(query)}
    followed = {ids.shadow_workflow(plan.symbol, plan.trade_id): plan for plan in told.shadows}
    for workflow_id in sorted(running - followed.keys()):
        view: TradeView = await client.get_workflow_handle(workflow_id).query(
            "trade", result_type=TradeView, rpc_timeout=ANSWER_WITHIN
        )
        if not view.trade.is_final:
            await market.signal("follow", view.trade.plan)
            log.info("followed_again", workflow_id=workflow_id)
    for workflow_id in sorted(followed.keys() - running):
        if await _ended(client, workflow_id):
            plan = followed[workflow_id]
            await market.signal("unfollow", plan)
            # One that was terminated has told nobody; a strategy that has heard hears nothing new
            strategy = client.get_workflow_handle(ids.strategy_workflow(plan.preset))
            with contextlib.suppress(RPCError):
                release = Released(trade_id=plan.trade_id, at=plan.trigger)
                await strategy.signal("shadow_ended", release)


async def _has_ended(client: Client, preset: str) -> bool:
    return await _ended(client, ids.strategy_workflow(preset))


async def _ended(client: Client, workflow_id: str) -> bool:
    try:
        found = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as e:
        if e.status is RPCStatusCode.NOT_FOUND:
            return True
        raise
    return found.status is not WorkflowExecutionStatus.RUNNING


async def _tell(client: Client, account: str, preset: str) -> None:
    log.error("strategy_not_running", preset=preset)
    workflow_id = ids.strategy_workflow(preset)
    notice = Notice(
        key=f"{workflow_id}/ended",
        account=account,
        priority=Priority.WARNING,
        title=f"strategy {preset} does not run any more",
        text="it was ended from outside; its open trades are managed on, and it enters nothing: "
        "apply its preset again with `tradewright apply`",
        workflow_id=workflow_id,
    )
    await client.get_workflow_handle(ids.notifier_workflow(account)).signal("tell", notice)
