"""What the kill switch is told, and what one run of it hands to the next."""

from collections.abc import Sequence

from pydantic import Field

from tradewright.domain.event import JournalEvent
from tradewright.domain.gate import Gate, GateState
from tradewright.domain.market import Value
from tradewright.domain.notice import Notice


class TripWish(Value):
    """Signal and update `trip`."""

    reason: str = "no reason given"
    by: str = "operator"


class SafeModeWish(Value):
    """Signal and update `safe_mode`: no entries; everything else is still managed."""

    on: bool
    reason: str = ""
    by: str = "operator"


class RearmWish(Value):
    """Signal and update `rearm`: a named person takes the responsibility."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class GateStep(Value):
    """What is to be done next: the gate wanted, and whether it was a rearm."""

    state: GateState
    reason: str
    by: str
    rearm: bool = False


class WishQueue:
    """What is still to be done: trips before all else."""

    def __init__(self, steps: Sequence[GateStep] = ()) -> None:
        self._steps = list(steps)

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def steps(self) -> tuple[GateStep, ...]:
        return tuple(self._steps)

    @property
    def hold_trip(self) -> bool:
        return any(step.state is GateState.HALTED for step in self._steps)

    @property
    def rearm(self) -> GateStep | None:
        """Return the rearm that waits; one that a trip may undo is none."""
        return next((step for step in self._steps if step.rearm and not self.hold_trip), None)

    def append(self, step: GateStep) -> None:
        self._steps.append(step)

    def take(self) -> tuple[GateStep, ...]:
        """Take out what is next: one step, or every trip that waits."""
        trips = [n for n, step in enumerate(self._steps) if step.state is GateState.HALTED]
        if not trips:
            return (self._steps.pop(0),)
        taken, last = tuple(self._steps[n] for n in trips), trips[-1]
        # A wish to open the gate that is older than the last trip knew nothing of it
        older = [step for step in self._steps[:last] if step.state is GateState.EXITS_ONLY]
        self._steps = older + self._steps[last + 1 :]
        return taken

    def forget_openings(self) -> None:
        """Drop what would open the gate: it knew nothing of the trip that has come."""
        self._steps = [step for step in self._steps if step.state is not GateState.OPEN]


class KillSwitchCarried(Value):
    gate: Gate
    steps: tuple[GateStep, ...] = ()
    is_unwritten: bool = False
    rearmed: bool = False
    is_flattening: bool = False
    needs_operator: str = ""
    noted: int = 0
    unwritten: tuple[JournalEvent, ...] = ()
    also: tuple[str, ...] = ()
    next_link: int = 1
    may_land: bool = False
    untold: tuple[Notice, ...] = ()


class KillSwitchStart(Value):
    """Input of `KillSwitchWorkflow`; `carried` is what an earlier run of it hands over."""

    account: str
    carried: KillSwitchCarried | None = None
