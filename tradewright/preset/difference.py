"""What differs between two versions of a preset, in meaning rather than in lines."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pydantic import Field

from tradewright.domain.market import Value
from tradewright.preset import document
from tradewright.preset.fault import PresetInvalid
from tradewright.preset.loader import LoadedPreset, loads

UNSET: Final = "unset"

ENTRIES: Final = "from the next candle on"
TRADES: Final = "new trades; open ones keep theirs until `tradewright trade migrate`"
EFFECTS: Final = {
    "enabled": "at once; open trades run on",
    "mode": "new signals; only `tradewright strategy promote` lets it trade",
    "exits": TRADES,
}


class KeyChange(Value):
    """One key that says something else now."""

    path: str = Field(description="Dotted path from the root.")
    before: str = Field(description="As it was; `unset` if it was not there.")
    after: str
    effect: str = Field(description="What the change applies to, and when.")

    def __str__(self) -> str:
        return f"{self.path}: {self.before} -> {self.after}"


def difference(before: str, after: str) -> tuple[KeyChange, ...]:
    """Return what differs between two documents, with all defaults filled in.

    Comments, layout, order of keys and a default that is written out are no difference. Lists of
    plain values are compared as sets.

    Args:
        before: The text of a preset that was valid once; a plugin may be newer than it.
        after: The text of another, valid or not.
    """
    return tuple(_differing(meaning(before), meaning(after), ()))


def meaning(text: str) -> dict[str, Any]:
    """Return what *text* says with its defaults; as it is written if it is not valid any more."""
    try:
        return effective(loads(text))
    except PresetInvalid:
        root, _ = document.parse(text)
        return dict(root.data) if root else {}


def effective(loaded: LoadedPreset) -> dict[str, Any]:
    """Return every value of a preset, those of its strategy included."""
    said = loaded.preset.model_dump(mode="python", by_alias=True)
    params = type(loaded.strategy).Params.model_validate(loaded.preset.strategy.params)
    said["strategy"]["params"] = params.model_dump(mode="python", by_alias=True)
    return said


def _differing(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[KeyChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _differing(before.get(key), after.get(key), (*path, str(key)))
    elif _is_list(before) and _is_list(after) and not _are_plain(before, after):
        for number in range(max(len(before), len(after))):
            yield from _differing(
                before[number] if number < len(before) else None,
                after[number] if number < len(after) else None,
                (*path, str(number)),
            )
    elif _spelled(before) != _spelled(after):
        told = _lists(before, after) if _is_list(before) and _is_list(after) else None
        was, now = told or (_spelled(before), _spelled(after))
        effect = EFFECTS.get(path[0], ENTRIES) if path else ENTRIES
        yield KeyChange(path=".".join(path), before=was, after=now, effect=effect)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _are_plain(*lists: Sequence[Any]) -> bool:
    return not any(isinstance(each, Mapping) for values in lists for each in values)


def _lists(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, str] | None:
    """Return what left and what came, where the lists are long; None shows them whole."""
    was, now = [_spelled(v) for v in before], [_spelled(v) for v in after]
    gone, come = [v for v in was if v not in now], [v for v in now if v not in was]
    if max(len(was), len(now)) <= 6 or not (gone or come):
        return None
    return (
        f"{len(was)} ({', '.join('-' + v for v in gone) or 'none gone'})",
        f"{len(now)} ({', '.join('+' + v for v in come) or 'none new'})",
    )


def _spelled(value: Any) -> str:
    """Return a value as a preset would have it, equal numbers alike."""
    match value:
        case None:
            return UNSET
        case bool():
            return "true" if value else "false"
        case int() | Decimal() | float():
            digits = f"{Decimal(str(value)):f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case str():
            return str(value)
        case Mapping():
            inner = (f"{key}: {_spelled(v)}" for key, v in value.items() if v is not None)
            return f"{{{', '.join(inner)}}}"
        case Sequence():
            return f"[{', '.join(map(_spelled, value))}]"
        case _:
            return str(value)
