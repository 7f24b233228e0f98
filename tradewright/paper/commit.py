"""Group commit: what happens within one turn of the event loop is written together, then told."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from tradewright.domain.errors import TradewrightError
from tradewright.matching import Engine, Event, RequestRejected
from tradewright.paper.batch import NO_NOTE, Batch, Books, TransferNote
from tradewright.paper.store import Store

log = logging.getLogger(__name__)

_SETTLE_S = 0.05
"""How long batches are gathered before they become one transaction."""

Listener = Callable[[list[Event]], None]


class ExchangeBroken(TradewrightError):
    def __init__(self) -> None:
        super().__init__("exchange is broken: an earlier change failed; restart it")


class Unbroken:
    """Lets refusals through; after any other failure memory and file may differ, so stop.

    No generator: every order goes through it twice.
    """

    def __init__(self, broken: asyncio.Event) -> None:
        self._broken = broken

    def __enter__(self) -> None:
        if self._broken.is_set():
            raise ExchangeBroken

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, RequestRejected):
            return
        if not self._broken.is_set():
            log.critical(
                "exchange is broken and stops: memory and state may differ", exc_info=error
            )
        self._broken.set()
        raise ExchangeBroken from error


class GroupCommit:
    """Memory runs ahead of the file by one batch; nobody is told of it before it is written."""

    def __init__(
        self, engine: Engine, store: Store, facts: Callable[[], dict[str, Any]], *, is_checked: bool
    ) -> None:
        self.broken = asyncio.Event()
        self.unbroken = Unbroken(self.broken)
        self.listeners: list[Listener] = []
        """Told of all events, in their order, once the requests that caused them are answered."""
        self.on_written: list[Callable[[Batch], None]] = []
        self._books = Books(engine, is_checked=is_checked)
        self._store = store
        self._facts = facts
        self._is_due = False
        self._settling: asyncio.TimerHandle | None = None
        self._told = asyncio.Event()
        self._telling = asyncio.Event()
        self._telling.set()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Settle first, which is a write; what is wrong with a question or an old row is no end."""
        with self.unbroken:
            self._store.settle()
        yield

    def take(self, events: list[Event], now: datetime, note: TransferNote = NO_NOTE) -> None:
        """Book *events*; they are written when this turn of the loop is over."""
        self._books.take(events, now, note)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def flush(self) -> None:
        """Write what was taken, at once.

        Raises:
            ExchangeBroken: It cannot be written, or earlier changes could not.
        """
        if not self._is_due:
            return
        self._is_due = False
        told = self._telling = self._told
        self._told = asyncio.Event()
        with self.unbroken:
            batch = self._books.close(self._facts())
            self._store.write(batch)
            self._settle_soon()
            for take in self.on_written:
                take(batch)
        # Behind all who waited: they answer first
        asyncio.get_running_loop().call_soon(self._tell, batch.events, told)

    def _flush(self) -> None:
        # Whoever waits for it is told, and the exchange stops
        with suppress(ExchangeBroken):
            self.flush()

    def _settle_soon(self) -> None:
        if self._store.is_behind:
            self._store.settle()
        elif self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(_SETTLE_S, self._settle)

    def _settle(self) -> None:
        self._settling = None
        with suppress(ExchangeBroken), self.unbroken:
            self._store.settle()

    def close(self) -> None:
        """Write and settle what is left.

        Raises:
            ExchangeBroken: It cannot be written.
        """
        if self._settling is not None:
            self._settling.cancel()
        self.flush()
        with self.unbroken:
            self._store.settle()

    async def durable(self) -> None:
        """Return when all that has happened so far would survive the process.

        Raises:
            ExchangeBroken: It could not be written.
        """
        if self._is_due:
            # It is written first thing in the next turn, which is over before the listeners are
            # told in the one after: so the answer is on the wire by then
            await asyncio.sleep(0)
        if self.broken.is_set():
            raise ExchangeBroken

    async def told(self) -> None:
        """Return when the listeners know all that has happened so far."""
        told = self._told if self._is_due else self._telling
        await self.durable()
        await told.wait()

    def _tell(self, events: list[Event], told: asyncio.Event) -> None:
        for listener in self.listeners:
            try:
                listener(events)
            except Exception:
                # What is durable and acknowledged stays so, whoever could not hear of it
                log.exception("listener failed: %s", listener)
        told.set()
