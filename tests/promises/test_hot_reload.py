"""A saved preset is what runs, whoever dies meanwhile, and no open trade ever notices.

One system whose worker watches a folder; each test has presets and symbols of its own in it.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.promises.preset_at_work import STOP, PresetAtWork
from tests.system.conftest import running_system
from tests.system.live_system import LIMITS, LiveSystem, until
from tradewright import ids
from tradewright.app import notice
from tradewright.app.process import ProcessSpec, running
from tradewright.domain.event import EventKind
from tradewright.domain.folder import Standing
from tradewright.domain.plan import Mode
from tradewright.ports import Folders, StrategyStatus
from tradewright.preset import load, loads
from tradewright.settings import Settings

pytestmark = pytest.mark.timeout(300)

BUYS, WAITS = "long: close > 0", "long: close < 0"


@pytest.fixture(scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveSystem]:
    folder = tmp_path_factory.mktemp("watched")
    settings = Settings(limits=LIMITS, presets=folder)
    async with running_system(settings, tmp_path_factory.mktemp("system")) as running:
        yield running


class Saved(PresetAtWork):
    """A preset that is never applied by a command, only saved."""

    def save(self, rules: str, exits: str = STOP, mode: str = "trade") -> str:
        """Write the file, and return the version that it is."""
        text = self.text(rules, exits, mode=mode)
        self.path.write_text(text)
        return loads(text).hash

    async def runs(self, version: str, *, enabled: bool = True) -> StrategyStatus:
        """Wait until that version runs."""

        async def is_so() -> StrategyStatus | None:
            status = await self.status()
            return status if (status.preset_hash, status.enabled) == (version, enabled) else None

        found = await until(is_so)
        assert found is not None
        return found

    async def versions(self) -> list[str]:
        """Return every version that was applied, in order."""
        events = await self.live.journal.events(
            chain=ids.strategy_workflow(self.name), kind=EventKind.STRATEGY_CHANGED
        )
        applied = [row.event.data for row in events if row.event.data["change"] == "applied"]
        return [str(data["version"]) for data in applied]


def saved(live: LiveSystem, name: str, symbol: str) -> Saved:
    assert live.settings.presets is not None
    return Saved(live, name, symbol, live.settings.presets)


async def folders(live: LiveSystem) -> Folders:
    handle = live.client.get_workflow_handle(ids.presets_workflow(live.settings.account))
    return await live.told(handle, "folders", Folders)


async def test_a_saved_file_starts_changes_and_is_deleted_without_touching_its_trade(
    live: LiveSystem,
) -> None:
    """E3, E6: new trades use the new version, open ones keep theirs."""
    work = saved(live, "saved", "BTCUSDT")
    first = work.save(BUYS)
    await work.runs(first)
    handle = await work.trade()

    second = work.save(WAITS, "stop: {fraction: 0.04}")
    await work.runs(second)
    await work.decided()
    changed = (await live.view(handle)).trade
    # Another one stays: an empty folder would be no wish at all
    saved(live, "other", "ETHUSDT").save(WAITS)
    work.path.unlink()
    deleted = await work.runs(second, enabled=False)
    await live.step()
    stays = (await live.view(handle)).trade

    assert (changed.plan.preset_hash, changed.is_final) == (first, False)
    assert (stays.stop, stays.open_qty) == (changed.stop, changed.open_qty)
    assert deleted.enabled is False
    shown = await live.command("strategy", "history", work.name)
    assert [line for line in shown.out.splitlines() if "not enabled" in line]
    work.save(WAITS, "stop: {fraction: 0.04}")
    await work.runs(second)
    await live.leave(handle)


async def test_a_file_that_is_not_valid_is_told_everywhere_and_the_last_good_version_runs_on(
    live: LiveSystem,
) -> None:
    """E1: one clear error in log, command and Web UI, and a notification."""
    work = saved(live, "spoiled", "SOLUSDT")
    good = work.save(WAITS)
    await work.runs(good)

    work.path.write_text(work.text("long: fsat > slow"))

    async def is_told() -> str:
        found = (await folders(live)).folders[0]
        return next((f.text for f in found.faults if f.file == work.path.name), "")

    told = await until(is_told)
    after = await work.decided()
    listed = await live.command("strategy", "list")
    planned = await live.command("plan", "--exit-code")
    handle = live.client.get_workflow_handle(ids.presets_workflow(live.settings.account))
    page = await handle.query("__temporal_workflow_metadata")
    log = (live.settings.logs / "worker.jsonl").read_text()

    assert "spoiled.yaml:" in told
    assert "unknown name 'fsat'" in told
    assert (after.preset_hash, after.needs_operator) == (good, "")
    for shown in (listed.out, planned.out, page.current_details):
        assert "unknown name 'fsat'" in shown
    assert planned.code == 3
    assert log.count('"preset_invalid"') == 1

    async def notified() -> bool:
        open_now = (await notice.notices(live.client, live.settings.account)).open
        return any("spoiled goes on as it was" in each.title for each in open_now)

    await until(notified)
    mended = work.save(WAITS, "stop: {fraction: 0.03}")
    await work.runs(mended)
    assert "spoiled.yaml" not in (await live.command("strategy", "list")).out.split("says:")[-1]


async def test_saves_while_the_worker_dies_are_each_applied_once_and_the_last_one_runs(
    live: LiveSystem,
) -> None:
    work = saved(live, "restless", "XRPUSDT")
    await work.runs(work.save(WAITS))

    dead = live.child("worker").pid
    for number in range(30):
        if number == 12:
            await live.kill("worker")
        last = work.save(WAITS, f"stop: {{fraction: 0.0{number + 11}}}")
        await asyncio.sleep(0.1)
    await live.restarted("worker", dead)
    await work.runs(last)

    async def written() -> bool:
        return (await work.versions())[-1:] == [last]

    await until(written)
    versions = await work.versions()
    assert all(before != after for before, after in pairwise(versions))
    assert len(versions) == len(set(versions))


async def test_a_shadow_that_is_saved_as_trade_stays_one_and_a_person_is_told_how(
    live: LiveSystem,
) -> None:
    work = saved(live, "careful", "ADAUSDT")
    await work.runs(work.save(BUYS, mode="shadow"))

    changed = work.save(BUYS, mode="trade")
    status = await work.runs(changed)
    await work.decided(2)

    assert status.mode is Mode.SHADOW
    assert await live.orders("ADAUSDT") == []

    async def told() -> str:
        found = (await folders(live)).folders[0].presets
        return next(each.note for each in found if each.name == work.name)

    assert "tradewright strategy promote careful" in await until(told)


async def test_a_renamed_preset_goes_on_under_its_new_name(live: LiveSystem) -> None:
    work = saved(live, "before", "DOGEUSDT")
    version = work.save(WAITS)
    await work.runs(version)

    renamed = work.path.read_text().replace("name: before", "name: after")
    work.path.write_text(renamed)
    after = saved(live, "after", "DOGEUSDT")
    await after.runs(load(work.path).hash)
    await work.runs(version, enabled=False)

    history = await live.command("strategy", "history", "before")
    assert "renamed after" in history.out


async def test_what_is_applied_by_hand_stays_until_the_file_is_saved_again(
    live: LiveSystem, tmp_path: Path
) -> None:
    work = saved(live, "handmade", "LINKUSDT")
    first = work.save(WAITS)
    await work.runs(first)
    other = tmp_path / "handmade.yaml"
    other.write_text(work.text(WAITS, "stop: {fraction: 0.02}"))

    answer = await live.command("apply", other, "--by", "ann")
    by_hand = (await work.status()).preset_hash
    await live.kill_and_restart("worker")

    await work.decided()
    kept = (await work.status()).preset_hash
    last = work.save(WAITS, "stop: {fraction: 0.01}")
    await work.runs(last)

    assert answer.code == 0, answer
    assert by_hand == load(other).hash == kept != first


async def test_a_second_worker_with_an_older_folder_takes_nothing_back(
    live: LiveSystem, tmp_path: Path
) -> None:
    work = saved(live, "newer", "AVAXUSDT")
    first = work.save(WAITS)
    await work.runs(first)
    older = tmp_path / "older"
    older.mkdir()
    (older / work.path.name).write_text(work.path.read_text())
    second = work.save(WAITS, "stop: {fraction: 0.02}")
    await work.runs(second)
    settings = live.settings.model_copy(
        update={"presets": older, "paper_api_key": None, "paper_api_secret": None}
    )
    other = ProcessSpec(
        name="other",
        argv=(sys.executable, "-m", "tradewright", "worker", "--name", "other"),
        log=tmp_path / "other.log",
        env=settings.environment(),
    )

    async def watches_older() -> Folders | None:
        found = await folders(live)
        watched = found.folders[0]
        is_older = watched.place.endswith(str(older)) and watched.presets
        return found if is_older else None

    async with running(other):
        # Nobody else would take over while the first one lives
        live.child("worker").send(signal.SIGSTOP)
        try:
            found = await until(watches_older)
            kept = await work.status()
            (older / work.path.name).write_text(work.text(WAITS, "stop: {fraction: 0.03}"))
            third = await work.runs(load(older / work.path.name).hash)
        finally:
            live.child("worker").send(signal.SIGCONT)
    assert found is not None
    [left] = [each for each in found.folders[0].presets if each.name == work.name]

    assert (left.standing, kept.preset_hash) == (Standing.LEFT, second)
    assert f"version {second} replaced this one" in left.note
    # Whoever watches again has not changed, and asks for nothing
    await work.decided()
    assert (await work.status()).preset_hash == third.preset_hash
    last = work.save(WAITS, "stop: {fraction: 0.05}")
    await work.runs(last)
