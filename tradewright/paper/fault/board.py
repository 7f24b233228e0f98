"""The faults in force: put there and cleared at any time, with what they did last."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from tradewright.paper.clock import wall
from tradewright.paper.fault.catalogue import AnyFault
from tradewright.paper.fault.judge import Judge, Strike, verdict
from tradewright.paper.fault.kind import Side
from tradewright.paper.fault.request import Maintenance
from tradewright.paper.fault.scenario import Scenario
from tradewright.paper.fault.when import Subject

log = structlog.get_logger(__name__)

RECENT = 200
"""Strikes that are remembered; all are logged."""
_MOST_TEXT = 100
"""Characters that are told of a symbol or a link: nobody has checked yet how long they are."""


class InForce(msgspec.Struct, frozen=True, eq=False):
    judge: Judge
    since: datetime
    """Wall time."""
    begun: Decimal
    """On the monotonic clock, in seconds."""


class FaultBoard:
    """What is to go wrong, asked for every request, order and message."""

    def __init__(
        self,
        market_now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market_now = market_now
        self._monotonic = monotonic
        self._in_force: dict[str, InForce] = {}
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.listeners: list[Callable[[], None]] = []
        """Called when faults were put in force or cleared."""

    def put(self, scenario: Scenario) -> list[str]:
        """Put all faults of *scenario* in force; return their names."""
        names = []
        for fault in scenario.faults:
            name = fault.name or self._free_name(fault.kind)
            entry = InForce(Judge(fault, name, scenario.seed), wall(), self._now())
            self._in_force.pop(name, None)
            self._in_force[name] = entry
            names.append(name)
            log.info("fault_in_force", fault=name, kind=fault.kind, when=when_text(fault))
        self._tell()
        return names

    def clear(self, name: str | None = None) -> list[str]:
        """End the fault of that name, or all; return the names of those that ended."""
        names = list(self._in_force) if name is None else [n for n in self._in_force if n == name]
        for each in names:
            entry = self._in_force.pop(each)
            log.info("fault_cleared", fault=each, strikes=entry.judge.strikes)
        self._tell()
        return names

    @property
    def entries(self) -> tuple[InForce, ...]:
        return tuple(self._in_force.values())

    def holds(self, entry: InForce) -> bool:
        return self._in_force.get(entry.judge.name) is entry

    def any_on(self, side: Side) -> bool:
        return any(entry.judge.fault.side == side for entry in self._in_force.values())

    def strike(self, side: Side, subject: Subject, *, but: Collection[str] = ()) -> list[Strike]:
        """Return what befalls *subject*, no kind of *but*; it is counted and logged with this."""
        entries = [
            e
            for e in self._in_force.values()
            if e.judge.fault.side == side and e.judge.fault.kind not in but
        ]
        return self._strike(entries, subject)

    def strike_with(self, entry: InForce, subject: Subject) -> list[Strike]:
        """Ask one fault alone, as those that begin by themselves."""
        return self._strike([entry], subject) if self.holds(entry) else []

    def is_open(self, entry: InForce) -> bool:
        """Return whether its time has come and is not over."""
        return entry.judge.fault.when.is_open(self._now() - entry.begun, self._market_now())

    def is_over(self, entry: InForce) -> bool:
        """Return whether its time will not come any more."""
        when = entry.judge.fault.when
        return (
            not self.holds(entry)
            or (when.until is not None and self._now() - entry.begun >= when.until)
            or (when.market_until is not None and self._market_now() >= when.market_until)
        )

    def maintenance(self) -> list[tuple[Maintenance, InForce]]:
        """Return the maintenance that goes on now."""
        return [
            (entry.judge.fault, entry)
            for entry in self._in_force.values()
            if isinstance(entry.judge.fault, Maintenance)
            and self.is_open(entry)
            and not entry.judge.is_spent
        ]

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return the faults in force and their last strikes, newest first, for JSON."""
        return {
            "faults": [
                {
                    "name": entry.judge.name,
                    "kind": entry.judge.fault.kind,
                    "when": when_text(entry.judge.fault),
                    "parameters": parameters(entry.judge.fault),
                    "since": _told(entry.since),
                    "matches": entry.judge.matches,
                    "strikes": entry.judge.strikes,
                    "state": self._state(entry),
                }
                for entry in self._in_force.values()
            ],
            "strikes": list(reversed(self._recent)),
        }

    def _strike(self, entries: Iterable[InForce], subject: Subject) -> list[Strike]:
        now = self._now()
        asked = list(entries)
        ages = {entry.judge.name: now - entry.begun for entry in asked}
        judges = [entry.judge for entry in asked]
        strikes = verdict(judges, subject, ages, self._market_now())
        for strike in strikes:
            self._note(strike, subject)
        return strikes

    def _note(self, strike: Strike, subject: Subject) -> None:
        facts = {
            "fault": strike.name,
            "kind": strike.fault.kind,
            "place": subject.place,
            "account": subject.account,
            "symbol": _listed(subject.symbols),
            "order_link_id": _listed(subject.links),
            "effect": strike.effect,
        }
        log.warning("fault_struck", **{key: value for key, value in facts.items() if value})
        self._recent.append({"at": _told(wall()), **facts})

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def _state(self, entry: InForce) -> str:
        if entry.judge.is_spent:
            return "spent"
        if self.is_over(entry):
            return "over"
        return "striking" if self.is_open(entry) else "waiting"

    def _free_name(self, kind: str) -> str:
        name, number = kind.replace("_", "-"), 1
        while (free := name if number == 1 else f"{name}-{number}") in self._in_force:
            number += 1
        return free

    def _now(self) -> Decimal:
        return Decimal(str(self._monotonic()))


def parameters(fault: AnyFault) -> dict[str, Any]:
    """Return what is special about *fault*, as it is written in a scenario."""
    return fault.model_dump(
        mode="json", by_alias=True, exclude={"name", "kind", "when"}, exclude_none=True
    )


def when_text(fault: AnyFault) -> str:
    """Return its filters in one line: ``endpoint=/v5/order/* probability=0.2``."""
    written = fault.when.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return " ".join(f"{key}={value}" for key, value in written.items()) or "always"


def _listed(texts: tuple[str, ...]) -> str:
    return ",".join(text[:_MOST_TEXT] for text in texts[:10])


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
