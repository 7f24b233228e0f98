"""Presets that are checked together: files found, mistakes gathered, names that must differ."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tradewright import preset
from tradewright.domain.errors import TradewrightError
from tradewright.preset import LoadedPreset, PresetFault, document

SUFFIXES: Final = (".yaml", ".yml")


class FolderEmpty(TradewrightError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"folder {path} holds no preset: no file ends in .yaml or .yml")
        self.path = path


def preset_files(paths: Iterable[Path]) -> list[Path]:
    """Return the preset files that *paths* name, those of a folder sorted, each once.

    Raises:
        FolderEmpty: There is none in a folder.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not inside:
            raise FolderEmpty(path)
        found += inside
    return list(dict.fromkeys(found))


class Checked:
    """Presets that were read, and every mistake found in them so far."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files = list(paths)
        self.good: dict[Path, LoadedPreset] = {}
        self.faults: list[PresetFault] = []
        names: dict[str, Path] = {}
        for path in paths:
            try:
                loaded = preset.load(path)
            except preset.PresetInvalid as e:
                self.faults += e.faults
                continue
            name = loaded.preset.name
            if name in names:
                told = f"{name!r} is the name of {names[name]} too; rename one"
                self.faults.append(fault_at(path, loaded.document, ("name",), told))
                continue
            names[name] = path
            self.good[path] = loaded

    def add(self, faults: Iterable[PresetFault]) -> None:
        """Take *faults* of presets that were good until now."""
        for fault in faults:
            self.faults.append(fault)
            self.good.pop(Path(fault.file), None)

    def document(self) -> dict[str, Any]:
        """Return what a program is told."""
        return {
            "valid": not self.faults,
            "presets": [
                {
                    "file": str(path),
                    "name": loaded.preset.name,
                    "hash": loaded.hash,
                    "mode": loaded.preset.mode.value,
                    "enabled": loaded.preset.enabled,
                    "plugin": loaded.preset.strategy.plugin,
                    "symbols": list(loaded.preset.market.symbols),
                    "timeframe": loaded.preset.trigger.timeframe,
                }
                for path, loaded in self.good.items()
            ],
            "faults": [fault.model_dump(mode="json") for fault in self.faults],
        }

    def lines(self, *, listing: bool = True) -> Iterator[str]:
        """Yield what a person is told: the mistakes, and with *listing* what is valid."""
        if self.faults:
            yield preset.render(self.faults)
        if not listing:
            return
        for path, loaded in self.good.items():
            yield f"{path}: valid: {_told(loaded)}"
        valid, all_of_them = len(self.good), len(self.files)
        presets = "1 preset" if all_of_them == 1 else f"{all_of_them} presets"
        faults = "1 mistake" if len(self.faults) == 1 else f"{len(self.faults)} mistakes"
        yield f"{valid} of {presets} valid" + (f", {faults}" if self.faults else "")


def fault_at(path: Path, text: str, where: tuple[str | int, ...], message: str) -> PresetFault:
    """Return the fault at a place of a document that could be read."""
    root, _ = document.parse(text)
    place = root.at(where).place if root else document.START
    return PresetFault(
        file=str(path),
        line=place.line + 1,
        column=place.column + 1,
        path=".".join(map(str, where)),
        message=message,
        excerpt=text.split("\n")[place.line][:200],
    )


def _told(loaded: LoadedPreset) -> str:
    of = loaded.preset
    universe = of.market.universe
    symbols = ", ".join(of.market.symbols) if universe is None else f"top {universe.top}"
    disabled = "" if of.enabled else ", disabled"
    mode = "" if of.mode.value == "trade" else f", {of.mode.value}"
    return f"{of.name}, {symbols} {of.trigger.timeframe}{mode}{disabled}, {loaded.hash}"
