"""Whether what was written can be read by what reads now: schemas compared, and kept.

The record holds all that was ever written: keys that are gone stay in it, and a key is only taken
for granted if it was there from the first.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]
Document = Mapping[str, Any]
"""Places (`places`) and the models that they name (`models`)."""

GONE: Final = "gone"
"""Marks a key of a model that was written once and is not any more."""
LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
UNION: Final = ("anyOf", "oneOf")
SAME: Final = ("pattern", "format", "multipleOf", "uniqueItems")
COMPARED: Final = {
    *("$ref", *UNION, "enum", "const", "type", *LOWER, *UPPER, *SAME),
    *("properties", "required", "additionalProperties", "propertyNames", "patternProperties"),
    *("items", "prefixItems", GONE),
}


class Comparison:
    """What of *old* is not read by *new*."""

    def __init__(self, old: Document, new: Document, *, keep_keys: bool = False) -> None:
        """Compare; with *keep_keys* a key that goes is a fault."""
        self._old, self._new = old["models"], new["models"]
        self._keep_keys = keep_keys
        self._found: dict[tuple[str, str], list[str]] = {}

    def faults(self, what: str, old: Schema, new: Schema) -> list[str]:
        """Return what of *old*, told of as *what*, *new* does not read."""
        before, ways = list(_branches(old)), list(_branches(new))
        if len(before) == len(ways) == 1:
            return self._pair(what, old, new)
        return _once(fault for one in before for fault in self._any(what, one, ways))

    @property
    def successors(self) -> Iterator[tuple[str, str]]:
        """The models of old, each with the one that reads it now."""
        return (pair for pair, faults in self._found.items() if not faults)

    def _any(self, what: str, old: Schema, ways: list[Schema]) -> list[str]:
        """Return why none of *ways* reads *old*, or nothing; told of the one that is most alike."""
        tried = []
        for way in sorted(ways, key=lambda way: not _is_alike(old, way)):
            faults = self._pair(what, old, way)
            if not faults:
                return []
            tried.append((not _is_alike(old, way), len(faults), faults))
        is_other, _, faults = min(tried)
        if is_other:
            return [f"{what}: {_label(old)} is not read any more"]
        return faults

    def _pair(self, what: str, old: Schema, new: Schema) -> list[str]:
        if "$ref" not in old or "$ref" not in new:
            one = self._old[_name(old)] if "$ref" in old else old
            other = self._new[_name(new)] if "$ref" in new else new
            is_union = any(word in each for word in UNION for each in (one, other))
            return (self.faults if is_union else self._one)(what, one, other)
        pair = _name(old), _name(new)
        if pair not in self._found:
            # Models that hold themselves: as well as the rest of them is read
            self._found[pair] = []
            models = self._old[pair[0]], self._new[pair[1]]
            self._found[pair] = self.faults(pair[1], *models)
        return self._found[pair]

    def _one(self, what: str, old: Schema, new: Schema) -> list[str]:
        if unknown := (old.keys() | new.keys()) - COMPARED:
            raise ValueError(f"{what}: {', '.join(sorted(unknown))} cannot be compared")
        if not new:
            return []
        if values := _values(old):
            return self._of_values(what, values, new)
        if (known := _values(new)) is not None:
            return [f"{what}: was {_label(old)}, is now one of {', '.join(map(str, known))}"]
        kinds = old.get("type"), new.get("type")
        if kinds[0] != kinds[1] and kinds != ("integer", "number"):
            return [f"{what}: was {_label(old)}, is now {_label(new)}"]
        return [
            *_bounds(what, old, new),
            *self._of_array(what, old, new),
            *self._of_object(what, old, new),
        ]

    def _of_values(self, what: str, values: list[Any], new: Schema) -> list[str]:
        fits = Draft202012Validator({key: each for key, each in new.items() if key != GONE})
        if lost := [str(value) for value in values if not fits.is_valid(value)]:
            return [f"{what}: {', '.join(lost)} is not read any more"]
        return []

    def _of_array(self, what: str, old: Schema, new: Schema) -> list[str]:
        faults = []
        if "items" in new:
            faults += self.faults(f"{what}[]", old.get("items", {}), new["items"])
        before, now = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(before) != len(now):
            return [*faults, f"{what}: had {len(before)} places, has now {len(now)}"]
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            faults += self.faults(f"{what}[{number}]", one, other)
        return faults

    def _of_object(self, what: str, old: Schema, new: Schema) -> list[str]:
        faults = [
            fault
            for word in ("additionalProperties", "propertyNames")
            if word in new
            for fault in self.faults(f"{what}.*", old.get(word, {}), new[word])
        ]
        if "patternProperties" in new and old.get("patternProperties") != new["patternProperties"]:
            faults.append(f"{what}: its keys are others")
        before, now = old.get("properties", {}), new.get("properties", {})
        for key in new.get("required", ()):
            if key not in old.get("required", ()):
                faults.append(f"{what}.{key}: has no default, and was not always written")
        for key in sorted(before.keys() & now.keys()):
            faults += self.faults(f"{what}.{key}", before[key], now[key])
        went = sorted(key for key in before.keys() - now.keys() if not before[key].get(GONE))
        came = sorted(key for key in now.keys() - before.keys() if not now[key].get(GONE))
        if went and "properties" in new and self._keep_keys:
            faults.append(f"{what}: people write {', '.join(went)}, which would be remarked on")
        elif went and came:
            told = f"{', '.join(went)} went and {', '.join(came)} came"
            faults.append(f"{what}: {told}; if that is a new name, what was written is lost")
        return faults


def incompatible(old: Document, new: Document, by_hand: Iterable[str] = ()) -> list[str]:
    """Return what was written as *old* says and is not read as *new* says.

    Args:
        old: The record.
        new: What the code says.
        by_hand: Places where people write.
    """
    compared, kept = Comparison(old, new), Comparison(old, new, keep_keys=True)
    faults = []
    for where, schema in old["places"].items():
        if where in new["places"]:
            comparison = kept if where in by_hand else compared
            faults += comparison.faults(where, schema, new["places"][where])
        elif ": query " not in where:
            # An answer to a question stands in no history
            faults.append(f"{where}: is not known")
    return _once(faults)


def renewed(old: Document, new: Document) -> dict[str, Any]:
    """Return *old* with what *new* writes beside it: what was ever written."""
    comparison = Comparison(old, new)
    for where in old["places"].keys() & new["places"].keys():
        comparison.faults(where, old["places"][where], new["places"][where])
    models = {name: dict(schema) for name, schema in new["models"].items()}
    for before, now in sorted(comparison.successors):
        if "properties" in models[now]:
            models[now] = _both(old["models"][before], models[now])
    places = dict(new["places"])
    for name in list(_named([*places.values(), *models.values()])):
        _bring(name, old["models"], models)
    return {"places": places, "models": dict(sorted(models.items()))}


def _both(old: Schema, new: Schema) -> dict[str, Any]:
    went = {
        key: {**each, GONE: True}
        for key, each in old.get("properties", {}).items()
        if key not in new["properties"]
    }
    always = [key for key in new.get("required", ()) if key in old.get("required", ())]
    properties = dict(sorted({**new["properties"], **went}.items()))
    return {**new, "properties": properties, "required": always}


def _bring(name: str, old: Mapping[str, Schema], models: dict[str, dict[str, Any]]) -> None:
    """Keep the model that only a key names which is gone."""
    if name not in models and name in old:
        models[name] = dict(old[name])
        for other in _named([old[name]]):
            _bring(other, old, models)


def _named(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield _name(schema)
        for each in schema.values():
            yield from _named(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _named(each)


def _bounds(what: str, old: Schema, new: Schema) -> Iterator[str]:
    for word in (*LOWER, *UPPER, *SAME):
        if word not in new or old.get(word) == new[word]:
            continue
        is_wider = word in old and (
            (word in LOWER and old[word] >= new[word]) or (word in UPPER and old[word] <= new[word])
        )
        if not is_wider:
            yield f"{what}: {word} was {old.get(word, 'not said')}, is now {new[word]}"


def _branches(schema: Schema) -> Iterator[Schema]:
    ways = schema.get("anyOf") or schema.get("oneOf")
    if ways is None:
        yield schema
    else:
        for way in ways:
            yield from _branches(way)


def _is_alike(one: Schema, other: Schema) -> bool:
    if "$ref" in one or "$ref" in other:
        return one.get("$ref") == other.get("$ref")
    return one.get("type") == other.get("type")


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _label(schema: Schema) -> str:
    if "$ref" in schema:
        return _name(schema)
    values = _values(schema)
    return str(schema.get("type", "anything")) if values is None else ", ".join(map(str, values))


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).removeprefix("#/$defs/")


def _once(faults: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(faults))
