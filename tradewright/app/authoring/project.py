"""A folder of presets of one's own: what `init` and `new` write, never over what is there."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tradewright.app.authoring.template import NAME, modeline, template
from tradewright.domain.errors import TradewrightError

FIRST_PRESET: Final = "my-first"
FIRST_TEMPLATE: Final = "ema-cross"
EDITOR_SETTINGS: Final = {
    "yaml.schemas": {"schemas/editor.schema.json": "strategies/*.yaml"},
    "yaml.validate": True,
    "yaml.completion": True,
    "yaml.hover": True,
}
README: Final = """\
# Presets

Each file in `strategies/` is a preset: what to trade, when to ask which strategy, how to enter
and leave, how much to risk. `schemas/` lets an editor complete and check it while you type.

    tradewright validate strategies/                # every mistake, with its place
    tradewright explain {preset}    # what it means, what it costs
    tradewright try {preset} --candles candles.csv    # what it would have said
    tradewright plan strategies/                    # what applying would change
    tradewright apply strategies/                   # hand it to the running system

`{preset}` begins in `mode: shadow`: it decides and follows its trades on live prices,
and sends nothing. `tradewright new NAME --template T` writes another one; `tradewright new
--list` names the templates. State is kept in `.tradewright/`, which belongs in no repository.
"""


class Made(NamedTuple):
    path: Path
    is_new: bool
    """False: it was there, and was left as it was."""


class PresetExists(TradewrightError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"preset {path} exists already; choose another name, or remove it first")
        self.path = path


class PresetNameInvalid(TradewrightError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"preset name {name!r} does not fit: use 3 to 40 of a-z, 0-9 and the hyphen, "
            "such as btc-trend"
        )


class FolderUnwritable(TradewrightError):
    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        super().__init__(f"{path} cannot be written: {reason}; choose another folder")


def make_project(folder: Path, also: Mapping[str, Mapping[str, Any]]) -> list[Made]:
    """Write a project into *folder*; files that are there are left as they are.

    Args:
        folder: Made if it is not there.
        also: Schemas of other documents, by the file that they belong in.
    """
    from tradewright.preset.schema import schema_files

    preset = folder / "strategies" / f"{FIRST_PRESET}.yaml"
    content = {folder / name: text for name, text in schema_files(also).items()}
    content |= {
        folder / ".vscode" / "settings.json": json.dumps(EDITOR_SETTINGS, indent=2) + "\n",
        folder / ".gitignore": ".tradewright/\n",
        folder / "README.md": README.format(preset=preset.relative_to(folder)),
    }
    try:
        made = [_written(path, text) for path, text in content.items()]
        # Its first line names the schema that stands there by now
        text = template(FIRST_TEMPLATE).preset(FIRST_PRESET, modeline=modeline(preset.parent))
        return [_written(preset, text), *made]
    except OSError as e:
        raise FolderUnwritable(folder, e) from e


def make_preset(
    name: str, template_name: str, folder: Path, *, symbols: Sequence[str] = ()
) -> Path:
    """Write the preset *name* into *folder* and return its path.

    Raises:
        PresetNameInvalid: *name* cannot be a preset's.
        PresetExists: The file is there already.
        TemplateUnknown: There is no such template.
    """
    if not re.fullmatch(NAME, name):
        raise PresetNameInvalid(name)
    text = template(template_name).preset(name, symbols=symbols, modeline=modeline(folder))
    path = folder / f"{name}.yaml"
    try:
        if not _written(path, text).is_new:
            raise PresetExists(path)
    except OSError as e:
        raise FolderUnwritable(path, e) from e
    return path


def _written(path: Path, text: str) -> Made:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return Made(path, is_new=False)
    return Made(path, is_new=True)
