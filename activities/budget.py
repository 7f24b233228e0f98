"""How many requests are left: one bucket per endpoint of the account, and one of the address.

Several processes live on one account's budget, so a bucket believes the exchange: every answer
says how much of the window is used, whoever used it. What is not ours counts like ours.
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from activities.endpoint import ADDRESS, ADDRESS_LIMIT, ADDRESS_PERIOD, Endpoint
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
BUSY_PAUSE: Final = 1.0
BAN_PAUSE, EXIT_BAN_PAUSE, LONGEST_BAN_PAUSE = 60.0, 10.0, 600.0
"""After HTTP 403: Bybit wants ten minutes of silence, which an exit cannot keep; pauses double."""
_WOKEN: Final = 0.25
"""Seconds after which one looks again when only an answer can make room, which wakes anyway."""

LIMIT, LEFT = "X-Bapi-Limit", "X-Bapi-Limit-Status"

Clock = Callable[[], float]
Headers = Mapping[str, str]


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
        self._exits_closed_until = 0.0
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

    def pause(self, seconds: float, *, exits: float = 0.0) -> None:
        """Let nothing in for so long; exits wait only *exits* seconds."""
        now = self._clock()
        self._closed_until = max(self._closed_until, now + seconds)
        self._exits_closed_until = max(self._exits_closed_until, now + exits)
        self._admit()

    def reset(self) -> None:
        """Forget pauses and what others use, and believe the documents again."""
        self._closed_until = self._exits_closed_until = self._known_until = 0.0
        self._foreign, self.limit = 0, self._documented
        self._admit()

    def delay(self, urgency: Urgency, now: float) -> float:
        """Return after how many seconds to look again; at most 0 if a request may go now.

        The first half of what the urgency may use is free; from there the requests are spaced,
        the wider the less is left, up to an even pace at the limit.
        """
        is_exit = urgency is Urgency.EXIT
        closed = (self._exits_closed_until if is_exit else self._closed_until) - now
        if closed > 0 or self.limit is None or not self.is_metered:
            return closed
        self._expire(now)
        if is_exit:
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


class Budget:
    """The buckets of one client; a venue whose answers name no limit is held to none."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._address = Bucket(
            ADDRESS, ADDRESS_LIMIT, period=ADDRESS_PERIOD, is_told=False, clock=clock
        )
        self._buckets: dict[Endpoint, Bucket] = {}
        self._is_metered = True
        self._counts = False
        """Whether an answer has shown that the venue counts."""
        self._ban = BAN_PAUSE
        self._banned_until = 0.0

    async def enter(self, endpoint: Endpoint, urgency: Urgency) -> float:
        """Wait for room: 0; or the seconds of a pause that the exchange has asked for."""
        bucket, begun = self._bucket(endpoint), self._clock()
        if pause := await bucket.enter(urgency):
            return pause
        admitted = False
        try:
            pause = await self._address.enter(urgency)
            admitted = not pause
        finally:
            if not admitted:
                bucket.leave(begun, answered=False)
        return pause

    def leave(self, endpoint: Endpoint, begun: float, headers: Headers | None) -> None:
        """Count the end of a request that began at *begun*; without *headers*, of no answer."""
        answered = headers is not None
        bucket = self._bucket(endpoint)
        self._address.leave(begun, answered=answered)
        bucket.leave(begun, answered=answered)
        if headers is None or endpoint.limit is None:
            return
        try:
            limit, left = int(headers[LIMIT]), int(headers[LEFT])
        except (KeyError, ValueError):
            return
        self._found_counting()
        bucket.heed(limit, left)

    def succeed(self, endpoint: Endpoint, headers: Headers) -> None:
        """Learn from an answer that was no refusal."""
        self._ban = BAN_PAUSE
        if endpoint.limit is not None and LEFT not in headers and not self._counts:
            self._meter(False)

    def refuse(self, endpoint: Endpoint, seconds: float) -> None:
        """Hold everything back for so long: the exchange has refused a request as one too many."""
        self._found_counting()
        self._bucket(endpoint).pause(seconds, exits=seconds)

    def spend(self, endpoint: Endpoint, seconds: float) -> None:
        """Hold back what may wait: this second's budget is used up."""
        self._bucket(endpoint).pause(seconds)

    def calm(self, group: str) -> None:
        """Hold back what may wait in the whole group: the exchange is busy."""
        for endpoint, bucket in self._buckets.items():
            if endpoint.group == group:
                bucket.pause(BUSY_PAUSE)

    def ban(self, urgency: Urgency) -> float:
        """Keep away from the exchange, which has barred the address; return for how long."""
        now = self._clock()
        if now >= self._banned_until:
            self._banned_until = now + self._ban
            self._address.pause(self._ban, exits=EXIT_BAN_PAUSE)
            self._ban = min(2 * self._ban, LONGEST_BAN_PAUSE)
        return EXIT_BAN_PAUSE if urgency is Urgency.EXIT else self._banned_until - now

    def reset(self, name: str = "") -> list[str]:
        """Reset the buckets of a group, of one endpoint, or all; return their names."""
        found = [
            bucket
            for bucket in self._all()
            if name in {"", bucket.name, bucket.name.partition("/")[0]}
        ]
        for bucket in found:
            bucket.reset()
        if self._address in found:
            self._ban, self._banned_until = BAN_PAUSE, 0.0
        return [bucket.name for bucket in found]

    def views(self) -> list[BucketView]:
        return [bucket.view() for bucket in self._all()]

    def _all(self) -> list[Bucket]:
        return [*sorted(self._buckets.values(), key=lambda b: b.name), self._address]

    def _bucket(self, endpoint: Endpoint) -> Bucket:
        bucket = self._buckets.get(endpoint)
        if bucket is None:
            bucket = Bucket(endpoint.name, endpoint.limit, clock=self._clock)
            bucket.is_metered = self._is_metered
            self._buckets[endpoint] = bucket
        return bucket

    def _found_counting(self) -> None:
        if not self._counts:
            self._counts = True
            self._meter(True)

    def _meter(self, is_metered: bool) -> None:
        if is_metered is not self._is_metered:
            self._is_metered = is_metered
            for bucket in self._all():
                bucket.is_metered = is_metered
