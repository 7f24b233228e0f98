"""From a file to a checked preset, or to every mistake in it with its place."""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tradewright import plugin
from tradewright.preset import check, document, reading
from tradewright.preset.document import Flaw, Node
from tradewright.preset.fault import PresetInvalid
from tradewright.preset.model import Preset
from tradewright.preset.place import fault_at
from tradewright.preset.wording import Mistake, mistakes


@dataclass(frozen=True)
class LoadedPreset:
    """A checked preset with all that belongs to it."""

    preset: Preset
    document: str
    """The file's text, as it was read."""
    hash: str
    """Of the document's meaning, the plugin's name and the plugin's version."""
    strategy: plugin.Strategy
    """Ready to evaluate."""


def load(path: Path) -> LoadedPreset:
    """Read and check the preset at *path*.

    Raises:
        PresetInvalid: With every mistake found, or because the file cannot be read.
    """
    text = reading.decoded(reading.read(path, PresetInvalid), str(path), PresetInvalid)
    return loads(text, str(path))


def loads(text: str, source: str = "<preset>") -> LoadedPreset:
    """Check the preset that *text* says; *source* names it in errors.

    Raises:
        PresetInvalid: With every mistake found.
    """
    if len(text) > document.MAX_BYTES:
        flaw = Flaw(document.START, (), document.TOO_LARGE)
        raise PresetInvalid([fault_at("", source, flaw)])

    def checked(root: Node) -> tuple[LoadedPreset | None, list[Mistake]]:
        preset, found = _checked_model(root)
        found += check.contradictions(preset) if preset is not None else ()
        strategy, about_strategy = _checked_strategy(root)
        found += about_strategy
        if strategy is not None:
            found += check.unknown_factors(root, strategy.factor_names)
            found += check.unanswered(preset, strategy) if preset is not None else ()
        if preset is None or strategy is None or found:
            return None, found
        hashed = preset_hash(root.data, preset.strategy.plugin)
        return LoadedPreset(preset, text, hashed, strategy), found

    return reading.checked(text, source, checked, PresetInvalid)


def outlined(text: str, source: str = "<preset>") -> Preset:
    """Return the preset that *text* says, without its strategy, whose code is not imported.

    Raises:
        PresetInvalid: With every mistake but those in what the strategy is told.
    """
    return reading.checked(text, source, _checked_model, PresetInvalid)


def preset_hash(data: dict[str, Any], plugin_name: str) -> str:
    """Return the hash of a preset's meaning: comments, layout and ``1.0`` for ``1`` do not matter.

    Args:
        data: The parsed document.
        plugin_name: Its strategy, whose version is part of the hash.
    """
    parts = (_canonical(data), plugin_name, plugin.version(plugin_name))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _canonical(value: Any) -> str:
    match value:
        case dict():
            items = (f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value))
            return f"{{{','.join(items)}}}"
        case list():
            return f"[{','.join(map(_canonical, value))}]"
        case bool() | str() | None:
            return json.dumps(value)
        case _:
            digits = f"{Decimal(value):f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _checked_model(root: Node) -> tuple[Preset | None, list[Mistake]]:
    try:
        return Preset.model_validate(root.data), []
    except ValidationError as e:
        return None, mistakes(e, root.data, Preset)


def _checked_strategy(root: Node) -> tuple[plugin.Strategy | None, list[Mistake]]:
    """Return the strategy that the document names, even if other parts of it are wrong."""
    name = root.at(("strategy", "plugin")).data
    params = root.at(("strategy",)).inner.get("params")
    given = params.data if params else {}
    if not isinstance(name, str) or not isinstance(given, dict):
        return None, []
    try:
        kind = plugin.load(name)
        return plugin.complete(name, kind(kind.Params.model_validate(given))), []
    except (plugin.PluginUnknown, plugin.PluginBroken) as e:
        return None, [Mistake(("strategy", "plugin"), str(e))]
    except ValidationError as e:
        prefix = ("strategy", "params")
        return None, mistakes(e, given, kind.Params, prefix)
    # Foreign code: a constructor may raise anything, and the person must hear of it
    except Exception as e:
        detail = f"strategy plugin {name!r} refuses the parameters: {type(e).__name__}: {e}"
        return None, [Mistake(("strategy", "params"), f"{detail}; mend the plugin")]
