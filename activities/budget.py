"""How many requests are left: one bucket per endpoint of the account, and one of the address.

Several processes live on one account's budget, so a bucket believes the exchange: every answer
says how much of the window is used, whoever used it. What is not ours counts like ours.
"""

import time
from collections.abc import Mapping
from typing import Final

from activities.bucket import Bucket, BucketView, Clock
from activities.endpoint import ADDRESS, ADDRESS_LIMIT, ADDRESS_PERIOD, Endpoint
from activities.urgency import Urgency

BUSY_PAUSE: Final = 1.0
BAN_PAUSE, PRESSING_BAN_PAUSE, LONGEST_BAN_PAUSE = 60.0, 10.0, 600.0
"""After HTTP 403: Bybit wants ten minutes of silence, which what is pressing cannot keep."""

LIMIT, LEFT = "X-Bapi-Limit", "X-Bapi-Limit-Status"

Headers = Mapping[str, str]


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
        self._bucket(endpoint).pause(seconds, pressing=seconds)

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
            self._address.pause(self._ban, pressing=PRESSING_BAN_PAUSE)
            self._ban = min(2 * self._ban, LONGEST_BAN_PAUSE)
        return PRESSING_BAN_PAUSE if urgency <= Urgency.STOP else self._banned_until - now

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
