"""Presets to begin with, kept beside this module."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from tradewright.domain.errors import TradewrightError
from tradewright.plugin import suggestion

FOLDER: Final = Path(__file__).parent / "templates"
MODELINE: Final = "# yaml-language-server: $schema="
SCHEMA_FILE: Final = Path("schemas/editor.schema.json")
NAME: Final = r"[a-z0-9-]{3,40}"

_NAME_LINE = re.compile(r"^name: .*$", re.MULTILINE)
_PLAIN = re.compile(r"(?!(null|true|false)$)[a-z][a-z0-9-]*")
_SYMBOLS = re.compile(r"symbols: \[[^\]]*\]")


class Template(NamedTuple):
    name: str
    summary: str
    """Its first sentence."""
    text: str

    def preset(self, name: str, *, symbols: Iterable[str] = (), modeline: str = "") -> str:
        """Return the template as the preset *name*, for *symbols* if any are given."""
        # 123, 1e5 and null are no text in YAML
        written = name if _PLAIN.fullmatch(name) else f'"{name}"'
        text = _NAME_LINE.sub(f"name: {written}", self.text, count=1)
        if listed := ", ".join(symbols):
            text = _SYMBOLS.sub(f"symbols: [{listed}]", text, count=1)
        return f"{modeline}\n{text}" if modeline else text


class TemplateUnknown(TradewrightError):
    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no template {name!r}; {suggestion(name, known)}")
        self.name = name


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def template(name: str) -> Template:
    """Return the template *name*.

    Raises:
        TemplateUnknown: There is none of that name.
    """
    known = names()
    if name not in known:
        raise TemplateUnknown(name, known)
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    return Template(name, _summary(text), text)


def templates() -> list[Template]:
    """Return all of them, by name."""
    return [template(name) for name in names()]


def modeline(folder: Path) -> str:
    """Return the line that tells an editor which schema a preset in *folder* has.

    Empty if neither *folder* nor one above it holds the schema.
    """
    place = folder.absolute()
    for up, above in enumerate((place, *place.parents)):
        if (above / SCHEMA_FILE).is_file():
            return MODELINE + "/".join([*[".."] * up, *SCHEMA_FILE.parts])
    return ""


def _summary(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".") + "."
