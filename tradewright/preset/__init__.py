"""Strategy presets: the YAML files of `strategies/`, read strictly, checked and typed."""

from tradewright.preset.fault import PresetFault, PresetInvalid, render
from tradewright.preset.loader import LoadedPreset, load, loads, outlined
from tradewright.preset.model import Preset
from tradewright.preset.schema import schema, stale_schemas, write_schemas

__all__ = [
    "LoadedPreset",
    "Preset",
    "PresetFault",
    "PresetInvalid",
    "load",
    "loads",
    "outlined",
    "render",
    "schema",
    "stale_schemas",
    "write_schemas",
]
