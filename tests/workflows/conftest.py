"""A real server, and a stage on it, for every test of a workflow."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from tests.workflows.stage import Stage
from tests.workflows.stage import until as ask_until
from tradewright.app import services
from tradewright.converter import DATA_CONVERTER
from tradewright.domain.market import Instrument

SUGGEST_AFTER = 40
"""Events after which the impatient server suggests to continue as new."""


@pytest.fixture
def until() -> Any:
    """Ask a workflow until what it answers (as JSON) holds."""
    return ask_until


@pytest.fixture
def failure() -> Callable[..., ApplicationError]:
    def make(message: str = "it does not work", *, final: bool = False) -> ApplicationError:
        return ApplicationError(message, type="TestFailure", non_retryable=final)

    return make


@pytest.fixture
async def stage(
    temporal_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    async with Stage(temporal_env, make_instrument()).running() as running:
        yield running


@pytest.fixture
async def strict_stage(
    temporal_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    """A stage whose sandbox lets nothing of ours pass: clock and chance are refused everywhere."""
    stage = Stage(temporal_env, make_instrument())
    async with stage.running(SandboxedWorkflowRunner()) as running:
        yield running


@pytest.fixture(scope="session")
async def impatient_env() -> AsyncIterator[WorkflowEnvironment]:
    """A server that suggests to continue as new after a few events."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=services.program("temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *services.temporal_arguments(),
            "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
            "--dynamic-config-value=frontend.WorkflowTimeSkippingMaxSkipPerSession=1000000",
            f"--dynamic-config-value=limit.historyCount.suggestContinueAsNew={SUGGEST_AFTER}",
        ],
    )
    yield environment
    await environment.shutdown()


@pytest.fixture
async def impatient_stage(
    impatient_env: WorkflowEnvironment, make_instrument: Callable[..., Instrument]
) -> AsyncIterator[Stage]:
    async with Stage(impatient_env, make_instrument()).running() as running:
        yield running
