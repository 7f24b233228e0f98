"""Plugins: found by name, refused kindly, taken at their word about parameters."""

import subprocess
import sys
from decimal import Decimal
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from tradewright import plugin


class Written(plugin.Params):
    whole: int = 1
    exact: Decimal = Field(default=Decimal(1), gt=0)
    rough: float | None = None
    word: str = ""


def _register(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = {
        name: EntryPoint(name, value, plugin.ENTRY_POINT_GROUP) for name, value in values.items()
    }
    monkeypatch.setattr(plugin, "installed", lambda: points)


def test_the_shipped_strategies_are_installed() -> None:
    assert {"rules", "donchian_breakout"} <= plugin.installed().keys()
    assert plugin.load("rules").Params.model_fields.keys() >= {"indicators", "long", "short"}


def test_an_unknown_strategy_is_a_lookup_error_with_the_nearest_name() -> None:
    with pytest.raises(LookupError, match=r"'Rulse' is not installed; did you mean 'rules'\?"):
        plugin.load("Rulse")


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("no_such_module:Thing", "ModuleNotFoundError"),
        ("tradewright.plugin:NoSuchThing", "AttributeError"),
        ("tradewright.plugin:Evaluation", "it has no class Params"),
        ("tests_plugin_without_evaluate:Silent", "it has no method evaluate"),
    ],
)
def test_a_broken_plugin_says_what_is_wrong(
    value: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        Params: ClassVar[type[plugin.Params]] = Written

    module: Any = type(sys)("tests_plugin_without_evaluate")
    module.Silent = Silent
    monkeypatch.setitem(sys.modules, module.__name__, module)
    _register(monkeypatch, odd=value)

    with pytest.raises(plugin.PluginBroken, match=f"'odd' cannot be loaded: .*{detail}"):
        plugin.load("odd")


def test_the_version_is_the_strategys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin.version("rules") == plugin.load("rules").version

    monkeypatch.delattr(plugin.load("rules"), "version")

    distribution = plugin.installed()["rules"].dist
    assert distribution is not None
    assert plugin.version("rules") == distribution.version


@pytest.mark.parametrize(
    "written",
    [
        {"whole": "1"},
        {"whole": True},
        {"whole": Decimal("1.5")},
        {"exact": "0.1"},
        {"exact": False},
        {"exact": Decimal("NaN")},
        {"rough": "1"},
        {"rough": Decimal("Infinity")},
        {"word": 1},
        {"other": 1},
    ],
)
def test_parameters_are_taken_at_their_word(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Written.model_validate(written)


def test_parameters_survive_json() -> None:
    params = Written(whole=2, exact=Decimal("0.1"), rough=0.5, word="x")

    assert Written.model_validate_json(params.model_dump_json()) == params


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert Written.model_validate({"whole": Decimal("2.0"), "exact": 2}).whole == 2


def test_reading_presets_stays_light() -> None:
    code = (
        "import sys, tradewright.preset, tradewright.rules, tradewright.plugin\n"
        "print(sorted({'pandas', 'numpy', 'talib', 'temporalio'} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
