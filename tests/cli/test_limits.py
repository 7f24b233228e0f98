"""`tradewright limits`, and the file that a worker follows."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import System
from tradewright import ids
from tradewright.app import limits
from tradewright.settings import Settings

Call = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file, empty of limits, read by every command."""
    path = tmp_path / "settings.yaml"
    path.write_text("log: {level: warning}\n")
    monkeypatch.setenv("TRADEWRIGHT_SETTINGS", str(path))
    return path


def declare(file: Path, limits: str) -> None:
    file.write_text(f"limits: {limits}\n")


async def in_force(system: System) -> dict[str, Any]:
    desk = system.client.get_workflow_handle(ids.account_workflow(system.account))
    found: dict[str, Any] = await desk.query("limits")
    return found


async def eventually(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not await is_so():  # noqa: ASYNC110 the desk tells nobody
            await asyncio.sleep(0.02)


async def test_limits_are_shown_with_how_near_they_are(working: System) -> None:
    desk = working.client.get_workflow_handle(ids.account_workflow(working.account))
    await desk.execute_update("refresh")

    shown = await working.call("limits", "show")
    document = (await working.call("limits", "show", "-o", "json")).document

    assert shown.code == 0
    [day] = [line for line in shown.out.splitlines() if line.startswith("max_daily_loss")]
    assert day.split() == ["max_daily_loss_fraction", "0.05", "0.05", "trip", "0.0000", "0.00%"]
    lines = {line["limit"]: line for line in document["limits"]["limits"]}
    assert lines["max_open_trades"]["value"] == lines["max_open_trades"]["default"] == "5"
    assert lines["loss_streak"]["consequence"] == "pause"
    assert document["limits"]["breaches"] == document["limits"]["pauses"] == []


async def test_limits_are_reloaded_from_the_file_and_the_changes_told(
    working: System, file: Path
) -> None:
    declare(file, "{max_open_trades: 2, consequences: {max_drawdown: pause}}")

    first = await working.call("limits", "reload", "--by", "ann")
    again = await working.call("limits", "reload", "--by", "ann")

    assert first.code == again.code == 0
    assert "max_open_trades 5 -> 2" in first.out
    assert "consequences.max_drawdown trip -> pause" in first.out
    assert str(file) in first.out
    assert "nothing changed" in again.out
    assert (await in_force(working))["max_open_trades"] == 2


async def test_a_file_with_mistakes_leaves_the_limits_as_they_are(
    working: System, file: Path
) -> None:
    """E1: a bad file keeps the last good one."""
    declare(file, "{max_open_trades: none}")

    answer = await working.call("limits", "reload", "--by", "ann")

    assert answer.code == 2
    assert "TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES is wrong" in answer.err
    assert (await in_force(working))["max_open_trades"] == 5


async def test_a_pause_is_lifted_by_name_and_reason(working: System) -> None:
    lifted = await working.call(
        "limits", "lift", "loss_streak", "--reason", "another market", "--by", "ann"
    )
    nameless = await working.call("limits", "lift", "loss_strike", "--reason", "x", "--by", "ann")
    without = await working.call("limits", "lift", "--by", "ann")

    assert (lifted.code, nameless.code, without.code) == (0, 2, 2)
    assert "lifted: loss_streak" in lifted.out
    assert "there is no code 'loss_strike'" in nameless.err
    assert "--reason" in without.err


async def test_a_worker_notices_a_changed_file_and_keeps_the_last_good_limits(
    working: System, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1: validated fully, then swapped; a bad file keeps the last good one and tells a person."""
    monkeypatch.setattr(limits, "POLL", 0.02)
    settings = Settings.load()
    notifier = working.client.get_workflow_handle(ids.notifier_workflow(working.account))
    key = f"settings/{working.account}/limits"

    async def has(number: int) -> bool:
        return bool((await in_force(working))["max_open_trades"] == number)

    async def is_told() -> bool:
        return key in str((await notifier.query("notices"))["open"])

    async def is_over() -> bool:
        return not await is_told()

    following = asyncio.create_task(limits.follow_limits(working.client, settings))
    try:
        declare(file, "{max_open_trades: 3}")
        await eventually(lambda: has(3))
        declare(file, "{max_open_trades: 4, max_leverage: lots}")
        await eventually(is_told)
        assert await has(3)
        declare(file, "{max_open_trades: 4}")
        await eventually(lambda: has(4))
        await eventually(is_over)
    finally:
        following.cancel()


async def test_limits_that_no_file_declares_are_followed_by_nobody(working: System) -> None:
    async with asyncio.timeout(1):
        await limits.follow_limits(working.client, Settings())
