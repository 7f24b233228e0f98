"""JSON Schemas of presets and of the plugins' parameters, for editors and other programs."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tradewright import plugin
from tradewright.preset.model import Preset
from tradewright.preset.section import spelled

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SHIPPED = ("donchian_breakout", "rules")
NONE: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


class PlainNumbers(GenerateJsonSchema):
    """Decimals are written as numbers here, never as text, and durations as people write them."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        found: JsonSchemaValue = {"type": "number"}
        for bound, keyword in (
            ("gt", "exclusiveMinimum"),
            ("ge", "minimum"),
            ("lt", "exclusiveMaximum"),
            ("le", "maximum"),
        ):
            value = schema.get(bound)
            if value is not None:
                number = float(value)  # type: ignore[arg-type]
                found[keyword] = int(number) if number.is_integer() else number
        return found

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return spelled(dft)
        if isinstance(dft, BaseModel):
            return {
                field.alias or name: self.encode_default(getattr(dft, name))
                for name, field in type(dft).model_fields.items()
            }
        encoded = super().encode_default(dft)
        if isinstance(encoded, str) and not isinstance(dft, str):
            return json.loads(encoded)
        return encoded


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a preset."""
    return {
        "$schema": DIALECT,
        "$id": "urn:tradewright:preset:1",
        **Preset.model_json_schema(schema_generator=PlainNumbers),
    }


def plugin_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of `strategy.params` for the plugin *name*."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:tradewright:plugin:{name}",
        **plugin.load(name).Params.model_json_schema(schema_generator=PlainNumbers),
    }


def editor_schema(plugins: Iterable[str]) -> dict[str, Any]:
    """Return the schema that editors are pointed at: of a preset, and of its plugin's parameters.

    It refers to the files beside it.
    """

    def chosen(name: str) -> dict[str, Any]:
        plugin_is = {"properties": {"plugin": {"const": name}}, "required": ["plugin"]}
        params = {"properties": {"params": {"$ref": f"plugins/{name}.schema.json"}}}
        return {
            "if": {"properties": {"strategy": plugin_is}, "required": ["strategy"]},
            "then": {"properties": {"strategy": params}},
        }

    parts = [{"$ref": "preset.schema.json"}, *map(chosen, plugins)]
    return {"$schema": DIALECT, "title": "Preset and parameters", "allOf": parts}


def schema_files(also: Mapping[str, Mapping[str, Any]] = NONE) -> dict[str, str]:
    """Return the text of every file in schemas/, by its path; one for each plugin that loads."""
    by_plugin = {}
    for name in sorted(plugin.installed()):
        try:
            by_plugin[name] = plugin_schema(name)
        except plugin.PluginBroken:
            continue
    schemas: dict[str, Mapping[str, Any]] = {
        "schemas/preset.schema.json": schema(),
        "schemas/editor.schema.json": editor_schema(by_plugin),
        **{f"schemas/plugins/{name}.schema.json": each for name, each in by_plugin.items()},
        **also,
    }
    return {path: json.dumps(content, indent=2) + "\n" for path, content in schemas.items()}


def stale_schemas(root: Path, also: Mapping[str, Mapping[str, Any]] = NONE) -> list[str]:
    """Return the files below *root*/schemas that differ from what the models say.

    Args:
        root: The repository.
        also: Schemas of other documents, by the file that they belong in.
    """
    found = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted((root / "schemas").rglob("*.schema.json"))
    }
    due = schema_files(also)
    return sorted(path for path in found.keys() | due if found.get(path) != due.get(path))


def write_schemas(root: Path, also: Mapping[str, Mapping[str, Any]] = NONE) -> list[str]:
    """Write the schemas below *root*/schemas and return the files that changed."""
    stale = stale_schemas(root, also)
    due = schema_files(also)
    for name in stale:
        path = root / name
        if name not in due:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(due[name], encoding="utf-8")
    return stale
