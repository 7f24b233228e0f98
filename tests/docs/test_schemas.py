"""Schemas are fresh, shipped presets are valid, and schema and model agree on every document."""

import copy
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from pydantic import BaseModel, ValidationError

from tradewright import plugin, preset
from tradewright.paper.schema import schemas as paper_schemas
from tradewright.preset import document
from tradewright.preset.schema import SHIPPED, plugin_schema

ROOT = Path(__file__).parents[2]
PRESETS = sorted(ROOT.glob("strategies/*.yaml"))


def _is_integer(_: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, Decimal) and not value % 1)


# Decimal is the loader's number; the library knows of float only
Checker: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
SCHEMA = Checker(preset.schema())


def _accepts(model: type[BaseModel], data: Any) -> bool:
    try:
        model.model_validate(data)
    except ValidationError:
        return False
    return True


def _data(path: Path) -> dict[str, Any]:
    root, flaws = document.parse(path.read_text())
    assert root is not None
    assert not flaws
    return dict(root.data)


def test_there_are_presets() -> None:
    assert {path.stem for path in PRESETS} >= {"demo-breakout", "demo-ema-cross", "ema-pullback"}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_shipped_preset_is_valid_by_model_and_schema(path: Path) -> None:
    loaded = preset.load(path)

    assert loaded.preset.name == path.stem
    assert [*SCHEMA.iter_errors(_data(path))] == []
    params = Checker(plugin_schema(loaded.preset.strategy.plugin))
    assert [*params.iter_errors(_data(path)["strategy"]["params"])] == []


@pytest.mark.parametrize("page", ["README.md", "docs/presets.md"])
def test_presets_in_the_documents_are_valid(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    shown = [block for block in blocks if "version: 1" in block]

    assert shown
    for block in shown:
        preset.loads(block)
        root, _ = document.parse(block)
        assert root is not None
        assert SCHEMA.is_valid(root.data)


def test_the_committed_schemas_are_the_generated_ones() -> None:
    assert preset.stale_schemas(ROOT, paper_schemas()) == []


def test_stale_missing_and_forgotten_schemas_are_named_and_mended(tmp_path: Path) -> None:
    fresh = preset.write_schemas(tmp_path)
    (tmp_path / fresh[0]).write_text("{}")
    (tmp_path / fresh[1]).unlink()
    (tmp_path / "schemas/plugins/old.schema.json").write_text("{}")

    stale = preset.stale_schemas(tmp_path)

    assert stale == sorted([fresh[0], fresh[1], "schemas/plugins/old.schema.json"])
    assert preset.write_schemas(tmp_path) == stale
    assert preset.stale_schemas(tmp_path) == []


@pytest.mark.parametrize("name", ["preset", *SHIPPED])
def test_a_schema_obeys_its_dialect(name: str) -> None:
    schema = preset.schema() if name == "preset" else plugin_schema(name)

    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_every_key_of_a_preset_is_described_or_named_by_its_section() -> None:
    definitions = preset.schema()["$defs"]

    assert [name for name, each in definitions.items() if "description" not in each] == []


DOCUMENTS = [
    *(_data(path) for path in PRESETS),
    *(_data(path) for path in sorted((ROOT / "tests/docs/presets").glob("*.yaml"))),
]
SCALARS: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 25, 26, 10_001, 10**20),
    *(Decimal("0.05"), Decimal("0.5"), Decimal("1.0"), Decimal("2.50"), Decimal("1E+2")),
    *(Decimal("0.050001"), Decimal("0E-5"), "", "x", "1", "0.1", "main", "BTCUSDT", "atr", "15m"),
    *("30s", "0s", "trade", "linear", "candle", "market", "risk_fraction", "fixed_notional", "é"),
    *("limit", "exchange", "order_book", "shadow", "alert", "volatility_target", "day", "year"),
    *("turnover", "skip", "pause", "mon", "sun", "08:00", "24:00", "25:00", "UTC", "Europe/Berlin"),
    *("Europe/", 50, 200, 201, 1000, "4h", "30d", "99999d", "100000d", "é" * 65, "a/" * 40 + "b"),
]
KEYS = ["fraction", "indicator", "times", "after_r", "r", "notional", "sizing", "risk_fraction"]
KEYS += ["max_candles", "target", "protections", "mode", "extra", "targets", "close_fraction"]
KEYS += ["after_target", "rest_candles", "post_only", "offset", "by", "enabled", "universe"]
KEYS += ["symbols", "depth", "at_most_every", "timeframe", "on", "target_volatility", "per"]
KEYS += ["max_risk_fraction", "scale_by_confidence", "correlation", "max", "share", "candles"]
KEYS += ["stop_guard", "max_drawdown", "losing_symbol", "losses", "within", "pause", "sessions"]
KEYS += ["from", "since", "to", "timezone", "days", "max_spread_bp", "max_slippage_bp", "breaker"]
KEYS += ["failures", "data", "on_bad", "max_age", "outlier_fraction", "exclude", "refresh", "top"]
anything = st.sampled_from(SCALARS) | st.sampled_from(
    [
        *({}, [], {"r": 1}, [{"r": 1}], {"r": 1, "close_fraction": Decimal("0.5")}),
        *({"fraction": Decimal("0.1")}, {"indicator": "atr", "times": 1}, ["BTCUSDT"]),
        {"type": "limit", "expires_after": "30s", "rest_candles": 2},
        *({"top": 5}, {"max": Decimal("0.8")}, {"losses": 2, "within": "1d", "pause": "1h"}),
        *([{}], [{"from": "08:00"}], ["mon"], ["mon", "mon"], {"failures": 2}, {"on_bad": "skip"}),
        *({"on": "candle", "timeframe": "1h"}, {"on": "order_book"}),
    ]
)


def _places(data: Any) -> list[Any]:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    below = [place for each in inner for place in _places(each)]
    return [data, *below] if isinstance(data, dict | list) else below


def _mutate(draw: Any, whole: dict[str, Any]) -> None:
    # What the plugin checks is the plugin's schema's affair
    outside = {key: value for key, value in whole.items() if key != "strategy"}
    place = draw(st.sampled_from([whole, *_places(outside)[1:]]))
    if isinstance(place, list):
        place.append(copy.deepcopy(draw(anything)))
        return
    keys = sorted(place)
    deed = draw(st.sampled_from(["remove", "replace", "add"] if keys else ["add"]))
    if deed == "remove":
        del place[draw(st.sampled_from(keys))]
    elif deed == "replace":
        place[draw(st.sampled_from(keys))] = copy.deepcopy(draw(anything))
    else:
        place[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(anything))


@settings(deadline=None)
@given(st.data())
def test_model_and_schema_agree_on_every_document(data: st.DataObject) -> None:
    changed = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        _mutate(data.draw, changed)

    assert _accepts(preset.Preset, changed) == SCHEMA.is_valid(changed), changed


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["period", "atr_period", "min_width_atr", "extra"]), anything, max_size=3
    )
)
def test_parameters_and_their_schema_agree_on_every_document(params: dict[str, Any]) -> None:
    model = plugin.load("donchian_breakout").Params
    schema = Checker(plugin_schema("donchian_breakout"))

    assert _accepts(model, params) == schema.is_valid(params)


def test_a_document_of_text_alone_is_refused_by_both() -> None:
    assert not _accepts(preset.Preset, "text")
    assert not SCHEMA.is_valid("text")


def _all_keys() -> set[str]:
    whole = preset.schema()
    sections = (whole, *whole["$defs"].values())
    return {key for each in sections for key in each.get("properties", ())}


def test_every_key_is_explained_by_the_page() -> None:
    page = (ROOT / "docs/presets.md").read_text()

    # As code of its own, or in an example
    told = set(re.findall(r"(?:^|[`.{ ])([a-z_]+)[`:,}]", page, re.MULTILINE))
    assert _all_keys() - told == set()


def test_every_key_of_the_schema_stands_in_a_document() -> None:
    """So that the keys that are new are compared, too."""
    places = [place for whole in DOCUMENTS for place in _places(whole)]
    known = {key for place in places if isinstance(place, dict) for key in place}
    assert _all_keys() - known == set()
