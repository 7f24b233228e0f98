"""Barriers of the lockstep: a step goes on when all that must see it have seen it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec

Role = Literal["market", "preset", "account"]
Phase = Literal["waiting", "path", "close", "settle", "ended"]


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """One that the lockstep waits for, and how far it has come."""

    name: str
    role: Role
    symbols: tuple[str, ...] = ()
    timeframe: str | None = None
    done_ms: int = -1
    done_barrier: int = -1


class Barrier(msgspec.Struct, frozen=True):
    number: int
    phase: Phase
    at_ms: int
    concerns: Callable[[Subscriber], bool]

    def waits_for(self, subscriber: Subscriber) -> bool:
        if not self.concerns(subscriber):
            return False
        if subscriber.role == "account":
            return subscriber.done_barrier < self.number
        return subscriber.done_ms < self.at_ms


class Barriers:
    """The subscribers, and the barrier that stands now."""

    def __init__(self, subscribers: list[Subscriber]) -> None:
        self.subscribers = {s.name: s for s in subscribers}
        self.standing: Barrier | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Send home all who wait for something within a time."""
        self._closed = True
        self.touch()

    def put(self, subscriber: Subscriber) -> None:
        self.subscribers[subscriber.name] = subscriber
        self.touch()

    def drop(self, name: str) -> None:
        self.subscribers.pop(name, None)
        self.touch()

    def touch(self) -> None:
        """Wake all who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def waiting_for(self) -> list[str]:
        if self.standing is None:
            return []
        barrier = self.standing
        return sorted(s.name for s in self.subscribers.values() if barrier.waits_for(s))

    async def pass_through(self, barrier: Barrier) -> None:
        self.standing = barrier
        if self.waiting_for():
            self.touch()
            await self.until(lambda: not self.waiting_for())
        self.standing = None

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._changed.wait()

    async def within(self, timeout_ms: int, is_so: Callable[[], bool]) -> bool:
        """Return whether *is_so* came true before the time was over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1000):
                await self.until(lambda: self._closed or is_so())
        return is_so()
