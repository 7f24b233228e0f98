"""What is carried over the boundaries of workflows: found, so that nothing can be forgotten.

Inputs, messages, answers and results come from the signatures of workflows and activities; what
signals carry, from the shape that their handlers read; what journals and heartbeats hold, from the
calls of `read_back`.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from temporalio import activity, workflow

import tradewright.ports
import workflows

ROOT: Final = Path(__file__).parents[2]
READERS: Final = ("tradewright", "activities")
"""Packages that read back what was written before."""
TOLD: Final = frozenset({"title", "description", "default", "examples", "discriminator"})
"""What a schema says beside what fits it."""


class Carried(NamedTuple):
    where: str
    shape: Any
    by_hand: bool = False
    """People type it: a key that goes is missed."""


class ShapeUnknown(Exception):
    def __init__(self, handler: str) -> None:
        super().__init__(f"signal handler {handler} reads no shape: nobody knows what it takes")


def carried() -> list[Carried]:
    """Return all that crosses a boundary between versions."""
    return [*_of_workflows(), *_of_activities(), *_read_back()]


def schema(found: Sequence[Carried]) -> dict[str, Any]:
    """Return what fits each of *found*, as JSON Schema without what is only told."""
    inputs = [(each.where, "validation", TypeAdapter(each.shape)) for each in found]
    by_place, defined = TypeAdapter.json_schemas(inputs)  # type: ignore[arg-type]
    return {
        "places": {where: _bare(by_place[where, "validation"]) for where, _, _ in inputs},
        "models": {name: _bare(each) for name, each in defined.get("$defs", {}).items()},
    }


def _of_workflows() -> Iterator[Carried]:
    for kind in _classes(workflows):
        found = workflow._Definition.from_class(kind)
        if found is None:
            continue
        name = str(found.name)
        yield from _inputs(f"{name}: start", found.arg_types)
        yield from _answer(f"{name}: result", found.ret_type)
        for update in found.updates.values():
            yield from _inputs(f"{name}: update {update.name}", update.arg_types)
            yield from _answer(f"{name}: update {update.name}, answer", update.ret_type)
        for query in found.queries.values():
            yield from _inputs(f"{name}: query {query.name}", query.arg_types)
            yield from _answer(f"{name}: query {query.name}, answer", query.ret_type)
        for signal in found.signals.values():
            if signal.name is not None:
                shape = next(_shapes(kind, signal.fn), None)
                if shape is None:
                    raise ShapeUnknown(f"{name}.{signal.name}")
                # What has both is for people: one to type, the other for our commands
                yield Carried(f"{name}: signal {signal.name}", shape, signal.name in found.updates)


def _of_activities() -> Iterator[Carried]:
    for port in _classes(tradewright.ports):
        for member in vars(port).values():
            found = activity._Definition.from_callable(member) if callable(member) else None
            if found is not None:
                yield from _inputs(f"activity {found.name}", found.arg_types)
                yield from _answer(f"activity {found.name}, result", found.ret_type)


def _read_back() -> Iterator[Carried]:
    found = {
        name: getattr(import_module(module), name)
        for module, name in _calls_of("read_back")
        # Who reads any shape passes on what its caller names: rows, which migrations look after
        if hasattr(import_module(module), name)
    }
    for name in sorted(found):
        yield Carried(f"read back: {name}", found[name])


def _calls_of(reader: str) -> Iterator[tuple[str, str]]:
    """Return where *reader* is called, and the name of what it is to read."""
    for package in READERS:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if f"{reader}(" not in text:
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(text)):
                match node:
                    case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=shape), *_]):
                        if name == reader:
                            yield module, shape


def _classes(package: Any) -> list[type]:
    """Return the classes that the modules of *package* define, by name."""
    names = [each.name for each in walk_packages(package.__path__, f"{package.__name__}.")]
    return sorted(
        (
            member
            for name in names
            for member in vars(import_module(name)).values()
            if isinstance(member, type) and member.__module__ == name
        ),
        key=lambda kind: kind.__name__,
    )


def _inputs(where: str, shapes: Sequence[Any] | None) -> Iterator[Carried]:
    for number, shape in enumerate(shapes or ()):
        yield Carried(f"{where}, {number + 1}" if number else where, shape)


def _answer(where: str, shape: Any) -> Iterator[Carried]:
    if shape not in (None, type(None)):
        yield Carried(where, shape)


def _shapes(kind: type, handler: Callable[..., Any]) -> Iterator[Any]:
    """Return what *handler*, or the method that it hands its arguments to, reads them as."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(handler)))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        names = [arg.id for arg in call.args if isinstance(arg, ast.Name)]
        if "args" not in names:
            continue
        known: Mapping[str, Any] = inspect.unwrap(handler).__globals__
        yield from (known[name] for name in names if name in known)
        match call.func:
            case ast.Attribute(value=ast.Name(id="self"), attr=method):
                yield from _shapes(kind, getattr(kind, method))


def _bare(said: Any) -> Any:
    """Return the schema *said* without what does not decide about what fits."""
    if isinstance(said, list):
        return [_bare(each) for each in said]
    if not isinstance(said, dict):
        return said
    bare: dict[str, Any] = {}
    for key, value in said.items():
        if key == "properties":
            # Its keys are names, not words of the schema
            bare[key] = {name: _bare(each) for name, each in sorted(value.items())}
        elif key in {"required", "enum"}:
            bare[key] = sorted(value)
        elif key == "additionalProperties":
            # What is not known is left out where it is read
            bare |= {key: _bare(value)} if isinstance(value, dict) else {}
        elif key not in TOLD:
            bare[key] = _bare(value)
    return bare


def by_hand(found: Sequence[Carried]) -> frozenset[str]:
    """Return the places where people write."""
    return frozenset(each.where for each in found if each.by_hand)
