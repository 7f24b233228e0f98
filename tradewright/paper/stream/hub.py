"""Connections of the streams, and who of them wants which topic.

A message is encoded once and its frame is written to every connection at once: a queue and a
task for each would cost more than the message. Frames go uncompressed, which a peer that agreed
to compression must take, too, so that one frame fits all.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from websockets.frames import Close, Frame, Opcode

from tradewright.paper.transport import reset

_encode = msgspec.json.Encoder().encode
_TOO_SLOW = 1008
_SHORT, _MEDIUM = 126, 2**16
_LAST_WORD_S = 10.0

Filter = Callable[["Connection", str, bytes], Iterable[bytes]]


class Connection:
    """One client of one channel. One that does not read what it is sent is cut off."""

    def __init__(
        self,
        hub: "Hub",
        transport: asyncio.Transport,
        *,
        channel: str,
        conn_id: str,
        ip: str = "",
        idle_s: float = 600,
        backlog: int = 8 * 2**20,
    ) -> None:
        self.channel = channel
        self.conn_id = conn_id
        self.ip = ip
        self.idle_s = idle_s
        self.account = ""
        """Whose private messages it may have; "" until it said who it is."""
        self.key = ""
        """What it said so with."""
        self.topics: set[str] = set()
        self.is_open = True
        self.active_s = time.monotonic()
        """When something was last sent or received."""
        self._hub = hub
        self._transport = transport
        self._backlog = backlog
        hub.connections.add(self)

    def send(self, message: dict[str, Any], topic: str = "") -> None:
        """Send *message* to this connection alone; *topic* is "" for answers."""
        data = _encode(message)
        if self._hub.filter is None:
            self.write(framed(data))
        else:
            for passed in self._hub.filter(self, topic, data):
                self.push(passed)

    def push(self, data: bytes) -> None:
        """Send encoded *data* whatever faults there are."""
        self.write(framed(data))

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye behind what was sent; who does not answer it is cut off soon."""
        if self.is_open and not self._transport.is_closing():
            goodbye = Frame(Opcode.CLOSE, Close(code, reason).serialize())
            self._transport.write(goodbye.serialize(mask=False))
            asyncio.get_running_loop().call_later(_LAST_WORD_S, self._transport.abort)
        self.leave()

    def abort(self) -> None:
        """End it without a word, as a crashed server does."""
        self.leave()
        reset(self._transport)

    def leave(self) -> None:
        self.is_open = False
        self._hub.forget(self)

    def write(self, frame: bytes) -> None:
        transport = self._transport
        if not self.is_open or transport.is_closing():
            return
        transport.write(frame)
        self.active_s = time.monotonic()
        if transport.get_write_buffer_size() > self._backlog:
            self.close(_TOO_SLOW, "too slow")


class Hub:
    """Topics of the market are kept by name, private ones by account and name."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.filter: Filter | None = None
        """What becomes of each outgoing message, for faults: connection, topic ("" of answers)
        and JSON in; what is sent now out. `Connection.push` sends the rest later."""
        self._wanted: dict[tuple[str, str], dict[Connection, None]] = {}

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(topic for _, topic in self._wanted)

    def wants(self, topic: str, account: str = "") -> bool:
        return (account, topic) in self._wanted

    def publish(self, topic: str, message: dict[str, Any], account: str = "") -> None:
        connections = self._wanted.get((account, topic))
        if not connections:
            return
        data = _encode(message)
        # A connection that is cut leaves while it is written to
        readers = tuple(connections)
        if self.filter is None:
            frame = framed(data)
            for connection in readers:
                connection.write(frame)
            return
        for connection in readers:
            for passed in self.filter(connection, topic, data):
                connection.push(passed)

    def subscribe(self, connection: Connection, topic: str, account: str = "") -> None:
        connection.topics.add(topic)
        self._wanted.setdefault((account, topic), {})[connection] = None

    def unsubscribe(self, connection: Connection, topic: str, account: str = "") -> None:
        connection.topics.discard(topic)
        connections = self._wanted.get((account, topic), {})
        connections.pop(connection, None)
        if not connections:
            self._wanted.pop((account, topic), None)

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        for topic in list(connection.topics):
            self.unsubscribe(connection, topic, connection.account)


def framed(data: bytes) -> bytes:
    """Return a text message as it goes over the wire: whole, and not masked by a server."""
    size = len(data)
    if size < _SHORT:
        head = size.to_bytes(1, "big")
    elif size < _MEDIUM:
        head = b"\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x7f" + size.to_bytes(8, "big")
    return b"\x81" + head + data
