"""The gate: whether an account may enter the market. Anyone tightens it, only a rearm loosens."""

from enum import StrEnum

from pydantic import AwareDatetime

from tradewright.domain.market import Value


class GateState(StrEnum):
    OPEN = "open"
    EXITS_ONLY = "exits_only"
    HALTED = "halted"


_TIGHTNESS = {GateState.OPEN: 0, GateState.EXITS_ONLY: 1, GateState.HALTED: 2}


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
        loosens = _TIGHTNESS[wanted.state] < _TIGHTNESS[self.state]
        is_kept = (self.state is GateState.HALTED and not rearm) or wanted.at < self.at
        if loosens and is_kept:
            return self.model_copy(update={"trip": trip})
        return wanted.model_copy(update={"trip": trip})
