"""What workflows answer, for those who read it in a terminal."""

from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from temporalio import worker


class PlainAnswers(worker.Interceptor):
    """Lets workflows answer in plain JSON, which bears no mark of who wrote it.

    `temporal workflow query` prints an answer as what it says only if its encoding is all there is
    to know of it; a marked one it prints in base64.
    """

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        del input
        return _Workflow


class _Workflow(worker.WorkflowInboundInterceptor):
    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        return _plain(await super().execute_workflow(input))

    async def handle_query(self, input: worker.HandleQueryInput) -> Any:
        return _plain(await super().handle_query(input))

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        return _plain(await super().handle_update_handler(input))


def _plain(answer: Any) -> Any:
    return to_jsonable_python(answer) if isinstance(answer, BaseModel) else answer
