"""What workflows answer is plain JSON to every client."""

import json
from collections.abc import Callable
from typing import Any

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest
from temporalio.client import WorkflowHandle

from tradewright.ports import PauseWish, StrategyStatus


async def answer(handle: WorkflowHandle[Any, Any], query: str) -> Payload:
    """Return the answer as it comes over the wire."""
    request = QueryWorkflowRequest(
        namespace="default",
        execution=WorkflowExecution(workflow_id=handle.id),
        query=WorkflowQuery(query_type=query),
    )
    service = handle._client.workflow_service
    (told,) = (await service.query_workflow(request)).query_result.payloads
    return told


async def test_a_terminal_can_print_what_a_workflow_answers(
    stage: Any, until: Callable[..., Any]
) -> None:
    """Bears no mark: with one, `temporal workflow query` prints base64."""
    strategy = await stage.start_strategy()
    wish = PauseWish(by="ann", reason="lunch")
    status: StrategyStatus = await strategy.execute_update(
        "pause", wish, result_type=StrategyStatus
    )

    told = await answer(strategy, "status")

    assert dict(told.metadata) == {"encoding": b"json/plain"}
    assert json.loads(told.data)["paused"] is status.paused is True
    assert StrategyStatus.model_validate_json(told.data).preset == status.preset
