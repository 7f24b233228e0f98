"""One child process: started, waited for until it answers, and never left behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tradewright.app import tether
from tradewright.domain.errors import Retry, TradewrightError

POLL = 0.02
KILLED_WITHIN = 5.0
TAIL_BYTES = 4000
TAIL_LINES = 15

Ready = Callable[[], Awaitable[bool]]


class ProcessNotReady(TradewrightError):
    """A child process ended, or did not answer, before it was of use."""

    retry = Retry.SAFE

    def __init__(self, name: str, detail: str, log: Path) -> None:
        super().__init__(
            f"process {name} did not start: {detail}; read {log}, which ends:\n{tail(log)}"
        )
        self.name = name


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run, and how to tell that it works.

    Attributes:
        env: Added to this process's own environment; may hold secrets, so it is not shown.
        ready: Asked again and again until it says True; None is ready when started.
        seed: Awaited after every start, once ready: what a restart makes it forget.
        grace: Seconds between the request to end and the kill.
        restart: Whether a supervisor starts it again after an unexpected end.
        discard_stdout: For programs that print secrets there; the log gets stderr alone.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ready: Ready | None = field(default=None, repr=False)
    ready_within: float = 30.0
    seed: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    grace: float = 10.0
    restart: bool = True
    discard_stdout: bool = False


class ChildProcess:
    """A running child, in a session of its own: a Ctrl-C reaches it through us alone.

    On Linux the child is killed with the thread that started it, so `start` belongs into
    the main thread. Elsewhere a killed parent leaves its children running.
    """

    def __init__(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._process = process
        self._gone = False

    @classmethod
    async def start(cls, spec: ProcessSpec) -> Self:
        """Start *spec* and return when it is ready.

        Raises:
            ProcessNotReady: It ended or stayed silent; nothing of it is left running.
        """
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        with spec.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *spec.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL if spec.discard_stdout else log,
                stderr=log,
                env={**os.environ, **spec.env},
                start_new_session=True,
            )
        child = cls(spec, process)
        try:
            await child._until_ready()
            if spec.seed:
                await spec.seed()
        except BaseException:
            await child.stop(grace=0)
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return None while it runs, else its exit code; a signal's number is negative."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, *, grace: float | None = None) -> int | None:
        """Ask it to end, kill it after *grace* seconds, and return its exit code."""
        grace = self.spec.grace if grace is None else grace
        with contextlib.suppress(TimeoutError):
            if grace:
                self.send(signal.SIGTERM)
                async with asyncio.timeout(grace):
                    await self.wait()
        # What the child started itself is in its group, and may have outlived it
        self.send(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_WITHIN):
                await self.wait()
            self._gone = True
        return self.returncode

    def send(self, signum: signal.Signals) -> None:
        """Send *signum* to the child and all that it started."""
        # Its number may be another's by now
        if self._gone:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signum)

    async def _until_ready(self) -> None:
        ready = self.spec.ready
        if ready is None:
            return
        try:
            async with asyncio.timeout(self.spec.ready_within):
                while not await ready():
                    if self.returncode is not None:
                        raise self._not_ready(f"it ended with exit code {self.returncode}")
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise self._not_ready(f"no answer within {self.spec.ready_within:g} s") from None

    def _not_ready(self, detail: str) -> ProcessNotReady:
        return ProcessNotReady(self.spec.name, detail, self.spec.log)


@contextlib.asynccontextmanager
async def running(spec: ProcessSpec) -> AsyncIterator[ChildProcess]:
    """Run *spec* for the length of the block."""
    child = await ChildProcess.start(spec)
    try:
        yield child
    finally:
        await child.stop()


def tail(log: Path) -> str:
    """Return the last lines of *log*, for a person who has to find out why."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-TAIL_LINES:]) or "(empty)"
