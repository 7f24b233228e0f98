"""`tradewright limits`, and the file that a worker follows."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import System
from tests.cli.scripted import NOW
from tradewright import ids
from tradewright.app import limits
from tradewright.domain.account import Account, Limits, Past, Pause, RefusalCode, Result
from tradewright.settings import Settings

Call = Callable[..., Any]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


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
    async with asyncio.timeout(30):
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


async def paused_by_drawdown(system: System) -> None:
    """Return once the equity of 7000 has paused entries; the peak is 10000."""
    desk = system.client.get_workflow_handle(ids.account_workflow(system.account))
    wish = await desk.query("limits")
    wish["consequences"] |= {"max_drawdown": "pause", "max_daily_loss": "refuse"}
    await desk.execute_update("limits", {"limits": wish, "by": "ann"})
    await desk.execute_update("refresh")
    system.desk.equity = Decimal(7000)

    async def is_paused() -> bool:
        await desk.execute_update("refresh")
        return bool((await desk.query("account"))["pauses"])

    await eventually(is_paused)


async def test_a_pause_is_shown_and_lifted_by_name_and_reason(working: System) -> None:
    await paused_by_drawdown(working)
    lift = ("limits", "lift", "max_drawdown", "--reason", "another market", "--by", "ann")

    status = await working.call("status")
    document = (await working.call("status", "-o", "json")).document["status"]
    lifted = await working.call(*lift)
    again = await working.call(*lift)

    [line] = [line for line in status.out.splitlines() if line.startswith("paused ")]
    assert "(market time) by max_drawdown: equity is 30.00%" in line
    assert [pause["code"] for pause in document["desk"]["pauses"]] == ["max_drawdown"]
    assert document["gate"]["state"] == "open"
    assert (lifted.code, again.code) == (0, 6)
    assert "lifted: the pause by max_drawdown" in lifted.out
    assert "begins anew at 7000.00 USDT, it was 10000.00" in lifted.out
    assert "pauses left: 0" in lifted.out
    assert "nothing to lift: max_drawdown holds no entries back" in again.err


async def test_only_what_pauses_entries_is_lifted_and_only_if_it_does(working: System) -> None:
    other = await working.call("limits", "lift", "gate_closed", "--reason", "x", "--by", "ann")
    none = await working.call("limits", "lift", "--reason", "x", "--by", "ann")
    without = await working.call("limits", "lift", "--by", "ann")

    assert (other.code, none.code, without.code) == (2, 6, 2)
    assert "'gate_closed' cannot be lifted" in other.err
    assert "nothing to lift: nothing is paused" in none.err
    assert "--reason" in without.err


def test_while_paused_the_streak_that_fired_is_shown() -> None:
    pause = Pause(code=RefusalCode.LOSS_STREAK, reason="10 trades in a row have lost", until=NOON)
    book = Account(name="main", started_at=NOON, pauses=(pause,))

    shown = limits.limits_used(book, Limits(loss_streak=10), NOON)

    [line] = [line for line in shown if line.limit == "loss_streak"]
    assert (line.now, line.share) == ("10, paused", Decimal(1))


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
    async with asyncio.timeout(20):
        await limits.follow_limits(working.client, Settings())


async def test_what_a_guard_of_a_preset_counts_is_lifted_of_that_preset(working: System) -> None:
    desk = working.client.get_workflow_handle(ids.account_workflow(working.account))
    working.desk.past = Past(
        results=tuple(
            Result(
                trade_id=f"tw{number}",
                preset=preset,
                symbol="BTCUSDT",
                at=NOW - timedelta(hours=number),
                pnl=Decimal(-10),
                until=NOW + timedelta(days=1),
            )
            for number, preset in ((4, "ema"), (3, "other"), (2, "ema"))
        )
    )
    await desk.execute_update("refresh")
    lift = ("limits", "lift", "stop_guard", "--reason", "mended", "--by", "ann")

    lifted = await working.call(*lift, "--preset", "ema")
    again = await working.call(*lift, "--preset", "ema")
    others = await working.call(*lift)
    pause = await working.call(
        "limits", "lift", "loss_streak", "--preset", "ema", "--reason", "x", "--by", "ann"
    )

    assert (lifted.code, again.code, others.code, pause.code) == (0, 6, 0, 2)
    assert "lifted: losses of ema that count no more: 2" in lifted.out
    assert "nothing to lift: stop_guard counts no loss of ema" in again.err
    assert others.out.splitlines()[0] == "lifted: losses of other that count no more: 1"
    assert "are lifted of one preset" in pause.err
    found = Account.model_validate(await desk.query("account"))
    assert [(each.code, each.preset) for each in found.lifts] == [
        (RefusalCode.STOP_GUARD, "ema"),
        (RefusalCode.STOP_GUARD, ""),
    ]
