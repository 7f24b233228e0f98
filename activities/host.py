"""Foreign strategies are asked in a process of their own, which is killed when it misbehaves."""

import asyncio
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any, Final

import structlog
from pydantic import ValidationError

from tradewright.book import Book
from tradewright.domain.errors import TradewrightError
from tradewright.plugin import Evaluation, Needs, View
from tradewright.preset import LoadedPreset, Preset

log = structlog.get_logger(__name__)

ANSWER_WITHIN: Final = 5.0
"""Seconds for one evaluation; decisions are given thirty."""
LOAD_WITHIN: Final = 30.0
"""Seconds for the start of the process and the import of a plugin."""
MOST_BYTES: Final = 2 << 30
"""Of address space: numpy and pandas take half a gigabyte of it, and use little."""
MOST_ANSWERED: Final = 1 << 20
LENGTH: Final = struct.Struct("!I")
LET_THROUGH: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
)
"""Of the worker's environment: secrets are none of a plugin's business."""


class GuestFailed(TradewrightError):
    """A foreign strategy raised, took too long, took too much, or ended its process."""


class RemoteStrategy:
    """What the worker knows of a strategy that it never imports."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.needs = Needs.model_validate(told["needs"])
        self.factor_names = frozenset(told["factor_names"])
        self.says_exits = bool(told["says_exits"])
        self.knows_degraded = bool(told["knows_degraded"])


class Host:
    """One process for all foreign strategies of a worker, started when the first is asked.

    They are asked one after the other: one that hangs keeps the others for as long as it is
    given, and then its process is killed and a new one is started for the next.
    """

    def __init__(
        self,
        within: float = ANSWER_WITHIN,
        load_within: float = LOAD_WITHIN,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._within = within
        self._load_within = load_within
        self._most_bytes = most_bytes
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._known: set[str] = set()
        """Hashes of what the process has loaded."""
        self._shown: dict[tuple[str, str], View] = {}
        """The views for books that it has, by hash and symbol."""

    async def load(self, preset: Preset, document: str) -> LoadedPreset:
        """Return the preset of *document*, whose strategy only the process knows.

        Raises:
            GuestFailed: It cannot be loaded there.
        """
        async with self._turn:
            told = await self._load(document)
        try:
            strategy: Any = RemoteStrategy(told)
        except (ValidationError, TypeError) as e:
            raise GuestFailed(f"what it needs cannot be understood: {e}") from None
        return LoadedPreset(preset, document, told["hash"], strategy)

    async def evaluate(self, loaded: LoadedPreset, view: View) -> Evaluation:
        """Return what the strategy says of *view*.

        Raises:
            GuestFailed: It raised, did not answer in time, or is gone.
        """
        async with self._turn:
            await self._know(loaded)
            told = await self._ask("evaluate", loaded.hash, view, within=self._within)
        return _evaluation(told)

    async def on_book(self, loaded: LoadedPreset, view: View, book: Book) -> Evaluation:
        """Return what the strategy says of *book*; raises as `evaluate`."""
        key = loaded.hash, book.symbol
        async with self._turn:
            await self._know(loaded)
            new = view if self._shown.get(key) is not view else None
            self._shown[key] = view
            told = await self._ask("on_book", loaded.hash, new, book, within=self._within)
        return _evaluation(told)

    async def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        self._known.clear()
        self._shown.clear()
        if process is not None:
            _end_with_all(process.pid)
            await process.wait()

    async def _know(self, loaded: LoadedPreset) -> None:
        if self._process is None or loaded.hash not in self._known:
            await self._load(loaded.document)

    async def _load(self, document: str) -> dict[str, Any]:
        told = await self._ask("load", document, within=self._load_within)
        self._known.add(told["hash"])
        return told

    async def _ask(self, method: str, *arguments: Any, within: float) -> dict[str, Any]:
        if self._process is None:
            await self._start()
        try:
            async with asyncio.timeout(within):
                answer = await self._exchange(method, arguments)
        except TimeoutError:
            await self.close()
            raise GuestFailed(f"it did not answer within {within:g} s; mend it") from None
        except (OSError, EOFError, ValueError) as e:
            raise GuestFailed(await self._end(e)) from None
        except BaseException:
            # Half a question asked: the next answer would be this one's
            await self.close()
            raise
        if "error" in answer:
            log.warning("strategy_failed", traceback=answer["traceback"])
            if answer["is_memory"]:
                await self.close()
            raise GuestFailed(answer["error"])
        found: dict[str, Any] = answer["answer"]
        return found

    async def _end(self, error: Exception) -> str:
        """Return how the process ended, or what is wrong with what it said."""
        process = self._process
        if process is None or isinstance(error, ValueError):
            await self.close()
            return f"what it answered cannot be read: {error}; mend it"
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await process.wait()
        code = process.returncode
        await self.close()
        return f"its process ended with code {code}; mend it"

    async def _exchange(self, method: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise EOFError
        asked = pickle.dumps((method, arguments), pickle.HIGHEST_PROTOCOL)
        writer.write(LENGTH.pack(len(asked)) + asked)
        await writer.drain()
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > MOST_ANSWERED:
            raise ValueError(f"{length} bytes")
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
        return answer

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "activities.guest", str(theirs.fileno()), str(self._most_bytes)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        log.info("strategy_host_started", pid=self._process.pid)


def _evaluation(told: dict[str, Any]) -> Evaluation:
    try:
        return Evaluation.model_validate(told)
    except ValidationError as e:
        raise GuestFailed(f"its answer cannot be understood: {e}") from None


def loaded_apart(document: str, within: float = LOAD_WITHIN) -> dict[str, Any]:
    """Return what *document* comes to, said by a process of its own that has loaded it.

    Either `strategy` and `declared`, or `faults`. It blocks, for those who read presets in threads.

    Raises:
        GuestFailed: The process was ended by what it loaded, or took too long.
    """
    # A pipe would stay open as long as anything that the plugin has started
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "activities.guest", "-", str(MOST_BYTES)],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        try:
            process.communicate(document.encode(), timeout=within)
        except subprocess.TimeoutExpired:
            raise GuestFailed(f"it was not loaded within {within:g} s") from None
        finally:
            _end_with_all(process.pid)
            process.communicate()
        answer.seek(0)
        said = answer.read(MOST_ANSWERED + 1)
    if process.returncode or not said:
        raise GuestFailed(f"its process ended with code {process.returncode}")
    if len(said) > MOST_ANSWERED:
        raise GuestFailed("it says too much of itself")
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError as e:
        raise GuestFailed(f"what it says of itself cannot be read: {e}") from None
    return found


def _end_with_all(leader: int) -> None:
    """End a process that leads a session, and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in LET_THROUGH if name in os.environ}
    # Each thread of these would take address space for itself
    return found | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
