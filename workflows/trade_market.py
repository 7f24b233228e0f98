"""What one trade asks of the market: how it stands at the close, and exits of another version."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from tradewright import ids
from tradewright.domain.plan import TradePlan
from tradewright.domain.trade import Kept, Migrated
from tradewright.ports import ExitsWish, ExitTerms, MarketPort
from workflows.outbox import dump
from workflows.trade_message import MigrateWish

RECKON_WITHIN = timedelta(seconds=10)
"""A person waits for it."""
TWICE = RetryPolicy(maximum_attempts=2)


async def view_at_close(plan: TradePlan) -> Any:
    """Return the market as it stands now, for the journal; None if nobody can tell."""
    try:
        view = await workflow.execute_activity_method(
            MarketPort.observe,
            plan,
            task_queue=_queue(),
            start_to_close_timeout=timedelta(seconds=10),
            schedule_to_close_timeout=timedelta(seconds=20),
            retry_policy=TWICE,
            summary="the market at the close",
        )
    except ActivityError as e:
        workflow.logger.warning("market_not_observed", extra={"error": str(e.cause)})
        return None
    return dump(view)


async def migration(plan: TradePlan, wish: MigrateWish) -> Migrated:
    """Return the exits that *wish* moves the trade of *plan* to.

    Raises:
        ApplicationError: There are none, and why.
    """
    try:
        terms: ExitTerms = await workflow.execute_activity_method(
            MarketPort.reckon_exits,
            ExitsWish(plan=plan, expected_hash=wish.expected_hash),
            task_queue=_queue(),
            start_to_close_timeout=RECKON_WITHIN,
            schedule_to_close_timeout=RECKON_WITHIN,
            retry_policy=TWICE,
            summary="the exits of the version that runs",
        )
    except ActivityError as e:
        raise ApplicationError(
            f"the exits of the version that runs could not be reckoned: {e.cause}; ask again",
            type="NotMigrated",
        ) from None
    if terms.fault or terms.exits is None:
        raise ApplicationError(terms.fault, type="NotMigrated")
    keeps_targets, exits = Kept.TARGETS in wish.keep, terms.exits
    if Kept.TRAILING in wish.keep:
        exits = exits.model_copy(update={"trailing": plan.exits.trailing})
    return Migrated(
        preset_hash=terms.preset_hash,
        exits=exits,
        targets=plan.targets if keeps_targets else terms.targets,
        take_profit=plan.take_profit if keeps_targets else terms.take_profit,
        by=wish.by,
        reason=wish.reason,
    )


def _queue() -> str:
    return ids.sibling_queue(workflow.info().task_queue, ids.QUEUE_MARKET)
