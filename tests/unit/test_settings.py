"""Where settings come from, and what is said of those that cannot be."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tradewright.domain.account import Limits
from tradewright.settings import (
    BYBIT,
    Settings,
    SettingsInvalid,
    TemporalSettings,
    VaultSettings,
    Venue,
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out what a system that runs in this clone has left for its commands."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRADEWRIGHT_")]:
        monkeypatch.delenv(name)


def refusal(**overrides: object) -> str:
    with pytest.raises(SettingsInvalid) as failure:
        Settings.load(**overrides)  # type: ignore[arg-type]
    return str(failure.value)


def test_without_a_word_it_is_paper() -> None:
    assert Settings.load() == Settings(venue=Venue.PAPER)


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "account: file\n"
        "venue: demo\n"
        "temporal: {address: 'file:1', ui_url: 'http://file'}\n"
        "limits: {max_leverage: 1.1}\n"
    )
    monkeypatch.setenv("TRADEWRIGHT_TEMPORAL__ADDRESS", "environment:1")
    monkeypatch.setenv("TRADEWRIGHT_VENUE", "testnet")

    settings = Settings.load(file, venue=Venue.LIVE)

    assert settings.venue is Venue.LIVE
    assert settings.account == "file"
    assert settings.temporal == TemporalSettings(address="environment:1", ui_url="http://file")
    assert str(settings.limits.max_leverage) == "1.1"


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("account: second")
    monkeypatch.setenv("TRADEWRIGHT_SETTINGS", str(file))

    assert Settings.load().account == "second"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing yet\n")

    assert Settings.load(file) == Settings()


def test_a_misspelled_variable_is_refused_with_the_likely_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_VENEU", "paper")

    assert refusal() == "setting TRADEWRIGHT_VENEU is unknown; did you mean TRADEWRIGHT_VENUE?"


def test_a_misspelled_variable_of_a_group_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWRIGHT_TEMPORAL__ADRESS", "elsewhere:7233")

    assert refusal() == (
        "setting TRADEWRIGHT_TEMPORAL__ADRESS is unknown; "
        "did you mean TRADEWRIGHT_TEMPORAL__ADDRESS?"
    )


def test_the_paper_exchange_s_own_variables_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWRIGHT_PAPER_SPEED", "lockstep")

    assert Settings.load() == Settings()


def test_every_wrong_value_gets_a_line_that_says_what_and_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRADEWRIGHT_VENUE", "papr")
    monkeypatch.setenv("TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES", "0")

    assert refusal().splitlines() == [
        "setting TRADEWRIGHT_VENUE is wrong: input should be 'paper', 'demo', 'testnet' or "
        "'live', got 'papr'; correct it in the environment",
        "setting TRADEWRIGHT_LIMITS__MAX_OPEN_TRADES is wrong: input should be greater than or "
        "equal to 1, got '0'; correct it in the environment",
    ]


def test_a_wrong_value_of_the_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("limits: {max_daily_loss_fraction: 5}")

    assert refusal(file=file).endswith(f"got '5'; correct it in {file}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("acount: main", "settings.yaml: key acount is unknown; did you mean account?"),
        ("venue: paper\nvenue: live", ":2:1: not valid YAML: venue twice"),
        ("venue: [paper", "not valid YAML"),
        ("- venue", "is not a mapping"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)

    assert complaint in refusal(file=file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "settings.yaml cannot be read: No such file" in refusal(file=tmp_path / "settings.yaml")


def test_a_refusal_never_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWRIGHT_VAULT__SECRET_ID", "hunter2hunter2")

    message = refusal()

    assert "role_id and secret_id belong together" in message
    assert "hunter2" not in message


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        account="second",
        vault=VaultSettings(role_id="desk", secret_id=SecretStr("s-1"), path="x/{account}"),
        journal=SecretStr("postgresql+asyncpg://u:p@h/d"),
        limits=Limits(max_open_trades=2),
    )

    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert Settings.load() == settings


def test_a_child_in_another_folder_finds_the_same_home(tmp_path: Path) -> None:
    assert Settings().environment()["TRADEWRIGHT_HOME"] == str(tmp_path / ".tradewright")


def test_secrets_are_in_no_repr() -> None:
    settings = Settings(paper_api_secret=SecretStr("deep"), vault=VaultSettings(token="deeper"))

    assert "deep" not in f"{settings!r} {settings.model_dump_json()}"


def test_the_paper_venue_is_one_server() -> None:
    urls = Settings(paper_url="http://127.0.0.1:9/").urls

    assert urls.rest_url == "http://127.0.0.1:9"
    assert urls.public_ws_url == "ws://127.0.0.1:9/v5/public/linear"
    assert urls.private_ws_url == "ws://127.0.0.1:9/v5/private"


@pytest.mark.parametrize("venue", [Venue.DEMO, Venue.TESTNET, Venue.LIVE])
def test_the_other_venues_are_bybit_s(venue: Venue) -> None:
    assert Settings(venue=venue).urls == BYBIT[venue]


def test_no_two_venues_share_a_host_that_takes_orders() -> None:
    every = [urls for venue, urls in BYBIT.items()]

    assert len({urls.rest_url for urls in every}) == len(every)
    assert len({urls.private_ws_url for urls in every}) == len(every)


def test_no_two_venues_share_state(tmp_path: Path) -> None:
    every = [Settings(home=tmp_path, venue=venue) for venue in Venue]

    for attribute in ("state", "logs", "journal_url", "namespace", "vault_path"):
        assert len({getattr(settings, attribute) for settings in every}) == len(every)


def test_a_workflow_s_page_survives_the_slashes_of_its_id() -> None:
    url = Settings().workflow_url("trade/BTCUSDT/twaaaa")

    assert url == "http://127.0.0.1:8233/namespaces/default/workflows/trade%2FBTCUSDT%2Ftwaaaa"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().venue = Venue.LIVE  # type: ignore[misc]
