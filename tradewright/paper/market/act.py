"""What a script lets a market do, one act at a time, in words such as ``fall 3 % in 2 s``."""

import re
from collections.abc import Callable
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

import msgspec

ZERO = Decimal(0)


class Go(msgspec.Struct, frozen=True):
    """Move evenly to a price: *to*, or by a *part* of the price at the beginning."""

    duration_ms: int
    to: Decimal | None = None
    part: Decimal = ZERO


class Hold(msgspec.Struct, frozen=True):
    duration_ms: int


class Wave(msgspec.Struct, frozen=True):
    """Swing around the price by *part* of it and end where it began."""

    duration_ms: int
    part: Decimal
    period_ms: int


class Gap(msgspec.Struct, frozen=True):
    """Jump to a price; without one, beyond the nearest stop of any position by *part*."""

    to: Decimal | None = None
    part: Decimal = ZERO
    through_stop: bool = False
    duration_ms: int = 0


class Spread(msgspec.Struct, frozen=True):
    ticks: int
    duration_ms: int = 0


class LevelDepth(msgspec.Struct, frozen=True):
    usdt: Decimal | None
    duration_ms: int = 0


class Pin(msgspec.Struct, frozen=True):
    """Let a reference price be *to*, or off the last price by *part* of it."""

    which: Literal["mark", "index"]
    to: Decimal | None = None
    part: Decimal = ZERO
    duration_ms: int = 0


class Rate(msgspec.Struct, frozen=True):
    """Let funding be *rate*: at its next time, or *now*."""

    rate: Decimal
    now: bool = False
    duration_ms: int = 0


class Stand(msgspec.Struct, frozen=True):
    """Stop trading, or go on."""

    halted: bool
    duration_ms: int = 0


Act = Go | Hold | Wave | Gap | Spread | LevelDepth | Pin | Rate | Stand

WAYS = (
    *("fall 3 % in 2 s", "rise 1.5 % in 1 m", "fall to 48000 in 10 s", "move to 51000 in 10 s"),
    *("hold 5 s", "wave 1 % every 10 s for 60 s"),
    *("gap to 48000", "gap down 2 %", "gap through the stop", "gap through the stop by 1 %"),
    *("spread 5 ticks", "depth 10000", "depth unlimited"),
    *("mark 1 % below last", "mark 49000", "mark follows last", "index 0.2 % above last"),
    *("funding 0.01 %", "funding -0.05 % now", "halt", "resume"),
)
"""One example of each act."""

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_PART = rf"{_NUMBER}\s*%"
_TIME = rf"{_NUMBER}\s*(ms|s|m|h)"
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_LONGEST_MS = 30 * 24 * 3_600_000
_FARTHEST = Decimal(10)


class ActUnknown(ValueError):
    def __init__(self, text: str) -> None:
        verbs = sorted({way.split()[0] for way in WAYS})
        near = get_close_matches(text.strip().split(" ")[0].lower(), verbs, n=1)
        like = [way for way in WAYS if way.split()[0] in near]
        advice = f"write {' or '.join(like)}" if like else f"acts begin with {', '.join(verbs)}"
        super().__init__(f"{text[:60]!r} is no act; {advice}")


class ActTooFar(ValueError):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:60]!r} goes too far: a price can fall by less than 100 %, and rise by "
            f"{_FARTHEST * 100:f} % at once; write a smaller part"
        )


def parse_act(text: str) -> Act:
    """Return the act that *text* names.

    Raises:
        ActUnknown: It names none.
        ActTooFar: It leaves no price, or an absurd one.

    Example:
        >>> parse_act("fall 3 % in 2 s")
        Go(duration_ms=2000, to=None, part=Decimal('-0.03'))
    """
    words = " ".join(text.split())
    for pattern, make in _PATTERNS:
        if found := pattern.fullmatch(words):
            act = make(*found.groups())
            # A way of no price, or longer than a month, is surely a slip
            if getattr(act, "to", None) == 0 or act.duration_ms > _LONGEST_MS:
                break
            if not _leaves_a_price(act):
                raise ActTooFar(text)
            return act
    raise ActUnknown(text)


def _leaves_a_price(act: Act) -> bool:
    part: Decimal = getattr(act, "part", ZERO)
    # These go to both sides
    goes_down = isinstance(act, Wave) or (isinstance(act, Gap) and act.through_stop)
    return -1 < (-part if goes_down else part) <= _FARTHEST


def _part(number: str, sign: int = 1) -> Decimal:
    return sign * Decimal(number) / 100


def _ms(number: str, unit: str) -> int:
    return max(1, int(Decimal(number) * _MS[unit]))


def _sign(word: str) -> int:
    return -1 if word in ("fall", "down", "below") else 1


def _way(verb: str, part: str, time: str, unit: str) -> Act:
    return Go(_ms(time, unit), part=_part(part, _sign(verb)))


def _way_to(price: str, time: str, unit: str) -> Act:
    return Go(_ms(time, unit), to=Decimal(price))


def _wave(part: str, every: str, unit: str, time: str, time_unit: str) -> Act:
    return Wave(_ms(time, time_unit), _part(part), _ms(every, unit))


def _through(part: str | None) -> Act:
    return Gap(part=_part(part or "0.5"), through_stop=True)


def _pin(which: Literal["mark", "index"], part: str, word: str) -> Act:
    return Pin(which, part=_part(part, _sign(word)))


_PATTERNS: list[tuple[re.Pattern[str], Callable[..., Act]]] = [
    (re.compile(pattern), make)
    for pattern, make in (
        (rf"(fall|rise) {_PART} in {_TIME}", _way),
        (rf"(?:fall|rise|move) to {_NUMBER} in {_TIME}", _way_to),
        (rf"hold {_TIME}", lambda time, unit: Hold(_ms(time, unit))),
        (rf"wave {_PART} every {_TIME} for {_TIME}", _wave),
        (rf"gap to {_NUMBER}", lambda price: Gap(to=Decimal(price))),
        (rf"gap (down|up) {_PART}", lambda way, part: Gap(part=_part(part, _sign(way)))),
        (rf"gap through the stop(?: by {_PART})?", _through),
        (r"spread ([0-9]{1,4}) ticks?", lambda ticks: Spread(int(ticks))),
        (rf"depth {_NUMBER}", lambda usdt: LevelDepth(Decimal(usdt))),
        (r"depth unlimited", lambda: LevelDepth(None)),
        (rf"(mark|index) {_PART} (below|above) last", _pin),
        (rf"(mark|index) {_NUMBER}", lambda which, price: Pin(which, to=Decimal(price))),
        (r"(mark|index) follows last", Pin),
        (
            rf"funding (-?){_PART}( now)?",
            lambda sign, part, now: Rate(_part(part, -1 if sign else 1), now is not None),
        ),
        (r"halt", lambda: Stand(halted=True)),
        (r"resume", lambda: Stand(halted=False)),
    )
]
