"""What a workflow has to tell others: sent in order beside its work, which never waits for it."""

from collections import deque
from collections.abc import Awaitable, Callable

from temporalio import workflow

Errand = Callable[[], Awaitable[None]]


class Errands:
    """Signals to others, each of which says itself what becomes of it when nobody is there."""

    def __init__(self) -> None:
        self._waiting: deque[Errand] = deque()
        self._closed = False

    @property
    def are_done(self) -> bool:
        return not self._waiting

    def send(self, errand: Errand) -> None:
        self._waiting.append(errand)

    def close(self) -> None:
        """Let `keep_sending` end once everything is sent."""
        self._closed = True

    async def keep_sending(self) -> None:
        """Send what there is, until closed."""
        while True:
            await workflow.wait_condition(lambda: bool(self._waiting) or self._closed)
            if not self._waiting:
                return
            await self._waiting[0]()
            self._waiting.popleft()
