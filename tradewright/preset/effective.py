"""Every value that a preset comes to, and whether its file says so or a default does."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import Field

from tradewright.domain.market import Value
from tradewright.preset import document
from tradewright.preset.document import Node, Path
from tradewright.preset.loader import LoadedPreset
from tradewright.preset.section import spelled

PARAMS: Final = ("strategy", "params")


class EffectiveValue(Value):
    path: str = Field(description="Dotted path from the root.")
    value: str = Field(description="As a preset would have it; `none` for what is not there.")
    line: int | None = Field(description="Of the file, from 1; None: it is a default.")

    @property
    def origin(self) -> str:
        return "default" if self.line is None else f"line {self.line}"


def effective_values(loaded: LoadedPreset) -> tuple[EffectiveValue, ...]:
    """Return all values, those of the strategy's parameters included, in the order of the model."""
    said = loaded.preset.model_dump(mode="python", by_alias=True)
    params = type(loaded.strategy).Params.model_validate(loaded.preset.strategy.params)
    said["strategy"]["params"] = params.model_dump(mode="python", by_alias=True)
    root, _ = document.parse(loaded.document)
    return tuple(
        EffectiveValue(
            path=".".join(map(str, path)),
            value=_written(value),
            line=None if root is None else _line(root, path),
        )
        for path, value in _leaves(said, ())
        # A strategy says none of what it does not know by leaving it out
        if value is not None or path[:2] != PARAMS
    )


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, number))
    else:
        yield path, value


def _line(root: Node, path: Path) -> int | None:
    node = root
    for step in path:
        if step not in node.inner:
            return None
        node = node.inner[step]
    return node.key_place.line + 1


def _written(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case timedelta():
            return spelled(value)
        case int() | float() | Decimal():
            digits = f"{Decimal(str(value)):f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case list() | tuple() | set() | frozenset():
            return f"[{', '.join(map(_written, value))}]"
        case Mapping():
            return "{}"
        case _:
            # A rule may stand on several lines
            return " ".join(str(value).split())
