"""Reconciliations that look a second time sooner than those of production do."""

import uuid
from datetime import timedelta

from temporalio.client import ScheduleActionStartWorkflow, ScheduleUpdate, ScheduleUpdateInput

from tests.system.live_system import LiveSystem
from tradewright import ids
from workflows.reconciliation import (
    ReconciliationReport,
    ReconciliationStart,
    ReconciliationWorkflow,
)

SECOND_LOOK = timedelta(seconds=2)


async def hasten(live: LiveSystem) -> None:
    """Let the schedule's runs be such."""

    def sooner(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = found.description.schedule
        assert isinstance(schedule.action, ScheduleActionStartWorkflow)
        schedule.action.args = [_start(live)]
        return ScheduleUpdate(schedule=schedule)

    schedule = live.client.get_schedule_handle(ids.reconciliation_workflow(live.settings.account))
    await schedule.update(sooner)


async def reconcile(live: LiveSystem) -> ReconciliationReport:
    """Let one run pass now."""
    return await live.client.execute_workflow(
        ReconciliationWorkflow.run,
        _start(live),
        id=f"{ids.reconciliation_workflow(live.settings.account)}-{uuid.uuid4().hex}",
        task_queue=ids.QUEUE_TRADING,
    )


def _start(live: LiveSystem) -> ReconciliationStart:
    return ReconciliationStart(account=live.settings.account, second_look=SECOND_LOOK)
