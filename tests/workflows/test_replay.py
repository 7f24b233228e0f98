"""What ran under an older version of the code goes on under this one."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tradewright.app.workers import workflow_runner
from tradewright.converter import DATA_CONVERTER
from workflows.account import AccountWorkflow
from workflows.kill_switch import KillSwitchWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.strategy import StrategyWorkflow
from workflows.trade import TradeWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
WORKFLOWS = [
    *(TradeWorkflow, AccountWorkflow, KillSwitchWorkflow),
    *(ReconciliationWorkflow, StrategyWorkflow),
]


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_code_still_does_what_the_history_says(path: Path) -> None:
    history = _history(path)
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=DATA_CONVERTER,
        workflow_runner=workflow_runner(),
    )

    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"replay/{path.stem}", path.read_text())


def test_there_is_a_history_of_every_ending() -> None:
    assert [path.stem for path in HISTORIES] == [
        *("account", "kill-switch", "reconciliation", "strategy"),
        *("trade-adopted", "trade-cancelled", "trade-closed-by-exit"),
        *("trade-closed-by-stop", "trade-rejected"),
    ]
