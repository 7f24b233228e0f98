"""A running system and the file of its limits."""

from pathlib import Path

import pytest

from tests.system.conftest import running_system
from tests.system.live_system import LiveSystem, until
from tradewright import ids
from tradewright.domain.account import Limits
from tradewright.settings import Settings

pytestmark = pytest.mark.timeout(180)


async def in_force(live: LiveSystem) -> int:
    desk = live.client.get_workflow_handle(ids.account_workflow(live.settings.account))
    found: Limits = await desk.query("limits", result_type=Limits)
    return found.max_open_trades


def declare(file: Path, max_open_trades: int | str) -> None:
    file.write_text(f"limits: {{max_open_trades: {max_open_trades}}}\n")


async def test_a_changed_file_is_noticed_and_a_spoiled_one_changes_nothing(
    tmp_path: Path,
) -> None:
    """E1: the last good limits stay, also through a worker's death."""
    file = tmp_path / "settings.yaml"
    declare(file, 8)
    async with running_system(Settings.load(file), tmp_path / "home") as live:
        notifier = live.client.get_workflow_handle(ids.notifier_workflow(live.settings.account))
        key = f"settings/{live.settings.account}/limits"

        async def become(number: int) -> None:
            async def is_so() -> bool:
                return await in_force(live) == number

            await until(is_so)

        async def is_told() -> bool:
            return key in str((await notifier.query("notices"))["open"])

        await become(8)
        declare(file, 6)
        await become(6)
        declare(file, "many")
        await until(is_told)
        reloaded = await live.command("limits", "reload", "--by", "ann")
        await live.kill_and_restart("worker")

        async def is_back() -> bool:
            await live.refresh()
            return True

        await until(is_back)
        assert (reloaded.code, await in_force(live)) == (2, 6)
        declare(file, 5)
        await become(5)
