"""The gate: whether an account may enter the market. Anyone tightens it, only a rearm loosens."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime

from tradewright.domain.market import Value

QUIET_TIME: Final = timedelta(seconds=16)
"""No entry that has read the gate before it closed can land later.

It is sent within 5 s or not at all, and taken within recv_window and the second for clocks.
"""
BETWEEN_READS: Final = timedelta(seconds=1)


class GateState(StrEnum):
    OPEN = "open"
    EXITS_ONLY = "exits_only"
    HALTED = "halted"

    @property
    def meaning(self) -> str:
        """Return what it does and what it leaves alone, for people."""
        return _MEANING[self]


_TIGHTNESS = {GateState.OPEN: 0, GateState.EXITS_ONLY: 1, GateState.HALTED: 2}
_MEANING = {
    GateState.OPEN: "entries are taken; open trades, stops and exits are managed",
    GateState.EXITS_ONLY: (
        "no new entries, and those that wait at the exchange are cancelled; open trades are "
        "managed as always: stops stay and are moved, targets and exits are carried out"
    ),
    GateState.HALTED: (
        "no new entries; orders that could enter are cancelled, every position is closed, and only "
        "a rearm by a named person opens the gate again"
    ),
}


class Gate(Value):
    """The one row per account that is read before every entry."""

    account: str
    state: GateState = GateState.OPEN
    reason: str = ""
    by: str = ""
    at: AwareDatetime
    trip: int = 0
    """Number of the last trip of the kill switch; its orders are named by it."""

    def after(self, wanted: "Gate", *, rearm: bool = False) -> "Gate":
        """Return the gate after *wanted* was asked for: HALTED yields to a rearm alone.

        Safe mode (EXITS_ONLY) may be left again without one; the trip number never falls. A wish
        that is older than the gate does not loosen it: its writing was merely late.
        """
        trip = max(self.trip, wanted.trip)
        is_kept = (self.state is GateState.HALTED and not rearm) or wanted.at < self.at
        if self.is_tighter_than(wanted) and is_kept:
            return self.model_copy(update={"trip": trip})
        return wanted.model_copy(update={"trip": trip})

    def is_tighter_than(self, other: "Gate") -> bool:
        return _TIGHTNESS[self.state] > _TIGHTNESS[other.state]


class FlatProof(Value):
    """What was read since the gate closed: flat twice, the last time when nothing can land."""

    closed_at: AwareDatetime
    reads: int = 0

    def after(self, *, is_flat: bool, asked_at: datetime) -> "FlatProof":
        """Return the proof after a read that was asked for at *asked_at*.

        A read that is not flat takes it all back; a second one that comes too early adds nothing.
        """
        if not is_flat:
            return self.model_copy(update={"reads": 0})
        if self.reads and asked_at < self.closed_at + QUIET_TIME:
            return self
        return self.model_copy(update={"reads": self.reads + 1})

    @property
    def is_given(self) -> bool:
        return self.reads >= 2

    def pause(self, now: datetime) -> timedelta:
        """Return how long to wait before the read that may be the last."""
        return max(self.closed_at + QUIET_TIME - now, BETWEEN_READS)
