"""A heartbeat beside an activity that waits for the exchange."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from temporalio import activity

P = ParamSpec("P")
T = TypeVar("T")

BEAT = 2.0
"""Seconds; well below every heartbeat time-out, and long enough that a quick answer costs none."""


def beating(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let the activity heartbeat for as long as *method* takes, whatever it waits for."""

    @functools.wraps(method)
    async def with_pulse(*args: P.args, **kwargs: P.kwargs) -> T:
        pulse = asyncio.create_task(_beat())
        try:
            return await method(*args, **kwargs)
        finally:
            pulse.cancel()

    return with_pulse


async def _beat() -> None:
    while True:
        await asyncio.sleep(BEAT)
        activity.heartbeat()
