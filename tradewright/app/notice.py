"""Notices as an operator sees them: list, answer for one, and try the receivers."""

from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    RPCError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)

from activities.cancellation import raise_if_cancelled
from tradewright import ids
from tradewright.app.wish import (
    NoWorkerAnswers,
    TemporalFailed,
    WishRefused,
    ask,
    reason_of,
    tell,
)
from tradewright.domain.notification import Delivery
from tradewright.ports import Notices
from workflows.notifier import AcknowledgeWish, TrialWish

TRIED_WITHIN: Final = timedelta(seconds=40)
"""Above what the slowest receiver is given."""


async def notices(client: Client, account: str) -> Notices:
    """Return what is open, what was sent, and what failed."""
    return await ask(client, ids.notifier_workflow(account), "notices", Notices)


async def acknowledge(client: Client, account: str, key: str, *, by: str) -> Notices:
    """Answer for the notice *key*: it is not repeated any more.

    Raises:
        WishRefused: There is no such notice.
    """
    wish, workflow_id = AcknowledgeWish(key=key, by=by), ids.notifier_workflow(account)
    return await tell(client, workflow_id, "acknowledge", wish, Notices, probe="notices")


async def try_receivers(client: Client, account: str, *, by: str) -> Delivery:
    """Have the worker send one message to every receiver, and return who got it."""
    workflow_id = ids.notifier_workflow(account)
    await notices(client, account)
    handle = client.get_workflow_handle(workflow_id)
    try:
        delivery: Delivery = await handle.execute_update(
            "test", TrialWish(by=by), result_type=Delivery, rpc_timeout=TRIED_WITHIN
        )
    except WorkflowUpdateFailedError as e:
        raise WishRefused(workflow_id, reason_of(e)) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise_if_cancelled()
        raise NoWorkerAnswers(workflow_id, "the test was sent and not answered") from None
    except RPCError as e:
        raise TemporalFailed(f"update test of {workflow_id}", e.message) from None
    return delivery
