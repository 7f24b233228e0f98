"""Connections of the streams, and who of them wants which topic."""

import asyncio
from typing import Any

import msgspec
from starlette.websockets import WebSocket

_encode = msgspec.json.Encoder().encode
_BACKLOG = 20_000


class Connection:
    """One client. What it is sent waits in a queue; one that never reads is cut off."""

    def __init__(self, socket: WebSocket, conn_id: str) -> None:
        self.conn_id = conn_id
        self.topics: set[str] = set()
        self.is_authorised = False
        self._socket = socket
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()

    def send(self, message: dict[str, Any]) -> None:
        self.send_text(_encode(message).decode())

    def send_text(self, text: str) -> None:
        if self._queue.qsize() < _BACKLOG:
            self._queue.put_nowait(text)
        else:
            self._queue.put_nowait(None)

    async def deliver(self) -> None:
        while (text := await self._queue.get()) is not None:
            await self._socket.send_text(text)
        await self._socket.close(1008)


class Hub:
    def __init__(self) -> None:
        self._wanted: dict[str, set[Connection]] = {}

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(self._wanted)

    def wants(self, topic: str) -> bool:
        return topic in self._wanted

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        if connections := self._wanted.get(topic):
            text = _encode(message).decode()
            for connection in connections:
                connection.send_text(text)

    def subscribe(self, connection: Connection, topic: str) -> None:
        connection.topics.add(topic)
        self._wanted.setdefault(topic, set()).add(connection)

    def unsubscribe(self, connection: Connection, topic: str) -> None:
        connection.topics.discard(topic)
        connections = self._wanted.get(topic, set())
        connections.discard(connection)
        if not connections:
            self._wanted.pop(topic, None)

    def forget(self, connection: Connection) -> None:
        for topic in list(connection.topics):
            self.unsubscribe(connection, topic)
