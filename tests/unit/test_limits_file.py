"""The limits in the settings file: read again, and never in the way of who must not fail."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tradewright.domain.account import Consequence, Limits
from tradewright.settings import RUNNING_FILE, Settings, SettingsInvalid

GOOD = "limits: {max_open_trades: 3, pause: 30m, consequences: {min_balance: pause}}\n"
BAD = "limits: {max_open_trades: many}\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(GOOD)
    return path


def as_child(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)


def test_the_settings_file_is_the_one_whose_limits_are_read_again(file: Path) -> None:
    settings = Settings.load(file)
    file.write_text("limits: {max_open_trades: 4}\n")

    again = settings.reread_limits()

    assert settings.limits_file == file
    assert (settings.limits.max_open_trades, settings.limits.pause) == (3, timedelta(minutes=30))
    assert settings.limits.consequences.min_balance is Consequence.PAUSE
    assert again == Limits(max_open_trades=4)


def test_without_a_file_the_limits_stay_what_they_are() -> None:
    settings = Settings(limits=Limits(max_open_trades=7))

    assert settings.reread_limits() == settings.limits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BAD, "TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES is wrong"),
        ("limits: 5\n", "TRADEWRIGHT_LIMITS is wrong"),
        ("limits: {max_open_trade: 5}\n", "did you mean limits.max_open_trades?"),
        ("limits: {margin_modes: [CROSS]}\n", "TRADEWRIGHT_LIMITS__MARGIN_MODES"),
        ("limits: {pause: soon}\n", "TRADEWRIGHT_LIMITS__PAUSE is wrong"),
        ("limits: [\n", "not valid YAML"),
    ],
)
def test_a_mistake_is_told_by_name(file: Path, text: str, told: str) -> None:
    """E1: validated fully before anything is taken."""
    settings = Settings.load(file)
    file.write_text(text)

    with pytest.raises(SettingsInvalid, match=r"LIMITS|limits|not valid YAML") as fault:
        settings.reread_limits()
    with pytest.raises(SettingsInvalid):
        Settings.load(file)

    assert told in str(fault.value)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES", "9")

    settings = Settings.load(file)

    assert settings.limits.max_open_trades == settings.reread_limits().max_open_trades == 9


def test_a_child_process_reads_the_same_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Settings.load(file)
    as_child(parent, monkeypatch)
    same = Settings.load()
    file.write_text("limits: {max_open_trades: 4}\n")
    restarted = Settings.load()

    assert same.limits == parent.limits
    assert restarted.limits == same.reread_limits() == Limits(max_open_trades=4)


def test_a_spoiled_file_keeps_no_child_process_from_starting(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1: a bad file keeps the last good one, and nobody from the trades that are open."""
    parent = Settings.load(file)
    as_child(parent, monkeypatch)
    file.write_text(BAD)

    child = Settings.load()

    assert child.limits == parent.limits
    with pytest.raises(SettingsInvalid):
        child.reread_limits()


def test_a_spoiled_file_keeps_no_person_from_a_running_system(file: Path, tmp_path: Path) -> None:
    running = tmp_path / RUNNING_FILE
    settings = Settings.load(file)
    running.write_text(json.dumps(settings.document()))
    file.write_text(BAD)

    found = Settings.load(running)

    assert found.limits == settings.limits
    assert found.limits_file == file
