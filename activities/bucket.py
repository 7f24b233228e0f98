"""One rolling window of requests: who may go now, and who waits how long."""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from activities.urgency import Urgency

PERIOD: Final = 1.0
EASY: Final = 0.5
"""Share of what one may use that is free of any delay."""
SHARES: Final[Mapping[Urgency, float]] = {
    Urgency.EXIT: 1.0,
    Urgency.STOP: 0.9,
    Urgency.ENTRY: 0.8,
    Urgency.READ: 0.7,
}
"""How much of a window may be used; the rest is kept for what is more urgent."""
PROBES, FEWEST_PROBES = 0.2, 3
"""Share of what one may use that may be under way while nothing is known of others, or so many."""
PATIENCE: Final = 5.0
"""A pause longer than this is told to who asks, not slept through: activities have time-outs."""
_WOKEN: Final = 0.25
"""Seconds after which one looks again when only an answer can make room, which wakes anyway."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class BucketView:
    name: str
    limit: int | None
    period: float
    used: int
    foreign: int
    """What others have used of the same budget, as far as the last answer shows."""
    waiting: int
    paused_for: float


class Bucket:
    """A rolling window: what is under way counts, and what was answered counts for one period.

    A request is counted by the exchange when it arrives, which is before its answer does: counted
    so, the window is never over its limit, however long the way is. An exit may use all of it, and
    does not believe in what has been under way for longer than the window: it waits only where the
    exchange has just refused, or would refuse.
    """

    def __init__(
        self,
        name: str,
        limit: int | None,
        *,
        period: float = PERIOD,
        is_told: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = name
        self.limit = limit
        """None where nothing but a pause ever holds back."""
        self.period = period
        self.is_metered = True
        """False at a venue that counts nothing: only pauses hold back."""
        self._is_told = is_told
        self._documented = limit
        self._clock = clock
        self._flying: deque[float] = deque()
        self._answered: deque[float] = deque()
        self._last = 0.0
        self._foreign = 0
        self._known_until = 0.0
        self._closed_until = 0.0
        self._pressing_closed_until = 0.0
        self._waiting: list[tuple[Urgency, int, asyncio.Future[float]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, urgency: Urgency) -> float:
        """Wait for room and take it: 0; or the seconds of a pause too long to sit through.

        What was taken is given back by `leave`.
        """
        now = self._clock()
        self._clear()
        if not self._waiting or self._waiting[0][0] > urgency:
            delay = self.delay(urgency, now)
            if delay <= 0:
                self._take(now)
                return 0.0
            if delay > PATIENCE:
                return delay
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._numbers), turn))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() == 0:
                self.leave(now, answered=False)
            raise

    def leave(self, sent: float, *, answered: bool) -> None:
        """Count the end of a request that was let in, at *sent* or a little later."""
        now = self._clock()
        self._expire(now)
        flying = self._flying
        if flying:
            flying.remove(next((at for at in flying if at >= sent), flying[0]))
        if answered:
            self._answered.append(now)
        self._admit()

    def heed(self, limit: int, left: int) -> None:
        """Take what an answer's headers say: the true limit, and what is left of the window."""
        now = self._clock()
        self._expire(now)
        self.limit = limit
        # What is under way may be in the exchange's count already: too many, until it is answered
        self._foreign = max(limit - left - len(self._answered), 0)
        self._known_until = now + self.period
        self._admit()

    def pause(self, seconds: float, *, pressing: float = 0.0) -> None:
        """Let nothing in for so long; exits and stops wait only *pressing* seconds."""
        now = self._clock()
        self._closed_until = max(self._closed_until, now + seconds)
        self._pressing_closed_until = max(self._pressing_closed_until, now + pressing)
        self._admit()

    def reset(self) -> None:
        """Forget pauses and what others use, and believe the documents again."""
        self._closed_until = self._pressing_closed_until = self._known_until = 0.0
        self._foreign, self.limit = 0, self._documented
        self._admit()

    def delay(self, urgency: Urgency, now: float) -> float:
        """Return after how many seconds to look again; at most 0 if a request may go now.

        The first half of what the urgency may use is free; from there the requests are spaced,
        the wider the less is left, up to an even pace at the limit.
        """
        is_pressing = urgency <= Urgency.STOP
        closed = (self._pressing_closed_until if is_pressing else self._closed_until) - now
        if closed > 0 or self.limit is None or not self.is_metered:
            return closed
        self._expire(now)
        if urgency is Urgency.EXIT:
            return self._exit_delay(now, self.limit)
        allowed = max(int(self.limit * SHARES[urgency]), 1)
        if self._is_told and now >= self._known_until:
            self._foreign = 0
            if len(self._flying) >= max(int(allowed * PROBES), FEWEST_PROBES):
                return _WOKEN
        used = len(self._flying) + len(self._answered) + self._foreign
        if used >= allowed:
            if self._answered:
                return self._answered[0] + self.period - now
            return self._known_until - now if self._foreign else _WOKEN
        share = used / allowed
        if share <= EASY:
            return 0.0
        gap = self.period / allowed * (share - EASY) / (1 - EASY)
        return self._last + gap - now

    def view(self) -> BucketView:
        now = self._clock()
        self._expire(now)
        self._clear()
        return BucketView(
            name=self.name,
            limit=self.limit,
            period=self.period,
            used=len(self._flying) + len(self._answered),
            foreign=self._foreign if now < self._known_until else 0,
            waiting=len(self._waiting),
            paused_for=max(self._closed_until - now, 0.0),
        )

    def _exit_delay(self, now: float, limit: int) -> float:
        answered, begin = self._answered, now - self.period
        over = len(answered) + sum(at > begin for at in self._flying) - limit
        if over < 0:
            return 0.0
        return answered[over] - begin if over < len(answered) else _WOKEN

    def _expire(self, now: float) -> None:
        answered, begin = self._answered, now - self.period
        while answered and answered[0] <= begin:
            answered.popleft()

    def _take(self, now: float) -> None:
        self._flying.append(now)
        self._last = now

    def _clear(self) -> None:
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)

    def _admit(self) -> None:
        """Let in who may go, the most urgent first, and look again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            urgency, _, turn = self._waiting[0]
            if turn.done():
                heapq.heappop(self._waiting)
                continue
            now = self._clock()
            delay = self.delay(urgency, now)
            if 0 < delay <= PATIENCE:
                self._timer = turn.get_loop().call_later(delay, self._admit)
                return
            heapq.heappop(self._waiting)
            if delay <= 0:
                self._take(now)
            turn.set_result(max(delay, 0.0))
