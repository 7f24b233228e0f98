"""Pydantic's errors in the words of a person who writes a preset."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tradewright.plugin import ParamsInvalid, suggestion
from tradewright.preset.protection import END, START

Path = tuple[str | int, ...]
TIMES: Final = {
    START: "write a time as 08:00, up to 23:59",
    END: "write a time as 08:00, up to 24:00",
}
"""What to write for patterns that no person wants to read."""


class Mistake(NamedTuple):
    """What is wrong with the value at a path, or at a column of its text."""

    path: Path
    message: str
    column: int | None = None
    at_key: bool = False
    """Whether the key is meant, not the value."""


def mistakes(
    error: ValidationError, data: Any, model: type[BaseModel], prefix: Path = ()
) -> list[Mistake]:
    """Return what *error* says about *data*, which was meant for *model*.

    Args:
        error: From the validation of *data*.
        data: The parsed document, or the part that was validated.
        model: What it was validated against; its keys are suggested.
        prefix: Path of *data* in the document.
    """
    schema = model.model_json_schema()
    details = [(_path(e["loc"], data), e) for e in error.errors(include_url=False)]
    unknown = {path for path, e in details if e["type"] == "extra_forbidden"}
    found = []
    for path, detail in details:
        known = _keys(schema, path[:-1])
        if detail["type"] == "missing" and any(
            other[:-1] == path[:-1] and repr(path[-1]) in suggestion(str(other[-1]), known)
            for other in unknown
        ):
            # The misspelt key tells it already
            continue
        if detail["type"] == "too_short" and any(
            len(other) > len(path) and other[: len(path)] == path for other, _ in details
        ):
            # Pydantic does not count what is wrong in itself
            continue
        found += [
            mistake._replace(path=(*prefix, *mistake.path))
            for mistake in _worded(
                path, detail, known, _choices(schema, path), _kind(schema, data, path[:-1])
            )
        ]
    return found


def _path(location: Path, data: Any) -> Path:
    """Return *location* without what stands in no document: the tags of unions."""
    path: list[str | int] = []
    for number, step in enumerate(location):
        inside = (isinstance(data, Mapping) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            data = data[step]
        elif number < len(location) - 1 or str(step).startswith("#"):
            continue
        path.append(step)
    return tuple(path)


def _keys(schema: dict[str, Any], path: Path) -> frozenset[str]:
    """Return the keys that *schema* allows in the mapping at *path*."""
    return frozenset(key for part in _parts(schema, path) for key in part.get("properties", ()))


def _kind(schema: dict[str, Any], data: Any, path: Path) -> str:
    """Return what says in the mapping at *path* which other keys it takes, such as type: market."""
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping):
        return ""
    ways = [part["properties"] for part in _parts(schema, path) if "properties" in part]
    for way in ways:
        for key, value in way.items():
            # What every way says tells none of them from the others
            is_telling = any(other.get(key) != value for other in ways)
            if is_telling and "const" in value and data.get(key) == value["const"]:
                return f"{key}: {data[key]}"
    return ""


def _choices(schema: dict[str, Any], path: Path) -> list[str]:
    """Return the values that *schema* allows at *path*, where it lists them."""
    found = {
        str(choice)
        for part in _parts(schema, path)
        for choice in part.get("enum", [part["const"]] if "const" in part else [])
    }
    return sorted(found)


def _parts(schema: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the parts of *schema* that speak of *path*, one for each way to write it."""
    found = [*_branches(schema, schema)]
    for step in path:
        found = [branch for below in _below(found, step) for branch in _branches(below, schema)]
    return found


def _branches(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
    yield part
    for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from _branches(choice, schema)


def _below(branches: list[dict[str, Any]], step: str | int) -> Iterator[dict[str, Any]]:
    for branch in branches:
        below = branch.get("properties", {}).get(step)
        if isinstance(step, int):
            below = branch.get("items")
        elif below is None:
            below = branch.get("additionalProperties")
        if isinstance(below, dict):
            yield below


def _worded(
    path: Path, detail: ErrorDetails, known: frozenset[str], choices: list[str], kind: str
) -> Iterator[Mistake]:
    context = detail.get("ctx", {})
    error = context.get("error")
    if isinstance(error, ParamsInvalid):
        for fault in error.faults:
            yield Mistake((*path, *fault.path), *fault[1:])
    elif detail["type"] == "missing":
        yield Mistake(path, "missing; add it", at_key=True)
    elif detail["type"] == "extra_forbidden":
        key = str(path[-1])
        message = f"unknown key {key!r}; {suggestion(key, known)}"
        if key in known:
            others = f"`{kind}`" if kind else "the other keys here"
            message = f"{key!r} does not go with {others}; remove one or the other"
        yield Mistake(path, message, at_key=True)
    elif "at" in context:
        yield Mistake((*path, context["at"]), f"{detail['msg']}; keep one")
    else:
        yield Mistake(path, _phrase(detail, context, choices))


def _phrase(detail: ErrorDetails, context: Mapping[str, Any], choices: list[str]) -> str:
    value = detail["input"]
    shown = f"{value!s}" if not isinstance(value, str) else repr(value[:60])
    match detail["type"]:
        case _ if value is None:
            return "is empty; give a value or remove the key"
        case "literal_error" | "enum":
            # Other ways to write this part may allow other values
            fitting = [choice for choice in choices if repr(choice) in context["expected"]]
            choices = fitting if len(fitting) > 1 else choices
            if len(choices) == 1:
                return f"{shown} does not work; write {choices[0]}"
            if all(choice.isdigit() for choice in choices):
                return f"{shown} does not work; write {', '.join(sorted(choices, key=int))}"
            return f"unknown value {shown}; {suggestion(str(value), choices)}"
        case "string_pattern_mismatch":
            for meant in (value.upper(), value.lower()):
                if re.fullmatch(context["pattern"], meant):
                    return f"{shown} does not fit; did you mean {meant!r}?"
            return f"{shown} does not fit; {_fitting(context['pattern'])}"
        case "string_type":
            return f"{_thing(value)} where text belongs; {_quoting(value)}"
        case "number_type" | "int_type" | "float_type" | "decimal_type":
            return f"{_thing(value)} where a number belongs; write a number without quotes"
        case "bool_type":
            return f"{_thing(value)} where true or false belongs; write one of them"
        case "int_from_float":
            return f"{shown} is not whole; write a whole number"
        case "duration":
            return f"{shown} is not a duration; write 30s, 5m, 1h or 1d"
        case "greater_than":
            return f"{shown} is too small; it must be greater than {context['gt']}"
        case "greater_than_equal":
            return f"{shown} is too small; it must be at least {context['ge']}"
        case "less_than":
            return f"{shown} is too large; it must be less than {context['lt']}"
        case "less_than_equal":
            return f"{shown} is too large; it must be at most {context['le']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{_thing(value)} where a mapping belongs; write key: value lines below it"
        case "tuple_type" | "list_type":
            return f"{_thing(value)} where a list belongs; write [A, B]"
        case "too_short":
            return f"too few; give at least {context['min_length']}"
        case "string_too_long":
            return f"too long; at most {context['max_length']} characters"
        case "too_long":
            return f"{context['actual_length']} are too many; at most {context['max_length']}"
        case "value_error":
            return str(context["error"])
        case _:
            return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}; correct it"


def _fitting(pattern: str) -> str:
    return TIMES.get(pattern) or f"it must match {pattern}"


def _thing(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return f"text {value[:60]!r}"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"the number {value}"


def _quoting(value: Any) -> str:
    return "write text" if isinstance(value, Mapping | list) else "put it in quotes"
