"""What ran under an older version of the code goes on under this one."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.workflows.recording import HISTORIES as FOLDER
from tests.workflows.recording import keep
from tradewright.app.workers import workflow_runner
from tradewright.converter import DATA_CONVERTER, OURS, WRITER
from workflows.account import AccountWorkflow
from workflows.kill_switch import KillSwitchWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.strategy import StrategyWorkflow
from workflows.trade import TradeWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))
WORKFLOWS = [
    *(TradeWorkflow, AccountWorkflow, KillSwitchWorkflow),
    *(ReconciliationWorkflow, StrategyWorkflow),
]
MODELS_AT_LEAST = 5
"""In every history: its input, and what activities were told and answered."""


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_code_still_does_what_the_history_says(path: Path) -> None:
    await _replay(path, _read(path))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_history_may_hold_keys_that_no_model_has_any_more(path: Path) -> None:
    history = _read(path)
    counted = _retire(history)

    await _replay(path, history)

    assert counted > MODELS_AT_LEAST


async def test_a_history_that_lacks_a_needed_key_is_not_replayed() -> None:
    """Else no replay would show that something is not read any more."""
    path = FOLDER / "trade-closed-by-stop.json"
    history = _read(path)
    start = history["events"][0]["workflowExecutionStartedEventAttributes"]
    _rewrite(start["input"]["payloads"][0], lambda said: said["plan"].pop("symbol"))

    with pytest.raises(AssertionError, match="Failed decoding ar"):
        await _replay(path, history)


def test_there_is_a_history_of_every_ending() -> None:
    assert sorted({path.stem.partition(".")[0] for path in HISTORIES}) == [
        *("account", "kill-switch", "reconciliation", "strategy"),
        *("trade-adopted", "trade-cancelled", "trade-closed-by-exit"),
        *("trade-closed-by-stop", "trade-rejected"),
    ]


def test_a_recording_never_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    old, new = recorded("place_entry", {"qty": 1}), recorded("flatten", {"qty": 1})

    paths = [keep(tmp_path, "trade", said) for said in (old, new, old)]

    assert [path.name for path in paths] == ["trade.json", "trade.2.json", "trade.json"]
    assert [_read(path) for path in paths] == [old, new, old]


def test_only_what_says_something_new_is_recorded(tmp_path: Path) -> None:
    first = keep(tmp_path, "trade", recorded("flatten", {"qty": 1}))

    assert keep(tmp_path, "trade", recorded("flatten", {"qty": 2})) == first
    assert keep(tmp_path, "trade", recorded("flatten", {"qty": 1, "side": "Buy"})) != first


def recorded(activity: str, told: dict[str, Any]) -> dict[str, Any]:
    payload = {"metadata": {}, "data": base64.b64encode(json.dumps(told).encode()).decode()}
    attributes = {
        "activityType": {"name": activity},
        "workflowTaskCompletedEventId": "4",
        "input": {"payloads": [payload]},
    }
    kind = "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"
    return {"events": [{"eventType": kind, "activityTaskScheduledEventAttributes": attributes}]}


def _read(path: Path) -> dict[str, Any]:
    history: dict[str, Any] = json.loads(path.read_text())
    return history


async def _replay(path: Path, history: dict[str, Any]) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=DATA_CONVERTER,
        workflow_runner=workflow_runner(),
    )
    ran = WorkflowHistory.from_json(f"replay/{path.stem}", history)
    result = await replayer.replay_workflow(ran, raise_on_replay_failure=False)
    assert result.replay_failure is None


def _retire(said: Any) -> int:
    """Add a key to all that models of ours wrote in a history; return how many there are."""
    if isinstance(said, list):
        return sum(map(_retire, said))
    if not isinstance(said, dict):
        return 0
    if "metadata" not in said or "data" not in said:
        return sum(map(_retire, said.values()))
    if "type" in said["metadata"]:
        # A search attribute
        return 0
    said["metadata"][WRITER] = base64.b64encode(OURS).decode()
    return _rewrite(said, _add)


def _rewrite(payload: dict[str, str], change: Callable[[Any], object]) -> int:
    content = json.loads(base64.b64decode(payload["data"]))
    change(content)
    payload["data"] = base64.b64encode(json.dumps(content).encode()).decode()
    return int(isinstance(content, dict))


def _add(content: Any) -> None:
    match content:
        case dict():
            for each in list(content.values()):
                _add(each)
            # What is empty may be a table, whose keys are data
            content |= {"retired": "1"} if content else {}
        case list():
            for each in content:
                _add(each)
