"""What becomes of two who apply the same preset at the same time."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.app.preset_text import PRESET
from tradewright.app import apply as application
from tradewright.app.apply import Change, replace
from tradewright.app.wish import WishRefused
from tradewright.ports import StrategyStatus
from tradewright.preset import loads


class Journal:
    async def preset(self, preset_hash: str) -> None:
        return None

    async def save_preset(self, **_: Any) -> None:
        """Keep nothing."""


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let somebody else start the strategy just before we do."""

    def run(status: StrategyStatus) -> list[Any]:
        told: list[Any] = []

        async def start(*_: Any) -> bool:
            return False

        async def running(*_: Any) -> StrategyStatus:
            return status

        async def tell(*wish: Any, **_: Any) -> StrategyStatus:
            told.append(wish)
            return status

        monkeypatch.setattr(application, "_start", start)
        monkeypatch.setattr(application, "running_strategy", running)
        monkeypatch.setattr(application, "tell", tell)
        return told

    return run


def status(preset_hash: str) -> StrategyStatus:
    loaded = loads(PRESET)
    return StrategyStatus(
        preset=loaded.preset.name,
        preset_hash=preset_hash,
        account="main",
        symbols=("BTCUSDT",),
        timeframe=loaded.preset.trigger.timeframe,
    )


async def test_a_version_that_somebody_started_first_is_not_overwritten_unheard(
    overtake: Any,
) -> None:
    told = overtake(status("beef"))
    nobody: Any = SimpleNamespace()
    journal: Any = Journal()

    with pytest.raises(WishRefused, match="version beef was started meanwhile"):
        await replace(nobody, journal, loads(PRESET), None, by="ann")

    assert told == []


async def test_a_version_that_somebody_started_first_is_not_applied_twice(overtake: Any) -> None:
    loaded = loads(PRESET)
    told = overtake(status(loaded.hash))
    nobody: Any = SimpleNamespace()
    journal: Any = Journal()

    done = await replace(nobody, journal, loaded, None, by="ann")

    assert (done.change, done.before, told) == (Change.UNCHANGED, loaded.hash, [])
