"""A circuit breaker per group of endpoints: what does not answer is left alone for a while.

Reads and entries fail at once while it is open. What leaves the market or protects goes through
all the same, and its outcome counts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import structlog

from activities.urgency import Urgency

log = structlog.get_logger(__name__)

FAILURES: Final = 5
"""In a row, before the breaker opens."""
PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds before a probe; doubled by every probe that fails."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One request is under way to find out."""


@dataclass(frozen=True)
class BreakerChange:
    """A breaker has opened, or closed again."""

    group: str
    state: BreakerState
    detail: str
    """Of the last failure."""
    at: datetime


@dataclass(frozen=True)
class BreakerView:
    group: str
    state: BreakerState
    failures: int
    detail: str
    since: datetime
    probe_in: float


OnChange = Callable[[BreakerChange], None]


class Breaker:
    """Counts failures in a row; the caller tells how each request of the group ended."""

    def __init__(
        self, group: str, on_change: OnChange, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.group = group
        self._on_change = on_change
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._since = datetime.now(UTC)
        self._failures = 0
        self._detail = ""
        self._pause = PAUSE
        self._probe_at = 0.0

    @property
    def detail(self) -> str:
        """What failed last."""
        return self._detail

    def closed_for(self, urgency: Urgency) -> float:
        """Return 0 if a request might go now, else the seconds until one may try again."""
        if self._state is BreakerState.CLOSED or urgency <= Urgency.STOP:
            return 0.0
        return max(self._probe_at - self._clock(), 0.0)

    def admit(self, urgency: Urgency) -> float:
        """Return 0 and let the request go, as the probe if one is due; else as `closed_for`."""
        if self._state is BreakerState.CLOSED or urgency <= Urgency.STOP:
            return 0.0
        if wait := self.closed_for(urgency):
            return wait
        # A probe that never tells its end, as one that is cancelled, is followed by another
        self._probe_at = self._clock() + self._pause
        self._state = BreakerState.HALF_OPEN
        return 0.0

    def succeed(self) -> None:
        """Count an answer, whatever it says."""
        if self._state is BreakerState.CLOSED:
            self._failures = 0
        else:
            self._close()

    def fail(self, detail: str) -> None:
        """Count a request that the exchange did not answer as an exchange should."""
        self._failures += 1
        self._detail = detail
        if self._state is BreakerState.CLOSED:
            if self._failures >= FAILURES:
                self._probe_at = self._clock() + self._pause
                self._change(BreakerState.OPEN)
        elif self._state is BreakerState.HALF_OPEN:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._probe_at = self._clock() + self._pause
            self._state = BreakerState.OPEN

    def reset(self) -> None:
        """Close it, and forget what has failed."""
        self._failures = 0
        if self._state is not BreakerState.CLOSED:
            self._close()

    def view(self) -> BreakerView:
        is_open = self._state is not BreakerState.CLOSED
        return BreakerView(
            group=self.group,
            state=self._state,
            failures=self._failures,
            detail=self._detail if self._failures else "",
            since=self._since,
            probe_in=max(self._probe_at - self._clock(), 0.0) if is_open else 0.0,
        )

    def _close(self) -> None:
        self._failures, self._pause, self._probe_at = 0, PAUSE, 0.0
        self._change(BreakerState.CLOSED)

    def _change(self, state: BreakerState) -> None:
        self._state, self._since = state, datetime.now(UTC)
        tell = log.info if state is BreakerState.CLOSED else log.warning
        tell("breaker_changed", group=self.group, state=str(state), detail=self._detail)
        self._on_change(
            BreakerChange(group=self.group, state=state, detail=self._detail, at=self._since)
        )
