"""Scripts: markets that do what a test wants; YAML, read with the place of each mistake."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import count, repeat
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError

from tradewright.domain.market import Symbol
from tradewright.paper.market.act import WAYS, Act, parse_act
from tradewright.plugin import Params
from tradewright.preset import PresetInvalid, reading
from tradewright.preset.document import Node
from tradewright.preset.wording import Mistake, mistakes

_MOST_ACTS = 1000


class Section(Params):
    """A mapping of a script."""


def _known(text: str) -> str:
    parse_act(text)
    return text


def _kind(value: Any) -> str:
    if isinstance(value, Repeat) or (isinstance(value, Mapping) and "repeat" in value):
        return "#repeat"
    return "#together" if isinstance(value, Mapping) else "#act"


ActText = Annotated[str, AfterValidator(_known), Field(examples=list(WAYS))]
Item = Annotated[
    Annotated[ActText, Tag("#act")]
    | Annotated["Repeat", Tag("#repeat")]
    | Annotated[dict[Symbol, ActText], Tag("#together")],
    Discriminator(_kind),
]
"""One act of the first symbol; acts of several symbols at once; or a repetition."""


class Repeat(Section):
    """Acts one after another, again and again."""

    repeat: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["forever"]
    acts: tuple[Item, ...] = Field(min_length=1, max_length=_MOST_ACTS)


Scene = Mapping[str, Act]
"""Acts that begin together, by symbol; it is over when the longest is."""


class Script(Section):
    """Where prices begin, and what they do then; afterwards they stand still."""

    version: Literal[1] = 1
    symbols: dict[Symbol, Annotated[Decimal, Field(gt=0)]] = Field(
        min_length=1, max_length=50, description="Prices at the start. The first symbol acts."
    )
    acts: tuple[Item, ...] = Field(default=(), max_length=_MOST_ACTS)
    beat_ms: int = Field(
        default=100, ge=10, le=60_000, description="How often a moving price moves."
    )
    ends: bool = Field(default=False, description="Whether the market ends with the last act.")

    @classmethod
    def of(cls, *acts: str | Mapping[str, Any], ends: bool = False, **symbols: int | str) -> Self:
        """Return the script that lets *symbols* begin at their prices and do *acts*.

        Example:
            >>> Script.of("fall 3 % in 2 s", "hold 5 s", BTCUSDT=50_000).first
            'BTCUSDT'
        """
        prices = symbols or {"BTCUSDT": 50_000}
        return cls.model_validate(
            {"version": 1, "symbols": prices, "acts": list(acts), "ends": ends}
        )

    @property
    def first(self) -> str:
        return next(iter(self.symbols))

    def scenes(self) -> Iterator[Scene]:
        return scenes(self.acts, self.first)

    def duration_ms(self) -> int | None:
        """Return how long all acts take; None if they never end."""
        return _duration_ms(self.acts)

    def saved(self, path: Path) -> Path:
        """Write the script to *path*, to be named as a market."""
        content = self.model_dump(mode="json")
        content["symbols"] = {s: float(price) for s, price in self.symbols.items()}
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path


class Interlude(Section):
    """Acts to be put into a market that goes on; of its first symbol, unless one is named."""

    symbol: Symbol | None = None
    acts: tuple[Item, ...] = Field(min_length=1, max_length=_MOST_ACTS)

    def strangers(self, known: Collection[str]) -> list[str]:
        """Return the symbols that are not *known*."""
        named = {self.symbol} if self.symbol else set()
        return sorted((named | set(named_symbols(self.acts))) - set(known))


class ScriptInvalid(PresetInvalid):
    """A script cannot be played; `faults` holds every mistake found, in the order of the file."""


def scenes(items: Iterable[Item], first: str) -> Iterator[Scene]:
    """Yield what *items* say, act by act; those without a symbol are of *first*."""
    for item in items:
        if isinstance(item, Repeat):
            for _ in count() if item.repeat == "forever" else repeat(None, item.repeat):
                yield from scenes(item.acts, first)
        elif isinstance(item, str):
            yield {first: parse_act(item)}
        else:
            yield {symbol: parse_act(text) for symbol, text in item.items()}


def named_symbols(items: Iterable[Item]) -> Iterator[str]:
    """Yield the symbols that *items* name, some more than once."""
    for item in items:
        if isinstance(item, Repeat):
            yield from named_symbols(item.acts)
        elif not isinstance(item, str):
            yield from item


def _duration_ms(items: Iterable[Item]) -> int | None:
    whole = 0
    for item in items:
        if isinstance(item, Repeat):
            once = _duration_ms(item.acts)
            if once is None or item.repeat == "forever":
                return None
            whole += once * item.repeat
        else:
            texts = [item] if isinstance(item, str) else item.values()
            whole += max(parse_act(text).duration_ms for text in texts)
    return whole


def load_script(path: Path) -> Script:
    """Read and check the script at *path*.

    Raises:
        ScriptInvalid: With every mistake found, or because the file cannot be read.
    """
    return read_script(reading.read(path, ScriptInvalid), str(path))


def read_script(raw: bytes, source: str = "<script>") -> Script:
    """Check the script that *raw* says; *source* names it in errors.

    Raises:
        ScriptInvalid: With every mistake found.
    """
    text = reading.decoded(raw, source, ScriptInvalid)
    return reading.checked(text, source, _checked, ScriptInvalid)


def _checked(root: Node) -> tuple[Script | None, list[Mistake]]:
    try:
        script = Script.model_validate(root.data)
    except ValidationError as e:
        return None, mistakes(e, root.data, Script)
    found = list(_strangers(root.at(("acts",)), ("acts",), set(script.symbols)))
    if script.acts and _never_ends(script.acts):
        found.append(
            Mistake(("acts",), "a repetition takes no time; let one of its acts take some")
        )
    if script.ends and script.duration_ms() is None:
        found.append(Mistake(("ends",), "a market that repeats forever does not end; remove it"))
    return script, found


def _strangers(node: Node, path: tuple[str | int, ...], known: set[str]) -> Iterator[Mistake]:
    for number, item in node.inner.items():
        place = (*path, number)
        if "repeat" in item.inner:
            yield from _strangers(item.at(("acts",)), (*place, "acts"), known)
            continue
        for symbol in item.inner:
            if symbol not in known:
                message = f"symbol {symbol} has no price in symbols; add it there"
                yield Mistake((*place, symbol), message, at_key=True)


def _never_ends(items: Iterable[Item]) -> bool:
    """Return whether some repetition would go on forever within one moment."""
    return any(
        isinstance(item, Repeat)
        and (_never_ends(item.acts) or (item.repeat == "forever" and _duration_ms(item.acts) == 0))
        for item in items
    )
