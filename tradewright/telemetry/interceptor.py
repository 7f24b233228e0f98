"""Puts what workers do into the trace of the trade that it is done for."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from temporalio import activity, worker, workflow
from temporalio.exceptions import FailureError

from tradewright.telemetry import trace

MARK = "tradewright_mark"


class TradeTracing(worker.Interceptor):
    """Activities become spans, messages and the ends of workflows marks."""

    def intercept_activity(
        self, next: worker.ActivityInboundInterceptor
    ) -> worker.ActivityInboundInterceptor:
        return _Activities(next)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        # Workflow code is closed to clocks and chance, which a span needs; this leads outside
        externs: Any = input.unsafe_extern_functions
        externs[MARK] = trace.mark
        return _Workflow


class _Activities(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        info = activity.info()
        trade = trade_of(info.workflow_id, input.args)
        attributes = {
            "workflow_id": info.workflow_id,
            "trade_id": trade,
            "attempt": info.attempt,
            "queue": info.task_queue,
        }
        began = time.time_ns()
        context = trace.trade_context(trade) if trade else None
        recorded = trace.start(info.activity_type, context, attributes)
        bound = {"trade_id": trade} if trade else {}
        with structlog.contextvars.bound_contextvars(**bound), trace.current(recorded):
            result = await super().execute_activity(input)
        if trade:
            recorded.end()
        # One evaluation may propose several trades; each trace begins with its own copy of it
        for proposal in getattr(result, "proposals", ()):
            about = attributes | {"trade_id": proposal.trade_id, "symbol": proposal.symbol}
            trace.mark_root(proposal.trade_id, "candle", began, about)
            trace.record(proposal.trade_id, info.activity_type, began, time.time_ns(), about)
        return result


class _Workflow(worker.WorkflowInboundInterceptor):
    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        kind = workflow.info().workflow_type
        self._mark(f"{kind} started", input.args)
        try:
            result = await super().execute_workflow(input)
        except FailureError:
            self._mark(f"{kind} failed", input.args)
            raise
        self._mark(f"{kind} ended", input.args)
        return result

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        self._mark(f"signal {input.signal}", input.args)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        self._mark(f"update {input.update}", input.args)
        return await super().handle_update_handler(input)

    def _mark(self, name: str, args: Sequence[object]) -> None:
        info = workflow.info()
        trade = trade_of(info.workflow_id, args)
        if trade is None or workflow.unsafe.is_replaying():
            return
        mark: Callable[..., None] = workflow.extern_functions()[MARK]
        mark(
            trade,
            name,
            workflow.time_ns(),
            {"workflow_id": info.workflow_id, "run_id": info.run_id, "trade_id": trade},
        )


def trade_of(workflow_id: str | None, args: Sequence[object]) -> str | None:
    """Return the trade that a workflow, or a call with these arguments, works for."""
    if workflow_id and (trade := trace.trade_in(workflow_id)):
        return trade
    for arg in args:
        for holder in (arg, getattr(arg, "plan", None), getattr(arg, "proposal", None)):
            if isinstance(trade := getattr(holder, "trade_id", None), str):
                return trade
    return None
