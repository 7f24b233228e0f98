"""A heartbeat beside an activity that waits for the exchange."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, Self, TypeVar

from temporalio import activity

P = ParamSpec("P")
T = TypeVar("T")

BEAT = 2.0
"""Seconds; well below every heartbeat time-out, and long enough that a quick answer costs none."""


class Pulse:
    """Heartbeats for as long as its block takes, whatever it waits for."""

    def __init__(self, details: Sequence[Any] = ()) -> None:
        """Beat with *details*: what earlier attempts have left, unless it is noted anew."""
        self._details = tuple(details)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    def note(self, *details: Any) -> None:
        """Leave *details* to the next attempt."""
        self._details = details
        activity.heartbeat(*details)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            activity.heartbeat(*self._details)


def beating(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let the activity heartbeat for as long as *method* takes."""

    @functools.wraps(method)
    async def with_pulse(*args: P.args, **kwargs: P.kwargs) -> T:
        async with Pulse():
            return await method(*args, **kwargs)

    return with_pulse
