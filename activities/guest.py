"""The process in which foreign strategies run: `python -m activities.guest <fd> <bytes>`.

It answers what the worker asks over one socket, and ends with the worker. What it may take of
memory is limited by the system; what it may take of time is the worker's business, who kills it.
Without a socket, `- <bytes>`, it loads the document that it is given on stdin, says on stdout what
that comes to, and ends.
"""

import json
import os
import pickle
import queue
import resource
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from tradewright.book import Book
from tradewright.plugin import COLUMNS, Evaluation, Follower, View
from tradewright.preset import LoadedPreset, PresetInvalid, loads
from tradewright.preset.folder import declaration

LENGTH = struct.Struct("!I")
TOLD = 4000
"""Characters of a traceback that the worker logs."""


class Guest:
    """Loads documents and asks their strategies."""

    def __init__(self) -> None:
        self._loaded: dict[str, LoadedPreset] = {}
        self._followers: dict[tuple[str, str], Follower] = {}
        self._views: dict[tuple[str, str], View] = {}

    def load(self, document: str) -> Mapping[str, Any]:
        """Return what the worker has to know of the strategy of *document*."""
        loaded = loads(document)
        self._loaded[loaded.hash] = loaded
        return known_of(loaded)

    def evaluate(self, preset_hash: str, view: View) -> Mapping[str, Any]:
        frozen(view)
        strategy = self._loaded[preset_hash].strategy
        follow = getattr(strategy, "follow", None)
        if follow is None or view.degraded:
            return told(strategy.evaluate(view))
        key = preset_hash, view.symbol
        if key not in self._followers:
            self._followers[key] = follow()
        try:
            return told(self._followers[key].evaluate(view))
        except BaseException:
            # One that failed half way follows nothing any more
            del self._followers[key]
            raise

    def on_book(self, preset_hash: str, view: View | None, book: Book) -> Mapping[str, Any]:
        """Ask by *view*, or by the last one of the symbol if there is none."""
        key = preset_hash, book.symbol
        if view is not None:
            self._views[key] = frozen(view)
        strategy: Any = self._loaded[preset_hash].strategy
        return told(strategy.on_book(self._views[key], book))


def known_of(loaded: LoadedPreset) -> Mapping[str, Any]:
    """Return what the worker has to know of a strategy that it never imports."""
    strategy = loaded.strategy
    return {
        "hash": loaded.hash,
        "needs": strategy.needs.model_dump(mode="json"),
        "factor_names": sorted(strategy.factor_names),
        "says_exits": bool(getattr(strategy, "says_exits", True)),
        "knows_degraded": bool(getattr(strategy, "knows_degraded", False)),
    }


def told(answer: object) -> Mapping[str, Any]:
    """Return *answer* as the worker reads it."""
    if not isinstance(answer, Evaluation):
        raise TypeError(f"its answer is no Evaluation but {type(answer).__name__}")
    found: dict[str, Any] = answer.model_dump(mode="json")
    return found


def frozen(view: View) -> View:
    """Return *view* with arrays that cannot be written to, as in the worker."""
    for candles in (view.candles, *view.others.values()):
        for name in ("open_time", *COLUMNS):
            getattr(candles, name).flags.writeable = False
    for each in view.series.values():
        each.flags.writeable = False
    return view


def answered(deed: Callable[[], Mapping[str, Any]]) -> bytes:
    """Return what *deed* returns, or how it failed, as one frame."""
    answer: dict[str, Any]
    try:
        answer = {"answer": deed()}
    # Foreign code: whatever it raises is told to the worker, a wish to exit too
    except BaseException as e:
        answer = {
            "error": f"{type(e).__name__}: {e}"[:500],
            "is_memory": isinstance(e, MemoryError),
            "traceback": traceback.format_exc()[-TOLD:],
        }
    content = json.dumps(answer).encode()
    return LENGTH.pack(len(content)) + content


def received(connection: socket.socket, count: int) -> bytes:
    """Return *count* bytes; the process ends when the worker has ended."""
    found = bytearray()
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            os._exit(0)
        found += part
    return bytes(found)


def listen(connection: socket.socket, asked: "queue.Queue[Any]") -> None:
    """Take requests while a strategy computes: the end of the worker is heard even then."""
    while True:
        (length,) = LENGTH.unpack(received(connection, LENGTH.size))
        # From our own worker, over a socket that nobody else has
        asked.put(pickle.loads(received(connection, length)))  # noqa: S301


def check() -> None:
    """Load the document on stdin, and say on stdout what it comes to or what is wrong with it."""
    text = sys.stdin.buffer.read().decode()
    # Nothing that a plugin prints is taken for the answer
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    found: dict[str, Any]
    try:
        loaded = loads(text)
        declared = declaration("", loaded)
        found = {"strategy": known_of(loaded), "declared": declared.model_dump(mode="json")}
    except PresetInvalid as e:
        found = {"faults": [fault.model_dump(mode="json") for fault in e.faults]}
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(found, file)
    # What a plugin has started or registered is not waited for
    os._exit(0)


def main() -> None:
    fd, most_bytes = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if fd == "-":
        check()
    connection, guest = socket.socket(fileno=int(fd)), Guest()
    asked: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=listen, args=(connection, asked), daemon=True).start()
    while True:
        method, arguments = asked.get()
        connection.sendall(answered(lambda: getattr(guest, method)(*arguments)))  # noqa: B023


if __name__ == "__main__":
    main()
