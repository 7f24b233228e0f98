"""Whether a fault strikes, and with what time: decided by its filters, its counts and its seed."""

import random
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from tradewright.paper.fault.catalogue import AnyFault
from tradewright.paper.fault.kind import Layer
from tradewright.paper.fault.when import Subject


class Strike(msgspec.Struct, frozen=True):
    """One fault on one request or message."""

    fault: AnyFault
    name: str
    ms: int = 0
    """Drawn for this strike; 0 where the fault has no time."""

    @property
    def effect(self) -> str:
        return self.fault.effect(self.ms)


class Judge:
    """One fault in force: what it matched, what it struck, and its own chance."""

    def __init__(self, fault: AnyFault, name: str, seed: int) -> None:
        self.fault = fault
        self.name = name
        self.matches = 0
        self.strikes = 0
        own = seed if fault.seed is None else fault.seed
        # Chance that repeats, not secrecy
        self._chance = random.Random(f"{own}/{name}")  # noqa: S311

    @property
    def is_spent(self) -> bool:
        times = self.fault.when.times
        return times is not None and self.strikes >= times

    def decide(self, subject: Subject, elapsed: Decimal, market: datetime) -> Strike | None:
        """Return the strike on *subject*, if there is one.

        Args:
            subject: A request or a message.
            elapsed: Wall-clock seconds since the fault was put in force.
            market: Market time.
        """
        when = self.fault.when
        if self.is_spent or not when.is_open(elapsed, market) or not when.fits(subject):
            return None
        self.matches += 1
        if self.matches <= when.after:
            return None
        # Drawn even where it is certain, so that a changed probability moves no other draw
        if self._chance.random() >= when.probability:
            return None
        self.strikes += 1
        span = self.fault.span
        ms = 0 if span is None else self._chance.randint(span.low, span.high)
        return Strike(self.fault, self.name, ms)


def verdict(
    judges: Iterable[Judge], subject: Subject, ages: dict[str, Decimal], market: datetime
) -> list[Strike]:
    """Return the strikes on *subject*: one per kind, and nothing after it was struck down.

    Faults are asked layer by layer, in each in the order in which they were put in force.
    Within the layers that decide about the answer, one strike is all.
    """
    strikes: list[Strike] = []
    kinds: set[str] = set()
    is_down = is_answered = False
    for judge in sorted(judges, key=lambda judge: judge.fault.layer):
        layer, kind = judge.fault.layer, judge.fault.kind
        if kind in kinds or is_down or (is_answered and layer is Layer.AFTER):
            continue
        strike = judge.decide(subject, ages[judge.name], market)
        if strike is not None:
            strikes.append(strike)
            kinds.add(kind)
            is_down = layer is Layer.BEFORE
            is_answered = layer is Layer.AFTER
    return strikes
