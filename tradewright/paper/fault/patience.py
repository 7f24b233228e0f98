"""Waiting on purpose, which ends when the exchange does."""

import asyncio
from contextlib import suppress

_MOST_STALL_S = 600
_LOOK_S = 0.05


class Patience:
    def __init__(self) -> None:
        self._over = asyncio.Event()

    def end(self) -> None:
        """Let all who wait go on."""
        self._over.set()

    async def wait(self, ms: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ms / 1000):
                await self._over.wait()

    async def until_gone(self, transport: asyncio.Transport) -> None:
        """Return when the client has given up."""
        for _ in range(int(_MOST_STALL_S / _LOOK_S)):
            if transport.is_closing() or self._over.is_set():
                return
            await asyncio.sleep(_LOOK_S)
