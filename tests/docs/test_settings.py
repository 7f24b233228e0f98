"""The page on settings says what the models say."""

from pathlib import Path

import yaml

from tradewright.cli.settings import EXAMPLE, page
from tradewright.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_settings_is_fresh() -> None:
    shown = (DOCS / "settings.md").read_text("utf-8")

    assert shown == page(), "run `python -m tradewright.cli.settings docs/settings.md`"


def test_every_setting_has_a_meaning() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]

    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_example_of_settings_is_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(EXAMPLE, "utf-8")

    settings = Settings.load(file)

    assert len(EXAMPLE.splitlines()) == 10
    assert settings.limits.max_position_notional == 1000
    assert settings.notify.receivers[0].name == "night"
    assert Settings(snapshot_every="45s").snapshot_every.total_seconds() == 45
    assert set(yaml.safe_load(EXAMPLE)) < set(Settings.model_fields)
