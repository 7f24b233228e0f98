"""Several child processes that live and die as one system."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from tradewright.app.process import ChildProcess, ProcessSpec
from tradewright.domain.errors import TradewrightError

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(TradewrightError):
    """A person or the system asked us to end; all children have."""

    def __init__(self, signum: signal.Signals) -> None:
        super().__init__(f"interrupted by {signum.name}; every process was stopped")
        self.signal = signum

    @property
    def exit_code(self) -> int:
        """Return what a shell expects: 130 for a Ctrl-C."""
        return 128 + self.signal


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a crashed child is started again.

    Attributes:
        first: Seconds before the first restart; doubled for each that follows.
        longest: Never more seconds than this.
        forgiven_after: A child that ran this long had no share in the crash before.
    """

    first: float = 0.5
    longest: float = 30.0
    forgiven_after: float = 60.0

    def pauses(self) -> Iterator[float]:
        pause = self.first
        while True:
            yield pause
            pause = min(2 * pause, self.longest)


class Supervisor:
    """Starts children one by one, restarts those that crash, and stops all, last first.

    Used as a context. However its block ends, no child is left when it has: SIGINT and SIGTERM
    cancel the block and raise `Interrupted`, a second one does not wait for anybody's grace.
    A supervisor that is killed takes its children along (Linux).
    """

    def __init__(
        self, *, backoff: Backoff | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Make one that also tells a person, by *tell*, what it had to start again."""
        self._backoff = backoff or Backoff()
        self._tell = tell
        self._children: dict[str, ChildProcess] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._signal: signal.Signals | None = None
        self._block: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        self._block = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for signum in STOP_SIGNALS:
            loop.add_signal_handler(signum, self._interrupt, signum)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        stopping = asyncio.ensure_future(self._stop_all())
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                # To be cancelled while stopping is to be told to hurry, not to leave
                self._kill_all()
        loop = asyncio.get_running_loop()
        for signum in STOP_SIGNALS:
            loop.remove_signal_handler(signum)
        stopping.result()
        if self._signal is not None and isinstance(error, asyncio.CancelledError | None):
            while self._block and self._block.cancelling():
                self._block.uncancel()
            raise Interrupted(self._signal) from None

    async def start(self, spec: ProcessSpec) -> ChildProcess:
        """Start *spec*, and return when it is ready.

        Raises:
            ProcessNotReady: It ended or stayed silent; nothing of it is left running.
        """
        child = await ChildProcess.start(spec)
        self._children[spec.name] = child
        self._watches[spec.name] = asyncio.create_task(self._watch(child), name=spec.name)
        log.info("process_started", process=spec.name, pid=child.pid)
        return child

    async def stop(self, name: str) -> None:
        """Stop one child for good."""
        await self._unwatch(name)
        child = self._children.pop(name)
        log.info("process_stopped", process=name, exit_code=await child.stop())

    def child(self, name: str) -> ChildProcess:
        """Return the child that now runs under *name*; a restart makes it another."""
        return self._children[name]

    async def until_interrupted(self) -> None:
        """Wait for SIGINT or SIGTERM, which end the block."""
        await asyncio.Event().wait()

    async def _watch(self, child: ChildProcess) -> None:
        spec, pauses = child.spec, self._backoff.pauses()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            exit_code = await child.wait()
            log.error("process_ended", process=spec.name, exit_code=exit_code, restart=spec.restart)
            await child.stop(grace=0)
            if not spec.restart:
                return
            if loop.time() - began > self._backoff.forgiven_after:
                pauses = self._backoff.pauses()
            child = await self._again(spec, pauses)
            self._tell(f"{spec.name} ended (exit code {exit_code}); started again")

    async def _again(self, spec: ProcessSpec, pauses: Iterator[float]) -> ChildProcess:
        while True:
            await asyncio.sleep(next(pauses))
            try:
                child = await ChildProcess.start(spec)
            except (TradewrightError, OSError) as e:
                log.error("process_restart_failed", process=spec.name, detail=str(e))
                continue
            self._children[spec.name] = child
            log.warning("process_restarted", process=spec.name, pid=child.pid)
            return child

    async def _unwatch(self, name: str) -> None:
        watch = self._watches.pop(name)
        watch.cancel()
        await asyncio.wait([watch])

    async def _stop_all(self) -> None:
        # Every watch ends before the first child does, or it would be taken for a crash
        for name in list(self._watches):
            await self._unwatch(name)
        for name in reversed(list(self._children)):
            child = self._children[name]
            log.info("process_stopped", process=name, exit_code=await child.stop())

    def _interrupt(self, signum: signal.Signals) -> None:
        if self._signal is not None:
            self._kill_all()
            # The first cancel may have been swallowed by what the block waited for
            if self._block:
                self._block.cancel()
            return
        self._signal = signal.Signals(signum)
        log.info("interrupted", signal=self._signal.name)
        if self._block:
            self._block.cancel()

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.send(signal.SIGKILL)
