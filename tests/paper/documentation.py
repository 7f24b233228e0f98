"""Bybit's documentation as tests read it: tables of fields, and samples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FACTS = Path(__file__).parents[3] / "shared" / "facts" / "bybit"
BY_COIN = ("cumFeeDetail", "availableWithdrawalMap")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "datetime": (str,),
    "integer": (int,),
    "int": (int,),
    "long": (int,),
    "number": (int,),
    "boolean": (bool,),
    "json": (dict,),
    "map": (dict,),
    "object": (dict, type(None)),
    "array": (list, dict),
    "list": (list,),
}
_OF_OPTIONS = re.compile(r"unique field for `?option", re.IGNORECASE)
Tree = dict[str, tuple[str, "Tree"]]


def tree(rows: list[dict[str, str]]) -> Tree:
    """Return the documented fields, nested as their ``>`` marks say."""
    root: Tree = {}
    levels = [root]
    for row in rows:
        if row.get("tab", "linear") != "linear" or _OF_OPTIONS.search(row["Comments"]):
            continue
        name = row["Parameter"].lstrip("> ")
        depth = row["Parameter"].count(">")
        if "[" in name:
            # The documentation spells the items of a plain list like fields
            continue
        children: Tree = {}
        levels[depth:] = [levels[depth], children]
        levels[depth][name] = (row["Type"].lower().split("<")[0], children)
    return root


def mismatches(value: Any, expected: Tree, path: str = "") -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if not expected or not isinstance(item, dict):
            continue
        for name in expected.keys() - item.keys():
            yield f"{path}{name} is missing"
        for name in item.keys() - expected.keys():
            yield f"{path}{name} is not documented"
        for name in expected.keys() & item.keys():
            kind, children = expected[name]
            if type(item[name]) not in TYPES[kind]:
                yield f"{path}{name} is a {type(item[name]).__name__}, documented as {kind}"
            yield from mismatches(item[name], children, f"{path}{name}.")


def lacks(ours: Any, sample: Any, path: str = "") -> Iterator[str]:
    """Yield what *sample* has and *ours* has not, or has in another JSON type."""
    if isinstance(sample, list):
        if sample and isinstance(ours, list) and ours:
            for item in sample:
                yield from lacks(ours[0], item, path)
    elif isinstance(sample, dict):
        if not isinstance(ours, dict):
            yield f"{path} is {ours!r}"
            return
        for name, value in sample.items():
            inner = f"{path}.{name}".lstrip(".")
            if name not in ours:
                yield inner
            elif name not in BY_COIN:
                yield from lacks(ours[name], value, inner)
    elif sample is not None and ours is not None and type(ours) is not type(sample):
        yield f"{path} is {ours!r}, not like {sample!r}"


def linear_samples(stem: str) -> list[Path]:
    """Return the samples of an endpoint: its only one, or those of linear contracts."""
    found = sorted((FACTS / "samples").glob(f"{stem}_*.json"))
    return [
        path
        for path in found
        if len(found) == 1 or json.loads(path.read_text())["result"]["category"] == "linear"
    ]
