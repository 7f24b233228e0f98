"""Strict YAML: one document of mappings, lists and YAML 1.2 scalars, with the place of each.

PyYAML reads YAML 1.1, where ``no`` is false, ``012`` is ten and ``1:30`` is ninety, keeps the
last of two equal keys, and follows aliases. So its C scanner is used for events only; the
tree, the scalars and the bounds are ours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import yaml

MAX_BYTES = 64 * 1024
TOO_LARGE = f"larger than {MAX_BYTES // 1024} KiB; split it"
MAX_DEPTH = 12
MAX_DIGITS = 40
MAX_EXPONENT = 30

# Control characters, half surrogates, the byte order mark, and line ends that editors do not show
_FOREIGN = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
    r"\U00010000-\U0010ffff]|\r(?!\n)"
)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, Any] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the text, all counted from 0; *index* in characters."""

    line: int
    column: int
    index: int


START = Place(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A mistake in the YAML itself."""

    place: Place
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document: plain data, where it stands, and the nodes inside it."""

    data: Any
    place: Place
    key_place: Place
    """Where its key stands; its own place if it has none."""
    inner: dict[str | int, "Node"]

    def at(self, path: Path) -> "Node":
        """Return the node at *path*, or the deepest one on the way there."""
        node = self
        for step in path:
            if step not in node.inner:
                break
            node = node.inner[step]
        return node


def decode(raw: bytes) -> str | Flaw:
    """Return the text of a file, or why it is none."""
    if len(raw) > MAX_BYTES:
        return Flaw(START, (), TOO_LARGE)
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return Flaw(START, (), "begins with a byte order mark; save it as UTF-8 without one")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        before = raw[: e.start].decode("utf-8")
        place = place_of(before, len(before))
        return Flaw(place, (), f"byte 0x{raw[e.start]:02x} is not UTF-8; save the file as UTF-8")


def parse(text: str) -> tuple[Node | None, list[Flaw]]:
    """Return the tree of *text* and all its flaws; no tree if the YAML cannot be read."""
    if foreign := _FOREIGN.search(text):
        code = f"U+{ord(foreign[0]):04X}"
        place = place_of(text, foreign.start())
        return None, [Flaw(place, (), f"character {code} is not allowed; remove it")]
    reader = _Reader()
    try:
        node = reader.document(iter(yaml.parse(text, Loader=yaml.CSafeLoader)))
    except yaml.MarkedYAMLError as e:
        return None, [*reader.flaws, _syntax_flaw(text, e)]
    except _Unreadable:
        return None, reader.flaws
    return node, reader.flaws


def place_of(text: str, index: int) -> Place:
    """Return the place of the character at *index*."""
    before = text[:index]
    line = before.count("\n")
    return Place(line, index - (before.rfind("\n") + 1), index)


def place_inside(text: str, node: Node, offset: int) -> Place:
    """Return where the character at *offset* of the scalar *node* stands in the file.

    Quotes, indentation and folded line ends stand in the file but not in the value: the
    characters that are no space stand in both, in the same order.
    """
    index = node.place.index
    if text[index : index + 1] in {"|", ">"}:
        index = text.find("\n", index) + 1
    elif text[index : index + 1] in {'"', "'"}:
        index += 1
    wanted = str(node.data)[: offset + 1]
    for character in wanted.rstrip() if wanted[-1:].isspace() else wanted:
        if character.isspace():
            continue
        found = text.find(character, index)
        if found < 0:
            return node.place
        index = found + 1
    return place_of(text, max(index - 1, node.place.index) + (offset >= len(str(node.data))))


class _Unreadable(Exception):
    """Nothing more can be learnt from the events."""


class _Reader:
    def __init__(self) -> None:
        self.flaws: list[Flaw] = []

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        next(events)
        first = next(events)
        if isinstance(first, yaml.StreamEndEvent):
            self._flaw(START, (), "the file is empty; begin with version: 1")
            return None
        if isinstance(first, yaml.DocumentStartEvent) and (first.version or first.tags):
            self._flaw(
                START, (), "directives are not supported; remove the lines that begin with %"
            )
        root = self._node(next(events), events, (), None)
        next(events)
        if not isinstance(after := next(events), yaml.StreamEndEvent):
            self._flaw(_place(after), (), "a second document begins; keep one per file")
        if root.data is None:
            self._flaw(START, (), "the file is empty; begin with version: 1")
            return None
        if not isinstance(root.data, dict):
            self._flaw(root.place, (), "not a mapping; write key: value lines")
            return None
        return root

    def _flaw(self, place: Place, path: Path, message: str) -> None:
        self.flaws.append(Flaw(place, path, message))

    def _node(
        self, event: yaml.Event, events: Iterator[yaml.Event], path: Path, key: Place | None
    ) -> Node:
        place = _place(event)
        key_place = key or place
        if len(path) > MAX_DEPTH:
            self._flaw(place, path, f"nested deeper than {MAX_DEPTH}; flatten it")
            raise _Unreadable
        if isinstance(event, yaml.AliasEvent):
            self._flaw(place, path, f"alias *{event.anchor} is not supported; write the value out")
            return Node(None, place, key_place, {})
        assert isinstance(  # noqa: S101 - the scanner opens every node with one of these
            event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent
        )
        if event.anchor:
            self._flaw(place, path, f"anchor &{event.anchor} is not supported; write the value out")
        if event.tag is not None:
            self._flaw(place, path, f"tag {event.tag} is not supported; write a plain value")
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event, place, path), place, key_place, {})
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, place, key_place, path)
        return self._mapping(events, place, key_place, path)

    def _sequence(
        self, events: Iterator[yaml.Event], place: Place, key_place: Place, path: Path
    ) -> Node:
        inner: dict[str | int, Node] = {}
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            number = len(inner)
            inner[number] = self._node(event, events, (*path, number), None)
        return Node([node.data for node in inner.values()], place, key_place, inner)

    def _mapping(
        self, events: Iterator[yaml.Event], place: Place, key_place: Place, path: Path
    ) -> Node:
        inner: dict[str | int, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, events, path)
            value = self._node(next(events), events, (*path, key or "?"), _place(event))
            if key is None:
                continue
            if key in inner:
                line = inner[key].key_place.line + 1
                self._flaw(
                    _place(event), (*path, key), f"key stands already in line {line}; keep one"
                )
            else:
                inner[key] = value
        return Node({key: node.data for key, node in inner.items()}, place, key_place, inner)

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> str | None:
        node = self._node(event, events, path, None)
        if isinstance(node.data, str) and node.data != "<<":
            return node.data
        if node.data == "<<":
            self._flaw(node.place, path, "merge keys are not supported; write the keys out")
        elif not isinstance(event, yaml.AliasEvent):
            self._flaw(node.place, path, "the key is not text; put a name before the colon")
        return None

    def _scalar(self, event: yaml.ScalarEvent, place: Place, path: Path) -> Any:
        text = event.value
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            self._flaw(place, path, f"{text} is not a finite number; write one")
            return None
        if not (_INT.fullmatch(text) or _FLOAT.fullmatch(text)):
            return text
        if len(text) > MAX_DIGITS:
            self._flaw(place, path, f"a number of more than {MAX_DIGITS} characters; round it")
            return None
        if _INT.fullmatch(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = Decimal(text)
        if number and abs(number.adjusted()) > MAX_EXPONENT:
            self._flaw(place, path, f"{text} is out of range; stay within 1e±{MAX_EXPONENT}")
            return None
        return number


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line, mark.column, mark.index) if mark else START


def _syntax_flaw(text: str, error: yaml.MarkedYAMLError) -> Flaw:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line, mark.column, mark.index) if mark else START
    line = text.split("\n")[place.line] if place.line <= text.count("\n") else ""
    lead = line[: len(line) - len(line.lstrip())]
    if "\t" in lead:
        column = line.index("\t")
        return Flaw(
            Place(place.line, column, 0), (), "a tab in the indentation; indent with spaces"
        )
    return Flaw(place, (), f"not YAML: {error.problem}; check indentation, colons and brackets")
