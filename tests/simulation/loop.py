"""An event loop in which time passes only when nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest

from activities import entry, exits, reading, stops

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class NothingLeft(Exception):
    """Everybody waits, and nobody for a time."""


class _NoWaiting(selectors.SelectSelector):
    """Lets time pass where others wait for it; there is nothing to select from."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0 or self.loop.meet_conditions():
            return []
        if timeout is None:
            raise NothingLeft
        self.loop.elapsed += timeout
        return []


def _ignore_cancelled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Of runs that are over, nobody asks how they ended
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.elapsed = 0.0
        selector = _NoWaiting()
        super().__init__(selector)
        selector.loop = self
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.set_exception_handler(_ignore_cancelled)

    def time(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed)

    async def until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            future = self.create_future()
            self._conditions.append((condition, future))
            await future

    def meet_conditions(self) -> bool:
        """Wake who waits for what has become true; return whether there was anybody."""
        self._conditions = [(met, f) for met, f in self._conditions if not f.done()]
        woken = [future for met, future in self._conditions if met()]
        for future in woken:
            future.set_result(None)
        return bool(woken)


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """Let the activities live by the clock of a new loop, and end what it leaves behind."""
    loop = VirtualLoop()

    class Virtual(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Virtual":
            return cls.fromtimestamp(loop.now().timestamp(), tz or UTC)

    with pytest.MonkeyPatch.context() as patch:
        for module in (entry, exits, reading, stops):
            patch.setattr(module, "time", SimpleNamespace(monotonic=loop.time))
        for module in (entry, reading):
            patch.setattr(module, "datetime", Virtual)
        try:
            yield loop
        finally:
            # What ends by this may begin something in its turn
            while tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()
