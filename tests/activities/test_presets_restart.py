"""Hot reload through restarts, other workers and other people."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from activities.presets_folder import SETTLED
from tests.activities.preset_town import Died, PresetTown, VersionRuns, hash_of, text
from tradewright.domain.folder import Running, Standing


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_a_version_is_applied_once_though_the_worker_dies_while_it_applies_it(
    town: PresetTown, dies: str
) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()
    town.strategies.dies = dies
    town.write("ema.yaml", text(30))

    with pytest.raises(Died):
        await town.settle()
    town.restart()
    await town.settle()

    assert town.strategies.applied == [("ema", hash_of(text(20))), ("ema", hash_of(text(30)))]
    assert town.entry().standing is Standing.APPLIED


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_a_deletion_is_not_lost_with_the_worker(town: PresetTown, dies: str) -> None:
    for name in ("ema", "rsi"):
        town.write(f"{name}.yaml", text(20, name))
    await town.settle()
    town.strategies.dies = dies
    (town.folder / "ema.yaml").unlink()

    with pytest.raises(Died):
        await town.settle()
    town.restart()
    await town.settle()

    assert town.runs() == Running(preset_hash=hash_of(text(20)), enabled=False)
    assert town.entry().standing is Standing.GONE


async def test_what_was_applied_by_hand_in_between_is_not_taken_back(town: PresetTown) -> None:
    """The worker dies after it said what it will do; a person applies another version."""
    town.write("ema.yaml", text(20))
    await town.settle()
    town.strategies.dies = "before"
    town.write("ema.yaml", text(30))
    with pytest.raises(Died):
        await town.settle()

    town.strategies.apply_elsewhere(text(40))
    town.restart()
    await town.settle()
    left = town.entry()
    town.write("ema.yaml", text(50))
    await town.settle()

    assert (left.standing, "was applied meanwhile" in left.note) == (Standing.LEFT, True)
    assert [v for _, v in town.strategies.applied] == [hash_of(text(20)), hash_of(text(50))]


async def test_a_second_worker_with_an_older_folder_takes_nothing_back(
    town: PresetTown, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for period in (20, 30):
        town.write("ema.yaml", text(period))
        await town.settle()
    town.write("rsi.yaml", text(20, "rsi"))
    await town.settle()
    first = town.folder

    town.folder = old
    town.write("ema.yaml", text(20))
    town.restart("there")
    await town.settle()
    left, ran = town.entry(), dict(town.strategies.running_now)
    # It is brought up to date, and then further
    town.write("ema.yaml", text(30))
    await town.settle()
    same = len(town.strategies.applied)
    town.write("ema.yaml", text(40))
    await town.settle()
    # The first one comes back, with the folder that it had
    town.folder = first
    town.restart()
    await town.settle()

    assert (left.standing, f"version {hash_of(text(30))} replaced this one" in left.note) == (
        Standing.LEFT,
        True,
    )
    assert ran["rsi"] == Running(preset_hash=hash_of(text(20, "rsi")))
    assert (same, len(town.strategies.applied)) == (3, 4)
    assert town.runs() == Running(preset_hash=hash_of(text(40)))


async def test_going_back_to_an_earlier_version_is_a_wish_like_any_other(town: PresetTown) -> None:
    for period in (20, 30, 20):
        town.write("ema.yaml", text(period))
        await town.settle()
    town.write("ema.yaml", text(30))
    town.restart()
    await town.settle()

    assert [v for _, v in town.strategies.applied] == [
        hash_of(text(period)) for period in (20, 30, 20, 30)
    ]


async def test_a_strategy_that_a_person_stopped_is_not_started_by_a_restart(
    town: PresetTown,
) -> None:
    town.write("ema.yaml", text(20))
    await town.settle()

    del town.strategies.running_now["ema"]
    for host in ("here", "there"):
        town.restart(host)
        await town.settle()
    stopped = town.runs()
    town.write("ema.yaml", text(30))
    await town.settle()

    assert stopped is None
    assert town.runs() == Running(preset_hash=hash_of(text(30)))


async def test_while_nobody_answers_a_version_waits_and_is_then_applied(town: PresetTown) -> None:
    town.strategies.away = 3
    town.write("ema.yaml", text(20))

    await town.look()
    await town.look(SETTLED * 1.1)
    waiting = town.workflow.of(town.place).waiting
    await town.settle()

    assert waiting.startswith("preset ema: ")
    assert town.workflow.of(town.place).waiting == ""
    assert town.strategies.applied == [("ema", hash_of(text(20)))]


async def test_a_new_file_that_nobody_can_compare_waits_and_is_told(
    town: PresetTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: str) -> bool:
        raise VersionRuns("the journal refuses")

    monkeypatch.setattr(town.strategies, "was_applied", refused)
    town.write("ema.yaml", text(20))
    await town.settle()
    waiting = town.workflow.of(town.place).waiting
    monkeypatch.undo()
    await town.settle()

    assert waiting == "preset ema: the journal refuses"
    assert town.runs() == Running(preset_hash=hash_of(text(20)))


class EditingPresets(RuleBasedStateMachine):
    """Any sequence of edits, deaths and restarts ends in the last valid state of each file."""

    files = st.sampled_from(["one", "two", "three"])
    periods = st.integers(min_value=5, max_value=12)

    def __init__(self) -> None:
        super().__init__()
        self.valid: dict[str, str] = {}
        """Hash of what each file said last that was valid, by its preset."""
        self.removed: set[str] = set()
        self.dormant: set[str] = set()
        """Deleted, and back with what is not valid: no wish to take entries again."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.town = PresetTown(self.place)

    def teardown(self) -> None:
        if hasattr(self, "town"):
            try:
                self._settled()
            finally:
                shutil.rmtree(self.place)

    def _run(self, work: Callable[[], Any]) -> None:
        asyncio.run(work())

    async def _glance(self) -> None:
        try:
            await self.town.look(0.01)
        except Died:
            self.town.restart()

    def _settled(self) -> None:
        """Let the folder come to rest, restarting whoever dies meanwhile."""

        async def work() -> None:
            for _ in range(4):
                try:
                    await self.town.settle()
                    return
                except Died:
                    self.town.restart()
            raise AssertionError("it dies for ever")

        self._run(work)
        there = {p.stem for p in self.town.folder.glob("*.yaml")}
        if there:
            for name in self.removed - there:
                runs = self.town.runs(name)
                assert runs is None or not runs.enabled, f"{name} takes entries though deleted"
        for name, wanted in self.valid.items():
            runs = self.town.runs(name)
            assert runs is not None, f"{name} was lost"
            assert runs.preset_hash == wanted, f"{name} is not as its file said last"
            assert runs.enabled or name not in there or name in self.dormant

    @rule(file=files, period=periods, replace=st.booleans(), settle=st.booleans())
    def save(self, file: str, period: int, replace: bool, settle: bool) -> None:
        said = text(period, file)
        self.town.write(f"{file}.yaml", said, replace=replace)
        self.valid[file] = hash_of(said)
        self.removed.discard(file)
        self.dormant.discard(file)
        if settle:
            self._settled()

    @rule(file=files, cut=st.integers(min_value=0, max_value=200))
    def save_in_two_steps(self, file: str, cut: int) -> None:
        said = text(7, file)
        for part in (said[:cut], said):
            self.town.write(f"{file}.yaml", part)
            self._run(self._glance)
        self.valid[file] = hash_of(said)
        self.removed.discard(file)
        self.dormant.discard(file)

    @rule(file=files, nonsense=st.sampled_from(["", "{", "version: 2\n", "name: 1\n"]))
    def spoil(self, file: str, nonsense: str) -> None:
        self._settled()
        self.town.write(f"{file}.yaml", nonsense)
        if file in self.removed:
            self.dormant.add(file)
        self.removed.discard(file)
        self._settled()

    @rule(file=files)
    def delete(self, file: str) -> None:
        self._settled()
        path = self.town.folder / f"{file}.yaml"
        if path.exists():
            path.unlink()
            self.removed.add(file)
            self._settled()

    @rule(dies=st.sampled_from(["before", "after"]))
    def die_next(self, dies: str) -> None:
        self.town.strategies.dies = dies

    @rule()
    def restart(self) -> None:
        self.town.restart()

    @rule(calls=st.integers(min_value=1, max_value=5))
    def be_away(self, calls: int) -> None:
        self.town.strategies.away = calls


EditingPresets.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

test_any_sequence_of_edits_ends_in_the_last_valid_state = EditingPresets.TestCase
